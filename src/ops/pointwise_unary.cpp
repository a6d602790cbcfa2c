// Pointwise operators of one input. Scalars: anygpu/calls/parametric.h; formulas follow PyTorch's documentation.
#include <cmath>
#include <limits>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// The bits of a float, as a signed integer of its width.
Val bits(Val x) {
  return bitcast(x, x.type() == DType::F64 ? DType::I64 : DType::I32);
}

Val sign(P& p) {
  Val x = p.in(0);
  if (p.type == DType::U8) return select(x != 0.0, p.c(1), p.c(0));
  return select(x > 0.0, p.c(1), select(x < 0.0, p.c(-1), p.c(0)));
}

/// Mantissa in [0.5, 1) and exponent, by the bits: x = mantissa * 2^exponent. Denormals are scaled up first.
Val frexp(P& p) {
  Val x = p.in(0);
  bool wide = p.type == DType::F64;
  DType it = wide ? DType::I64 : DType::I32;
  int fraction = wide ? 52 : 23, bias = wide ? 1022 : 126, up = wide ? 54 : 25;
  auto i = [&](int64_t v) { return ir::constant(p.loop.body(), it, v); };
  Val tiny = abs(x) < (wide ? std::numeric_limits<double>::min() : std::numeric_limits<float>::min());
  Val scaled = select(tiny, x * std::ldexp(1.0, up), x);
  Val b = bits(scaled);
  int64_t mask = wide ? 0x7ff : 0xff;
  Val e = shr(b, i(fraction)) & i(mask);
  Val special = (x == 0.0) | (e == i(mask));  // zero, infinities, NaN stay as they are, with exponent 0
  Val m = bitcast((b & i(~(mask << fraction))) | i(static_cast<int64_t>(bias) << fraction), p.type);
  Val exponent = e - i(bias) - select(tiny, i(up), i(0));
  p.out(1, select(special, i(0), exponent));
  return select(special, x, m);
}

}  // namespace

