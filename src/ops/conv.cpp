// Convolutions and their gradients, also transposed ones, which are the gradients of the plain.
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::NamedKind;
using ir::Operand;
using ir::ReduceKind;

namespace {

/// attrs of every operator here: n, stride[n], padding[n], dilation[n], groups.
ir::NamedAttrs conv_attrs(const Lowering& l) {
  ir::NamedAttrs a;
  const int n = static_cast<int>(l.attr(0));
  int at = 1;
  for (Dims* part : {&a.stride, &a.padding, &a.dilation})
    for (int d = 0; d < n; ++d) part->push_back(l.attr(at++));
  a.groups = l.attr(at);
  return a;
}

/// views: dst[N,OC,o..], src[N,IC,i..], weight[OC,IC/groups,k..], bias[OC] if given
void lower_conv(Lowering& l) {
  ir::Named n{NamedKind::Conv, {l.view(0), l.view(1), l.view(2), {}}, conv_attrs(l), {}};
  if (l.views() > 3) n.operands[3] = l.view(3);
  l.add(std::move(n));
}

/// views: grad of src[N,IC,i..], grad of dst[N,OC,o..], weight[OC,IC/groups,k..]; and bias[IC] if this is a transposed convolution's
/// forward
void lower_conv_src_grad(Lowering& l) {
  const bool biased = l.views() > 3;
  const Operand& dst = l.view(0);
  Operand plain = biased ? l.temp(dst.dtype, dst.sizes) : dst;
  l.add(ir::Named{NamedKind::ConvSrcGrad, {plain, l.view(1), l.view(2)}, conv_attrs(l), {}});
  if (!biased) return;
  Operand bias = l.view(3);
  while (bias.rank() < dst.rank() - 1) bias = unsqueezed(bias, bias.rank());
  const DType t = compute_type(dst.dtype);
  Loop loop(l, dst.sizes);
  loop.store(dst, loop.load(plain, t) + loop.load(bias, t));
  loop.done();
}

/// views: grad of weight[OC,IC/groups,k..], grad of dst[N,OC,o..], src[N,IC,i..]
void lower_conv_weight_grad(Lowering& l) {
  l.add(ir::Named{NamedKind::ConvWeightGrad, {l.view(0), l.view(1), l.view(2)}, conv_attrs(l), {}});
}

/// views: dst[C], src[N,C,i..]: the sum over all but the channels, which is the gradient of a bias
void lower_channel_sum(Lowering& l) {
  const Operand& src = l.view(1);
  Operand dst = l.view(0);
  while (dst.rank() < src.rank() - 1) dst = unsqueezed(dst, dst.rank());
  Loop loop(l, src.sizes, bits(0, src.rank()) & ~2u);
  loop.store(dst, reduce(ReduceKind::Sum, loop.load(src, compute_type(src.dtype))));
  loop.done();
}

}  // namespace

OpTable convolutions() {
  static const Op table[] = {
      {"conv", nullptr, lower_conv},
      {"conv_src_grad", nullptr, lower_conv_src_grad},
      {"conv_weight_grad", nullptr, lower_conv_weight_grad},
      {"channel_sum", nullptr, lower_channel_sum},
  };
  return table;
}

}  // namespace anygpu::ops
