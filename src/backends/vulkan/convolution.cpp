// Convolutions and their gradients in one to three spatial dimensions, as products whose one factor is an image.
//
//            row  column (c0, cz, cy, cx)  k (k0, kz, ky, kx)  lhs     image
// forward    oc   n, dst z, y, x           ic, window z, y, x  weight  src
// src grad   ic   n, src z, y, x           oc, window z, y, x  weight  grad
// w. grad    oc   ic, window z, y, x       n, dst z, y, x      grad    src
#include <algorithm>

#include "elements.h"
#include "named.h"
#include "steps.h"

namespace anygpu::vulkan {
namespace {

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

constexpr int kSpatial = 3;  // z, y, x; what is missing in front has size 1

/// As in the shader.
struct Problem {
  int32_t dst_offset, lhs_offset, image_offset, bias_offset;
  int32_t rows, columns;
  int32_t row_tile, column_tile;
  int32_t size_c[kSpatial];
  int32_t size_k0, size_k[kSpatial];
  int32_t column_step[kSpatial], k_step[kSpatial], shift[kSpatial], divisor[kSpatial], size[kSpatial];
  int32_t dst_row, dst_c0, dst_c[kSpatial];
  int32_t lhs_k0, lhs_k[kSpatial];
  int32_t image_c0, image_k0, image_step[kSpatial];
  int32_t bias_row;
  int32_t group_dst, group_lhs, group_image, group_bias;
};

int32_t narrow(int64_t v) {
  return static_cast<int32_t>(v);
}

ir::Operand in_three(ir::Operand o) {
  while (o.rank() < 2 + kSpatial) {
    o.sizes.insert(2, 1);
    o.strides.insert(2, 0);
  }
  return o;
}

constexpr int32_t kMostTaps = 7;  // whose window still fits registers

/// lhs[group, k0, kz, ky, kx, row], rows together, each list of them in whole fours.
ir::Generic pack(const ir::Named& n, const ir::Operand& lhs, const Dims& strides, ir::Operand packed, int64_t rows) {
  packed.sizes[packed.rank() - 1] = rows;
  return cast_copy(n.name, packed, {lhs.slot, lhs.dtype, lhs.offset, packed.sizes, strides});
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
  uint32_t kinds[3];  // of dst, image, bias
  bool spread;        // over lanes, where there is no divisor
  bool dst_aligned;   // where it begins, to four elements
  double work;        // of an operation
};

/// Whether four columns are neighbours in dst, wherever the other strides lead.
bool dst_in_fours(const Problem& p, const Plan& plan) {
  auto whole = [](int32_t n) { return n % 4 == 0; };
  if (!plan.dst_aligned || p.dst_c[2] != 1 || !whole(p.dst_row) || !whole(p.group_dst) || !whole(p.columns)) return false;
  if (whole(p.size_c[2])) return whole(p.dst_c0) && whole(p.dst_c[0]) && whole(p.dst_c[1]);
  return p.dst_c[1] == p.size_c[2] && p.dst_c[0] == p.size_c[1] * p.dst_c[1] && p.dst_c0 == p.size_c[0] * p.dst_c[0];
}

/// Launches of one product. `launch` has its bindings. False: it takes several parts, which halves do not allow.
bool add_sums(const Problem& p, const Plan& plan, Launch launch, const Capabilities& can, Compiled& made) {
  const bool divides = p.divisor[0] != 1 || p.divisor[1] != 1 || p.divisor[2] != 1;
  const bool spread = plan.spread && !divides;
  const int64_t vector = spread ? can.subgroup_size : can.software ? 8 : 64;
  const int64_t most_lanes = spread ? vector : can.software ? 32 : 64;
  const int64_t lanes = std::clamp<int64_t>(((p.columns + 3) / 4 + vector - 1) / vector * vector, vector, most_lanes);
  // The taps of four columns of one row of the image overlap where steps are 1: each neighbour is loaded once.
  const int32_t kx = p.size_k[2];
  const bool overlap =
      !divides && p.column_step[2] == 1 && (p.k_step[2] == 1 || p.k_step[2] == -1) && p.size_c[2] % 4 == 0 && kx > 1 && kx <= kMostTaps;
  const uint32_t taps = overlap ? static_cast<uint32_t>(kx) : 0, mirrored = overlap && p.k_step[2] < 0;
  // With a window's neighbours at hand, 32 rows of sums are more than the driver keeps in order: 3x3 over 32 channels takes 30 ms, not 21.
  const int64_t rows = rows_for(p.rows, spread && taps ? 16 : can.software ? 32 : 8);
  if (spread) {
    launch.bindings[1].texel = Texel::Float4;
    launch.bindings[2].texel = launch.bindings[3].texel = Texel::Float;
  }
  auto shader = [&](bool adds) {
    const bool biased = plan.bias && !adds;
    if (spread)
      return glsl_shader(plan.name, kLanes,
                         {static_cast<uint32_t>(lanes), static_cast<uint32_t>(rows), biased, adds, taps, mirrored, dst_in_fours(p, plan),
                          can.subgroup_size},
                         5, 0, 14);
    return glsl_shader(plan.name, plan.words,
                       {static_cast<uint32_t>(lanes), static_cast<uint32_t>(rows), divides, biased, adds, taps, mirrored, plan.kinds[0],
                        plan.kinds[1], plan.kinds[2]},
                       5, 0);
  };
  const int64_t row_tiles = (p.rows + rows - 1) / rows, column_tiles = (p.columns + 4 * lanes - 1) / (4 * lanes);
  // The sum in parts: of k0, and of ky and kz where even one k0 is too long. A loop's last look at its condition counts: all loops together
  // take kz * ky * (2 + k0 * (2 + kx)) iterations; conv_lanes.comp has k0 innermost where it keeps no window. A sum over nothing is one
  // part all the same.
  const bool k0_inside = spread && !taps;
  const int64_t lines = kMostIterations / (k0_inside ? 2 + 3 * kx : 4 + kx);
  const int64_t part_ky = std::clamp<int64_t>(p.size_k[1], 1, lines);
  const int64_t part_kz = std::clamp<int64_t>(p.size_k[0], 1, lines / part_ky);
  const int64_t a_line = kMostIterations / (part_kz * part_ky) - 2;
  const int64_t part_k0 = std::clamp<int64_t>(k0_inside ? a_line / std::max(kx, 1) - 2 : a_line / (2 + kx), 1, p.size_k0);
  if (plan.kinds[0] && (part_k0 < p.size_k0 || part_ky < p.size_k[1] || part_kz < p.size_k[0])) return false;
  const double tile_work =
      plan.work * static_cast<double>(4 * lanes * rows * plan.groups) * (2.0 * static_cast<double>(part_k0 * part_kz * part_ky * kx) + 8);
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(most_work(can) / tile_work));
  const int64_t tall = std::min<int64_t>({row_tiles, most, can.max_groups[1]});
  const int64_t wide = std::min<int64_t>({column_tiles, std::max<int64_t>(1, most / tall), can.max_groups[0]});
  auto add_part = [&](int64_t k0, int64_t kz, int64_t ky) {
    launch.shader = shader(k0 || kz || ky);
    Problem part = p;
    part.size_k0 = narrow(std::min(part_k0, p.size_k0 - k0));
    part.size_k[0] = narrow(std::min(part_kz, p.size_k[0] - kz));
    part.size_k[1] = narrow(std::min(part_ky, p.size_k[1] - ky));
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
        launch.params.assign(words, words + sizeof(Problem) / 4);
        made.launches.push_back(launch);
      }
  };
  for (int64_t k0 = 0; k0 < p.size_k0; k0 += part_k0)
    for (int64_t kz = 0; kz < std::max(p.size_k[0], 1); kz += part_kz)
      for (int64_t ky = 0; ky < std::max(p.size_k[1], 1); ky += part_ky) add_part(k0, kz, ky);
  return true;
}

