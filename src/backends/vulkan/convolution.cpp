// The shaders of convolutions: backends/gpu/convolution_problem.h says what they compute.
#include <algorithm>

#include "backends/gpu/convolution_problem.h"
#include "backends/gpu/halves.h"
#include "backends/gpu/steps.h"
#include "elements.h"
#include "shaders.h"

namespace anygpu::vulkan {
namespace {

using gpu::ConvolutionParams;
using gpu::ConvolutionProblem;
using gpu::kind_of;

constexpr uint32_t kFloat[] = {
#include "conv_float.inc"
};
constexpr uint32_t kHalf[] = {
#include "conv_half_dst.inc"
};
constexpr uint32_t kDouble[] = {
#include "conv_double.inc"
};
constexpr Modules kModules{kFloat, kHalf, kDouble};
constexpr uint32_t kLanes[] = {
#include "conv_lanes_float.inc"
};

/// Most iterations of all loops of one invocation: Mesa's software device ends them silently after 65,535. Longer sums take several
/// Launches.
constexpr int64_t kMostIterations = 60000;
constexpr int32_t kMostTaps = 7;  // whose window still fits registers

int32_t narrow(int64_t v) {
  return static_cast<int32_t>(v);
}

/// Rows an invocation: as for matrix products, but what is loaded of the image costs more.
int64_t rows_for(int64_t rows, int64_t most) {
  int64_t best = 4;
  auto cost = [&](int64_t r) { return static_cast<double>((rows + r - 1) / r) * static_cast<double>(r + 16); };
  for (int64_t r = 8; r <= most; r *= 2)
    if (cost(r) < cost(best)) best = r;
  return best;
}

/// What all parts of a convolution share.
struct Plan {
  int64_t groups;
  bool bias;
  const char* name;
  std::span<const uint32_t> words;
  uint32_t kinds[3];               // of dst, image, bias
  std::vector<BindingForm> forms;  // of dst, lhs, image, bias
  bool spread;                     // over lanes, where there is no divisor
  bool dst_aligned;                // where it begins, to four elements
  double work;                     // of an operation
};

/// Whether four columns are neighbours in dst, wherever the other strides lead.
bool dst_in_fours(const ConvolutionParams& p, const Plan& plan) {
  auto whole = [](int32_t n) { return n % 4 == 0; };
  if (!plan.dst_aligned || p.dst_c[2] != 1 || !whole(p.dst_row) || !whole(p.group_dst) || !whole(p.columns)) return false;
  if (whole(p.size_c[2])) return whole(p.dst_c0) && whole(p.dst_c[0]) && whole(p.dst_c[1]);
  return p.dst_c[1] == p.size_c[2] && p.dst_c[0] == p.size_c[1] * p.dst_c[1] && p.dst_c0 == p.size_c[0] * p.dst_c[0];
}

/// How one product is given out.
struct Tile {
  bool divides, spread;
  int64_t lanes, rows;  // of a workgroup, each of which makes four columns; of an invocation
  uint32_t taps, mirrored;
};

Tile tile_of(const ConvolutionParams& p, const Plan& plan, const gpu::Target& can) {
  Tile t{};
  t.divides = p.divisor[0] != 1 || p.divisor[1] != 1 || p.divisor[2] != 1;
  t.spread = plan.spread && !t.divides;
  const int64_t vector = t.spread ? can.subgroup_size : can.software ? 8 : 64;
  const int64_t most_lanes = t.spread ? vector : can.software ? 32 : 64;
  t.lanes = std::clamp<int64_t>(((p.columns + 3) / 4 + vector - 1) / vector * vector, vector, most_lanes);
  // The taps of four columns of one row of the image overlap where steps are 1: each neighbour is loaded once.
  const int32_t kx = p.size_k[2];
  const bool overlap =
      !t.divides && p.column_step[2] == 1 && (p.k_step[2] == 1 || p.k_step[2] == -1) && p.size_c[2] % 4 == 0 && kx > 1 && kx <= kMostTaps;
  t.taps = overlap ? static_cast<uint32_t>(kx) : 0, t.mirrored = overlap && p.k_step[2] < 0;
  // With a window's neighbours at hand, 32 rows of sums are more than the driver keeps in order: 3x3 over 32 channels takes 30 ms, not 21.
  t.rows = rows_for(p.rows, t.spread && t.taps ? 16 : can.software ? 32 : 8);
  return t;
}

std::shared_ptr<const Shader> shader_of(const ConvolutionParams& p, const Plan& plan, const Tile& t, const gpu::Target& can, bool adds) {
  const bool biased = plan.bias && !adds;
  const auto lanes = static_cast<uint32_t>(t.lanes), rows = static_cast<uint32_t>(t.rows);
  std::vector<BindingForm> forms = plan.forms;
  if (!t.spread)
    return glsl_shader(plan.name, plan.words,
                       {lanes, rows, t.divides, biased, adds, t.taps, t.mirrored, plan.kinds[0], plan.kinds[1], plan.kinds[2]},
                       std::move(forms), 5, 0);
  forms[1].texel = Texel::Float4;
  forms[2].texel = forms[3].texel = Texel::Float;
  return glsl_shader(plan.name, kLanes, {lanes, rows, biased, adds, t.taps, t.mirrored, dst_in_fours(p, plan), can.subgroup_size},
                     std::move(forms), 5, 0);
}

/// What one launch sums: of k0, and of ky and kz where even one k0 is too long.
struct Part {
  int64_t k0, kz, ky;
};

/// A loop's last look at its condition counts: all loops together take kz * ky * (2 + k0 * (2 + kx)) iterations; conv_lanes.comp has k0
/// innermost where it keeps no window. A sum over nothing is one part all the same.
Part part_of(const ConvolutionParams& p, const Tile& t) {
  const int32_t kx = p.size_k[2];
  const bool k0_inside = t.spread && !t.taps;
  const int64_t lines = kMostIterations / (k0_inside ? 2 + 3 * kx : 4 + kx);
  const int64_t ky = std::clamp<int64_t>(p.size_k[1], 1, lines);
  const int64_t kz = std::clamp<int64_t>(p.size_k[0], 1, lines / ky);
  const int64_t a_line = kMostIterations / (kz * ky) - 2;
  return {std::clamp<int64_t>(k0_inside ? a_line / std::max(kx, 1) - 2 : a_line / (2 + kx), 1, p.size_k0), kz, ky};
}

/// Launches of one product. `launch` has its bindings. False: it takes several parts, which halves do not allow.
bool add_sums(const ConvolutionParams& p, const Plan& plan, Launch launch, const gpu::Target& can, Compiled& made) {
  const Tile tile = tile_of(p, plan, can);
  const Part whole = part_of(p, tile);
  const int64_t row_tiles = (p.rows + tile.rows - 1) / tile.rows, column_tiles = (p.columns + 4 * tile.lanes - 1) / (4 * tile.lanes);
  if (plan.kinds[0] && (whole.k0 < p.size_k0 || whole.ky < p.size_k[1] || whole.kz < p.size_k[0])) return false;
  const double tile_work = plan.work * static_cast<double>(4 * tile.lanes * tile.rows * plan.groups) *
                           (2.0 * static_cast<double>(whole.k0 * whole.kz * whole.ky * p.size_k[2]) + 8);
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(gpu::most_work(can) / tile_work));
  const int64_t tall = std::min<int64_t>({row_tiles, most, can.max_groups[1]});
  const int64_t wide = std::min<int64_t>({column_tiles, std::max<int64_t>(1, most / tall), can.max_groups[0]});
  auto add_part = [&](int64_t k0, int64_t kz, int64_t ky) {
    launch.kernel = shader_of(p, plan, tile, can, k0 || kz || ky);
    ConvolutionParams part = p;
    part.size_k0 = narrow(std::min(whole.k0, p.size_k0 - k0));
    part.size_k[0] = narrow(std::min(whole.kz, p.size_k[0] - kz));
    part.size_k[1] = narrow(std::min(whole.ky, p.size_k[1] - ky));
    part.lhs_offset += narrow(k0 * p.lhs_k0 + kz * p.lhs_k[0] + ky * p.lhs_k[1]);
    part.image_offset += narrow(k0 * p.image_k0);
    part.shift[0] += narrow(kz * p.k_step[0]);
    part.shift[1] += narrow(ky * p.k_step[1]);
    for (int64_t y = 0; y < row_tiles; y += tall)
      for (int64_t x = 0; x < column_tiles; x += wide) {
        part.row_tile = narrow(y);
        part.column_tile = narrow(x);
        launch.groups[0] = static_cast<uint32_t>(std::min(wide, column_tiles - x));
        launch.groups[1] = static_cast<uint32_t>(std::min(tall, row_tiles - y));
        launch.groups[2] = static_cast<uint32_t>(plan.groups);
        launch.work = tile_work * launch.groups[0] * launch.groups[1];
        const auto* words = reinterpret_cast<const uint32_t*>(&part);
        launch.params.assign(words, words + sizeof(ConvolutionParams) / 4);
        made.launches.push_back(launch);
      }
  };
  for (int64_t k0 = 0; k0 < p.size_k0; k0 += whole.k0)
    for (int64_t kz = 0; kz < std::max(p.size_k[0], 1); kz += whole.kz)
      for (int64_t ky = 0; ky < std::max(p.size_k[1], 1); ky += whole.ky) add_part(k0, kz, ky);
  return true;
}

}  // namespace

