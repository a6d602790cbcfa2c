#include "runtime/pool.h"

#include <algorithm>
#include <bit>

#include "core/numbers.h"

namespace anygpu {

namespace {

/// Sizes come in steps of a 64th of their power of two: at most 1.6% is lost, and blocks of nearly the same size are the same.
int64_t rounded(int64_t bytes) {
  if (bytes <= 512) return 512;
  int64_t step = static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(bytes))) / 64;
  step = std::max<int64_t>(step, 512);
  return round_up(bytes, step);
}

/// The largest block that may serve: what is kept wastes a quarter at most; what is needed for one run only may take what lies about.
int64_t largest_for(int64_t want, Use use) {
  return use == Use::Run ? 4 * want : want + want / 4;
}

}  // namespace

Memory Pool::allocate(int64_t bytes, Use use) {
  const int64_t want = rounded(bytes);
  std::lock_guard lock(mutex_);
  for (auto it = free_.lower_bound(want); it != free_.end() && it->first <= largest_for(want, use); ++it) {
    if (use == Use::Kept && !idle(it->second)) continue;
    Memory m = it->second.memory;
    free_.erase(it);
    cached_ -= m.bytes;
    return m;
  }
  // A new block. Cached ones that nobody wanted for long go first, where all would be more than what was ever in use and a quarter.
  const int64_t in_use = reserved_.load() - cached_ + want;
  most_in_use_ = std::max(most_in_use_, in_use);
  trim_locked(std::max<int64_t>(0, most_in_use_ + most_in_use_ / 4 + kSlack - in_use));
  Memory m;
  try {
    m = backend_.allocate(want);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::OutOfMemory) throw;
    retries_.fetch_add(1);
    trim_locked(0);
    m = backend_.allocate(want);
  }
  int64_t now = reserved_.fetch_add(m.bytes) + m.bytes;
  if (now > peak_.load()) peak_.store(now);
  return m;
}

void Pool::release(Memory m, uint64_t run) {
  if (!m.handle) return;
  std::lock_guard lock(mutex_);
  free_.emplace(m.bytes, Cached{m, ++clock_, run});
  cached_ += m.bytes;
}

void Pool::trim() {
  std::lock_guard lock(mutex_);
  trim_locked(0);
  most_in_use_ = reserved_.load();  // all that is left: what was needed before says nothing about what comes
}

void Pool::trim_locked(int64_t keep) {
  while (cached_ > keep) {
    auto oldest = free_.end();
    for (auto it = free_.begin(); it != free_.end(); ++it)
      if (idle(it->second) && (oldest == free_.end() || it->second.since < oldest->second.since)) oldest = it;
    if (oldest == free_.end()) return;
    const Memory m = oldest->second.memory;
    free_.erase(oldest);
    cached_ -= m.bytes;
    reserved_.fetch_sub(m.bytes);
    backend_.release(m);
  }
}

}  // namespace anygpu
