// From a step to Launches: kernels of their own for Nameds and for the products within Generics, the emitter for all else.
#pragma once

#include "target.h"

namespace anygpu::gpu {

/// Throws Error(Type) for a dtype that the device lacks.
Compiled compile_step(const ir::Step&, const Target&);
Compiled compile_step(const ir::Generic&, const Target&);

/// Throws Error(Type) for a dtype that the device lacks, Error(Value) for a range past max_binding_bytes.
Compiled compile_generic(const ir::Generic&, const Target&);
/// For what supports_named() claims.
Compiled compile_named(const ir::Named&, const Target&);
bool supports_named(const ir::Named&, const Target&);

/// Attention and its gradient. Nothing where their scores pass what the device binds.
std::optional<Compiled> compile_attention(const ir::Named&, const Target&);

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
std::optional<Compiled> compile_product(const ir::Generic&, const Target&);

}  // namespace anygpu::gpu
