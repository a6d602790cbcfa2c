// Special functions that iterate: orthogonal polynomials by their recurrences (DLMF 18.9), the incomplete gamma functions.
#include <cmath>
#include <limits>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Iteration;
using ir::repeat;
using ir::Val;
using P = Pointwise;
using Vals = std::vector<Val>;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr int kMostDegrees = 4096;

// ---- orthogonal polynomials of whole degree ----
// The degree is truncated; below 0, and where it is NaN, the result is 0, as PyTorch has it.

/// p(n) from p(0) = 1, p(1) and p(k + 1) = next(k, p(k), p(k - 1)), until it is NaN. Gives p(min(n, most + 1)).
template <class F>
Val recurrence(Val n, Val p1, int most, F next) {
  const Val one = like(n, 1);
  const Vals last = repeat(most, {one, p1, one}, [&](const Vals& now) {
    const Val k = now[0], p = now[1];
    return Iteration{(k < n) & (p == p), {k + 1.0, next(k, p, now[2]), p}};
  });
  return select(n >= 0.0, select(n < 1.0, one, last[1]), like(n, 0));
}

/// The same; degrees that it does not reach are refused.
template <class F>
Val recurrence_or_refusal(Val n, Val p1, F next) {
  const Val p = recurrence(n, p1, kMostDegrees, next);
  return select(check((n <= kMostDegrees + 1.0) | isnan(n) | isnan(p), ir::Fault::BadArgument), p, like(p, kNaN));
}

Val hermite_h(Val x, Val n) {
  const Val twice = x + x;
  return recurrence(n, twice, 512, [&](Val k, Val p, Val before) { return twice * p - (k + k) * before; });
}
Val hermite_he(Val x, Val n) {
  return recurrence(n, x, 512, [&](Val k, Val p, Val before) { return x * p - k * before; });
}
// Both divide before they multiply: what passes the largest number is the result, not what it is made of.
Val laguerre(Val x, Val n) {
  const Val p1 = 1.0 - x;
  return recurrence_or_refusal(n, p1, [&](Val k, Val p, Val before) {
    const Val next = (k + k + p1) / (k + 1.0) * p - k / (k + 1.0) * before;
    return select(x == 0.0, like(x, 1), next);
  });
}
Val legendre(Val x, Val n) {
  return recurrence_or_refusal(n, x, [&](Val k, Val p, Val before) { return x * p + k / (k + 1.0) * (x * p - before); });
}

enum class Kind { T, U, V, W };

/// Chebyshev polynomials by their trigonometric and hyperbolic forms (DLMF 18.5).
template <Kind kind>
Val closed_form(Val x, Val n) {
  Val odd = (n % 2.0) != 0.0, a = abs(x);
  Val inside = a < 1.0;
  Val angle = acos(max(min(x, 1.0), -1.0)), width = acosh(max(a, 1.0));
  double shift = kind == Kind::T ? 0 : kind == Kind::U ? 1 : 0.5;
  Val k = n + shift;
  // on [-1, 1]; outside of it for x > 1, and x < -1 follows by symmetry: V and W change places
  Val trigonometric, over, under;
  auto sinhs = sinh(k * width) / sinh(width * (kind == Kind::U ? 1.0 : 0.5));
  auto coshs = cosh(k * width) / cosh(width * 0.5);
  Val one = like(x, 1), at_one, at_minus_one;
  Val sign = select(odd, like(x, -1), one);
  if constexpr (kind == Kind::T) {
    trigonometric = cos(k * angle), over = cosh(k * width), under = sign * over, at_one = one, at_minus_one = sign;
  } else if constexpr (kind == Kind::U) {
    trigonometric = sin(k * angle) / sin(angle), over = sinhs, under = sign * over, at_one = n + 1.0, at_minus_one = sign * (n + 1.0);
  } else if constexpr (kind == Kind::V) {
    trigonometric = cos(k * angle) / cos(angle * 0.5), over = coshs, under = sign * sinhs, at_one = one,
    at_minus_one = sign * (n + n + 1.0);
  } else {
    trigonometric = sin(k * angle) / sin(angle * 0.5), over = sinhs, under = sign * coshs, at_one = n + n + 1.0, at_minus_one = sign;
  }
  Val value = select(inside, trigonometric, select(x == 1.0, at_one, select(x == -1.0, at_minus_one, select(x > 0.0, over, under))));
  return select(n >= 0.0, value, like(x, 0));
}

