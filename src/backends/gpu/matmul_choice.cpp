// Which tile a product takes.
#include <algorithm>
#include <bit>

#include "chooser.h"
#include "matmul.h"

namespace anygpu::gpu {
namespace {

/// Below this a tile is mostly empty.
constexpr int64_t kFewest = 8;

// Products of one class share a tile: of the same types, loaded in the same ways, of sizes up to the same powers of two. A class is
// measured at its largest sizes, as far as these.
constexpr int64_t kLongestSide = 2048, kLongestSum = 512, kMostResults = int64_t{1} << 22;

int64_t rounded(int64_t n, int64_t most) {
  return std::clamp(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(n))), kFewest, most);
}

std::string name_of(const MatmulTile& t) {
  if (const auto* shared = std::get_if<SharedTile>(&t)) return shared->name();
  return std::get<CooperativeTile>(t).name();
}

/// A product of given sizes whose arrays are loaded and stored as a class wants it.
struct Class {
  DType dst, lhs, rhs;
  Stages stages;
  bool stores_fours;
  int64_t batch, m, n, k;

  std::string name() const {
    std::string s = std::string("matmul ") + anygpu::name_of(dst) + " " + anygpu::name_of(lhs) + " " + anygpu::name_of(rhs);
    s += " " + std::to_string(stages.lhs) + std::to_string(stages.rhs) + (stores_fours ? "4" : "1");
    for (const int64_t size : {batch, m, n, k}) s += " " + std::to_string(size);
    return s;
  }

  ir::Named product() const {
    auto stack = [&](int32_t slot, DType t, int64_t rows, int64_t columns, bool rows_together, bool fours) {
      const int64_t line = (rows_together ? rows : columns) + (fours ? 0 : 1);
      const int64_t lines = rows_together ? columns : rows;
      const Dims strides = rows_together ? Dims{line * lines, 1, line} : Dims{line * lines, line, 1};
      return ir::Operand{slot, t, 0, {batch, rows, columns}, strides};
    };
    auto fours = [](uint32_t stage) { return stage == 1 || stage == 2; };
    auto along_side = [](uint32_t stage) { return stage == 2 || stage == 3; };
    return {ir::NamedKind::Matmul,
            {stack(0, dst, m, n, false, stores_fours), stack(1, lhs, m, k, along_side(stages.lhs), fours(stages.lhs)),
             stack(2, rhs, k, n, !along_side(stages.rhs), fours(stages.rhs))},
            {},
            "matmul"};
  }

  /// A small product with edges on all sides, which the same kernel computes.
  Class ragged() const {
    auto edge = [](int64_t n, int64_t most, bool fours) { return std::min(n, most) + (fours ? 4 : 3); };
    Class c = *this;
    c.batch = std::min<int64_t>(batch, 2);
    c.m = edge(m, 256, stages.lhs == 2);
    c.n = edge(n, 256, stages.rhs == 2 || stores_fours);
    c.k = edge(k, 128, stages.lhs == 1 || stages.rhs == 1);
    return c;
  }
};

Class class_of(const MatmulProblem& p) {
  const Matrices* a = p.arrays;
  Class c{a[kDst].operand.dtype, a[kLhs].operand.dtype, a[kRhs].operand.dtype, stages_of(p), fours_of(p).dst == 1, 1, 0, 0, 0};
  c.m = rounded(p.m, kLongestSide), c.n = rounded(p.n, kLongestSide), c.k = rounded(p.k, kLongestSum);
  const int64_t most = std::max<int64_t>(kMostResults / (c.m * c.n), 1);
  c.batch = std::min(static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(product(p.batch)))), most);
  return c;
}

}  // namespace

bool takes_cooperative(const ir::Named& n, const Target& can) {
  return can.cooperative && n.operands[kLhs].dtype == DType::F16 && n.operands[kRhs].dtype == DType::F16 && has_matmul(n, can);
}

MatmulTile choose_tile(const MatmulProblem& problem, const ir::Named& named, const Target& can) {
  const bool cooperative = takes_cooperative(named, can);
  const bool forced = can.matmul == MatmulTier::Shared || (can.matmul == MatmulTier::Cooperative && cooperative);
  if (!forced && (can.matmul != MatmulTier::Best || can.software)) return {};
  if (!forced && std::min({problem.m, problem.n, problem.k}) < kFewest) return {};
  MatmulProblem p = problem;
  along_rows(p);
  std::vector<MatmulTile> tiles;
  if (can.matmul != MatmulTier::Cooperative) {
    std::vector<SharedTile> shared = tiles_of(can, size_of(named.operands[kDst].dtype == DType::F64 ? DType::F64 : DType::F32));
    std::sort(shared.begin(), shared.end(), [&](const SharedTile& a, const SharedTile& b) { return cost_of(a, p) < cost_of(b, p); });
    tiles.assign(shared.begin(), shared.end());
  }
  // Behind the first, which is taken where nothing can be measured: only what was seen to be right there multiplies so.
  if (cooperative && can.matmul != MatmulTier::Shared && (can.chooser || forced)) {
    const std::vector<CooperativeTile> all = cooperative_tiles(p, can);
    tiles.insert(tiles.begin() + (tiles.empty() ? 0 : 1), all.begin(), all.end());
  }
  if (tiles.empty()) return {};
  if (!can.chooser) return tiles[0];

  Target alone = can;
  alone.chooser = nullptr;
  const Class c = class_of(p);
  std::vector<Way> ways{{"plain", [&](const ir::Named& n) { return compile_matmul_in({}, n, alone); }}};
  for (const MatmulTile& t : tiles) ways.push_back({name_of(t), [&](const ir::Named& n) { return compile_matmul_in(t, n, alone); }});
  const size_t best = can.chooser->choose(c.name(), ways, c.product(), c.ragged().product());
  if (best == 0 && !forced) return {};
  return tiles[best == 0 ? 0 : best - 1];
}

}  // namespace anygpu::gpu
