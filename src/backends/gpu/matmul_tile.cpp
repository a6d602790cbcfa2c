#include "matmul_tile.h"

#include <algorithm>

#include "core/numbers.h"

namespace anygpu::gpu {
namespace {

constexpr SharedTile kTiles[] = {
    {128, 128, 16, 8, 8}, {128, 64, 16, 8, 8}, {64, 128, 16, 8, 8}, {64, 64, 16, 8, 8},  {64, 64, 16, 4, 8},  {64, 64, 32, 4, 4},
    {32, 64, 16, 4, 4},   {64, 32, 16, 4, 4},  {32, 32, 32, 4, 4},  {16, 128, 16, 4, 8}, {128, 16, 16, 8, 4}, {16, 64, 32, 4, 4},
};

/// Invocations that keep a GPU busy: small ones have about a thousand lanes, large ones ten times as many, several invocations each.
constexpr double kBusy = 16384;

}  // namespace

std::string SharedTile::name() const {
  return std::to_string(m) + "x" + std::to_string(n) + "x" + std::to_string(k) + "/" + std::to_string(rows) + "x" + std::to_string(columns);
}

std::vector<SharedTile> tiles_of(const Capabilities& can, int64_t element) {
  std::vector<SharedTile> fit;
  for (const SharedTile& t : kTiles)
    if (t.invocations() <= std::min(can.max_invocations, can.max_group_size[0]) && t.shared_bytes(element) <= can.shared_bytes)
      fit.push_back(t);
  return fit;
}

double cost_of(const SharedTile& t, const MatmulProblem& p) {
  const double groups = static_cast<double>(round_up<int64_t>(p.m, t.m) / t.m * (round_up<int64_t>(p.n, t.n) / t.n) * product(p.batch));
  auto parts = [](int64_t a, int64_t b) { return 1 / static_cast<double>(a) + 1 / static_cast<double>(b); };
  // Beside each multiplication: reads of shared memory, and of the factors.
  const double element = 1 + 2 * parts(t.rows, t.columns) + 8 * parts(t.m, t.n);
  const double idle = std::max(1.0, kBusy / (groups * static_cast<double>(t.invocations())));
  return groups * static_cast<double>(t.m * t.n) * element * idle;
}

}  // namespace anygpu::gpu