/// Inside of (-1, 1) low degrees by the recurrence, which is exact where they are whole numbers; outside, where it grows, until it passes
/// all numbers.
template <Kind kind>
Val chebyshev(Val x, Val n) {
  constexpr int kMost = 1024;
  constexpr double kLow = kind == Kind::T ? 6 : 8;
  const Val twice = x + x;
  const Val p1 = kind == Kind::T ? x : kind == Kind::U ? twice : kind == Kind::V ? twice - 1.0 : twice + 1.0;
  const Val closes = ((abs(x) < 1.0) & (n > kLow)) | ((abs(x) == 1.0) & (n > 0.0));
  const Val p = recurrence(select(closes, like(n, 1), n), p1, kMost, [&](Val, Val p, Val before) { return twice * p - before; });
  return select(closes | ((n > kMost + 1.0) & (p == p)), closed_form<kind>(x, n), p);
}

template <Val (*polynomial)(Val, Val)>
Val of_degree(P& p) {
  return polynomial(p.in(0), trunc(p.in(1)));
}
template <Kind kind>
Val shifted(P& p) {
  const Val x = p.in(0);
  return chebyshev<kind>(x + x - 1.0, trunc(p.in(1)));
}

// ---- incomplete gamma functions ----

constexpr int kMostTerms = 2048;
constexpr double kLargeA = 2e4;  // from where the uniform expansion serves, before series take more than kMostTerms

double epsilon_of(Val v) {
  return v.type() == DType::F64 ? 0x1p-53 : 0x1p-24;
}

/// c[0] + c[1] x + ...
Val horner(Val x, std::initializer_list<double> c) {
  Val r = like(x, std::data(c)[c.size() - 1]);
  for (size_t i = c.size() - 1; i-- > 0;) r = r * x + std::data(c)[i];
  return r;
}

/// mu - log(1 + mu), by the series of artanh where the two are close
Val phi(Val mu) {
  const Val s = mu / (mu + 2.0), z = s * s;
  const Val series = horner(z, {1.0 / 3, 1.0 / 5, 1.0 / 7, 1.0 / 9, 1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21});
  return select(abs(mu) < 0.4, mu * s - 2.0 * s * z * series, mu - log1p(mu));
}

/// log Gamma(1 + a), a > 0, of full relative precision near 0: a sum over (-a)^k zeta(k) / k (DLMF 5.7.3)
Val lgamma_1p(Val a) {
  const Val near = horner(-min(a, 0.25), {0,
                                          0.57721566490153286061,
                                          0.822467033424113218,
                                          0.400685634386531428,
                                          0.270580808427784548,
                                          0.207385551028673985,
                                          0.16955717699740819,
                                          0.144049896768846118,
                                          0.125509669524743042,
                                          0.11133426586956469,
                                          0.100099457512781809,
                                          0.0909540171458290422,
                                          0.083353840546109004,
                                          0.0769325164113521915,
                                          0.0714329462953613361,
                                          0.066668705882420468,
                                          0.0625009551412130407,
                                          0.0588239786586845823,
                                          0.0555557676274036111,
                                          0.0526316793796166607,
                                          0.0500000476981016936});
  return select(a < 0.25, near, lgamma(a + 1.0));
}

/// P(a, x) and Q = 1 - P for a and x above 0 and finite. Which way serves where is the caller's to choose.
struct IncompleteGamma {
  Val a, x;
  Val mu;        ///< (x - a) / a
  Val exponent;  ///< x^a e^-x / Gamma(a + 1) = e^exponent
  Val large;     ///< uniform() serves, and nothing else

