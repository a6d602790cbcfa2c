// Special functions, from Chebyshev series of our own fitting and formulas of Abramowitz and Stegun's Handbook (AS) and the NIST
// Digital Library of Mathematical Functions (DLMF); each cites its own.
#include <cmath>
#include <limits>

#include "ops/special_coefficients.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;
using namespace coefficients;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// sum c[j] T_j(t), the first term halved, by Clenshaw's recurrence. |t| <= 1. Terms too small for f32 are left out there.
template <size_t n>
Val chebyshev(const double (&c)[n], Val t) {
  size_t terms = n;
  if (t.type() == DType::F32)
    while (terms > 2 && std::abs(c[terms - 1]) < 1e-9 * std::abs(c[0])) --terms;
  Val b1 = like(t, c[terms - 1]), b2 = like(t, 0), twice = t + t;
  for (size_t j = terms - 1; j-- > 1;) {
    Val b0 = twice * b1 - b2 + c[j];
    b2 = b1;
    b1 = b0;
  }
  return t * b1 - b2 + c[0] / 2;
}

// ---- modified Bessel functions of the first kind ----

/// e^-|x| I0(x): a series in |x| / 4 - 1 up to 8; beyond, sqrt|x| times it in 16 / |x| - 1
Val i0e(Val x) {
  Val a = abs(x);
  return select(a <= 8.0, chebyshev(kI0Low, a * 0.25 - 1.0), chebyshev(kI0High, 16.0 / max(a, 8.0) - 1.0) / sqrt(a));
}
Val i0(Val x) {
  return i0e(x) * exp(abs(x));
}
/// e^-|x| I1(x)
Val i1e(Val x) {
  Val a = abs(x);
  return select(a <= 8.0, chebyshev(kI1Low, a * 0.25 - 1.0) * x, copysign(chebyshev(kI1High, 16.0 / max(a, 8.0) - 1.0) / sqrt(a), x));
}

// ---- of the second kind, scaled by e^x: AS 9.6.11 and 9.6.13 up to 2, an asymptotic form beyond ----

Val k0e(Val x) {
  Val z = min(x, 2.0), t = z * z * 0.5 - 1.0;
  Val low = exp(z) * (chebyshev(kK0Low, t) - log(z * 0.5) * chebyshev(kI0Small, t));
  Val high = chebyshev(kK0High, 4.0 / max(x, 2.0) - 1.0) / sqrt(x);
  return select(x < 0.0, like(x, kNaN), select(x == 0.0, like(x, kInf), select(x <= 2.0, low, high)));
}
Val k1e(Val x) {
  Val z = min(x, 2.0), t = z * z * 0.5 - 1.0;
  Val low = exp(z) * (chebyshev(kK1Low, t) / z + log(z * 0.5) * chebyshev(kI1Small, t) * z);
  Val high = chebyshev(kK1High, 4.0 / max(x, 2.0) - 1.0) / sqrt(x);
  return select(x < 0.0, like(x, kNaN), select(x == 0.0, like(x, kInf), select(x <= 2.0, low, high)));
}

// ---- Bessel functions: series up to 8, modulus and phase beyond (AS 9.2.5 ff.) ----

struct Asymptotic {
  Val p, q, sine, cosine, scale;
};
template <size_t n, size_t m>
Asymptotic asymptotic(const double (&p)[n], const double (&q)[m], Val x, double phase) {
  Val a = max(x, 8.0), r = 8.0 / a, t = 2.0 * r * r - 1.0, at = a - phase;
  return {chebyshev(p, t), chebyshev(q, t) / a, sin(at), cos(at), sqrt(like(a, M_2_PI) / a)};
}
Val low_argument(Val x) {
  Val a = min(abs(x), 8.0);
  return a * a * (1.0 / 32) - 1.0;
}
Val j0(Val x) {
  Val a = abs(x);
  Asymptotic s = asymptotic(kP0, kQ0, a, M_PI_4);
  return select(a <= 8.0, chebyshev(kJ0Low, low_argument(x)), s.scale * (s.p * s.cosine - s.q * s.sine));
}
Val j1(Val x) {
  Val a = abs(x);
  Asymptotic s = asymptotic(kP1, kQ1, a, 3 * M_PI_4);
  Val far = s.scale * (s.p * s.cosine - s.q * s.sine);
  return select(a <= 8.0, chebyshev(kJ1Low, low_argument(x)) * x, select(x < 0.0, -far, far));
}
Val y0(Val x) {
  Asymptotic s = asymptotic(kP0, kQ0, x, M_PI_4);
  Val z = max(min(x, 8.0), 0.0), t = low_argument(z);
  Val low = M_2_PI * log(z) * chebyshev(kJ0Low, t) + chebyshev(kY0Low, t);
  Val y = select(x <= 8.0, low, s.scale * (s.p * s.sine + s.q * s.cosine));
  return select(x < 0.0, like(x, kNaN), select(x == 0.0, like(x, -kInf), y));
}
Val y1(Val x) {
  Asymptotic s = asymptotic(kP1, kQ1, x, 3 * M_PI_4);
  Val z = max(min(x, 8.0), 0.0), t = low_argument(z);
  Val low = M_2_PI * (log(z) * chebyshev(kJ1Low, t) * z - 1.0 / z) + chebyshev(kY1Low, t) * z;
  Val y = select(x <= 8.0, low, s.scale * (s.p * s.sine + s.q * s.cosine));
  return select(x < 0.0, like(x, kNaN), select(x == 0.0, like(x, -kInf), y));
}
/// sin x / x, by its Taylor series near 0
Val spherical_j0(Val x) {
  Val z = x * x;
  Val small = 1.0 + z * (-1.0 / 6) * (1.0 - z * (1.0 / 20) * (1.0 - z * (1.0 / 42) * (1.0 - z * (1.0 / 72))));
  return select(abs(x) == kInf, like(x, 0), select(abs(x) < 0.5, small, sin(x) / x));
}

