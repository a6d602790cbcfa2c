// Random numbers are a function of a seed and a counter (Philox 4x32-10), both taken when an operator is recorded.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "anygpu/view.h"

namespace anygpu {

/// What one operator draws from: key = seed, counters from `offset` on.
struct Philox {
  uint64_t seed = 0;
  uint64_t offset = 0;

  // The first two scalars of the catalogue's random operators.
  Scalar seed_scalar() const { return Scalar(static_cast<int64_t>(seed)); }
  Scalar offset_scalar() const { return Scalar(static_cast<int64_t>(offset)); }
  /// For a generator of another kind that is to follow this one.
  uint64_t as_seed() const { return seed * 0x9E3779B97F4A7C15u + offset; }
};

/// What a framework's generator keeps. It does not lock: who shares one does.
class PhiloxState {
 public:
  /// Of state(): seed and offset, 8 bytes each, as CUDA's generators have it.
  static constexpr size_t kBytes = sizeof(Philox);

  uint64_t seed() const { return next_.seed; }
  uint64_t offset() const { return next_.offset; }
  /// Counts from 0 again.
  void set_seed(uint64_t seed) { next_ = {seed, 0}; }
  void set_offset(uint64_t offset) { next_.offset = offset; }

  /// `blocks` counters that nobody else has; four numbers of 32 bits each.
  Philox reserve(uint64_t blocks) {
    const Philox taken = next_;
    next_.offset += blocks;
    return taken;
  }

  void write(void* bytes) const { std::memcpy(bytes, &next_, kBytes); }
  void read(const void* bytes) { std::memcpy(&next_, bytes, kBytes); }

 private:
  Philox next_;
};

}  // namespace anygpu