std::optional<Compiled> Shaders::convolution(const ir::Named& n, const gpu::Target& can) const {
  auto again = [this](const ir::Named& wide, const gpu::Target& on) { return convolution(wide, on); };
  const auto words = module_for(n, kModules, can);
  if (can.software && gpu::has_halves(n)) return widened_before(n, can, again);
  if (!words) return rounded_after(n, can, again);
  if (!gpu::operands_fit(n, can)) return {};
  if (product(n.operands[0].sizes) == 0) return Compiled{};
  auto problem = gpu::convolution_problem(n);
  if (!problem) return {};
  const ir::Operand &dst = problem->dst, &image = problem->image, &bias = problem->bias ? n.operands[3] : image;
  ConvolutionParams& p = problem->params;
  const int64_t groups = problem->groups;

  gpu::Sequence parts(gpu::slots_of(n));
  const ir::Operand packed = parts.temp(dst.dtype == DType::F64 ? DType::F64 : DType::F32, packed_sizes(p, groups));
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  parts.add(compile_generic(pack_lhs(n.name, *problem, packed), can));
  set_packed_strides(p);

  Launch launch;
  launch.bindings = {gpu::bind(dst, true), gpu::bind(packed, false), gpu::bind(image, false), gpu::bind(bias, false)};
  auto first = [&](const ir::Operand& o, size_t i) { return narrow(o.offset - launch.bindings[i].begin / size_of(o.dtype)); };
  p.dst_offset = first(dst, 0);
  p.image_offset = first(image, 2);
  p.bias_offset = problem->bias ? first(bias, 3) : 0;

  if (groups > can.max_groups[2] || p.size_k[2] > kMostIterations / 4) return {};
  auto unit = [](const ir::Operand& o) { return static_cast<int32_t>(size_of(o.dtype)); };
  const Plan plan{groups,
                  problem->bias,
                  name_of(n.kind),
                  *words,
                  {kind_of(dst.dtype), kind_of(image.dtype), problem->bias ? kind_of(bias.dtype) : 0},
                  {{0, unit(dst)}, {-1, unit(packed)}, {2, unit(image)}, {3, unit(bias)}},
                  on_lanes(n, can),
                  dst.offset % 4 == 0,
                  gpu::work_of(dst.dtype, can)};
  Compiled sums;
  for (const ConvolutionParams& part : phases(p, problem->dilates))
    if (!add_sums(part, plan, launch, can, sums)) return rounded_after(n, can, again);
  parts.add(std::move(sums));
  return parts.finish();
}

}  // namespace anygpu::vulkan
