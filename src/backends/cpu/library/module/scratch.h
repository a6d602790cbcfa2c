// Scratch memory shared by all prepared Nameds: each run leases one block, so that a model of a hundred convolutions needs the scratch
// of its greatest one, and finds it warm in the cache.
#pragma once

#include <cstddef>
#include <string>

namespace anygpu::cpu {

class ScratchLease {
 public:
  /// At least `bytes`, 64-byte aligned. Throws Error(OutOfMemory), "[op] ...".
  ScratchLease(size_t bytes, const std::string& op);
  ~ScratchLease();
  ScratchLease(const ScratchLease&) = delete;
  char* data() const { return data_; }

 private:
  char* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace anygpu::cpu