  IncompleteGamma(Val a, Val x) : a(a), x(x), mu((x - a) / a) {
    const Val b = max(a, 10.0), z = 1.0 / (b * b);  // Stirling's series (DLMF 5.11.1)
    const Val stirling = horner(z, {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156}) / b;
    const Val far = -a * phi(mu) - stirling - 0.5 * log(2 * M_PI * b);
    exponent = select(a < 10.0, a * log(x) - x - lgamma_1p(a), far);
    large = a > kLargeA;
  }

  /// P by its series (DLMF 8.11.4), where `here` holds
  Val lower(Val here) const {
    const Val one = like(a, 1);
    const double eps = epsilon_of(a);
    const Vals last = repeat(kMostTerms, {a + 1.0, one, one}, [&](const Vals& now) {
      const Val term = now[1] * x / now[0];
      return Iteration{here & (now[1] > now[2] * eps), {now[0] + 1.0, term, now[2] + term}};
    });
    return exp(exponent) * last[2];
  }

  /// Q by its continued fraction (DLMF 8.9.2) after Lentz and Thompson, where `here` holds
  Val upper(Val here) const {
    const double eps = 2 * epsilon_of(a), tiny = 1e-30;
    auto not_0 = [&](Val v) { return select(abs(v) < tiny, like(v, tiny), v); };
    const Val b0 = x + 1.0 - a, d0 = 1.0 / not_0(b0);
    const Vals last = repeat(kMostTerms, {like(a, 1), b0 + 2.0, like(a, 1 / tiny), d0, d0, here}, [&](const Vals& now) {
      const Val i = now[0], b = now[1], an = i * (a - i);
      const Val d = 1.0 / not_0(an * now[3] + b), c = not_0(b + an / now[2]), factor = c * d;
      return Iteration{now[5], {i + 1.0, b + 2.0, c, d, now[4] * factor, now[5] & (abs(factor - 1.0) > eps)}};
    });
    return exp(exponent) * a * last[4];
  }

  /// Q for small x, also where it is small beside P (DLMF 8.7.1)
  Val upper_small(Val here) const {
    const double eps = epsilon_of(a);
    const Val minus = -x;
    // n, (-x)^n / n!, the sum of that / (a + n)
    const Vals last = repeat(64, {like(a, 1), minus, minus / (a + 1.0)}, [&](const Vals& now) {
      const Val n = now[0] + 1.0, power = now[1] * minus / n;
      return Iteration{here & (abs(now[1]) > eps * abs(now[2])), {n, power, now[2] + power / (a + n)}};
    });
    const Val log_g = a * log(x) - lgamma_1p(a);
    return -expm1(log_g) - exp(log_g) * a * last[2];
  }

  /// P for large a; with sign -1, Q: Temme's uniform expansion (DLMF 8.12.3 to 8.12.10)
  Val uniform(double sign) const {
    const Val half_square = phi(mu), magnitude = sqrt(half_square * 2.0), eta = select(mu < 0.0, -magnitude, magnitude);
    const Val t = max(min(eta, 0.5), -0.5);  // beyond, the exponential is 0
    const Val c0 =
        horner(t, {-0.3333333333333333, 0.08333333333333333, -0.014814814814814815, 0.0011574074074074073, 0.0003527336860670194,
                   -0.0001787551440329218, 3.919263178522438e-05, -2.185448510679992e-06, -1.85406221071516e-06, 8.296711340953087e-07,
                   -1.7665952736826078e-07, 6.707853543401498e-09, 1.0261809784240309e-08, -4.382036018453353e-09, 9.14769958223679e-10});
    const Val c1 = horner(t, {-0.001851851851851852, -0.003472222222222222, 0.0026455026455026454, -0.0009902263374485596,
                              0.00020576131687242798, -4.018775720164609e-07, -1.8098550334489977e-05});
    const Val rest = exp(-a * half_square) / sqrt(2 * M_PI * a) * (c0 + (c1 + 0.004133597883597883 / a) / a);
    return 0.5 * erfc(-sign * eta * sqrt(a * 0.5)) - sign * rest;
  }
};

