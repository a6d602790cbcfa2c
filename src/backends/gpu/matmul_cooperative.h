// Products of f16 by cooperative matrices: what GPUs' matrix units multiply.
#pragma once

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "builder.h"
#include "capabilities.h"
#include "matmul_problem.h"

namespace anygpu::gpu {

/// A workgroup of 2 x 2 subgroups, each of which makes rows x columns matrices of the device's size; k elements of a sum at a time.
struct CooperativeTile {
  int64_t rows, columns;
  /// "cooperative 4x4"
  std::string name() const;
};

/// All that shapes a kernel.
struct CooperativeForm {
  int64_t rows, columns;           ///< of matrices, a subgroup
  int64_t size_m, size_n, size_k;  ///< of a matrix
  int64_t invocations;
  Stages stages;
  uint32_t dst_kind, bias_kind;  ///< as of kind_of()
  bool bias, adds;

  int64_t m() const;  ///< elements of dst, a workgroup
  int64_t n() const;
  int64_t k() const;  ///< of the sum, at a time
  int64_t shared_bytes() const;
  auto key() const {
    return std::tuple(rows, columns, size_m, size_n, size_k, invocations, stages.lhs, stages.rhs, dst_kind, bias_kind, bias, adds);
  }
};

/// Of this problem; turned round where it must be.
CooperativeForm cooperative_form(MatmulProblem&, const CooperativeTile&, const Capabilities&);

/// Emits the kernel: workgroups of `invocations`, in whole subgroups. Products are exact, sums are in f32.
void emit(Builder&, const CooperativeForm&);

/// Those that the device can run, the likely best for the product first.
std::vector<CooperativeTile> cooperative_tiles(const MatmulProblem&, const Capabilities&);

}  // namespace anygpu::gpu