// ---- gamma and its kin ----

/// psi: reflection (DLMF 5.5.4) below 0, recurrence up to 10, Stirling's series (5.11.2)
Val digamma(Val x) {
  Val one = like(x, 1), negative = x < 0.0;
  Val y = select(negative, 1.0 - x, x);
  Val sum = like(x, 0);
  for (int i = 0; i < 10; ++i) {
    Val low = y < 10.0;
    sum = select(low, sum - 1.0 / y, sum);
    y = select(low, y + 1.0, y);
  }
  Val z = one / (y * y);
  Val tail = z * (1.0 / 12 - z * (1.0 / 120 - z * (1.0 / 252 - z * (1.0 / 240 - z * (1.0 / 132 - z * (691.0 / 32760 - z * (1.0 / 12)))))));
  Val psi = sum + log(y) - 0.5 / y - tail;
  Val fraction = x - trunc(x);
  Val reflected = psi - M_PI / tan(M_PI * fraction);
  Val pole = negative & (fraction == 0.0);
  return select(x == 0.0, copysign(like(x, kInf), -x), select(pole, like(x, kNaN), select(negative, reflected, psi)));
}

/// Hurwitz' zeta, s > 1: the first terms, then Euler and Maclaurin's formula (DLMF 25.11.28). Terms are taken until q passes 10; q so far
/// below 0 that it takes too many is refused rather than wrong.
Val zeta(Val s, Val q) {
  constexpr int kMostTerms = 4096;
  static constexpr double kBernoulli[] = {1.0 / 12,
                                          -1.0 / 720,
                                          1.0 / 30240,
                                          -1.0 / 1209600,
                                          1.0 / 47900160,
                                          -691.0 / 1307674368000.0,
                                          1.0 / 74724249600.0,
                                          -3617.0 / 10670622842880000.0};  // B_2k / (2k)!
  Val ok = check((q > 10.0 - kMostTerms) | isnan(q), ir::Fault::BadArgument);
  const std::vector<Val> first = ir::repeat(kMostTerms, {q, like(q, 0)}, [&](const std::vector<Val>& now) {
    const Val a = now[0];
    return ir::Iteration{(a < 10.0) & (a + 1.0 > a), {a + 1.0, now[1] + pow(a, -s)}};
  });
  const Val a = first[0], sum = first[1];
  Val power = pow(a, -s);  // a^-s
  Val tail = a * power / (s - 1.0) + power * 0.5;
  Val factor = s * power / a;
  for (int k = 0; k < 8; ++k) {
    tail = tail + factor * kBernoulli[k];
    factor = factor * (s + 2.0 * k + 1.0) * (s + 2.0 * k + 2.0) / (a * a);
  }
  Val value = sum + tail;
  // poles and what is no number, as PyTorch has them
  Val pole = (q <= 0.0) & (q == floor(q));
  Val undefined = (s < 1.0) | ((q <= 0.0) & (s != floor(s)) & !pole);
  value = select(s == 1.0, like(q, kInf), select(undefined, like(q, kNaN), select(pole, like(q, kInf), value)));
  return select(ok, value, like(q, kNaN));
}

// ---- the normal distribution and its inverse ----

/// e^(x^2) erfc x: for x >= 0 a series in 8 / (4 + x) - 1, times 4 / (4 + x); below, 2 e^(x^2) - erfcx(-x)
Val erfcx(Val x) {
  Val y = 4.0 / (4.0 + abs(x));
  Val positive = chebyshev(kErfcx, 2.0 * y - 1.0) * y;
  return select(x < 0.0, 2.0 * exp(x * x) - positive, positive);
}

/// Where the normal distribution function is q, 0 <= q <= 0.5: AS 26.2.23 to 4.5e-4, then Newton's method on its logarithm
Val lower_ndtri(Val q) {
  Val log_q = log(q), t = sqrt(log_q * -2.0);
  Val x = (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308))) - t;
  for (int i = 0; i < 3; ++i) {
    Val scaled = erfcx(x * -M_SQRT1_2);
    Val error = log(scaled * 0.5) - x * x * 0.5 - log_q;
    x = x - error * scaled * std::sqrt(M_PI / 2);
  }
  return select(q == 0.0, like(q, -kInf), x);
}

