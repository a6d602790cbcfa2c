// Matrix products by kernels that take tiles of them: which tile, and its launches.
#pragma once

#include <functional>
#include <variant>

#include "matmul_cooperative.h"
#include "matmul_tile.h"
#include "target.h"

namespace anygpu::gpu {

/// Spread over a subgroup's lanes.
struct LanesTile {};
/// Of shared memory, of cooperative matrices, over lanes, or none: invocations by themselves.
using MatmulTile = std::variant<std::monostate, SharedTile, CooperativeTile, LanesTile>;

/// A kernel of products, as what its launches need to know. Its bindings are dst, lhs, rhs and bias; its params are MatmulParams.
struct MatmulKernel {
  int64_t rows, columns;  ///< of dst, that a workgroup makes
  int64_t part;           ///< of k, that one launch may sum: whole fours
  /// adds: to what dst holds, without the bias.
  std::function<std::shared_ptr<const Kernel>(bool adds)> make;
};

/// An API's kernels of products.
class MatmulKernels {
 public:
  virtual ~MatmulKernels() = default;
  /// Whether there are some for these operands as they are, and so for every SharedTile that fits the device.
  virtual bool has(const ir::Named&, const Capabilities&) const = 0;
  /// Whether they may be spread over lanes.
  virtual bool on_lanes(const ir::Named&, const Target&) const = 0;
  /// May turn the problem round.
  virtual MatmulKernel make(MatmulProblem&, const ir::Named&, const MatmulTile&, const Target&) const = 0;
};

/// The words of params.
struct MatmulParams {
  int32_t m, n, k, row_tile, batch;
  int32_t offset[4], row[4], column[4];
  int32_t batches;
  int32_t batch_stride[8];
};
inline constexpr int kMatmulParams = sizeof(MatmulParams) / 4;

bool has_matmul(const ir::Named&, const Target&);
/// Whether lhs and rhs are f16, dst is something that the device can store, and the device multiplies such matrices.
bool takes_cooperative(const ir::Named&, const Target&);

/// Nothing where no kernel takes it: other dtypes, too many batch dimensions, offsets that pass 31 bits.
std::optional<Compiled> compile_matmul(const ir::Named&, const Target&);

/// The product, where has_matmul(), in a tile that takes it. Nothing where offsets or workgroups pass what the device takes.
std::optional<Compiled> compile_matmul_in(const MatmulTile&, const ir::Named&, const Target&);

/// Which tile a product takes: a guess, or what the device showed to be best for products like it.
MatmulTile choose_tile(const MatmulProblem&, const ir::Named&, const Target&);

}  // namespace anygpu::gpu
