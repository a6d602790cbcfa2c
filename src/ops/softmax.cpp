// Softmax, its logarithm, and their gradients, along one dimension.
#include <cmath>
#include <limits>

#include "anygpu/calls/softmax.h"
#include "ops/call.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::ReduceKind;
using ir::Val;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// The mask of a call's one dimension.
uint32_t bit(const auto& call) {
  return call.dst.rank() == 0 ? 0 : 1u << call.axis;
}

void lower_softmax(Lowering& l, const calls::Softmax<Reading>& c) {
  const bool logarithm = c.kind == calls::SoftmaxKind::Log, safe = c.kind == calls::SoftmaxKind::Safe;
  const DType t = compute_type(c.dst.dtype);
  Loop loop(l, c.src.sizes, bit(c));
  Val x = loop.load(c.src, t);
  Val top = reduce(ReduceKind::Max, x);
  if (safe) top = select(top == -kInf, like(top, 0), top);
  Val shifted = x - top;
  Val e = exp(shifted);
  Val sum = reduce(ReduceKind::Sum, e);
  Val y = logarithm ? shifted - log(sum) : e / sum;
  if (safe) y = select(sum == 0.0, like(y, 0), y);
  loop.store(c.dst, y);
  loop.done();
}

void lower_softmax_grad(Lowering& l, const calls::SoftmaxGrad<Reading>& c) {
  const bool logarithm = c.kind == calls::SoftmaxKind::Log;
  const DType t = compute_type(c.ddst.dtype);
  Loop loop(l, c.dsrc.sizes, bit(c));
  Val g = loop.load(c.ddst, t), y = loop.load(c.dst, t);
  loop.store(c.dsrc, logarithm ? g - exp(y) * reduce(ReduceKind::Sum, g) : (g - reduce(ReduceKind::Sum, g * y)) * y);
  loop.done();
}

void lower_masked_softmax(Lowering& l, const calls::MaskedSoftmax<Reading>& c) {
  const DType t = compute_type(c.dst.dtype);
  Loop loop(l, c.src.sizes, bit(c));
  Val masked = loop.load(c.mask, DType::Bool);
  Val x = loop.load(c.src, t);
  Val top = reduce(ReduceKind::Max, select(masked, like(x, -kInf), x));
  Val e = select(masked, like(x, 0), exp(x - top));
  loop.store(c.dst, e / reduce(ReduceKind::Sum, e));
  loop.done();
}

void lower_masked_softmax_grad(Lowering& l, const calls::MaskedSoftmaxGrad<Reading>& c) {
  const DType t = compute_type(c.dsrc.dtype);
  Loop loop(l, c.dsrc.sizes, bit(c));
  Val masked = loop.load(c.mask, DType::Bool);
  Val g = loop.load(c.ddst, t), y = loop.load(c.dst, t);
  Val zero = like(g, 0);
  Val dot = reduce(ReduceKind::Sum, select(masked, zero, g * y));
  loop.store(c.dsrc, select(masked, zero, (g - dot) * y));
  loop.done();
}

}  // namespace

OpTable softmaxes() {
  using K = calls::SoftmaxKind;
  static const Op table[] = {
      entry<calls::Softmax, lower_softmax>(K::Plain),
      entry<calls::Softmax, lower_softmax>(K::Log),
      entry<calls::Softmax, lower_softmax>(K::Safe),
      entry<calls::SoftmaxGrad, lower_softmax_grad>(K::Plain),
      entry<calls::SoftmaxGrad, lower_softmax_grad>(K::Log),
      entry<calls::MaskedSoftmax, lower_masked_softmax>(),
      entry<calls::MaskedSoftmaxGrad, lower_masked_softmax_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