/// The values at the edges, as PyTorch has them: `at_0` where x is 0, and the other of 0 and 1 where x is infinite.
Val with_edges(Val a, Val x, Val inside, double at_0) {
  const Val nan = like(a, kNaN), zero = like(a, at_0), one = like(a, 1 - at_0);
  Val r = select(isnan(a) | isnan(x), nan, inside);
  r = select(x == kInf, one, r);
  r = select(a == kInf, select(x == kInf, nan, zero), r);
  r = select(x == 0.0, zero, r);
  r = select(a == 0.0, select(x > 0.0, one, nan), r);
  return select((x < 0.0) | (a < 0.0), nan, r);
}

/// a and x where both are above 0 and finite, else 1.
struct Inside {
  Val holds, a, x;
  explicit Inside(P& p) : holds(has(p.in(0)) & has(p.in(1))), a(select(holds, p.in(0), p.c(1))), x(select(holds, p.in(1), p.c(1))) {}
  static Val has(Val v) { return (v > 0.0) & (v < kInf); }
};

Val igamma(P& p) {
  const Inside in(p);
  const IncompleteGamma g(in.a, in.x);
  const Val by_upper = (in.x > 1.0) & (in.x > in.a) & !g.large, by_lower = !(by_upper | g.large);
  const Val value = select(by_upper, 1.0 - g.upper(in.holds & by_upper), g.lower(in.holds & by_lower));
  return with_edges(p.in(0), p.in(1), select(g.large, g.uniform(1), value), 0);
}

Val igammac(P& p) {
  const Inside in(p);
  const Val a = in.a, x = in.x;
  const IncompleteGamma g(a, x);
  const Val by_upper = (x > 1.1) & (x >= a) & !g.large;
  const Val p_near_1 = select(x <= 0.5, log(x) * a >= -0.4, x * 1.1 >= a);
  const Val small = (x <= 1.1) & p_near_1 & !g.large, by_lower = !(by_upper | small | g.large);
  const Val below = select(small, g.upper_small(in.holds & small), 1.0 - g.lower(in.holds & by_lower));
  const Val value = select(by_upper, g.upper(in.holds & by_upper), below);
  return with_edges(p.in(0), p.in(1), select(g.large, g.uniform(-1), value), 1);
}

}  // namespace

OpTable pointwise_iterated() {
  static const Op table[] = {
      ANYGPU_POINTWISE("chebyshev_t", 1, of_degree<chebyshev<Kind::T>>),
      ANYGPU_POINTWISE("chebyshev_u", 1, of_degree<chebyshev<Kind::U>>),
      ANYGPU_POINTWISE("chebyshev_v", 1, of_degree<chebyshev<Kind::V>>),
      ANYGPU_POINTWISE("chebyshev_w", 1, of_degree<chebyshev<Kind::W>>),
      ANYGPU_POINTWISE("shifted_chebyshev_t", 1, shifted<Kind::T>),
      ANYGPU_POINTWISE("shifted_chebyshev_u", 1, shifted<Kind::U>),
      ANYGPU_POINTWISE("shifted_chebyshev_v", 1, shifted<Kind::V>),
      ANYGPU_POINTWISE("shifted_chebyshev_w", 1, shifted<Kind::W>),
      ANYGPU_POINTWISE("hermite_h", 1, of_degree<hermite_h>),
      ANYGPU_POINTWISE("hermite_he", 1, of_degree<hermite_he>),
      ANYGPU_POINTWISE("laguerre_l", 1, of_degree<laguerre>),
      ANYGPU_POINTWISE("legendre_p", 1, of_degree<legendre>),
      ANYGPU_POINTWISE("igamma", 1, igamma),
      ANYGPU_POINTWISE("igammac", 1, igammac),
  };
  return table;
}

}  // namespace anygpu::ops