OpTable pointwise_unary() {
  static const Op table[] = {
      ANYGPU_POINTWISE("copy", 1, [](P& p) { return p.raw(0); }),
      ANYGPU_POINTWISE("fill", 1, [](P& p) { return p.s(0); }),
      ANYGPU_POINTWISE("neg", 1, [](P& p) { return -p.in(0); }),
      ANYGPU_POINTWISE("abs", 1, [](P& p) { return p.type == DType::U8 ? p.in(0) : abs(p.in(0)); }),
      ANYGPU_POINTWISE("sign", 1, sign),
      ANYGPU_POINTWISE("sign_or_nan", 1, [](P& p) { return select(isnan(p.in(0)), p.in(0), sign(p)); }),
      ANYGPU_POINTWISE("square", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x * x;
                       }),
      ANYGPU_POINTWISE("cube", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x * x * x;
                       }),
      ANYGPU_POINTWISE("reciprocal", 1, [](P& p) { return 1.0 / p.in(0); }),
      ANYGPU_POINTWISE("sqrt", 1, [](P& p) { return sqrt(p.in(0)); }),
      ANYGPU_POINTWISE("rsqrt", 1, [](P& p) { return 1.0 / sqrt(p.in(0)); }),
      ANYGPU_POINTWISE("exp", 1, [](P& p) { return exp(p.in(0)); }),
      ANYGPU_POINTWISE("exp2", 1, [](P& p) { return exp2(p.in(0)); }),
      ANYGPU_POINTWISE("expm1", 1, [](P& p) { return expm1(p.in(0)); }),
      ANYGPU_POINTWISE("log", 1, [](P& p) { return log(p.in(0)); }),
      ANYGPU_POINTWISE("log2", 1, [](P& p) { return log2(p.in(0)); }),
      ANYGPU_POINTWISE("log10", 1, [](P& p) { return log10(p.in(0)); }),
      ANYGPU_POINTWISE("log1p", 1, [](P& p) { return log1p(p.in(0)); }),
      ANYGPU_POINTWISE("sin", 1, [](P& p) { return sin(p.in(0)); }),
      ANYGPU_POINTWISE("cos", 1, [](P& p) { return cos(p.in(0)); }),
      ANYGPU_POINTWISE("tan", 1, [](P& p) { return tan(p.in(0)); }),
      ANYGPU_POINTWISE("asin", 1, [](P& p) { return asin(p.in(0)); }),
      ANYGPU_POINTWISE("acos", 1, [](P& p) { return acos(p.in(0)); }),
      ANYGPU_POINTWISE("atan", 1, [](P& p) { return atan(p.in(0)); }),
      ANYGPU_POINTWISE("sinh", 1, [](P& p) { return sinh(p.in(0)); }),
      ANYGPU_POINTWISE("cosh", 1, [](P& p) { return cosh(p.in(0)); }),
      ANYGPU_POINTWISE("tanh", 1, [](P& p) { return tanh(p.in(0)); }),
      ANYGPU_POINTWISE("asinh", 1, [](P& p) { return asinh(p.in(0)); }),
      ANYGPU_POINTWISE("acosh", 1, [](P& p) { return acosh(p.in(0)); }),
      ANYGPU_POINTWISE("atanh", 1, [](P& p) { return atanh(p.in(0)); }),
      ANYGPU_POINTWISE("erf", 1, [](P& p) { return erf(p.in(0)); }),
      ANYGPU_POINTWISE("erfc", 1, [](P& p) { return erfc(p.in(0)); }),
      ANYGPU_POINTWISE("lgamma", 1, [](P& p) { return lgamma(p.in(0)); }),
      ANYGPU_POINTWISE("floor", 1, [](P& p) { return floor(p.in(0)); }),
      ANYGPU_POINTWISE("ceil", 1, [](P& p) { return ceil(p.in(0)); }),
      ANYGPU_POINTWISE("trunc", 1, [](P& p) { return trunc(p.in(0)); }),
      ANYGPU_POINTWISE("round", 1, [](P& p) { return round(p.in(0)); }),
      ANYGPU_POINTWISE("frac", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return x - trunc(x);
                       }),
      ANYGPU_POINTWISE("round_decimals", 1,
                       [](P& p) {
                         Val ten = p.s(0);
                         return p.attr(0) ? round(p.in(0) / ten) * ten : round(p.in(0) * ten) / ten;
                       }),
      ANYGPU_POINTWISE("sinc", 1,
                       [](P& p) {
                         Val x = p.in(0) * M_PI;
                         return select(x == 0.0, p.c(1), sin(x) / x);
                       }),
      ANYGPU_POINTWISE("angle", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(isnan(x), x, select(x < 0.0, p.c(M_PI), p.c(0)));
                       }),
      ANYGPU_POINTWISE("signbit", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         if (!is_float(p.type)) return x < 0.0;
                         Val b = bits(x);
                         return b < like(b, 0);
                       }),
      ANYGPU_POINTWISE("isposinf", 1, [](P& p) { return p.in(0) == kInf; }),
      ANYGPU_POINTWISE("isneginf", 1, [](P& p) { return p.in(0) == -kInf; }),
      ANYGPU_POINTWISE("isnan", 1, [](P& p) { return isnan(p.in(0)); }),
      ANYGPU_POINTWISE("isinf", 1, [](P& p) { return abs(p.in(0)) == kInf; }),
      ANYGPU_POINTWISE("isfinite", 1, [](P& p) { return abs(p.in(0)) < kInf; }),
      ANYGPU_POINTWISE("nan_to_num", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(isnan(x), p.s(0), select(x == kInf, p.s(1), select(x == -kInf, p.s(2), x)));
                       }),
      ANYGPU_POINTWISE("bitwise_not", 1, [](P& p) { return !p.raw(0); }),
      ANYGPU_POINTWISE("logical_not", 1, [](P& p) { return !p.truth(0); }),
      /// frexp: outputs mantissa, exponent
      ANYGPU_POINTWISE("frexp", 2, frexp),
      ANYGPU_POINTWISE("logit", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return log(x / (1.0 - x));
                       }),
      ANYGPU_POINTWISE("logit_eps", 1,
                       [](P& p) {
                         Val x = max(min(p.in(0), 1.0 - p.s(0)), p.s(0));
                         return log(x / (1.0 - x));
                       }),
      /// -x log x; 0 at 0, -inf below
      ANYGPU_POINTWISE("entr", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(isnan(x), x, select(x > 0.0, -x * log(x), select(x == 0.0, p.c(0), p.c(-kInf))));
                       }),
  };
  return table;
}

}  // namespace anygpu::ops
