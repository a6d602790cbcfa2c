// From a step to Launches: shaders of their own for Nameds and for the products within Generics, the emitter for all else.
#pragma once

#include <optional>

#include "launch.h"

namespace anygpu::vulkan {

/// Throws Error(Type) for a dtype that the device lacks.
Compiled compile_step(const ir::Step&, const Capabilities&);
Compiled compile_step(const ir::Generic&, const Capabilities&);

/// Parts of one step, one after another, with temporaries in the step's scratch.
class Sequence {
 public:
  /// Its temporaries are slots from `first` on: more than the step, which may be part of another Sequence, has of its own.
  explicit Sequence(int32_t first) : first_(first) {}
  /// A contiguous temporary. Its slot means something to this Sequence only.
  ir::Operand temp(DType, const Dims& sizes);
  /// Its scratch is put behind what is there.
  void add(Compiled);
  Compiled finish() { return std::move(made_); }
  /// Of the largest temporary.
  int64_t largest_bytes() const { return largest_; }

 private:
  struct Temp {
    int64_t offset, bytes;
  };
  int64_t reserve(int64_t bytes);

  const int32_t first_;
  std::vector<Temp> temps_;
  Compiled made_;
  int64_t largest_ = 0;
};

/// A Generic that sums products of two arrays, as a matrix product and a Generic without a sum; nothing where it is no such, or too small
/// to be worth it.
std::optional<Compiled> compile_product(const ir::Generic&, const Capabilities&);

}  // namespace anygpu::vulkan