/// A source gradient of stride s sees every s-th tap only: columns of one remainder see the same ones, and are a product without a
/// divisor. Others, and what is dilated, stay as they are.
std::vector<Problem> phases(const Problem& p, const int64_t* dilation) {
  bool divides = false, dilates = false;
  for (int d = 0; d < kSpatial; ++d) divides |= p.divisor[d] != 1, dilates |= dilation[d] != 1;
  if (!divides || dilates) return {p};
  std::vector<Problem> all{p};
  for (int d = 0; d < kSpatial; ++d) {
    std::vector<Problem> split;
    for (const Problem& whole : all)
      for (int32_t o = 0; o < std::min(p.divisor[d], p.size_c[d]); ++o) {
        // Column o + s * j and tap t + s * i meet the image at j - i + (o + padding - t) / s, where t = (o + padding) mod s.
        const int32_t s = p.divisor[d], tap = (o + p.shift[d]) % s;
        Problem part = whole;
        part.shift[d] = (o + p.shift[d] - tap) / s;
        part.divisor[d] = 1;
        part.size_c[d] = (p.size_c[d] - o + s - 1) / s;
        part.columns = narrow(int64_t{whole.columns} / p.size_c[d] * part.size_c[d]);
        part.size_k[d] = tap < p.size_k[d] ? (p.size_k[d] - tap + s - 1) / s : 0;
        part.dst_offset += o * p.dst_c[d];
        part.dst_c[d] *= s;
        part.lhs_offset += tap * p.lhs_k[d];
        part.lhs_k[d] *= s;
        split.push_back(part);
      }
    all = std::move(split);
  }
  return all;
}

}  // namespace

