// A Device's memory: blocks taken from the backend, kept and handed out again.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <vector>

#include "backends/interface/backend.h"

namespace anygpu {

class Pool {
 public:
  explicit Pool(Backend& backend) : backend_(backend) {}

  /// A block of at least `bytes` (bytes 0 gives one too). When the backend refuses, gives back the cached blocks and asks once more; then
  /// throws Error(OutOfMemory).
  Memory allocate(int64_t bytes);
  void release(Memory);
  /// Gives cached blocks back to the backend.
  void trim();

  int64_t reserved() const { return reserved_.load(std::memory_order_relaxed); }
  int64_t reserved_peak() const { return peak_.load(std::memory_order_relaxed); }
  void reset_peak() { peak_.store(reserved()); }
  int64_t retries() const { return retries_.load(); }

 private:
  void trim_locked();

  Backend& backend_;
  std::mutex mutex_;
  std::map<int64_t, std::vector<Memory>> free_;  // by size
  std::atomic<int64_t> reserved_{0}, peak_{0}, retries_{0};
};

}  // namespace anygpu
