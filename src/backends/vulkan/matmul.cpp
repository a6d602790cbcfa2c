// The shaders of matrix products.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <mutex>

#include "backends/gpu/halves.h"
#include "core/numbers.h"
#include "elements.h"
#include "shaders.h"
#include "spirv/builder.h"

namespace anygpu::vulkan {
namespace {

using gpu::CooperativeForm;
using gpu::Fours;
using gpu::kBias;
using gpu::kDst;
using gpu::kind_of;
using gpu::kLhs;
using gpu::kMatmulParams;
using gpu::MatmulKernel;
using gpu::MatmulProblem;
using gpu::SharedTile;
using gpu::Stages;

constexpr uint32_t kPlainFloat[] = {
#include "matmul_float.inc"
};
constexpr uint32_t kPlainHalf[] = {
#include "matmul_half_dst.inc"
};
constexpr uint32_t kPlainDouble[] = {
#include "matmul_double.inc"
};
constexpr Modules kPlain{kPlainFloat, kPlainHalf, kPlainDouble};
constexpr uint32_t kLanes[] = {
#include "matmul_lanes_float.inc"
};
constexpr uint32_t kSharedFloat[] = {
#include "matmul_shared_float.inc"
};
constexpr uint32_t kSharedHalf[] = {
#include "matmul_shared_half_dst.inc"
};
constexpr uint32_t kSharedDouble[] = {
#include "matmul_shared_double.inc"
};
constexpr Modules kShared{kSharedFloat, kSharedHalf, kSharedDouble};

uint32_t word(int64_t v) {
  return static_cast<uint32_t>(v);
}

/// Of dst, lhs, rhs and bias: the last constants of the shaders that take halves.
std::vector<uint32_t> with_kinds(std::vector<uint32_t> constants, const MatmulProblem& p) {
  for (int i = 0; i < 4; ++i) constants.push_back(i < p.count ? kind_of(p.arrays[i].operand.dtype) : 0);
  return constants;
}

/// Of sums, those computed for nothing included; what an invocation loads of rhs costs about as much as eight rows of sums.
double cost(int64_t m, int64_t n, int64_t rows, int64_t lanes) {
  return static_cast<double>(round_up<int64_t>(m, rows)) * (1 + 8.0 / static_cast<double>(rows)) *
         static_cast<double>(round_up<int64_t>(n, 4 * lanes));
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

/// Rows an invocation and invocations a workgroup.
struct Tile {
  int64_t rows, lanes;
};

/// Turns the product round where that is cheaper.
Tile tile_for(MatmulProblem& p, bool software) {
  const int64_t vector = software ? 8 : 64;  // columns are given out to this many invocations at least
  if (cost(p.n, p.m, rows_for(p.n, software), vector) < cost(p.m, p.n, rows_for(p.m, software), vector)) transpose(p);
  return {rows_for(p.m, software), std::clamp<int64_t>(round_up<int64_t>((p.n + 3) / 4, vector), vector, software ? 32 : 64)};
}

/// Instructions of matmul_lanes.comp, about: a load brings a vector of texels in 50, a row of sums takes 10 a k.
double lanes_cost(const MatmulProblem& p, const Tile& tile) {
  const Fours fours = fours_of(p);
  const auto rows = static_cast<double>(tile.rows), lanes = static_cast<double>(tile.lanes);
  const double lhs = 50 * (fours.lhs == 1 ? rows / lanes / 4 : std::ceil(rows / lanes / (fours.lhs == 2 ? 4 : 1)));
  const double rhs = fours.rhs ? 50 : 200, store = fours.dst ? 30 * lanes : 80 * lanes;
  const auto tiles =
      static_cast<double>(round_up<int64_t>(p.m, tile.rows) / tile.rows * (round_up<int64_t>(p.n, 4 * tile.lanes) / (4 * tile.lanes)));
  return tiles * ((lhs + rhs + 10 * rows) * static_cast<double>(p.k) + rows * store);
}

Tile lanes_tile_for(MatmulProblem& p, int64_t width) {
  MatmulProblem turned = p;
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

constexpr int kOffsetWord = 5;  // of MatmulParams
static_assert(offsetof(gpu::MatmulParams, offset) == 4 * kOffsetWord);

/// Of dst, lhs, rhs and bias. What is absent is bound all the same: as lhs is.
std::vector<BindingForm> forms_of(const MatmulProblem& p, const std::array<Texel, 4>& texels = {}) {
  std::vector<BindingForm> forms;
  for (int i = 0; i < 4; ++i) {
    const DType t = p.arrays[i < p.count ? i : kLhs].operand.dtype;
    forms.push_back({kOffsetWord + i, static_cast<int32_t>(size_of(t)), texels[static_cast<size_t>(i)]});
  }
  return forms;
}

MatmulKernel plain_matmul(MatmulProblem& p, const ir::Named& n, const Capabilities& can) {
  const Tile tile = tile_for(p, can.software);
  const Fours fours = fours_of(p);
  const bool bias = p.count > kBias;
  const std::vector<uint32_t> kinds = with_kinds({}, p);
  auto make = [=, words = *module_for(n, kPlain, can), forms = forms_of(p)](bool adds) {
    std::vector<uint32_t> constants{word(tile.lanes), word(tile.rows), fours.lhs, fours.rhs, bias && !adds, adds};
    constants.insert(constants.end(), kinds.begin(), kinds.end());
    return glsl_shader("matmul", words, std::move(constants), forms, 4, kMatmulParams);
  };
  return {tile.rows, 4 * tile.lanes, can.max_iterations / 4 * 4, make};
}

MatmulKernel lanes_matmul(MatmulProblem& p, const Capabilities& can) {
  const Tile tile = lanes_tile_for(p, can.subgroup_size);
  const Fours fours = fours_of(p);
  const uint32_t bias = p.count <= kBias ? 0 : p.arrays[kBias].row == 0 ? 2 : 1;
  const auto texel = [](uint32_t in_fours) { return in_fours ? Texel::Float4 : Texel::Float; };
  const std::vector<BindingForm> forms = forms_of(p, {Texel::None, texel(fours.lhs), texel(fours.rhs), Texel::Float});
  auto make = [=, width = can.subgroup_size](bool adds) {
    return glsl_shader("matmul", kLanes, {word(tile.lanes), word(tile.rows), fours.lhs, fours.rhs, adds ? 0 : bias, adds, fours.dst, width},
                       forms, 4, kMatmulParams);
  };
  return {tile.rows, 4 * tile.lanes, can.max_iterations / 4 * 4, make};
}

MatmulKernel shared_matmul(MatmulProblem& p, const ir::Named& n, const SharedTile& t, const Capabilities& can) {
  along_rows(p);  // neighbouring invocations store neighbours
  const Stages stages = stages_of(p);
  const bool fours = fours_of(p).dst == 1;
  const bool bias = p.count > kBias;
  const std::vector<uint32_t> kinds = with_kinds({}, p);
  auto make = [=, words = *module_for(n, kShared, can), forms = forms_of(p)](bool adds) {
    std::vector<uint32_t> constants{
        word(t.invocations()), word(t.m), word(t.n), word(t.k), word(t.rows), word(t.columns), stages.lhs, stages.rhs, fours,
        bias && !adds,         adds};
    constants.insert(constants.end(), kinds.begin(), kinds.end());
    return glsl_shader("matmul", words, std::move(constants), forms, 4, kMatmulParams);
  };
  // A step's loops, if the driver unrolled none of them.
  const int64_t loads = (t.k * t.m + t.k * t.n) / 4 / t.invocations() + 2;
  const int64_t step = 8 * loads + t.k * (4 + t.rows + t.columns + t.rows * t.columns / 4);
  return {t.m, t.n, std::max<int64_t>(can.max_iterations / step, 1) * t.k, make};
}

/// Emitted here, not written in GLSL: glslang of 2023 does not know the extension.
std::shared_ptr<const Shader> cooperative_shader(const CooperativeForm& f, const std::vector<BindingForm>& forms) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made = *new std::map<std::pair<decltype(f.key()), std::vector<BindingForm>>, std::shared_ptr<const Shader>>;
  std::lock_guard lock(mutex);
  auto& shader = made[{f.key(), forms}];
  if (shader) return shader;
  spirv::Builder b(static_cast<int>(f.invocations), {kMatmulParams});
  emit(b, f);
  auto s = std::make_shared<Shader>();
  s->name = "matmul";
  s->words = b.finish();
  s->bindings = 4;
  s->forms = forms;
  s->push_words = kMatmulParams;
  s->full_subgroups = true;
  return shader = std::move(s);
}

MatmulKernel cooperative_matmul(MatmulProblem& p, const gpu::CooperativeTile& t, const Capabilities& can) {
  CooperativeForm f = cooperative_form(p, t, can);
  auto make = [f, forms = forms_of(p)](bool adds) mutable {
    f.adds = adds;
    return cooperative_shader(f, forms);
  };
  return {f.m(), f.n(), can.max_iterations / 2 * f.k(), make};
}

class MatmulShaders : public gpu::MatmulKernels {
 public:
  bool has(const ir::Named& n, const Capabilities& can) const override { return module_for(n, kPlain, can).has_value(); }
  bool on_lanes(const ir::Named& n, const gpu::Target& can) const override { return vulkan::on_lanes(n, can); }
  MatmulKernel make(MatmulProblem& p, const ir::Named& n, const gpu::MatmulTile& tile, const gpu::Target& can) const override {
    if (const auto* shared = std::get_if<SharedTile>(&tile)) return shared_matmul(p, n, *shared, can);
    if (const auto* cooperative = std::get_if<gpu::CooperativeTile>(&tile)) return cooperative_matmul(p, *cooperative, can);
    return std::holds_alternative<gpu::LanesTile>(tile) ? lanes_matmul(p, can) : plain_matmul(p, n, can);
  }
};

}  // namespace

const gpu::MatmulKernels* Shaders::matmul_kernels() const {
  static const MatmulShaders& kernels = *new MatmulShaders;
  return &kernels;
}

}  // namespace anygpu::vulkan
