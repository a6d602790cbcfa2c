// The pool of reserved addresses.
#include "anygpu/addresses.h"

#include <sys/mman.h>

#include <atomic>
#include <map>
#include <mutex>

#include "anygpu/memory_events.h"

namespace anygpu {

namespace {

constexpr size_t kAlign = 512;
constexpr int kClasses = 4 * 48;  // four sizes per power of two

/// Smallest class whose size holds `bytes`, and that size: 512 * {4,5,6,7}/4 * 2^k, rounded to 512.
int class_of(size_t bytes) {
  size_t units = (bytes + kAlign - 1) / kAlign;
  if (units <= 4) return static_cast<int>(units) - 1;
  const int log = 63 - __builtin_clzll(units - 1);  // units in (2^log, 2^(log+1)]
  const size_t quarter = size_t{1} << (log - 2);
  return 4 * (log - 1) + static_cast<int>((units - 1 - (size_t{1} << log)) / quarter);
}
size_t size_of_class(int c) {
  if (c < 4) return static_cast<size_t>(c + 1) * kAlign;
  const int log = c / 4 + 1;
  const size_t quarter = size_t{1} << (log - 2);
  return ((size_t{1} << log) + quarter * static_cast<size_t>(c % 4 + 1)) * kAlign;
}

/// Hands out Blocks. A Block keeps its addresses for good and returns to the list of its class, so the range is used again
/// and again; only a new peak of live Blocks of a class takes fresh addresses.
class BlockPool {
 public:
  Block* take(BufferRef buffer) {
    const size_t bytes = static_cast<size_t>(buffer->bytes);
    const int c = bytes ? class_of(bytes) : kClasses;
    std::lock_guard<std::mutex> lock(mutex_);
    Block* b = free_[c];
    if (b)
      free_[c] = b->next;
    else
      b = make(c);
    b->buffer = std::move(buffer);
    return b;
  }

  /// Returns the Buffer that it stood for.
  BufferRef give(Block* b) {
    std::lock_guard<std::mutex> lock(mutex_);
    b->next = free_[b->size_class];
    free_[b->size_class] = b;
    return std::move(b->buffer);
  }

  Block* find(const void* address) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = by_address_.upper_bound(static_cast<const char*>(address));
    if (it == by_address_.begin()) return nullptr;
    Block* b = (--it)->second;
    const bool inside = static_cast<const char*>(address) < b->address + size_of_class(b->size_class);
    return inside && b->buffer ? b : nullptr;
  }

  std::vector<LiveBlock> live() {
    std::lock_guard<std::mutex> lock(mutex_);
    std::vector<LiveBlock> all;
    for (const auto& [address, b] : by_address_)
      if (b->buffer) all.push_back({address, b->buffer->bytes, static_cast<int64_t>(size_of_class(b->size_class)), b->buffer->device.index()});
    return all;
  }

 private:
  Block* make(int c) {
    auto* b = new Block{{}, nullptr, c, nullptr};
    if (c == kClasses) return b;
    const size_t size = size_of_class(c);
    if (static_cast<size_t>(end_ - next_) < size) reserve(size);
    b->address = next_;
    next_ += size;
    by_address_.emplace(b->address, b);
    return b;
  }

  void reserve(size_t at_least) {
    // A process may be limited in address space (ulimit -v): ask for less until it is granted.
    for (size_t size = size_t{1} << 44; size >= at_least; size >>= 1) {
      void* p = mmap(nullptr, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (p == MAP_FAILED) continue;
      next_ = static_cast<char*>(p);
      end_ = next_ + size;
      return;
    }
    throw Error(ErrorKind::OutOfMemory, "anygpu: no address space left for a tensor of " + std::to_string(at_least) + " bytes");
  }

  std::mutex mutex_;
  Block* free_[kClasses + 1] = {};
  std::map<const char*, Block*> by_address_;
  char* next_ = nullptr;
  char* end_ = nullptr;
};

BlockPool& pool() {
  static BlockPool* p = new BlockPool;  // leaked: deleters run while the process exits
  return *p;
}

std::atomic<BlockObserver> observer{nullptr};

void tell(const Block& b, bool made) {
  const BlockObserver f = observer.load(std::memory_order_relaxed);
  if (f && b.address) f(b, made);
}

}  // namespace

void observe_blocks(BlockObserver f) {
  observer = f;
}

std::vector<LiveBlock> live_blocks() {
  return pool().live();
}

Block* allocate_block(Device& device, int64_t bytes) {
  return block_of(device.allocate(bytes));
}

Block* block_of(BufferRef buffer) {
  Block* b = pool().take(std::move(buffer));
  tell(*b, true);
  return b;
}

void release_block(void* p) noexcept {
  // In a forked child any lock may be held by a thread that no longer exists, and there is nothing worth freeing.
  if (Device::inherited()) return;
  auto* b = static_cast<Block*>(p);
  tell(*b, false);
  pool().give(b);
}

Block* find_block(const void* address) {
  return pool().find(address);
}

Place find_place(const void* address) {
  const Block* b = pool().find(address);
  if (!b) return {nullptr, 0};
  return {b->buffer.get(), static_cast<const char*>(address) - b->address};
}

}  // namespace anygpu
