#include "runtime/pool.h"

#include <bit>

namespace anygpu {

namespace {

/// Sizes come in steps of an eighth of their power of two, so that a block fits again though sizes vary a little.
int64_t rounded(int64_t bytes) {
  if (bytes <= 512) return 512;
  int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes))) / 8;
  step = std::max<int64_t>(step, 512);
  return (bytes + step - 1) / step * step;
}

}  // namespace

Memory Pool::allocate(int64_t bytes) {
  int64_t want = rounded(bytes);
  std::lock_guard lock(mutex_);
  auto it = free_.find(want);
  if (it != free_.end() && !it->second.empty()) {
    Memory m = it->second.back();
    it->second.pop_back();
    return m;
  }
  Memory m;
  try {
    m = backend_.allocate(want);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::OutOfMemory) throw;
    retries_.fetch_add(1);
    trim_locked();
    m = backend_.allocate(want);
  }
  int64_t now = reserved_.fetch_add(m.bytes) + m.bytes;
  if (now > peak_.load()) peak_.store(now);
  return m;
}

void Pool::release(Memory m) {
  if (!m.handle) return;
  std::lock_guard lock(mutex_);
  free_[m.bytes].push_back(m);
}

void Pool::trim() {
  std::lock_guard lock(mutex_);
  trim_locked();
}

void Pool::trim_locked() {
  for (auto& [bytes, blocks] : free_)
    for (Memory& m : blocks) {
      reserved_.fetch_sub(m.bytes);
      backend_.release(m);
    }
  free_.clear();
}

}  // namespace anygpu
