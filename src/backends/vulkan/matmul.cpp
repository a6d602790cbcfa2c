// Matmul: which way round, how many rows an invocation, and which loads take four elements at once.
#include <algorithm>
#include <cmath>

#include "elements.h"
#include "named.h"

namespace anygpu::vulkan {
namespace {

constexpr uint32_t kFloat[] = {
#include "matmul_float.inc"
};
constexpr uint32_t kHalf[] = {
#include "matmul_half_dst.inc"
};
constexpr uint32_t kDouble[] = {
#include "matmul_double.inc"
};
constexpr Modules kModules{kFloat, kHalf, kDouble};
constexpr uint32_t kLanes[] = {
#include "matmul_lanes_float.inc"
};

constexpr int kDst = 0, kLhs = 1, kRhs = 2, kBias = 3;

/// A stack of matrices in a slot. Strides in elements; 0 where it repeats.
struct Matrices {
  ir::Operand operand;
  Dims batch;
  int64_t row = 0, column = 0;
};

struct Problem {
  Dims batch;
  int64_t m, n, k;
  Matrices arrays[4];
  int count;
};

/// The words of the shader's push constants.
struct Params {
  int32_t m, n, k, row_tile, batch;
  int32_t offset[4], row[4], column[4];
  int32_t batches;
  int32_t batch_stride[8];
};
constexpr int kPushWords = sizeof(Params) / 4, kOffsetWord = 5;

Problem problem_of(const ir::Named& named) {
  const ir::Operand& dst = named.operands[kDst];
  const int rank = dst.rank();
  Problem p{{}, dst.sizes[rank - 2], dst.sizes[rank - 1], named.operands[kLhs].sizes[rank - 1], {}, 3};
  if (named.operands.size() > kBias && named.operands[kBias].slot >= 0) p.count = 4;
  for (int d = 0; d < rank - 2; ++d)
    if (dst.sizes[d] != 1) p.batch.push_back(dst.sizes[d]);
  for (int i = 0; i < p.count; ++i) {
    const ir::Operand& o = named.operands[static_cast<size_t>(i)];
    Matrices& a = p.arrays[i];
    a.operand = o;
    auto stride = [&](int d) { return o.sizes[d] == 1 ? 0 : o.strides[d]; };
    for (int d = 0; d < rank - 2; ++d)
      if (dst.sizes[d] != 1) a.batch.push_back(stride(d));
    a.row = stride(rank - 2);
    a.column = stride(rank - 1);
  }
  return p;
}

void join_batch_dims(Problem& p) {
  for (int d = p.batch.size() - 2; d >= 0; --d) {
    bool joins = true;
    for (int i = 0; i < p.count; ++i) joins = joins && p.arrays[i].batch[d] == p.arrays[i].batch[d + 1] * p.batch[d + 1];
    if (!joins) continue;
    p.batch[d] *= p.batch[d + 1];
    p.batch.erase(d + 1);
    for (int i = 0; i < p.count; ++i) p.arrays[i].batch.erase(d);
  }
}

/// Batch dimensions that rhs does not vary along are rows, from the innermost: [B, T, K] @ [K, N] is one product of B*T rows.
void batch_to_rows(Problem& p) {
  while (!p.batch.empty() && p.arrays[kRhs].batch.back() == 0) {
    const int d = p.batch.size() - 1;
    for (int i : {kDst, kLhs, kBias})
      if (i < p.count && p.m != 1 && p.arrays[i].batch[d] != p.arrays[i].row * p.m) return;
    for (int i = 0; i < p.count; ++i) {
      if (p.m == 1 && i != kRhs) p.arrays[i].row = p.arrays[i].batch[d];
      p.arrays[i].batch.pop_back();
    }
    p.m *= p.batch[d];
    p.batch.pop_back();
  }
}

/// dst^T = rhs^T @ lhs^T.
void transpose(Problem& p) {
  std::swap(p.arrays[kLhs], p.arrays[kRhs]);
  std::swap(p.m, p.n);
  for (Matrices& a : p.arrays) std::swap(a.row, a.column);
}

/// Whether four neighbours along a dimension of stride `along` are one aligned load, wherever the other strides lead. Where the slot
/// begins is a multiple of 16 bytes (Backend::allocate).
bool in_fours(const Matrices& a, int64_t along, int64_t across, int64_t extent) {
  if (along != 1 || across % 4 != 0 || extent % 4 != 0 || a.operand.offset % 4 != 0) return false;
  return std::all_of(a.batch.begin(), a.batch.end(), [](int64_t s) { return s % 4 == 0; });
}

int64_t up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

/// Of sums, those computed for nothing included; what an invocation loads of rhs costs about as much as eight rows of sums.
double cost(int64_t m, int64_t n, int64_t rows, int64_t lanes) {
  return static_cast<double>(up(m, rows)) * (1 + 8.0 / static_cast<double>(rows)) * static_cast<double>(up(n, 4 * lanes));
}

/// Rows an invocation. On the processor the sums lie in memory anyway; a GPU's registers hold eight rows without loss of occupancy.
int64_t rows_for(int64_t m, bool software) {
  int64_t best = 4;
  for (const int64_t rows : {8, 16, 32}) {
    if (rows > 8 && !software) break;
    if (cost(m, 1, rows, 1) < cost(m, 1, best, 1)) best = rows;
  }
  return best;
}

/// Which loads and stores take four elements at once: constants of the shaders.
struct Fours {
  uint32_t lhs, rhs, dst;
};

Fours fours_of(const Problem& p) {
  const Matrices &l = p.arrays[kLhs], &r = p.arrays[kRhs], &d = p.arrays[kDst];
  return {in_fours(l, l.column, l.row, p.k)   ? 1u
          : in_fours(l, l.row, l.column, p.m) ? 2u
                                              : 0u,
          in_fours(r, r.column, r.row, p.n)   ? 1u
          : in_fours(r, r.row, r.column, p.k) ? 2u
                                              : 0u,
          in_fours(d, d.column, d.row, p.n)   ? 1u
          : in_fours(d, d.row, d.column, p.m) ? 2u
                                              : 0u};
}

/// Rows an invocation and invocations a workgroup.
struct Tile {
  int64_t rows, lanes;
};

/// Turns the product round where that is cheaper.
Tile tile_for(Problem& p, bool software) {
  const int64_t vector = software ? 8 : 64;  // columns are given out to this many invocations at least
  if (cost(p.n, p.m, rows_for(p.n, software), vector) < cost(p.m, p.n, rows_for(p.m, software), vector)) transpose(p);
  return {rows_for(p.m, software), std::clamp<int64_t>(up((p.n + 3) / 4, vector), vector, software ? 32 : 64)};
}

/// Instructions of matmul_lanes.comp, about: a load brings a vector of texels in 50, a row of sums takes 10 a k.
double lanes_cost(const Problem& p, const Tile& tile) {
  const Fours fours = fours_of(p);
  const auto rows = static_cast<double>(tile.rows), lanes = static_cast<double>(tile.lanes);
  const double lhs = 50 * (fours.lhs == 1 ? rows / lanes / 4 : std::ceil(rows / lanes / (fours.lhs == 2 ? 4 : 1)));
  const double rhs = fours.rhs ? 50 : 200, store = fours.dst ? 30 * lanes : 80 * lanes;
  const auto tiles = static_cast<double>(up(p.m, tile.rows) / tile.rows * (up(p.n, 4 * tile.lanes) / (4 * tile.lanes)));
  return tiles * ((lhs + rhs + 10 * rows) * static_cast<double>(p.k) + rows * store);
}

Tile lanes_tile_for(Problem& p, int64_t width) {
  Problem turned = p;
  transpose(turned);
  Tile best{4, width};
  double least = lanes_cost(p, best);
  bool turn = false;
  for (const int64_t rows : {4, 8, 16, 32})
    for (const bool t : {false, true})
      if (const double c = lanes_cost(t ? turned : p, {rows, width}); c < least) least = c, best.rows = rows, turn = t;
  if (turn) p = turned;
  return best;
}

}  // namespace

std::optional<Compiled> compile_matmul(const ir::Named& named, const Capabilities& can) {
  const auto words = module_for(named, kModules, can);
  const int rank = named.operands[kDst].rank();
  const bool few = std::min(named.operands[kDst].sizes[rank - 2], named.operands[kDst].sizes[rank - 1]) < 8;  // loads of each element
  if (can.software && has_halves(named) && !few) return widened_before(named, can, compile_matmul);
  if (!words) return rounded_after(named, can, compile_matmul);
  Problem p = problem_of(named);
  Compiled made;
  if (p.m == 0 || p.n == 0 || product(p.batch) == 0) return made;
  if (p.k == 0) return {};
  join_batch_dims(p);
  batch_to_rows(p);
  if (p.batch.size() > 2) return {};
  for (int i = 0; i < p.count; ++i) {
    const Extent e = extent_of(p.arrays[i].operand);
    if (e.end - e.begin + can.binding_alignment > can.max_binding_bytes || e.end > size_of(p.arrays[i].operand.dtype) << 31) return {};
  }

  const bool spread = on_lanes(named, can);
  const auto [tall, lanes] = spread ? lanes_tile_for(p, can.subgroup_size) : tile_for(p, can.software);
  const Matrices &l = p.arrays[kLhs], &r = p.arrays[kRhs];
  const Fours fours = fours_of(p);
  const bool bias = p.count > kBias;
  // The sum in parts, of whole fours.
  const int64_t part = std::min<int64_t>(p.k, kMostIterations / 4 * 4);
  const DType dst = p.arrays[kDst].operand.dtype;
  if (part < p.k && kind_of(dst)) return rounded_after(named, can, compile_matmul);

  Launch launch;
  auto shader = [&](bool adds) {
    const auto group = static_cast<uint32_t>(lanes), rows = static_cast<uint32_t>(tall);
    const uint32_t biased = bias && !adds;
    if (spread) {
      const uint32_t kind = biased && p.arrays[kBias].row == 0 ? 2 : biased;
      return glsl_shader("matmul", kLanes, {group, rows, fours.lhs, fours.rhs, kind, adds, fours.dst, can.subgroup_size}, 4, kPushWords,
                         14);
    }
    return glsl_shader("matmul", *words,
                       {group, rows, fours.lhs, fours.rhs, biased, adds, kind_of(dst), kind_of(l.operand.dtype), kind_of(r.operand.dtype),
                        bias ? kind_of(p.arrays[kBias].operand.dtype) : 0},
                       4, kPushWords);
  };
  Params params{};
  params.m = static_cast<int32_t>(p.m);
  params.n = static_cast<int32_t>(p.n);
  params.k = static_cast<int32_t>(p.k);
  params.batches = p.batch.empty() ? 1 : static_cast<int32_t>(p.batch.back());
  for (int i = 0; i < 4; ++i) {
    const bool absent = i >= p.count;
    const Matrices& a = p.arrays[absent ? kDst : i];  // every binding of a shader must be bound
    Binding b = bind(a.operand, i == kDst, kOffsetWord + i);
    if (absent) b = bind(p.arrays[kLhs].operand, false, kOffsetWord + i);
    if (spread && i != kDst) b.texel = (i == kLhs && fours.lhs) || (i == kRhs && fours.rhs) ? Texel::Float4 : Texel::Float;
    launch.bindings.push_back(b);
    if (absent) continue;
    params.offset[i] = static_cast<int32_t>(a.operand.offset - b.begin / size_of(a.operand.dtype));
    params.row[i] = static_cast<int32_t>(a.row);
    params.column[i] = static_cast<int32_t>(a.column);
    const int d = p.batch.size();
    params.batch_stride[i] = d > 1 ? static_cast<int32_t>(a.batch[d - 2]) : 0;
    params.batch_stride[4 + i] = d > 0 ? static_cast<int32_t>(a.batch[d - 1]) : 0;
  }
  const int64_t batch = product(p.batch), row_tiles = (p.m + tall - 1) / tall, columns = (p.n + 4 * lanes - 1) / (4 * lanes);
  if (columns > can.max_groups[0]) return {};
  const double tile_work = static_cast<double>(4 * lanes * tall) * (2.0 * static_cast<double>(part) + 8) * static_cast<double>(columns);
  // No launch so long that a driver would take the device for hung.
  const int64_t most_tiles = std::clamp<int64_t>(static_cast<int64_t>(2e9 / tile_work), 1, can.max_groups[1]);
  const int64_t tiles = std::min(row_tiles, most_tiles);
  const int64_t most_batch = std::clamp<int64_t>(most_tiles / tiles, 1, can.max_groups[2]);
  const Params whole = params;
  for (int64_t k = 0; k < p.k; k += part) {
    launch.shader = shader(k > 0);
    params = whole;
    params.k = static_cast<int32_t>(std::min(part, p.k - k));
    params.offset[kLhs] += static_cast<int32_t>(k * l.column);
    params.offset[kRhs] += static_cast<int32_t>(k * r.row);
    for (int64_t z = 0; z < batch; z += most_batch)
      for (int64_t y = 0; y < row_tiles; y += tiles) {
        params.row_tile = static_cast<int32_t>(y);
        params.batch = static_cast<int32_t>(z);
        launch.groups[0] = static_cast<uint32_t>(columns);
        launch.groups[1] = static_cast<uint32_t>(std::min(tiles, row_tiles - y));
        launch.groups[2] = static_cast<uint32_t>(std::min(most_batch, batch - z));
        launch.work = tile_work * launch.groups[1] * launch.groups[2];
        const auto* words = reinterpret_cast<const uint32_t*>(&params);
        launch.params.assign(words, words + kPushWords);
        made.launches.push_back(launch);
      }
  }
  return made;
}

}  // namespace anygpu::vulkan
