// Activations and their gradients. In gradients the inputs come as PyTorch's native functions pass them; noted where surprising.
#include <cmath>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

Val sigmoid(Val x) {
  return 1.0 / (1.0 + exp(-x));
}

/// Gaussian error linear unit, Hendrycks and Gimpel, arXiv:1606.08415; its tanh approximation (section 2) as `tanh_gelu`.
constexpr double kTanhBeta = M_SQRT2 * M_2_SQRTPI * 0.5, kTanhKappa = 0.044715;

Val gelu_grad(P& p) {
  Val dy = p.in(0), x = p.in(1);
  Val cdf = 0.5 * (1.0 + erf(x * M_SQRT1_2));
  Val pdf = exp(x * x * -0.5) * (M_2_SQRTPI * M_SQRT1_2 * 0.5);
  return dy * (cdf + x * pdf);
}

Val tanh_gelu_grad(P& p) {
  Val dy = p.in(0), x = p.in(1);
  Val t = tanh(kTanhBeta * (x + kTanhKappa * x * x * x));
  Val left = 0.5 * (1.0 + t);
  Val right = 0.5 * x * (1.0 - t * t) * (kTanhBeta * (1.0 + 3 * kTanhKappa * x * x));
  return dy * (left + right);
}

Val log_sigmoid_grad(P& p) {
  Val dy = p.in(0), x = p.in(1);
  Val z = exp(-abs(x)), part = z / (1.0 + z);
  return dy * select(x < 0.0, 1.0 - part, part);
}

/// outputs: gradients of x and of the weight, elementwise; inputs x, weight, dy
Val prelu_grad(P& p) {
  Val x = p.in(0), w = p.in(1), dy = p.in(2);
  Val positive = x > 0.0;
  p.out(1, select(positive, p.c(0), x * dy));
  return select(positive, dy, w * dy);
}

}  // namespace