Val ndtri(Val p) {
  Val upper = p > 0.5, x = lower_ndtri(select(upper, 1.0 - p, p));
  return select((p < 0.0) | (p > 1.0), like(p, kNaN), select(upper, -x, x));
}

/// Giles, Approximating the erfinv function (GPU Computing Gems, 2011), single precision; in f64 Newton's steps refine it near 0, and
/// the normal distribution's lower tail serves from 0.5 on.
Val erfinv(Val x) {
  Val w = -log((1.0 - x) * (1.0 + x));
  auto horner = [](Val v, std::initializer_list<double> c) {
    Val r = like(v, *c.begin());
    for (const double* p = c.begin() + 1; p != c.end(); ++p) r = r * v + *p;
    return r;
  };
  Val near = horner(w - 2.5, {2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
                              -0.00417768164, 0.246640727, 1.50140941});
  Val far = horner(sqrt(w) - 3.0, {-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
                                   0.00943887047, 1.00167406, 2.83297682});
  Val y = select(w < 5.0, near, far) * x;
  if (x.type() == DType::F64) {
    for (int i = 0; i < 2; ++i) y = y - (erf(y) - x) / (M_2_SQRTPI * exp(-y * y));
    y = select(abs(x) < 0.5, y, copysign(lower_ndtri((1.0 - abs(x)) * 0.5) * M_SQRT1_2, x));
  }
  return select(abs(x) == 1.0, copysign(like(x, kInf), x), select(abs(x) > 1.0, like(x, kNaN), y));
}

/// log of the normal distribution function; by erfcx in the lower tail
Val log_ndtr(Val x) {
  Val z = min(x, -1.0);
  Val low = log(erfcx(z * -M_SQRT1_2) * 0.5) - z * z * 0.5;
  return select(x < -1.0, low, log1p(erfc(x * M_SQRT1_2) * -0.5));
}

}  // namespace

OpTable pointwise_special() {
  static const Op table[] = {
      ANYGPU_POINTWISE("i0", 1, [](P& p) { return i0(p.in(0)); }),
      ANYGPU_POINTWISE("kaiser_window", 1,
                       [](P& p) {
                         Val x = (p.in(0) - p.s(0)) / p.s(0);
                         return i0(p.s(1) * sqrt(1.0 - x * x)) / i0(p.s(1));
                       }),
      ANYGPU_POINTWISE("i0e", 1, [](P& p) { return i0e(p.in(0)); }),
      ANYGPU_POINTWISE("i1", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return i1e(x) * exp(abs(x));
                       }),
      ANYGPU_POINTWISE("i1e", 1, [](P& p) { return i1e(p.in(0)); }),
      ANYGPU_POINTWISE("k0", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(x == 0.0, p.c(kInf), k0e(x) * exp(-x));
                       }),
      ANYGPU_POINTWISE("k0e", 1, [](P& p) { return k0e(p.in(0)); }),
      ANYGPU_POINTWISE("k1", 1,
                       [](P& p) {
                         Val x = p.in(0);
                         return select(x == 0.0, p.c(kInf), k1e(x) * exp(-x));
                       }),
      ANYGPU_POINTWISE("k1e", 1, [](P& p) { return k1e(p.in(0)); }),
      ANYGPU_POINTWISE("j0", 1, [](P& p) { return j0(p.in(0)); }),
      ANYGPU_POINTWISE("j1", 1, [](P& p) { return j1(p.in(0)); }),
      ANYGPU_POINTWISE("y0", 1, [](P& p) { return y0(p.in(0)); }),
      ANYGPU_POINTWISE("y1", 1, [](P& p) { return y1(p.in(0)); }),
      ANYGPU_POINTWISE("spherical_j0", 1, [](P& p) { return spherical_j0(p.in(0)); }),
      ANYGPU_POINTWISE("digamma", 1, [](P& p) { return digamma(p.in(0)); }),
      ANYGPU_POINTWISE("zeta", 1, [](P& p) { return zeta(p.in(0), p.in(1)); }),
      /// polygamma of order n >= 1: input x; scalars n + 1, (-1)^(n+1) n!
      ANYGPU_POINTWISE("polygamma", 1, [](P& p) { return p.s(1) * zeta(p.s(0), p.in(0)); }),
      ANYGPU_POINTWISE("erfcx", 1, [](P& p) { return erfcx(p.in(0)); }),
      ANYGPU_POINTWISE("erfinv", 1, [](P& p) { return erfinv(p.in(0)); }),
      ANYGPU_POINTWISE("log_ndtr", 1, [](P& p) { return log_ndtr(p.in(0)); }),
      ANYGPU_POINTWISE("ndtri", 1, [](P& p) { return ndtri(p.in(0)); }),
  };
  return table;
}

}  // namespace anygpu::ops
