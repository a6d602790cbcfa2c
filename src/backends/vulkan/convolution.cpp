// Convolutions and their gradients in one or two spatial dimensions, as products whose one factor is an image.
//
//            row  column (c0, cy, cx)  k (k0, ky, kx)          lhs     image
// forward    oc   n, dst y, dst x      ic, window y, window x  weight  src
// src grad   ic   n, src y, src x      oc, window y, window x  weight  grad
// w. grad    oc   ic, window y, x      n, dst y, dst x         grad    src
#include <algorithm>

#include "named.h"
#include "steps.h"

namespace anygpu::vulkan {
namespace {

constexpr uint32_t kWords[] = {
#include "conv.inc"
};

/// As in the shader.
struct Problem {
  int32_t dst_offset, lhs_offset, image_offset, bias_offset;
  int32_t rows, columns;
  int32_t row_tile, column_tile;
  int32_t size_cy, size_cx;
  int32_t size_k0, size_ky, size_kx;
  int32_t column_step[2], k_step[2], shift[2], divisor[2], size[2];
  int32_t dst_row, dst_c0, dst_cy, dst_cx;
  int32_t lhs_k0, lhs_ky, lhs_kx;
  int32_t image_c0, image_k0, image_y, image_x;
  int32_t bias_row;
  int32_t group_dst, group_lhs, group_image, group_bias;
};

int32_t narrow(int64_t v) {
  return static_cast<int32_t>(v);
}

/// An operand with two spatial dimensions: a missing first one has size 1.
ir::Operand in_two(ir::Operand o) {
  if (o.rank() == 3) {
    o.sizes.insert(2, 1);
    o.strides.insert(2, 0);
  }
  return o;
}

constexpr int32_t kMostTaps = 7;  // whose window still fits registers

/// lhs[group, k0, ky, kx, row], rows together, each list of them in whole fours.
ir::Generic pack(const ir::Named& n, const ir::Operand& lhs, const Dims& strides, const ir::Operand& packed, int64_t rows) {
  ir::Generic g;
  g.name = n.name;
  g.sizes = packed.sizes;
  g.sizes[g.rank() - 1] = rows;
  g.accesses = {{packed.slot, packed.dtype, packed.offset, packed.strides}, {lhs.slot, lhs.dtype, lhs.offset, strides}};
  g.stores.push_back({0, ir::load(g.body, DType::F32, 1).id});
  return g;
}

/// Rows an invocation: as for matrix products, but what is loaded of the image costs more.
int64_t rows_for(int64_t rows, bool software) {
  const int64_t most = software ? 32 : 8;
  int64_t best = 4;
  auto cost = [&](int64_t r) { return static_cast<double>((rows + r - 1) / r) * static_cast<double>(r + 16); };
  for (int64_t r = 8; r <= most; r *= 2)
    if (cost(r) < cost(best)) best = r;
  return best;
}

/// What all parts of a convolution share.
struct Plan {
  int64_t rows, groups;
  bool bias;
  const char* name;
};

/// Launches of one product. `launch` has its bindings.
void add_sums(const Problem& p, const Plan& plan, Launch launch, const Capabilities& can, Compiled& made) {
  const int64_t vector = can.software ? 8 : 64;
  const int64_t lanes = std::clamp<int64_t>(((p.columns + 3) / 4 + vector - 1) / vector * vector, vector, can.software ? 32 : 64);
  const bool divides = p.divisor[0] != 1 || p.divisor[1] != 1;
  // The taps of four columns of one row of the image overlap where steps are 1: each neighbour is loaded once.
  const bool overlap = !divides && p.column_step[1] == 1 && (p.k_step[1] == 1 || p.k_step[1] == -1) && p.size_cx % 4 == 0 &&
                       p.size_kx > 1 && p.size_kx <= kMostTaps;
  const uint32_t taps = overlap ? static_cast<uint32_t>(p.size_kx) : 0, mirrored = overlap && p.k_step[1] < 0;
  auto shader = [&](bool adds) {
    const bool biased = plan.bias && !adds;
    return glsl_shader(plan.name, kWords,
                       {static_cast<uint32_t>(lanes), static_cast<uint32_t>(plan.rows), divides, biased, adds, taps, mirrored}, 5, 0);
  };
  const int64_t row_tiles = (p.rows + plan.rows - 1) / plan.rows, column_tiles = (p.columns + 4 * lanes - 1) / (4 * lanes);
  // The sum in parts: of k0, and of ky where even one k0 is too long. A loop's last look at its condition counts: all loops together take
  // ky * (2 + k0 * (2 + kx)) iterations. A sum over nothing is one part all the same.
  const int64_t part_ky = std::clamp<int64_t>(p.size_ky, 1, kMostIterations / (4 + p.size_kx));
  const int64_t part_k0 = std::clamp<int64_t>((kMostIterations / part_ky - 2) / (2 + p.size_kx), 1, p.size_k0);
  const double tile_work = static_cast<double>(4 * lanes * plan.rows * plan.groups) *
                           (2.0 * static_cast<double>(part_k0) * static_cast<double>(part_ky) * static_cast<double>(p.size_kx) + 8);
  // No launch so long that a driver would take the device for hung.
  const auto most = std::max<int64_t>(1, static_cast<int64_t>(2e9 / tile_work));
  const int64_t tall = std::min<int64_t>({row_tiles, most, can.max_groups[1]});
  const int64_t wide = std::min<int64_t>({column_tiles, std::max<int64_t>(1, most / tall), can.max_groups[0]});
  for (int64_t k0 = 0; k0 < p.size_k0; k0 += part_k0)
    for (int64_t ky = 0; ky < std::max(p.size_ky, 1); ky += part_ky) {
      launch.shader = shader(k0 || ky);
      Problem part = p;
      part.size_k0 = narrow(std::min(part_k0, p.size_k0 - k0));
      part.size_ky = narrow(std::min(part_ky, p.size_ky - ky));
      part.lhs_offset += narrow(k0 * p.lhs_k0 + ky * p.lhs_ky);
      part.image_offset += narrow(k0 * p.image_k0);
      part.shift[0] += narrow(ky * p.k_step[0]);
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
    }
}

/// A source gradient of stride s sees every s-th tap only: columns of one remainder see the same ones, and are a product without a
/// divisor. Others, and what is dilated, stay as they are.
std::vector<Problem> phases(const Problem& p, const int64_t* dilation) {
  if ((p.divisor[0] == 1 && p.divisor[1] == 1) || dilation[0] != 1 || dilation[1] != 1) return {p};
  const int32_t cs[2] = {p.size_cy, p.size_cx}, ks[2] = {p.size_ky, p.size_kx};
  std::vector<Problem> all;
  for (int32_t oy = 0; oy < std::min(p.divisor[0], cs[0]); ++oy)
    for (int32_t ox = 0; ox < std::min(p.divisor[1], cs[1]); ++ox) {
      // Column o + s * j and tap t + s * i meet the image at j - i + (o + padding - t) / s, where t = (o + padding) mod s.
      const int32_t o[2] = {oy, ox};
      Problem part = p;
      int32_t tap[2], columns[2], taps[2];
      for (int d = 0; d < 2; ++d) {
        const int32_t s = p.divisor[d];
        tap[d] = (o[d] + p.shift[d]) % s;
        columns[d] = (cs[d] - o[d] + s - 1) / s;
        taps[d] = tap[d] < ks[d] ? (ks[d] - tap[d] + s - 1) / s : 0;
        part.shift[d] = (o[d] + p.shift[d] - tap[d]) / s;
        part.divisor[d] = 1;
      }
      const int64_t of_all = p.columns / (int64_t{cs[0]} * cs[1]);
      part.columns = narrow(of_all * columns[0] * columns[1]);
      part.size_cy = columns[0], part.size_cx = columns[1];
      part.size_ky = taps[0], part.size_kx = taps[1];
      part.dst_offset += oy * p.dst_cy + ox * p.dst_cx;
      part.dst_cy *= p.divisor[0], part.dst_cx *= p.divisor[1];
      part.lhs_offset += tap[0] * p.lhs_ky + tap[1] * p.lhs_kx;
      part.lhs_ky *= p.divisor[0], part.lhs_kx *= p.divisor[1];
      all.push_back(part);
    }
  return all;
}

}  // namespace

std::optional<Compiled> compile_convolution(const ir::Named& n, const Capabilities& can) {
  for (const ir::Operand& o : n.operands) {
    if (o.slot < 0) continue;
    const Extent e = extent_of(o);
    if (o.dtype != DType::F32 || e.end - e.begin + can.binding_alignment > can.max_binding_bytes || e.end > int64_t{1} << 33) return {};
  }
  const int spatial = n.operands[0].rank() - 2;
  if (spatial < 1 || spatial > 2) return {};
  auto attr = [&](const Dims& v, int d, int64_t absent) { return spatial == 2 ? v[d] : d == 1 ? v[0] : absent; };
  const int64_t stride[2] = {attr(n.attrs.stride, 0, 1), attr(n.attrs.stride, 1, 1)};
  const int64_t padding[2] = {attr(n.attrs.padding, 0, 0), attr(n.attrs.padding, 1, 0)};
  const int64_t dilation[2] = {attr(n.attrs.dilation, 0, 1), attr(n.attrs.dilation, 1, 1)};
  const int64_t groups = n.attrs.groups;

  const ir::Operand dst = in_two(n.operands[0]), second = in_two(n.operands[1]), third = in_two(n.operands[2]);
  Compiled made;
  if (product(dst.sizes) == 0) return made;
  if (product(second.sizes) == 0 || product(third.sizes) == 0) return {};  // sums over nothing
  Problem p{};
  p.divisor[0] = p.divisor[1] = 1;
  const bool weight_grad = n.kind == ir::NamedKind::ConvWeightGrad, src_grad = n.kind == ir::NamedKind::ConvSrcGrad;
  const ir::Operand &lhs = weight_grad ? second : third, &image = weight_grad ? third : second;
  int64_t columns;
  Dims lhs_strides;  // group, k0, ky, kx, row
  if (weight_grad) {
    // dst is weight[OC, IC/groups, ky, kx], lhs is grad[N, OC, y, x], image is src[N, IC, y, x].
    p.rows = narrow(dst.sizes[0] / groups);
    columns = dst.sizes[1] * dst.sizes[2] * dst.sizes[3];
    p.size_cy = narrow(dst.sizes[2]), p.size_cx = narrow(dst.sizes[3]);
    p.size_k0 = narrow(lhs.sizes[0]), p.size_ky = narrow(lhs.sizes[2]), p.size_kx = narrow(lhs.sizes[3]);
    p.dst_row = narrow(dst.strides[0]), p.dst_c0 = narrow(dst.strides[1]);
    lhs_strides = {lhs.sizes[1] / groups * lhs.strides[1], lhs.strides[0], lhs.strides[2], lhs.strides[3], lhs.strides[1]};
    p.image_c0 = narrow(image.strides[1]), p.image_k0 = narrow(image.strides[0]);
    p.group_dst = narrow(dst.sizes[0] / groups * dst.strides[0]);
    p.group_image = narrow(dst.sizes[1] * image.strides[1]);
  } else {
    // lhs is weight[OC, IC/groups, ky, kx]; forward it has a row for each OC, else for each IC.
    const int row = src_grad ? 1 : 0, k0 = 1 - row;
    const int64_t per_group = lhs.sizes[0] / groups;
    p.rows = narrow(src_grad ? lhs.sizes[1] : per_group);
    p.size_k0 = narrow(src_grad ? per_group : lhs.sizes[1]);
    columns = dst.sizes[0] * dst.sizes[2] * dst.sizes[3];
    p.size_cy = narrow(dst.sizes[2]), p.size_cx = narrow(dst.sizes[3]);
    p.size_ky = narrow(lhs.sizes[2]), p.size_kx = narrow(lhs.sizes[3]);
    p.dst_row = narrow(dst.strides[1]), p.dst_c0 = narrow(dst.strides[0]);
    lhs_strides = {per_group * lhs.strides[0], lhs.strides[k0], lhs.strides[2], lhs.strides[3], lhs.strides[row]};
    p.image_c0 = narrow(image.strides[0]), p.image_k0 = narrow(image.strides[1]);
    p.group_dst = narrow(p.rows * dst.strides[1]);
    p.group_image = narrow(p.size_k0 * image.strides[1]);
  }
  if (columns >= INT32_MAX / 4) return {};
  p.columns = narrow(columns);
  p.dst_cy = narrow(dst.strides[2]), p.dst_cx = narrow(dst.strides[3]);
  p.image_y = narrow(image.strides[2]), p.image_x = narrow(image.strides[3]);
  for (int d = 0; d < 2; ++d) {
    p.size[d] = narrow(image.sizes[2 + d]);
    p.column_step[d] = narrow(src_grad ? 1 : weight_grad ? dilation[d] : stride[d]);
    p.k_step[d] = narrow(src_grad ? -dilation[d] : weight_grad ? stride[d] : dilation[d]);
    p.shift[d] = narrow(src_grad ? padding[d] : -padding[d]);
    if (src_grad) p.divisor[d] = narrow(stride[d]);
  }
  const bool bias = n.operands.size() > 3 && n.operands[3].slot >= 0;
  if (bias) {
    p.bias_row = narrow(n.operands[3].strides[0]);
    p.group_bias = narrow(p.rows * n.operands[3].strides[0]);
  }

  const int64_t rows = rows_for(p.rows, can.software);
  int32_t slots = 0;
  for (const ir::Operand& o : n.operands) slots = std::max(slots, o.slot + 1);
  Sequence parts(slots);
  const int64_t fours = (p.rows + 3) / 4;
  const ir::Operand packed = parts.temp(DType::F32, {groups, p.size_k0, p.size_ky, p.size_kx, 4 * fours});
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  parts.add(compile_generic(pack(n, lhs, lhs_strides, packed, p.rows), can));
  p.lhs_kx = narrow(fours);
  p.lhs_ky = p.lhs_kx * p.size_kx;
  p.lhs_k0 = p.lhs_ky * p.size_ky;
  p.group_lhs = p.lhs_k0 * p.size_k0;

  Launch launch;
  launch.bindings = {bind(dst, true, 0), bind(packed, false, -1), bind(image, false, 2), bind(bias ? n.operands[3] : image, false, 3)};
  launch.bindings.push_back({kParams, 0, sizeof(Problem)});
  auto first = [](const ir::Operand& o, const Binding& b) { return narrow(o.offset - b.begin / 4); };
  p.dst_offset = first(dst, launch.bindings[0]);
  p.image_offset = first(image, launch.bindings[2]);
  p.bias_offset = bias ? first(n.operands[3], launch.bindings[3]) : 0;

  if (groups > can.max_groups[2] || p.size_kx > kMostIterations / 4) return {};
  Compiled sums;
  for (const Problem& part : phases(p, dilation)) add_sums(part, {rows, groups, bias, name_of(n.kind)}, launch, can, sums);
  parts.add(std::move(sums));
  return parts.finish();
}

}  // namespace anygpu::vulkan
