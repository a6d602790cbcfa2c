// Losses that are pointwise before their reduction, and their gradients. a: prediction, b: target. Scalars: anygpu/calls/parametric.h.
#include <cmath>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

Val binary_cross_entropy(P& p) {
  Val x = p.in(0), t = p.in(1);
  Val ok = check((x >= 0.0) & (x <= 1.0), ir::Fault::BadProbability);
  Val loss = (t - 1.0) * max(log1p(-x), -100.0) - t * max(log(x), -100.0);
  if (p.attr(0)) loss = loss * p.in(2);
  return select(ok, loss, p.c(NAN));
}

Val binary_cross_entropy_grad(P& p) {
  Val x = p.in(0), t = p.in(1);
  Val g = p.in(2) * (x - t) / max((1.0 - x) * x, 1e-12);
  if (p.attr(0)) g = g * p.in(3);
  return g * p.s(0);
}

}  // namespace

OpTable pointwise_loss() {
  static const Op table[] = {
      ANYGPU_POINTWISE("mse", 1,
                       [](P& p) {
                         Val d = p.in(0) - p.in(1);
                         return d * d;
                       }),
      ANYGPU_POINTWISE("mse_grad", 1, [](P& p) { return p.s(0) * (p.in(0) - p.in(1)) * p.in(2); }),
      ANYGPU_POINTWISE("smooth_l1", 1,
                       [](P& p) {
                         Val z = abs(p.in(0) - p.in(1)), beta = p.s(0);
                         return select(z < beta, 0.5 * z * z / beta, z - 0.5 * beta);
                       }),
      ANYGPU_POINTWISE("smooth_l1_grad", 1,
                       [](P& p) {
                         Val x = p.in(0) - p.in(1), g = p.s(0) * p.in(2), beta = p.s(1);
                         return select(x <= -beta, -g, select(x >= beta, g, g * x / beta));
                       }),
      ANYGPU_POINTWISE("huber", 1,
                       [](P& p) {
                         Val z = abs(p.in(0) - p.in(1)), delta = p.s(0);
                         return select(z <= delta, 0.5 * z * z, delta * (z - 0.5 * delta));
                       }),
      ANYGPU_POINTWISE("huber_grad", 1,
                       [](P& p) {
                         Val x = p.in(0) - p.in(1), g = p.s(0) * p.in(2), delta = p.s(1);
                         return select(x <= -delta, -g * delta, select(x >= delta, g * delta, g * x));
                       }),
      ANYGPU_POINTWISE("binary_cross_entropy", 1, binary_cross_entropy),
      ANYGPU_POINTWISE("binary_cross_entropy_grad", 1, binary_cross_entropy_grad),
  };
  return table;
}

}  // namespace anygpu::ops
