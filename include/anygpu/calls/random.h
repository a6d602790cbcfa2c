// Calls of random operators: Philox 4x32-10 (Salmon et al., SC'11), one block an element: key = seed, counter = offset + the element's row-major
// number, so whoever records takes as many counters as there are elements. Each function here makes a Pointwise that lacks its operands, which
// out() and in() add; `type`: the dtype of the first output.
#pragma once

#include <cmath>

#include "anygpu/calls/pointwise.h"
#include "anygpu/philox.h"

namespace anygpu::calls {

/// A probability as a threshold for 32 random bits: never more than 2^32, so that 1 always hits.
inline int64_t random_threshold(double p) {
  return static_cast<int64_t>(std::llround(std::ldexp(p, 32)));
}

namespace detail {
/// Seed and offset are the first two scalars of all.
inline Pointwise random(const Op& entry, Philox s, DType type, std::initializer_list<Scalar> parameters = {}) {
  Pointwise call(entry, type);
  call.scalar(s.seed_scalar()).scalar(s.offset_scalar());
  for (const Scalar& p : parameters) call.scalar(p);
  return call;
}
}  // namespace detail

/// Uniform in [low, high); what rounds up to high becomes low.
inline Pointwise random_uniform(Philox s, DType type, double low, double high) {
  static const Op& entry = op("random_uniform");
  return detail::random(entry, s, type, {low, high});
}
inline Pointwise random_normal(Philox s, DType type, double mean, double std) {
  static const Op& entry = op("random_normal");
  Pointwise call = detail::random(entry, s, type);
  call.in(Scalar(mean)).in(Scalar(std));
  return call;
}
/// Mean and deviation of the logarithm.
inline Pointwise random_log_normal(Philox s, DType type, double mean, double std) {
  static const Op& entry = op("random_log_normal");
  return detail::random(entry, s, type, {mean, std});
}
inline Pointwise random_exponential(Philox s, DType type, double rate) {
  static const Op& entry = op("random_exponential");
  return detail::random(entry, s, type, {rate});
}
inline Pointwise random_cauchy(Philox s, DType type, double median, double sigma) {
  static const Op& entry = op("random_cauchy");
  return detail::random(entry, s, type, {median, sigma});
}
/// How often until the first success, whose probability is p.
inline Pointwise random_geometric(Philox s, DType type, double p) {
  static const Op& entry = op("random_geometric");
  return detail::random(entry, s, type, {std::log1p(-p)});
}

/// How integers are drawn: by so many random bits, as their count asks for.
enum class Draw : int64_t { UpTo24Bits = 1, UpTo63Bits = 2, AllBits = 3, UpTo64Bits = 4 };

/// Integers from `first` on, `count` > 0 of them.
inline Pointwise random_integer(Philox s, DType type, int64_t first, uint64_t count) {
  static const Op& entry = op("random_integer");
  Pointwise call = detail::random(entry, s, type, {first, static_cast<int64_t>(count)});
  const Draw draw = count <= uint64_t{1} << 24 ? Draw::UpTo24Bits : count < uint64_t{1} << 63 ? Draw::UpTo63Bits : Draw::UpTo64Bits;
  call.attr(static_cast<int64_t>(draw));
  return call;
}
/// Any i64.
inline Pointwise random_bits(Philox s, DType type) {
  static const Op& entry = op("random_integer");
  Pointwise call = detail::random(entry, s, type, {int64_t{0}, int64_t{1}});
  call.attr(static_cast<int64_t>(Draw::AllBits));
  return call;
}

inline Pointwise random_bernoulli(Philox s, DType type, double p) {
  static const Op& entry = op("random_bernoulli");
  return detail::random(entry, s, type, {random_threshold(p)});
}
/// Input: probabilities, of dtype `type`. One outside of [0, 1] fails the kernel.
inline Pointwise random_bernoulli_of(Philox s, DType type) {
  static const Op& entry = op("random_bernoulli_of");
  return detail::random(entry, s, type);
}

/// Outputs y, mask (bool: what is kept); input x. What is kept is divided by `keep`, its probability.
inline Pointwise dropout(Philox s, DType type, double keep) {
  static const Op& entry = op("dropout");
  return detail::random(entry, s, type, {random_threshold(keep), keep == 0 ? 0.0 : 1 / keep});
}
/// Output dx; inputs dy, mask. factor: 1 / keep.
inline Pointwise dropout_grad(DType type, double factor) {
  static const Op& entry = op("dropout_grad");
  Pointwise call(entry, type);
  call.scalar(factor);
  return call;
}
/// Outputs y, noise (the slope at each element); input x. Slopes in [low, high) where x is not positive. Xu et al., arXiv:1505.00853
inline Pointwise rrelu(Philox s, DType type, double low, double high) {
  static const Op& entry = op("rrelu");
  return detail::random(entry, s, type, {low, high});
}

}  // namespace anygpu::calls
