// Calls of pointwise operators that take numbers beside their operands, and of those that make tensors of indices alone. Each function makes a
// Pointwise that lacks its operands, which out() and in() add in the order of the comment; `type`: the dtype to compute in. A Scalar is of that
// dtype (.f for floats and halves, .i for the others); a double goes to operators of floats.
#pragma once

#include <cmath>

#include "anygpu/calls/pointwise.h"

namespace anygpu::calls {

namespace detail {
inline Pointwise with(const Op& entry, DType type, std::initializer_list<Scalar> scalars, std::initializer_list<int64_t> attrs = {}) {
  Pointwise call(entry, type);
  for (const Scalar& s : scalars) call.scalar(s);
  for (int64_t a : attrs) call.attr(a);
  return call;
}
}  // namespace detail

/// The catalogue's entry, looked up once a place.
#define ANYGPU_ENTRY(name)                             \
  ([]() -> const ::anygpu::Op& {                       \
    static const ::anygpu::Op& e = ::anygpu::op(name); \
    return e;                                          \
  }())

// ---- arithmetic ----

/// a + alpha * b, a - alpha * b. In: a, b.
inline Pointwise add_scaled(DType type, Scalar alpha) {
  return detail::with(ANYGPU_ENTRY("add_scaled"), type, {alpha});
}
inline Pointwise sub_scaled(DType type, Scalar alpha) {
  return detail::with(ANYGPU_ENTRY("sub_scaled"), type, {alpha});
}
/// x + value * a * b, x + value * (a / b). In: x, a, b.
inline Pointwise addcmul(DType type, Scalar value) {
  return detail::with(ANYGPU_ENTRY("addcmul"), type, {value});
}
inline Pointwise addcdiv(DType type, Scalar value) {
  return detail::with(ANYGPU_ENTRY("addcdiv"), type, {value});
}
/// To so many decimals; fewer than 0: to tens, hundreds, ... In: x.
inline Pointwise round_decimals(DType type, int64_t decimals) {
  const double power = std::pow(10.0, std::abs(static_cast<double>(decimals)));
  return detail::with(ANYGPU_ENTRY("round_decimals"), type, {power}, {decimals < 0});
}
/// What stands for NaN and the infinities. In: x.
inline Pointwise nan_to_num(DType type, double nan, double up, double down) {
  return detail::with(ANYGPU_ENTRY("nan_to_num"), type, {nan, up, down});
}
/// Of order n >= 1: (-1)^(n+1) n! zeta(n + 1, x). In: x.
inline Pointwise polygamma(DType type, int64_t n) {
  const double factorial = std::tgamma(static_cast<double>(n) + 1);
  return detail::with(ANYGPU_ENTRY("polygamma"), type, {static_cast<double>(n) + 1, n % 2 ? factorial : -factorial});
}

// ---- activations; of gradients the inputs are dy, x ----

/// x above the threshold, else value. In: x, other; relu's gradient is that of x, dy.
inline Pointwise threshold(DType type, Scalar threshold, Scalar value) {
  return detail::with(ANYGPU_ENTRY("threshold"), type, {threshold, value});
}
inline Pointwise hardtanh_grad(DType type, Scalar low, Scalar high) {
  return detail::with(ANYGPU_ENTRY("hardtanh_grad"), type, {low, high});
}
inline Pointwise softplus(DType type, double beta, double threshold) {
  return detail::with(ANYGPU_ENTRY("softplus"), type, {beta, threshold});
}
inline Pointwise softplus_grad(DType type, double beta, double threshold) {
  return detail::with(ANYGPU_ENTRY("softplus_grad"), type, {beta, threshold});
}
/// scale * (x, or alpha * (e^(input_scale * x) - 1) where x is not positive). In: x.
inline Pointwise elu(DType type, double alpha, double scale, double input_scale) {
  return detail::with(ANYGPU_ENTRY("elu"), type, {alpha * scale, scale, input_scale});
}
/// In: dy, x; or dy, y with `of_result`.
inline Pointwise elu_grad(DType type, double alpha, double scale, double input_scale, bool of_result) {
  return detail::with(ANYGPU_ENTRY("elu_grad"), type, {alpha * scale, scale, input_scale}, {of_result});
}
/// With eps >= 0, x is clamped to [eps, 1 - eps], and no gradient flows outside.
inline Pointwise logit(DType type, double eps) {
  return eps < 0 ? Pointwise(ANYGPU_ENTRY("logit"), type) : detail::with(ANYGPU_ENTRY("logit_eps"), type, {eps});
}
inline Pointwise logit_grad(DType type, double eps) {
  return eps < 0 ? Pointwise(ANYGPU_ENTRY("logit_grad"), type) : detail::with(ANYGPU_ENTRY("logit_eps_grad"), type, {eps});
}

// ---- losses before their reduction. In: x, target; of gradients: x, target, dy, and `factor` is the reduction's ----

inline Pointwise smooth_l1(DType type, double beta) {
  return detail::with(ANYGPU_ENTRY("smooth_l1"), type, {beta});
}
inline Pointwise huber(DType type, double delta) {
  return detail::with(ANYGPU_ENTRY("huber"), type, {delta});
}
inline Pointwise mse_grad(DType type, Scalar factor) {
  return detail::with(ANYGPU_ENTRY("mse_grad"), type, {factor});
}
inline Pointwise smooth_l1_grad(DType type, Scalar factor, double beta) {
  return detail::with(ANYGPU_ENTRY("smooth_l1_grad"), type, {factor, beta});
}
inline Pointwise huber_grad(DType type, Scalar factor, double delta) {
  return detail::with(ANYGPU_ENTRY("huber_grad"), type, {factor, delta});
}
/// -(t log x + (1-t) log(1-x)), the logarithms at least -100; a weight follows the inputs where `weighted`.
inline Pointwise binary_cross_entropy(DType type, bool weighted) {
  return detail::with(ANYGPU_ENTRY("binary_cross_entropy"), type, {}, {weighted});
}
inline Pointwise binary_cross_entropy_grad(DType type, double factor, bool weighted) {
  return detail::with(ANYGPU_ENTRY("binary_cross_entropy_grad"), type, {factor}, {weighted});
}

// ---- of indices alone ----

/// dst[i] = start + i * step. Out: dst[n].
inline Pointwise arange(DType type, Scalar start, Scalar step) {
  return detail::with(ANYGPU_ENTRY("arange"), type, {start, step});
}
/// From both ends to the middle: exact at both. Out: dst[n], n > 1.
inline Pointwise linspace(DType type, double start, double end, int64_t n) {
  return detail::with(ANYGPU_ENTRY("linspace"), type, {start, end, (end - start) / static_cast<double>(n - 1)});
}
/// base to the power of linspace.
inline Pointwise logspace(DType type, double start, double end, int64_t n, double base) {
  return detail::with(ANYGPU_ENTRY("logspace"), type, {start, end, (end - start) / static_cast<double>(n - 1), base});
}
/// Kaiser's window over `length` points, at point a: i0(beta sqrt(1 - ((a - c) / c)^2)) / i0(beta), c being the middle. In: a.
inline Pointwise kaiser_window(DType type, int64_t length, double beta) {
  return detail::with(ANYGPU_ENTRY("kaiser_window"), type, {static_cast<double>(length - 1) / 2, beta});
}
/// src below (above) the k-th diagonal and on it, else 0. Out: dst[..,n,m]; in: src.
inline Pointwise tril(DType type, int64_t k) {
  return detail::with(ANYGPU_ENTRY("tril"), type, {k});
}
inline Pointwise triu(DType type, int64_t k) {
  return detail::with(ANYGPU_ENTRY("triu"), type, {k});
}

#undef ANYGPU_ENTRY

}  // namespace anygpu::calls
