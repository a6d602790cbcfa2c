#include "matmul.h"

#include <algorithm>

#include "core/numbers.h"
#include "halves.h"

namespace anygpu::gpu {
namespace {

/// Binding of the rows and matrices of dst that one launch writes: launches that write other bytes need not wait for each other. Where
/// parts of the result interleave, or lie in reverse, all of it.
Binding bind_part(const MatmulProblem& p, int64_t row, int64_t rows, int64_t first, int64_t count) {
  const Matrices& d = p.arrays[kDst];
  const Binding all = bind(d.operand, true);
  if (p.batch.size() > 1 || d.row < 0 || d.column < 0 || (p.batch.size() == 1 && d.batch[0] < 0)) return all;
  const int64_t a_matrix = p.batch.empty() ? 0 : d.batch[0], size = size_of(d.operand.dtype);
  Binding part = all;
  part.begin += (first * a_matrix + row * d.row) * size;
  part.end = part.begin + ((count - 1) * a_matrix + (rows - 1) * d.row + (p.n - 1) * d.column + 1) * size;
  return part;
}

/// Nothing where offsets or workgroups pass what the device takes.
std::optional<Compiled> launches(const MatmulProblem& p, const MatmulKernel& kernel, const Target& can) {
  Launch launch;
  MatmulParams whole{};
  whole.m = static_cast<int32_t>(p.m);
  whole.n = static_cast<int32_t>(p.n);
  whole.batches = p.batch.empty() ? 1 : static_cast<int32_t>(p.batch.back());
  for (int i = 0; i < 4; ++i) {
    const bool absent = i >= p.count;  // every binding of a kernel must be bound
    const Matrices& a = p.arrays[absent ? kLhs : i];
    launch.bindings.push_back(bind(a.operand, i == kDst));
    if (absent) continue;
    whole.row[i] = static_cast<int32_t>(a.row);
    whole.column[i] = static_cast<int32_t>(a.column);
    const int d = p.batch.size();
    whole.batch_stride[i] = d > 1 ? static_cast<int32_t>(a.batch[d - 2]) : 0;
    whole.batch_stride[4 + i] = d > 0 ? static_cast<int32_t>(a.batch[d - 1]) : 0;
  }
  auto offset = [&](int i) {
    const ir::Operand& o = p.arrays[i].operand;
    return static_cast<int32_t>(o.offset - launch.bindings[static_cast<size_t>(i)].begin / size_of(o.dtype));
  };
  for (int i = 1; i < p.count; ++i) whole.offset[i] = offset(i);

  const int64_t part = std::min(p.k, kernel.part), batch = product(p.batch);
  const int64_t row_tiles = round_up<int64_t>(p.m, kernel.rows) / kernel.rows,
                columns = round_up<int64_t>(p.n, kernel.columns) / kernel.columns;
  if (columns > can.max_groups[0]) return {};
  const double tile_work = work_of(p.arrays[kDst].operand.dtype, can) * static_cast<double>(kernel.rows * kernel.columns) *
                           (2.0 * static_cast<double>(part) + 8) * static_cast<double>(columns);
  const int64_t most_tiles = std::clamp<int64_t>(static_cast<int64_t>(most_work(can) / tile_work), 1, can.max_groups[1]);
  const int64_t tiles = std::min(row_tiles, most_tiles);
  const int64_t most_batch = std::clamp<int64_t>(most_tiles / tiles, 1, can.max_groups[2]);
  Compiled made;
  for (int64_t k = 0; k < p.k; k += part) {
    launch.kernel = kernel.make(k > 0);
    MatmulParams params = whole;
    params.k = static_cast<int32_t>(std::min(part, p.k - k));
    params.offset[kLhs] += static_cast<int32_t>(k * p.arrays[kLhs].column);
    params.offset[kRhs] += static_cast<int32_t>(k * p.arrays[kRhs].row);
    for (int64_t z = 0; z < batch; z += most_batch)
      for (int64_t y = 0; y < row_tiles; y += tiles) {
        params.row_tile = static_cast<int32_t>(y);
        params.batch = static_cast<int32_t>(z);
        launch.groups[0] = static_cast<uint32_t>(columns);
        launch.groups[1] = static_cast<uint32_t>(std::min(tiles, row_tiles - y));
        launch.groups[2] = static_cast<uint32_t>(std::min(most_batch, batch - z));
        launch.bindings[kDst] =
            bind_part(p, y * kernel.rows, std::min(launch.groups[1] * kernel.rows, p.m - y * kernel.rows), z, launch.groups[2]);
        params.offset[kDst] = offset(kDst);
        launch.work = tile_work * launch.groups[1] * launch.groups[2];
        const auto* words = reinterpret_cast<const uint32_t*>(&params);
        launch.params.assign(words, words + kMatmulParams);
        made.launches.push_back(launch);
      }
  }
  return made;
}

/// Where dst holds halves, a sum in parts is rounded in the end.
std::optional<Compiled> compile_with(const MatmulKernel& kernel, const MatmulProblem& p, const ir::Named& named, const Target& can) {
  if (kernel.part < p.k && kind_of(named.operands[kDst].dtype)) return rounded_after(named, can, compile_matmul);
  return launches(p, kernel, can);
}

}  // namespace

bool has_matmul(const ir::Named& named, const Target& can) {
  return can.api->matmul_kernels()->has(named, can);
}

std::optional<Compiled> compile_matmul_in(const MatmulTile& tile, const ir::Named& named, const Target& can) {
  MatmulProblem p = problem_of(named);
  const MatmulKernel kernel = can.api->matmul_kernels()->make(p, named, tile, can);
  return compile_with(kernel, p, named, can);
}

std::optional<Compiled> compile_matmul(const ir::Named& named, const Target& can) {
  const int rank = named.operands[kDst].rank();
  const bool few = std::min(named.operands[kDst].sizes[rank - 2], named.operands[kDst].sizes[rank - 1]) < 8;  // loads of each element
  const bool lanes = can.matmul == MatmulTier::Lanes || (can.matmul == MatmulTier::Best && can.software);
  if (lanes && has_halves(named) && !few) return widened_before(named, can, compile_matmul);
  if (!has_matmul(named, can)) return rounded_after(named, can, compile_matmul);
  MatmulProblem p = problem_of(named);
  if (p.m == 0 || p.n == 0 || product(p.batch) == 0) return Compiled{};
  if (p.k == 0 || p.batch.size() > 2) return {};
  for (int i = 0; i < p.count; ++i) {
    const Extent e = extent_of(p.arrays[i].operand);
    if (e.end - e.begin + can.binding_alignment > can.max_binding_bytes || e.end > size_of(p.arrays[i].operand.dtype) << 31) return {};
  }

  if (lanes && can.api->matmul_kernels()->on_lanes(named, can)) return compile_matmul_in(LanesTile{}, named, can);
  return compile_matmul_in(choose_tile(p, named, can), named, can);
}

std::optional<Compiled> Api::matmul(const ir::Named& named, const Target& can) const {
  return matmul_kernels() ? compile_matmul(named, can) : std::nullopt;
}

}  // namespace anygpu::gpu
