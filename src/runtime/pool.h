// A Device's memory: blocks taken from the backend, kept and handed out again.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>

#include "backends/interface/backend.h"

namespace anygpu {

/// What a block is for: contents that stay, or the temporaries of one run.
enum class Use { Kept, Run };

class Pool {
 public:
  explicit Pool(Backend& backend) : backend_(backend) {}

  /// A block of at least `bytes` (bytes 0 gives one too). When the backend refuses, gives back the cached blocks and asks once more; then
  /// throws Error(OutOfMemory).
  Memory allocate(int64_t bytes, Use use = Use::Kept);
  /// `run`: the ticket of a run that may be using it: runs, which come after it, may have the block at once (Use::Run), all others when
  /// that run is over().
  void release(Memory, uint64_t run = 0);
  /// All runs up to this one are over.
  void over(uint64_t run) { over_.store(run, std::memory_order_release); }
  /// Gives cached blocks back to the backend, and forgets how much was ever in use.
  void trim();

  int64_t reserved() const { return reserved_.load(std::memory_order_relaxed); }
  int64_t reserved_peak() const { return peak_.load(std::memory_order_relaxed); }
  void reset_peak() { peak_.store(reserved()); }
  int64_t retries() const { return retries_.load(); }

 private:
  struct Cached {
    Memory memory;
    uint64_t since, run;
  };
  bool idle(const Cached& c) const { return c.run <= over_.load(std::memory_order_acquire); }
  /// Gives cached blocks that no run uses back, those first that have lain longest, until no more than `keep` bytes are cached.
  void trim_locked(int64_t keep);

  Backend& backend_;
  std::mutex mutex_;
  static constexpr int64_t kSlack = int64_t{16} << 20;
  std::multimap<int64_t, Cached> free_;  // by size
  int64_t cached_ = 0, most_in_use_ = 0;
  uint64_t clock_ = 0;
  std::atomic<uint64_t> over_{0};
  std::atomic<int64_t> reserved_{0}, peak_{0}, retries_{0};
};

}  // namespace anygpu
