// Every Named as Generics. The loops gather: each output element is computed by itself, so nothing needs atomics.
#include "ir/nest.h"

namespace anygpu::ir {
namespace {

/// A position computed in one spatial dimension: where it is (made safe to load from), and whether it is there at all.
struct Position {
  Val at, inside;
};

Position clamp(Nest& nest, Val p, int64_t size) {
  const Val zero = nest.i64(0);
  const Val inside = (zero <= p) & (p < nest.size(size));
  return {select(inside, p, zero), inside};
}

/// Which source position window element k of output o sees: o * stride - padding + k * dilation.
Position source_position(Nest& nest, int o, int k, int64_t stride, int64_t padding, int64_t dilation, int64_t size) {
  return clamp(nest, nest.index(o) * nest.i64(stride) + nest.index(k) * nest.i64(dilation) - nest.i64(padding), size);
}

/// The output whose window element k sees source position i, if there is one: the inverse of source_position.
Position output_position(Nest& nest, int i, int k, int64_t stride, int64_t padding, int64_t dilation, int64_t size) {
  const Val t = nest.index(i) + nest.i64(padding) - nest.index(k) * nest.i64(dilation);
  const Val s = nest.i64(stride);
  Position p = clamp(nest, t / s, size);
  // Truncation makes -1 / 2 a 0, so t's own sign counts.
  p.inside = p.inside & (nest.i64(0) <= t) & (t % s == nest.i64(0));
  p.at = select(p.inside, p.at, nest.i64(0));
  return p;
}

Generic matmul(const Named& n) {
  const Operand &dst = n.operands[0], &lhs = n.operands[1], &rhs = n.operands[2];
  const int r = dst.rank();
  Nest nest(n);
  for (int d = 0; d < r; ++d) nest.parallel(dst.sizes[d]);
  const int k = nest.reduction(lhs.sizes[r - 1]);
  const int out = nest.access(dst), left = nest.access(lhs), right = nest.access(rhs);
  for (int d = 0; d < r; ++d) {
    nest.stride(out, d, dst.strides[d]);
    if (d != r - 1) nest.stride(left, d, lhs.strides[d]);
    if (d != r - 2) nest.stride(right, d, rhs.strides[d]);
  }
  nest.stride(left, k, lhs.strides[r - 1]);
  nest.stride(right, k, rhs.strides[r - 2]);
  const DType c = compute_type(dst.dtype);
  Val v = reduce(ReduceKind::Sum, cast(nest.load(left), c) * cast(nest.load(right), c));
  if (n.operands.size() > 3 && n.operands[3].slot >= 0) {
    const int bias = nest.access(n.operands[3]);
    for (int d = 0; d < r; ++d) nest.stride(bias, d, n.operands[3].strides[d]);
    v = v + cast(nest.load(bias), c);
  }
  nest.store(out, v);
  return nest.g;
}

/// The products of a convolution live in one space: n, group, output channel, input channel, output position, window position.
/// The three convolutions differ in what they sum over.
Generic conv(const Named& n) {
  const Operand &dst = n.operands[0], &src = n.operands[1], &weight = n.operands[2];
  const int spatial = dst.rank() - 2;
  const int64_t groups = n.attrs.groups;
  Nest nest(n);
  const int batch = nest.parallel(dst.sizes[0]), group = nest.parallel(groups), oc = nest.parallel(dst.sizes[1] / groups);
  int o[kMaxRank], k[kMaxRank];
  for (int d = 0; d < spatial; ++d) o[d] = nest.parallel(dst.sizes[2 + d]);
  // Without a single source position there is nothing that a clamped load could read: sum over nothing.
  bool sourceless = false;
  for (int d = 0; d < spatial; ++d) sourceless |= src.sizes[2 + d] == 0;
  const int ic = nest.reduction(sourceless ? 0 : src.sizes[1] / groups);
  for (int d = 0; d < spatial; ++d) k[d] = nest.reduction(weight.sizes[2 + d]);

  const int out = nest.access(dst), in = nest.access(src), w = nest.access(weight);
  nest.stride(out, batch, dst.strides[0]);
  stride_grouped(nest, out, group, oc, dst, 1, groups);
  nest.stride(in, batch, src.strides[0]);
  stride_grouped(nest, in, group, ic, src, 1, groups);
  stride_grouped(nest, w, group, oc, weight, 0, groups);
  nest.stride(w, ic, weight.strides[1]);
  Val offset = nest.i64(0), inside = nest.yes();
  for (int d = 0; d < spatial; ++d) {
    nest.stride(out, o[d], dst.strides[2 + d]);
    nest.stride(w, k[d], weight.strides[2 + d]);
    if (n.attrs.padding[d] == 0) {  // affine: verify() has seen that no window reaches beyond
      nest.stride(in, o[d], n.attrs.stride[d] * src.strides[2 + d]);
      nest.stride(in, k[d], n.attrs.dilation[d] * src.strides[2 + d]);
      continue;
    }
    const Position p = source_position(nest, o[d], k[d], n.attrs.stride[d], n.attrs.padding[d], n.attrs.dilation[d], src.sizes[2 + d]);
    offset = offset + p.at * nest.size(src.strides[2 + d]);
    inside = inside & p.inside;
  }
  const DType c = compute_type(dst.dtype);
  const Val zero = constant(nest.g.body, c, int64_t{0});
  const Val x = select(inside, cast(nest.load(in, offset), c), zero);
  Val v = reduce(ReduceKind::Sum, x * cast(nest.load(w), c));
  if (n.operands.size() > 3 && n.operands[3].slot >= 0) {
    const int bias = nest.access(n.operands[3]);
    stride_grouped(nest, bias, group, oc, n.operands[3], 0, groups);
    v = v + cast(nest.load(bias), c);
  }
  nest.store(out, v);
  return nest.g;
}

Generic conv_src_grad(const Named& n) {
  const Operand &dst = n.operands[0], &grad = n.operands[1], &weight = n.operands[2];
  const int spatial = dst.rank() - 2;
  const int64_t groups = n.attrs.groups;
  Nest nest(n);
  const int batch = nest.parallel(dst.sizes[0]), group = nest.parallel(groups), ic = nest.parallel(dst.sizes[1] / groups);
  int i[kMaxRank], k[kMaxRank];
  for (int d = 0; d < spatial; ++d) i[d] = nest.parallel(dst.sizes[2 + d]);
  bool gradless = false;
  for (int d = 0; d < spatial; ++d) gradless |= grad.sizes[2 + d] == 0;
  const int oc = nest.reduction(gradless ? 0 : grad.sizes[1] / groups);
  for (int d = 0; d < spatial; ++d) k[d] = nest.reduction(weight.sizes[2 + d]);

  const int out = nest.access(dst), in = nest.access(grad), w = nest.access(weight);
  nest.stride(out, batch, dst.strides[0]);
  stride_grouped(nest, out, group, ic, dst, 1, groups);
  nest.stride(in, batch, grad.strides[0]);
  stride_grouped(nest, in, group, oc, grad, 1, groups);
  stride_grouped(nest, w, group, oc, weight, 0, groups);
  nest.stride(w, ic, weight.strides[1]);
  Val offset = nest.i64(0), inside = nest.yes();
  for (int d = 0; d < spatial; ++d) {
    nest.stride(out, i[d], dst.strides[2 + d]);
    nest.stride(w, k[d], weight.strides[2 + d]);
    const Position p = output_position(nest, i[d], k[d], n.attrs.stride[d], n.attrs.padding[d], n.attrs.dilation[d], grad.sizes[2 + d]);
    offset = offset + p.at * nest.size(grad.strides[2 + d]);
    inside = inside & p.inside;
  }
  const DType c = compute_type(dst.dtype);
  const Val zero = constant(nest.g.body, c, int64_t{0});
  const Val x = select(inside, cast(nest.load(in, offset), c), zero);
  nest.store(out, reduce(ReduceKind::Sum, x * cast(nest.load(w), c)));
  return nest.g;
}

Generic conv_weight_grad(const Named& n) {
  const Operand &dst = n.operands[0], &grad = n.operands[1], &src = n.operands[2];
  const int spatial = dst.rank() - 2;
  const int64_t groups = n.attrs.groups;
  Nest nest(n);
  const int group = nest.parallel(groups), oc = nest.parallel(dst.sizes[0] / groups), ic = nest.parallel(dst.sizes[1]);
  int o[kMaxRank], k[kMaxRank];
  for (int d = 0; d < spatial; ++d) k[d] = nest.parallel(dst.sizes[2 + d]);
  bool sourceless = false;
  for (int d = 0; d < spatial; ++d) sourceless |= src.sizes[2 + d] == 0;
  const int batch = nest.reduction(sourceless ? 0 : grad.sizes[0]);
  for (int d = 0; d < spatial; ++d) o[d] = nest.reduction(grad.sizes[2 + d]);

  const int out = nest.access(dst), g = nest.access(grad), in = nest.access(src);
  stride_grouped(nest, out, group, oc, dst, 0, groups);
  nest.stride(out, ic, dst.strides[1]);
  nest.stride(g, batch, grad.strides[0]);
  stride_grouped(nest, g, group, oc, grad, 1, groups);
  nest.stride(in, batch, src.strides[0]);
  stride_grouped(nest, in, group, ic, src, 1, groups);
  Val offset = nest.i64(0), inside = nest.yes();
  for (int d = 0; d < spatial; ++d) {
    nest.stride(out, k[d], dst.strides[2 + d]);
    nest.stride(g, o[d], grad.strides[2 + d]);
    if (n.attrs.padding[d] == 0) {
      nest.stride(in, o[d], n.attrs.stride[d] * src.strides[2 + d]);
      nest.stride(in, k[d], n.attrs.dilation[d] * src.strides[2 + d]);
      continue;
    }
    const Position p = source_position(nest, o[d], k[d], n.attrs.stride[d], n.attrs.padding[d], n.attrs.dilation[d], src.sizes[2 + d]);
    offset = offset + p.at * nest.size(src.strides[2 + d]);
    inside = inside & p.inside;
  }
  const DType c = compute_type(dst.dtype);
  const Val zero = constant(nest.g.body, c, int64_t{0});
  const Val x = select(inside, cast(nest.load(in, offset), c), zero);
  nest.store(out, reduce(ReduceKind::Sum, x * cast(nest.load(g), c)));
  return nest.g;
}

/// How many elements the window of output `o` averages over. The window is cut at the end of the padding, as PyTorch's ceil_mode
/// needs; an empty window counts 1, so that its average is 0.
Val divisor(Nest& nest, const NamedAttrs& attrs, const Val* o, const Operand& src) {
  if (attrs.divisor_override) return nest.i64(attrs.divisor_override);
  const Val zero = nest.i64(0);
  Val count = nest.i64(1);
  for (int d = 0; d < attrs.kernel.size(); ++d) {
    const int64_t size = src.sizes[2 + d], padding = attrs.padding[d];
    Val begin = o[d] * nest.i64(attrs.stride[d]) - nest.i64(padding);
    Val end = min(begin + nest.i64(attrs.kernel[d]), nest.size(size + padding));
    if (!attrs.count_include_pad) {
      begin = max(begin, zero);
      end = min(end, nest.size(size));
    }
    count = count * max(end - begin, zero);
  }
  return max(count, nest.i64(1));
}

Generic avg_pool(const Named& n) {
  const Operand &dst = n.operands[0], &src = n.operands[1];
  const int spatial = dst.rank() - 2;
  Nest nest(n);
  for (int d = 0; d < dst.rank(); ++d) nest.parallel(dst.sizes[d]);
  bool sourceless = false;
  for (int d = 0; d < spatial; ++d) sourceless |= src.sizes[2 + d] == 0;
  int k[kMaxRank];
  for (int d = 0; d < spatial; ++d) k[d] = nest.reduction(sourceless ? 0 : n.attrs.kernel[d]);
  const int out = nest.access(dst), in = nest.access(src);
  for (int d = 0; d < dst.rank(); ++d) nest.stride(out, d, dst.strides[d]);
  nest.stride(in, 0, src.strides[0]);
  nest.stride(in, 1, src.strides[1]);
  Val offset = nest.i64(0), inside = nest.yes();
  Val o[kMaxRank];
  for (int d = 0; d < spatial; ++d) {
    const Position p = source_position(nest, 2 + d, k[d], n.attrs.stride[d], n.attrs.padding[d], 1, src.sizes[2 + d]);
    offset = offset + p.at * nest.size(src.strides[2 + d]);
    inside = inside & p.inside;
    o[d] = nest.index(2 + d);
  }
  const DType c = compute_type(dst.dtype);
  const Val sum = reduce(ReduceKind::Sum, select(inside, cast(nest.load(in, offset), c), constant(nest.g.body, c, int64_t{0})));
  nest.store(out, sum / cast(divisor(nest, n.attrs, o, src), c));
  return nest.g;
}

Generic avg_pool_grad(const Named& n) {
  const Operand &dst = n.operands[0], &grad = n.operands[1];
  const int spatial = dst.rank() - 2;
  Nest nest(n);
  for (int d = 0; d < dst.rank(); ++d) nest.parallel(dst.sizes[d]);
  bool gradless = false;
  for (int d = 0; d < spatial; ++d) gradless |= grad.sizes[2 + d] == 0;
  int k[kMaxRank];
  for (int d = 0; d < spatial; ++d) k[d] = nest.reduction(gradless ? 0 : n.attrs.kernel[d]);
  const int out = nest.access(dst), in = nest.access(grad);
  for (int d = 0; d < dst.rank(); ++d) nest.stride(out, d, dst.strides[d]);
  nest.stride(in, 0, grad.strides[0]);
  nest.stride(in, 1, grad.strides[1]);
  Val offset = nest.i64(0), inside = nest.yes();
  Val o[kMaxRank];
  for (int d = 0; d < spatial; ++d) {
    const Position p = output_position(nest, 2 + d, k[d], n.attrs.stride[d], n.attrs.padding[d], 1, grad.sizes[2 + d]);
    offset = offset + p.at * nest.size(grad.strides[2 + d]);
    inside = inside & p.inside;
    o[d] = p.at;
  }
  const DType c = compute_type(dst.dtype);
  const Val share = cast(nest.load(in, offset), c) / cast(divisor(nest, n.attrs, o, dst), c);
  nest.store(out, reduce(ReduceKind::Sum, select(inside, share, constant(nest.g.body, c, int64_t{0}))));
  return nest.g;
}

}  // namespace

std::vector<Step> lower(const Named& n, const MakeTemp& temp) {
  verify(n);
  switch (n.kind) {
    case NamedKind::Matmul:
      return {matmul(n)};
    case NamedKind::Conv:
      return {conv(n)};
    case NamedKind::ConvSrcGrad:
      return {conv_src_grad(n)};
    case NamedKind::ConvWeightGrad:
      return {conv_weight_grad(n)};
    case NamedKind::AvgPool:
      return {avg_pool(n)};
    case NamedKind::AvgPoolGrad:
      return {avg_pool_grad(n)};
    case NamedKind::Scan:
      return lower_scan(n, temp);
    case NamedKind::Sort:
      return lower_sort(n, temp);
    case NamedKind::Attention:
      return lower_attention(n, temp);
    case NamedKind::AttentionGrad:
      return lower_attention_grad(n, temp);
  }
  throw Error(ErrorKind::Internal, "[ir] unknown kind of Named");
}

std::vector<Step> lower_unclaimed(const Named& n, const MakeTemp& temp, const std::function<bool(const Named&)>& claimed) {
  std::vector<Step> all;
  for (Step& s : lower(n, temp)) {
    std::visit([&](auto& step) { step.name = step.name.empty() ? n.name : step.name; }, s);
    const auto* named = std::get_if<Named>(&s);
    if (!named || claimed(*named)) {
      all.push_back(std::move(s));
    } else {
      for (Step& simpler : lower_unclaimed(*named, temp, claimed)) all.push_back(std::move(simpler));
    }
  }
  return all;
}

}  // namespace anygpu::ir
