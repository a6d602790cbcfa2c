#include "allocator.h"

#include <sys/mman.h>

#include <atomic>
#include <map>
#include <mutex>

#include "tensor.h"

namespace anygpu::torch_frontend {

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
  Block* take(size_t bytes) {
    const int c = bytes ? class_of(bytes) : kClasses;
    std::lock_guard<std::mutex> lock(mutex_);
    if (Block* b = free_[c]) {
      free_[c] = b->next;
      return b;
    }
    return make(c);
  }

  void give(Block* b) {
    std::lock_guard<std::mutex> lock(mutex_);
    b->next = free_[b->size_class];
    free_[b->size_class] = b;
  }

  Block* find(const void* address) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = by_address_.upper_bound(static_cast<const char*>(address));
    if (it == by_address_.begin()) return nullptr;
    Block* b = (--it)->second;
    const bool inside = static_cast<const char*>(address) < b->address + size_of_class(b->size_class);
    return inside && b->buffer ? b : nullptr;
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
    TORCH_CHECK_WITH(OutOfMemoryError, false, "anygpu: no address space left for a tensor of ", at_least, " bytes");
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

using c10::CachingAllocator::Stat;
using c10::CachingAllocator::StatArray;

/// What PyTorch calls accumulated statistics, since the start or resetAccumulatedStats(): bytes asked for. What was freed follows.
std::atomic<int64_t> asked_bytes[kMaxDevices], asked_at_reset[kMaxDevices], allocated_at_reset[kMaxDevices];

void set_stat(StatArray& stat, int64_t current, int64_t peak, int64_t allocated, int64_t freed) {
  for (auto type : {c10::CachingAllocator::StatType::AGGREGATE, c10::CachingAllocator::StatType::LARGE_POOL}) {
    Stat& s = stat[static_cast<size_t>(type)];
    s.current = current;
    s.peak = peak;
    s.allocated = allocated;
    s.freed = freed;
  }
}

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override { return allocate_on(current_device(), bytes); }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }  // pointer and context differ

  /// Byte ranges of two live storages, by address: what Allocator::clone needs.
  void copy_data(void* dst, const void* src, size_t bytes) const override {
    if (bytes == 0) return;
    Block* to = find_block(dst);
    Block* from = find_block(src);
    TORCH_CHECK(to && from, "anygpu: copy between addresses that belong to no storage");
    const int64_t size = static_cast<int64_t>(bytes), one = 1;
    const ViewArg d(to->buffer.get(), DType::U8, static_cast<char*>(dst) - to->address, 1, &size, &one);
    const ViewArg s(from->buffer.get(), DType::U8, static_cast<const char*>(src) - from->address, 1, &size, &one);
    record(ANYGPU_OP("copy"), {d, s}, {}, {attr(DType::U8)});
  }

  bool initialized() override { return torch_frontend::initialized(); }
  void emptyCache(c10::MempoolId_t) override {
    for (int i = 0; i < device_count(); ++i) translated([&] { device_at(static_cast<c10::DeviceIndex>(i)).empty_cache(); });
  }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}  // one queue in order: nothing can be used after it is freed

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    const MemoryStats m = device_at(index).memory_stats();
    c10::CachingDeviceAllocator::DeviceStats s;
    const int64_t live = m.allocations - m.frees;
    set_stat(s.allocation, live, live, m.allocations, m.frees);
    set_stat(s.active, live, live, m.allocations, m.frees);
    const int64_t asked = asked_bytes[index].load() - asked_at_reset[index].load();
    const int64_t freed = asked + allocated_at_reset[index].load() - m.allocated;
    for (StatArray* bytes : {&s.allocated_bytes, &s.active_bytes, &s.requested_bytes})
      set_stat(*bytes, m.allocated, m.allocated_peak, asked, freed);
    set_stat(s.reserved_bytes, m.reserved, m.reserved_peak, m.reserved_peak, m.reserved_peak - m.reserved);
    s.num_alloc_retries = m.retries;
    s.num_ooms = m.out_of_memory;
    return s;
  }
  void resetAccumulatedStats(c10::DeviceIndex index) override {
    asked_at_reset[index] = asked_bytes[index].load();
    allocated_at_reset[index] = device_at(index).memory_stats().allocated;
  }
  void resetPeakStats(c10::DeviceIndex index) override { device_at(index).reset_peak_memory_stats(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    Device& device = device_at(index);
    const MemoryStats m = device.memory_stats();
    const int64_t total = m.limit ? m.limit : device.info().memory_bytes;
    return {static_cast<size_t>(std::max<int64_t>(0, total - m.allocated)), static_cast<size_t>(total)};
  }
};

}  // namespace

c10::DeviceAllocator& allocator() {
  static auto* a = new Allocator;
  return *a;
}

c10::DataPtr allocate_on(c10::DeviceIndex index, size_t bytes) {
  Device& device = device_at(index);
  try {
    BufferRef buffer = device.allocate(static_cast<int64_t>(bytes));
    Block* b = pool().take(bytes);
    b->buffer = std::move(buffer);
    asked_bytes[device.index()].fetch_add(static_cast<int64_t>(bytes), std::memory_order_relaxed);
    return {b->address, b, &release_block, c10::Device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device.index()))};
  } catch (const Error& e) {
    rethrow_as_torch(e);
  }
}

void release_block(void* p) noexcept {
  // In a forked child any lock may be held by a thread that no longer exists, and there is nothing worth freeing.
  if (in_bad_fork()) return;
  auto* b = static_cast<Block*>(p);
  b->buffer = BufferRef();
  pool().give(b);
}

Block* find_block(const void* address) {
  return pool().find(address);
}

/// What storages without bytes have for a Buffer, wherever they point.
Buffer* empty_buffer(c10::DeviceIndex index) {
  static std::mutex mutex;
  static auto* made = new std::map<c10::DeviceIndex, c10::DataPtr>;  // leaked, as the pool
  std::lock_guard<std::mutex> lock(mutex);
  c10::DataPtr& p = (*made)[index];
  if (!p.get_context()) p = allocate_on(index, 0);
  return static_cast<Block*>(p.get_context())->buffer.get();
}

Place unusual_place(const c10::Storage& storage) {
  TORCH_CHECK(storage && storage.device_type() == c10::DeviceType::PrivateUse1,
              "Expected all tensors to be on the same device, but found at least two devices, anygpu and ",
              storage ? storage.device().str() : std::string("a tensor without storage"), "!");
  const c10::DataPtr& p = storage.unsafeGetStorageImpl()->data_ptr();
  if (p.get_deleter() == &release_block) return {static_cast<Block*>(p.get_context())->buffer.get(), 0};
  if (storage.nbytes() == 0) return {empty_buffer(index_of(storage.device())), 0};
  const Block* b = find_block(p.get());
  TORCH_CHECK(b, "anygpu: a tensor's memory was not allocated by this device");
  return {b->buffer.get(), static_cast<const char*>(p.get()) - b->address};
}

REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator())

}  // namespace anygpu::torch_frontend
