#include "convolution_problem.h"

#include <algorithm>

#include "halves.h"

namespace anygpu::gpu {
namespace {

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

/// Attributes in three dimensions.
struct Window {
  int64_t stride[kSpatial], padding[kSpatial], dilation[kSpatial];
};

/// Nothing where places within the image, its padding included, are no numbers of 32 bits.
std::optional<Window> window_of(const ir::Named& n) {
  const int absent = kSpatial - (n.operands[0].rank() - 2);
  if (absent < 0 || absent == kSpatial) return {};
  Window w{};
  for (int d = 0; d < kSpatial; ++d) {
    w.stride[d] = d < absent ? 1 : n.attrs.stride[d - absent];
    w.padding[d] = d < absent ? 0 : n.attrs.padding[d - absent];
    w.dilation[d] = d < absent ? 1 : n.attrs.dilation[d - absent];
    int64_t widest = std::max({w.stride[d], w.padding[d], w.dilation[d]});
    for (int i = 0; i < 3; ++i) widest = std::max(widest, d < absent ? 1 : n.operands[i].sizes[2 + d - absent]);
    if (widest >= INT32_MAX / 8) return {};
  }
  return w;
}

/// dst is weight[OC, IC/groups, kz, ky, kx], lhs is grad[N, OC, z, y, x], image is src[N, IC, z, y, x]. Returns the size of c0.
int64_t set_weight_grad(ConvolutionProblem& c) {
  ConvolutionParams& p = c.params;
  const ir::Operand &dst = c.dst, &lhs = c.lhs, &image = c.image;
  p.rows = narrow(dst.sizes[0] / c.groups);
  p.size_k0 = narrow(lhs.sizes[0]);
  p.dst_row = narrow(dst.strides[0]), p.dst_c0 = narrow(dst.strides[1]);
  c.lhs_strides = {
      lhs.sizes[1] / c.groups * lhs.strides[1], lhs.strides[0], lhs.strides[2], lhs.strides[3], lhs.strides[4], lhs.strides[1]};
  p.image_c0 = narrow(image.strides[1]), p.image_k0 = narrow(image.strides[0]);
  p.group_dst = narrow(dst.sizes[0] / c.groups * dst.strides[0]);
  p.group_image = narrow(dst.sizes[1] * image.strides[1]);
  return dst.sizes[1];
}

/// lhs is weight[OC, IC/groups, kz, ky, kx]; forward it has a row for each OC, else for each IC. Returns the size of c0.
int64_t set_by_weight(ConvolutionProblem& c, bool src_grad) {
  ConvolutionParams& p = c.params;
  const ir::Operand &dst = c.dst, &lhs = c.lhs, &image = c.image;
  const int row = src_grad ? 1 : 0, k0 = 1 - row;
  const int64_t per_group = lhs.sizes[0] / c.groups;
  p.rows = narrow(src_grad ? lhs.sizes[1] : per_group);
  p.size_k0 = narrow(src_grad ? per_group : lhs.sizes[1]);
  p.dst_row = narrow(dst.strides[1]), p.dst_c0 = narrow(dst.strides[0]);
  c.lhs_strides = {per_group * lhs.strides[0], lhs.strides[k0], lhs.strides[2], lhs.strides[3], lhs.strides[4], lhs.strides[row]};
  p.image_c0 = narrow(image.strides[0]), p.image_k0 = narrow(image.strides[1]);
  p.group_dst = narrow(p.rows * dst.strides[1]);
  p.group_image = narrow(p.size_k0 * image.strides[1]);
  return dst.sizes[0];
}

}  // namespace

std::optional<ConvolutionProblem> convolution_problem(const ir::Named& n) {
  const auto window = window_of(n);
  if (!window) return {};
  const bool weight_grad = n.kind == ir::NamedKind::ConvWeightGrad, src_grad = n.kind == ir::NamedKind::ConvSrcGrad;
  const ir::Operand second = in_three(n.operands[1]), third = in_three(n.operands[2]);
  if (product(second.sizes) == 0 || product(third.sizes) == 0) return {};  // sums over nothing
  ConvolutionProblem c{};
  c.dst = in_three(n.operands[0]);
  c.lhs = weight_grad ? second : third, c.image = weight_grad ? third : second;
  c.groups = n.attrs.groups;
  c.bias = n.operands.size() > 3 && n.operands[3].slot >= 0;
  ConvolutionParams& p = c.params;
  int64_t columns = weight_grad ? set_weight_grad(c) : set_by_weight(c, src_grad);
  for (int d = 0; d < kSpatial; ++d) columns *= c.dst.sizes[2 + d];
  if (columns >= INT32_MAX / 4) return {};
  p.columns = narrow(columns);
  for (int d = 0; d < kSpatial; ++d) {
    const int64_t stride = window->stride[d], padding = window->padding[d], dilation = window->dilation[d];
    p.size_c[d] = narrow(c.dst.sizes[2 + d]);
    p.size_k[d] = narrow(c.lhs.sizes[2 + d]);
    p.dst_c[d] = narrow(c.dst.strides[2 + d]);
    p.image_step[d] = narrow(c.image.strides[2 + d]);
    p.size[d] = narrow(c.image.sizes[2 + d]);
    p.column_step[d] = narrow(src_grad ? 1 : weight_grad ? dilation : stride);
    p.k_step[d] = narrow(src_grad ? -dilation : weight_grad ? stride : dilation);
    p.shift[d] = narrow(src_grad ? padding : -padding);
    p.divisor[d] = narrow(src_grad ? stride : 1);
    c.dilates |= dilation != 1;
  }
  if (c.bias) {
    p.bias_row = narrow(n.operands[3].strides[0]);
    p.group_bias = narrow(p.rows * n.operands[3].strides[0]);
  }
  return c;
}

bool operands_fit(const ir::Named& n, const Capabilities& can) {
  return std::all_of(n.operands.begin(), n.operands.end(), [&](const ir::Operand& o) {
    if (o.slot < 0) return true;
    const Extent e = extent_of(o);
    return e.end - e.begin + can.binding_alignment <= can.max_binding_bytes && e.end <= size_of(o.dtype) << 31;
  });
}

Dims packed_sizes(const ConvolutionParams& p, int64_t groups) {
  return {groups, p.size_k0, p.size_k[0], p.size_k[1], p.size_k[2], (p.rows + 3) / 4 * 4};
}

ir::Generic pack_lhs(const std::string& name, const ConvolutionProblem& c, ir::Operand packed) {
  packed.sizes[packed.rank() - 1] = c.params.rows;
  return cast_copy(name, packed, {c.lhs.slot, c.lhs.dtype, c.lhs.offset, packed.sizes, c.lhs_strides});
}

void set_packed_strides(ConvolutionParams& p) {
  p.lhs_k[2] = (p.rows + 3) / 4;
  p.lhs_k[1] = p.lhs_k[2] * p.size_k[2];
  p.lhs_k[0] = p.lhs_k[1] * p.size_k[1];
  p.lhs_k0 = p.lhs_k[0] * p.size_k[0];
  p.group_lhs = p.lhs_k0 * p.size_k0;
}

std::vector<ConvolutionParams> phases(const ConvolutionParams& p, bool dilates) {
  const bool divides = std::any_of(p.divisor, p.divisor + kSpatial, [](int32_t s) { return s != 1; });
  if (!divides || dilates) return {p};
  std::vector<ConvolutionParams> all{p};
  for (int d = 0; d < kSpatial; ++d) {
    std::vector<ConvolutionParams> split;
    for (const ConvolutionParams& whole : all)
      for (int32_t o = 0; o < std::min(p.divisor[d], p.size_c[d]); ++o) {
        // Column o + s * j and tap t + s * i meet the image at j - i + (o + padding - t) / s, where t = (o + padding) mod s.
        const int32_t s = p.divisor[d], tap = (o + p.shift[d]) % s;
        ConvolutionParams part = whole;
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

}  // namespace anygpu::gpu