OpTable pointwise_activation() {
  static const Op table[] = {
      ANYGPU_POINTWISE("relu", 1, [](P& p) { return max(p.in(0), 0.0); }),
      ANYGPU_POINTWISE("sigmoid", 1, [](P& p) { return sigmoid(p.in(0)); }),
      /// dy, y
      ANYGPU_POINTWISE("sigmoid_grad", 1,
                       [](P& p) {
                         Val y = p.in(1);
                         return p.in(0) * (1.0 - y) * y;
                       }),
      ANYGPU_POINTWISE("tanh_grad", 1,
                       [](P& p) {
                         Val y = p.in(1);
                         return p.in(0) * (1.0 - y * y);
                       }),
      ANYGPU_POINTWISE("gelu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x * 0.5 * (1.0 + erf(x * M_SQRT1_2));
                       }),
      ANYGPU_POINTWISE("gelu_grad", 1, gelu_grad),
      ANYGPU_POINTWISE("tanh_gelu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return 0.5 * x * (1.0 + tanh(kTanhBeta * (x + kTanhKappa * x * x * x)));
                       }),
      ANYGPU_POINTWISE("tanh_gelu_grad", 1, tanh_gelu_grad),
      ANYGPU_POINTWISE("silu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x / (1.0 + exp(-x));
                       }),
      ANYGPU_POINTWISE("silu_grad", 1,
                       [](P& p) {
                         Val x = p.in(1), s = sigmoid(x);
                         return p.in(0) * s * (1.0 + x * (1.0 - s));
                       }),
      ANYGPU_POINTWISE("mish", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x * tanh(log1p(exp(x)));
                       }),
      ANYGPU_POINTWISE("mish_grad", 1,
                       [](P& p) {
                         Val x = p.in(1), t = tanh(log1p(exp(x)));
                         return p.in(0) * (t + x * sigmoid(x) * (1.0 - t * t));
                       }),
      ANYGPU_POINTWISE("threshold", 1, [](P& p) { return select(p.in(0) <= p.s(0), p.s(1), p.in(1)); }),
      /// relu_grad: dy, y (or x)
      ANYGPU_POINTWISE("relu_grad", 1, [](P& p) { return select(p.in(1) <= 0.0, p.c(0), p.in(0)); }),
      ANYGPU_POINTWISE("hardtanh_grad", 1,
                       [](P& p) {
                         Val x = p.in(1);
                         return select((x <= p.s(0)) | (x >= p.s(1)), p.c(0), p.in(0));
                       }),
      ANYGPU_POINTWISE("hardsigmoid", 1, [](P& p) { return min(max(p.in(0) + 3.0, 0.0), 6.0) / 6.0; }),
      ANYGPU_POINTWISE("hardsigmoid_grad", 1,
                       [](P& p) {
                         Val x = p.in(1);
                         return select((x > -3.0) & (x < 3.0), p.in(0) * (1.0 / 6), p.c(0));
                       }),
      ANYGPU_POINTWISE("hardswish", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x * min(max(x + 3.0, 0.0), 6.0) / 6.0;
                       }),
      ANYGPU_POINTWISE("hardswish_grad", 1,
                       [](P& p) {
                         Val dy = p.in(0), x = p.in(1);
                         return select(x <= -3.0, p.c(0), select(x < 3.0, dy * (x / 3.0 + 0.5), dy));
                       }),
      /// shrink operators: scalar lambda
      ANYGPU_POINTWISE("hardshrink", 1,
                       [](P& p) {
                         Val x = p.in(0), l = p.s(0);
                         return select((x >= -l) & (x <= l), p.c(0), x);
                       }),
      ANYGPU_POINTWISE("softshrink", 1,
                       [](P& p) {
                         Val x = p.in(0), l = p.s(0);
                         return select(x > l, x - l, select(x < -l, x + l, x * 0.0));
                       }),
      ANYGPU_POINTWISE("shrink_grad", 1,
                       [](P& p) {
                         Val x = p.in(1), l = p.s(0);
                         return select((x >= -l) & (x <= l), p.c(0), p.in(0));
                       }),
      ANYGPU_POINTWISE("elu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(x < 0.0, expm1(x * p.s(2)) * p.s(0), x * p.s(1));
                       }),
      ANYGPU_POINTWISE("elu_grad", 1,
                       [](P& p) {
                         Val dy = p.in(0), x = p.in(1);
                         Val low = p.attr(0) ? dy * p.s(2) * (x + p.s(0)) : dy * p.s(2) * p.s(0) * exp(x * p.s(2));
                         return select(x <= 0.0, low, dy * p.s(1));
                       }),
      /// leaky_relu: scalar slope. Gradient: x (or y), dy
      ANYGPU_POINTWISE("leaky_relu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(x > 0.0, x, x * p.s(0));
                       }),
      ANYGPU_POINTWISE("leaky_relu_grad", 1,
                       [](P& p) {
                         Val dy = p.in(1);
                         return select(p.in(0) > 0.0, dy, dy * p.s(0));
                       }),
      /// prelu: x, weight
      ANYGPU_POINTWISE("prelu", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(x > 0.0, x, x * p.in(1));
                       }),
      ANYGPU_POINTWISE("prelu_grad", 2, prelu_grad),
      ANYGPU_POINTWISE("softplus", 1,
                       [](P& p) {
                         Val x = p.in(0), bx = x * p.s(0);
                         return select(bx > p.s(1), x, log1p(exp(bx)) / p.s(0));
                       }),
      ANYGPU_POINTWISE("softplus_grad", 1,
                       [](P& p) {
                         Val dy = p.in(0), bx = p.in(1) * p.s(0), z = exp(bx);
                         return select(bx > p.s(1), dy, dy * z / (z + 1.0));
                       }),
      ANYGPU_POINTWISE("log_sigmoid", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return min(x, 0.0) - log1p(exp(-abs(x)));
                       }),
      ANYGPU_POINTWISE("log_sigmoid_grad", 1, log_sigmoid_grad),
      ANYGPU_POINTWISE("logit_grad", 1,
                       [](P& p) {
                         Val x = p.in(1);
                         return select((x < 0.0) | (x > 1.0), p.c(NAN), p.in(0) / (x * (1.0 - x)));
                       }),
      ANYGPU_POINTWISE("logit_eps_grad", 1,
                       [](P& p) {
                         Val x = p.in(1);
                         return select((x < p.s(0)) | (x > 1.0 - p.s(0)), p.c(0), p.in(0) / (x * (1.0 - x)));
                       }),
      /// gated linear unit: a sigmoid(b)
      ANYGPU_POINTWISE("glu", 1, [](P& p) { return p.in(0) * sigmoid(p.in(1)); }),
      /// glu's gradient of b, before dy: inputs sigmoid(b), a, dy
      ANYGPU_POINTWISE("glu_gate_grad", 1,
                       [](P& p) {
                         Val s = p.in(0);
                         return (1.0 - s) * s * p.in(1) * p.in(2);
                       }),
      /// glu's forward derivative: inputs y, b, da, db
      ANYGPU_POINTWISE("glu_jvp", 1,
                       [](P& p) {
                         Val s = sigmoid(p.in(1)), db = p.in(3);
                         return p.in(2) * s + p.in(0) * (db - s * db);
                       }),
  };
  return table;
}

}  // namespace anygpu::ops
