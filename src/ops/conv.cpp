// Convolutions and their gradients, also transposed ones, which are the gradients of the plain.
#include "anygpu/calls/conv.h"
#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::NamedKind;
using ir::Operand;
using ir::ReduceKind;

namespace {

ir::NamedAttrs attrs_of(const calls::ConvGeometry& g) {
  ir::NamedAttrs a;
  a.stride = g.stride;
  a.padding = g.padding;
  a.dilation = g.dilation;
  a.groups = g.groups;
  return a;
}

void lower_conv(Lowering& l, const calls::Conv<Reading>& c) {
  l.add(ir::Named{NamedKind::Conv, {c.dst, c.src, c.weight, c.bias.value_or(Operand{})}, attrs_of(c.geometry), {}});
}

void lower_conv_src_grad(Lowering& l, const calls::ConvSrcGrad<Reading>& c) {
  const Operand& dst = c.dsrc;
  const Operand plain = c.bias ? l.temp(dst.dtype, dst.sizes) : dst;
  l.add(ir::Named{NamedKind::ConvSrcGrad, {plain, c.ddst, c.weight}, attrs_of(c.geometry), {}});
  if (!c.bias) return;
  Operand bias = *c.bias;
  while (bias.rank() < dst.rank() - 1) bias = unsqueezed(bias, bias.rank());
  const DType t = compute_type(dst.dtype);
  Loop loop(l, dst.sizes);
  loop.store(dst, loop.load(plain, t) + loop.load(bias, t));
  loop.done();
}

void lower_conv_weight_grad(Lowering& l, const calls::ConvWeightGrad<Reading>& c) {
  l.add(ir::Named{NamedKind::ConvWeightGrad, {c.dweight, c.ddst, c.src}, attrs_of(c.geometry), {}});
}

void lower_channel_sum(Lowering& l, const calls::ChannelSum<Reading>& c) {
  const Operand& src = c.src;
  Operand dst = c.dst;
  while (dst.rank() < src.rank() - 1) dst = unsqueezed(dst, dst.rank());
  Loop loop(l, src.sizes, bits(0, src.rank()) & ~2u);
  loop.store(dst, reduce(ReduceKind::Sum, loop.load(src, compute_type(src.dtype))));
  loop.done();
}

}  // namespace

OpTable convolutions() {
  static const Op table[] = {
      entry<calls::Conv, lower_conv>(),
      entry<calls::ConvSrcGrad, lower_conv_src_grad>(),
      entry<calls::ConvWeightGrad, lower_conv_weight_grad>(),
      entry<calls::ChannelSum, lower_channel_sum>(),
  };
  return table;
}

}  // namespace anygpu::ops