std::optional<Compiled> compile_convolution(const ir::Named& n, const Capabilities& can) {
  const auto words = module_for(n, kModules, can);
  if (can.software && has_halves(n)) return widened_before(n, can, compile_convolution);
  if (!words) return rounded_after(n, can, compile_convolution);
  for (const ir::Operand& o : n.operands) {
    if (o.slot < 0) continue;
    const Extent e = extent_of(o);
    if (e.end - e.begin + can.binding_alignment > can.max_binding_bytes || e.end > size_of(o.dtype) << 31) return {};
  }
  const int absent = kSpatial - (n.operands[0].rank() - 2);
  if (absent < 0 || absent == kSpatial) return {};
  int64_t stride[kSpatial], padding[kSpatial], dilation[kSpatial];
  for (int d = 0; d < kSpatial; ++d) {
    stride[d] = d < absent ? 1 : n.attrs.stride[d - absent];
    padding[d] = d < absent ? 0 : n.attrs.padding[d - absent];
    dilation[d] = d < absent ? 1 : n.attrs.dilation[d - absent];
    // Places within the image, its padding included, are numbered in 32 bits.
    int64_t widest = std::max({stride[d], padding[d], dilation[d]});
    for (int i = 0; i < 3; ++i) widest = std::max(widest, d < absent ? 1 : n.operands[i].sizes[2 + d - absent]);
    if (widest >= INT32_MAX / 8) return {};
  }
  const int64_t groups = n.attrs.groups;

  const ir::Operand dst = in_three(n.operands[0]), second = in_three(n.operands[1]), third = in_three(n.operands[2]);
  Compiled made;
  if (product(dst.sizes) == 0) return made;
  if (product(second.sizes) == 0 || product(third.sizes) == 0) return {};  // sums over nothing
  Problem p{};
  const bool weight_grad = n.kind == ir::NamedKind::ConvWeightGrad, src_grad = n.kind == ir::NamedKind::ConvSrcGrad;
  const ir::Operand &lhs = weight_grad ? second : third, &image = weight_grad ? third : second;
  int32_t slots = 0;
  for (const ir::Operand& o : n.operands) slots = std::max(slots, o.slot + 1);
  Sequence parts(slots);
  int64_t columns;
  Dims lhs_strides;  // group, k0, kz, ky, kx, row
  if (weight_grad) {
    // dst is weight[OC, IC/groups, kz, ky, kx], lhs is grad[N, OC, z, y, x], image is src[N, IC, z, y, x].
    p.rows = narrow(dst.sizes[0] / groups);
    columns = dst.sizes[1];
    p.size_k0 = narrow(lhs.sizes[0]);
    p.dst_row = narrow(dst.strides[0]), p.dst_c0 = narrow(dst.strides[1]);
    lhs_strides = {lhs.sizes[1] / groups * lhs.strides[1], lhs.strides[0], lhs.strides[2], lhs.strides[3], lhs.strides[4], lhs.strides[1]};
    p.image_c0 = narrow(image.strides[1]), p.image_k0 = narrow(image.strides[0]);
    p.group_dst = narrow(dst.sizes[0] / groups * dst.strides[0]);
    p.group_image = narrow(dst.sizes[1] * image.strides[1]);
  } else {
    // lhs is weight[OC, IC/groups, kz, ky, kx]; forward it has a row for each OC, else for each IC.
    const int row = src_grad ? 1 : 0, k0 = 1 - row;
    const int64_t per_group = lhs.sizes[0] / groups;
    p.rows = narrow(src_grad ? lhs.sizes[1] : per_group);
    p.size_k0 = narrow(src_grad ? per_group : lhs.sizes[1]);
    columns = dst.sizes[0];
    p.dst_row = narrow(dst.strides[1]), p.dst_c0 = narrow(dst.strides[0]);
    lhs_strides = {per_group * lhs.strides[0], lhs.strides[k0], lhs.strides[2], lhs.strides[3], lhs.strides[4], lhs.strides[row]};
    p.image_c0 = narrow(image.strides[0]), p.image_k0 = narrow(image.strides[1]);
    p.group_dst = narrow(p.rows * dst.strides[1]);
    p.group_image = narrow(p.size_k0 * image.strides[1]);
  }
  for (int d = 0; d < kSpatial; ++d) columns *= dst.sizes[2 + d];
  if (columns >= INT32_MAX / 4) return {};
  p.columns = narrow(columns);
  for (int d = 0; d < kSpatial; ++d) {
    p.size_c[d] = narrow(dst.sizes[2 + d]);
    p.size_k[d] = narrow(lhs.sizes[2 + d]);
    p.dst_c[d] = narrow(dst.strides[2 + d]);
    p.image_step[d] = narrow(image.strides[2 + d]);
    p.size[d] = narrow(image.sizes[2 + d]);
    p.column_step[d] = narrow(src_grad ? 1 : weight_grad ? dilation[d] : stride[d]);
    p.k_step[d] = narrow(src_grad ? -dilation[d] : weight_grad ? stride[d] : dilation[d]);
    p.shift[d] = narrow(src_grad ? padding[d] : -padding[d]);
    p.divisor[d] = narrow(src_grad ? stride[d] : 1);
  }
  const bool bias = n.operands.size() > 3 && n.operands[3].slot >= 0;
  if (bias) {
    p.bias_row = narrow(n.operands[3].strides[0]);
    p.group_bias = narrow(p.rows * n.operands[3].strides[0]);
  }

  const int64_t fours = (p.rows + 3) / 4;
  const ir::Operand packed =
      parts.temp(dst.dtype == DType::F64 ? DType::F64 : DType::F32, {groups, p.size_k0, p.size_k[0], p.size_k[1], p.size_k[2], 4 * fours});
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  parts.add(compile_generic(pack(n, lhs, lhs_strides, packed, p.rows), can));
  p.lhs_k[2] = narrow(fours);
  p.lhs_k[1] = p.lhs_k[2] * p.size_k[2];
  p.lhs_k[0] = p.lhs_k[1] * p.size_k[1];
  p.lhs_k0 = p.lhs_k[0] * p.size_k[0];
  p.group_lhs = p.lhs_k0 * p.size_k0;

  Launch launch;
  launch.bindings = {bind(dst, true, 0), bind(packed, false, -1), bind(image, false, 2), bind(bias ? n.operands[3] : image, false, 3)};
  launch.bindings.push_back({kParams, 0, sizeof(Problem)});
  auto first = [](const ir::Operand& o, const Binding& b) { return narrow(o.offset - b.begin / size_of(o.dtype)); };
  p.dst_offset = first(dst, launch.bindings[0]);
  p.image_offset = first(image, launch.bindings[2]);
  p.bias_offset = bias ? first(n.operands[3], launch.bindings[3]) : 0;

  if (groups > can.max_groups[2] || p.size_k[2] > kMostIterations / 4) return {};
  const Plan plan{groups,
                  bias,
                  name_of(n.kind),
                  *words,
                  {kind_of(dst.dtype), kind_of(image.dtype), bias ? kind_of(n.operands[3].dtype) : 0},
                  on_lanes(n, can),
                  dst.offset % 4 == 0,
                  work_of(dst.dtype, can)};
  Compiled sums;
  for (const Problem& part : phases(p, dilation))
    if (!add_sums(part, plan, launch, can, sums)) return rounded_after(n, can, compile_convolution);
  parts.add(std::move(sums));
  return parts.finish();
}

}  // namespace anygpu::vulkan
