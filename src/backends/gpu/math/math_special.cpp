// erf, lgamma, and what is exact by hand: remainders, neighbours.
#include <cmath>

#include "ir/minimax.h"
#include "math.h"

namespace anygpu::gpu {
namespace {

// Chebyshev coefficients, fitted by us with mpmath at 50 digits (interpolation at the nodes, cut below 2^-56 of the first, which counts
// half).

/// erf(x) / x in 2 x^2 - 1, |x| <= 1
constexpr double kErf[] = {1.9509538787653082,    -0.14226120510371364,    0.010035582187599796,   -0.00057687646997674848,
                           2.7419931252196061e-5, -1.1043175507344508e-6,  3.8488755420345037e-8,  -1.1808582533875467e-9,
                           3.233421582605091e-11, -7.9910159470045488e-13, 1.7990725113961456e-14, -3.7186354878186926e-16};
/// (1 + 2x) e^(x^2) erfc(x), x >= 1/2, in v = (x - 3) / (x + 3), which runs from -5/7 to 1
constexpr double kErfcx[] = {2.4262354418543496,      -0.072254736465635417,   -0.026321892764591841,   0.019186588533428105,
                             -0.0066823503109281086,  0.0015522847050575516,   -0.00023571658348154883, 1.5690562205135215e-5,
                             2.153875719667169e-6,    -6.0125746278594034e-7,  1.385495032373469e-8,    1.3575814484981858e-8,
                             -1.3070972098216165e-9,  -3.0637332756962433e-10, 5.0628737904429226e-11,  8.0502301754733664e-12,
                             -1.7498748537745756e-12, -2.6365751550675017e-13, 5.9099495609161016e-14,  1.0548903434033038e-14,
                             -1.9235642644110693e-15, -4.7642694402942553e-16, 5.5009308253497079e-17};
/// lgamma(x) / ((x - 1)(x - 2)) in x - 2, 1 <= x <= 3
constexpr double kLgamma[] = {0.88297805091002842,    -0.11119580321752522,    0.019510448260688841,   -0.003922461463025264,
                              0.00084789898959538574, -0.00019153855341365592, 4.4544701849756064e-5,  -1.05728743735943e-5,
                              2.5474336873408415e-6,  -6.208535880776316e-7,   1.5268677399071547e-7,  -3.7826376602913261e-8,
                              9.4281008236242844e-9,  -2.3619997021846449e-9,  5.9435419058175461e-10, -1.5013129770728669e-10,
                              3.8050196458110537e-11, -9.6724852996563246e-12, 2.4653481983556609e-12, -6.2988681407917115e-13,
                              1.6128460030283786e-13, -4.1379492068140421e-14, 1.0635701227757898e-14, -2.7382420786652825e-15,
                              7.0606705072148925e-16, -1.8232177141662119e-16, 4.7141690067562716e-17};

}  // namespace

// e^(-x^2) in two factors: x^2 would be rounded, and its exponential magnifies that.
Value Math::erfc_positive(Value x) {
  const Value near = least(x, k(f32 ? 11 : 28));
  const Value high = real(bits(near) & whole(f32 ? 0xfffff000 : static_cast<int64_t>(0xfffffffff8000000)));  // its square is exact
  const Value e = exp(-(high * high)) * exp((high - near) * (high + near));
  const Value v = (near - k(3)) / (near + k(3)), u = (v - k(1.0 / 7)) * k(7.0 / 6);
  return e * chebyshev(u, kErfcx) / (k(1) + near + near);
}

Value Math::erf(Value x) {
  const Value a = abs(x), s = x * x;
  if (f32) {
    const Value small = polynomial(s, ir::minimax::kErf) * x + x;
    const Value near = pick(a > k(3.95), k(3.95), a);  // beyond, 1
    const Value large = k(1) - small_exp(-polynomial(near, ir::minimax::kLogErfc));
    return pick(is_nan(x), x, pick(a < k(0.93), small, with_sign_of(large, x)));
  }
  const Value small = x * chebyshev(least(s, k(1)) * k(2) - k(1), kErf), large = k(1) - erfc_positive(greatest(a, k(0.5)));
  return pick(is_nan(x), x, pick(a < k(1), small, with_sign_of(large, x)));
}

// erfc(-x), since 1 + erf(x) as such is rounded by more than erfc(-x) has left below -3. erfc(a) = 2^(a p(a)) for a >= 0. One way for all
// x, no polynomials side by side as in erf: a small sum may be wrong by as much as a large one is rounded.
Value Math::one_plus_erf(Value x) {
  const Value a = abs(x), near = pick(a > k(16), k(16), a);
  const Value y = near * paired_polynomial(near, ir::minimax::kLog2Erfc);
  const Value bounded = pick(y < k(-127), k(-127), y);
  const Nearest n = nearest(bounded, 1);
  const Value complement = paired_polynomial(bounded - n.value, ir::minimax::kExp2) * power_of_2(n.whole);  // 2^-127 counts as 0
  const Value r = pick(x < k(0), complement, k(2) - complement);
  return b.preserves_specials() ? r : pick(is_nan(x), x, r);
}

Value Math::erfc(Value x) {
  const Value a = abs(x), s = least(x * x, k(1));
  const Value small = k(1) - x * chebyshev(s * k(2) - k(1), kErf), far = erfc_positive(greatest(a, k(0.5)));
  const Value large = pick(x < k(0), k(2) - far, far);
  return pick(is_nan(x), x, pick(a < k(0.5), small, large));
}

// 1 to 3: a series. Above: the recurrence down to it, then Stirling's series. Below: the recurrence up.
Value Math::lgamma_positive(Value x) {
  const Value below = x < k(1);
  Value y = pick(below, x + k(1), least(x, k(10))), product = pick(below, x, k(1));
  for (int i = 0; i < 7; ++i) {
    const Value down = y > k(3);
    y = pick(down, y - k(1), y);
    product = pick(down, product * y, product);
  }
  const Value series = (y - k(1)) * (y - k(2)) * chebyshev(y - k(2), kLgamma);
  const Value l = log(product), near = pick(below, series - l, series + l);
  const Value z = greatest(x, k(8)), w = k(1) / z;
  constexpr double stirling[] = {1.0 / 12, -1.0 / 360, 1.0 / 1260, -1.0 / 1680, 1.0 / 1188, -691.0 / 360360, 1.0 / 156};
  const Value far = (z - k(0.5)) * (log(z) - k(1)) + (k(0.41893853320467274178) + w * polynomial(w * w, stirling, f32 ? 3 : 7));
  return pick(x < k(10), near, far);
}

Value Math::lgamma(Value x) {
  const Value a = abs(x), negative = x < k(0);
  // Below 0: |gamma(x) gamma(-x)| = pi / |x sin(pi x)|.
  const Value part = a - round_even(a);
  const Value sine = abs(sin_pi(part));
  const Value at = pick(negative & (part != k(0)), a, pick(negative | (a == k(0)) | (a == infinity()), k(1), a));
  const Value of_a = lgamma_positive(at);
  const Value reflected = log(k(M_PI) / (at * pick(sine == k(0), k(1), sine))) - of_a;
  const Value tiny = a < k(f32 ? 0x1p-30 : 0x1p-60);
  const Value r = pick(tiny, -log(a), pick(negative, reflected, of_a));
  const Value pole = ((x <= k(0)) & (part == k(0))) | (a == infinity());
  return pick(is_nan(x), x, pick(pole, infinity(), r));
}

Value Math::sin_pi(Value r) {
  // |r| <= 1 / 2; the polynomial reaches to a quarter.
  const Value a = abs(r), near = a < k(0.25);
  return pick(near, sin_poly(a * k(M_PI)), cos_poly((k(0.5) - a) * k(M_PI)));
}

Value Math::hypot(Value x, Value y) {
  const Value ax = abs(x), ay = abs(y), most = greatest(ax, ay);
  const double far = f32 ? 0x1p60 : 0x1p500, step = f32 ? 0x1p80 : 0x1p600;
  const Value large = most > k(far), small = most < k(1 / far);
  const Value by = pick(large, k(1 / step), pick(small, k(step), k(1))), back = pick(large, k(step), pick(small, k(1 / step), k(1)));
  const Value p = ax * by, q = ay * by;
  const Value r = sqrt(p * p + q * q) * back;
  const Value endless = (ax == infinity()) | (ay == infinity());
  return pick(endless, infinity(), pick(is_nan(x) | is_nan(y), nan(), r));
}

// Long division on the mantissas, some bits of the quotient at a time: exact, as fmod is.
Value Math::rem(Value x, Value y) {
  const int mantissa = f32 ? 23 : 52, at_once = f32 ? 8 : 11;
  const Value low = whole(f32 ? 0x7fffff : 0xfffffffffffff), one = whole(1), hidden = whole(int64_t{1} << mantissa);
  const Value a = bits(abs(x)), d = bits(abs(y));
  auto exponent = [&](Value v) { return pick(v > low, v >> mantissa, one); };
  auto digits = [&](Value v) { return pick(v > low, (v & low) | hidden, v); };
  const Value no_value = is_nan(x) | is_nan(y) | (abs(x) == infinity()) | (d == whole(0));
  const Value divisor = pick(no_value, one, digits(d)), ea = exponent(a), ed = exponent(d);
  const Variable rest = b.variable(bits_type), left = b.variable(bits_type);
  const Value bring = no_value | (a < d) | (abs(y) == infinity());
  rest.set(pick(bring, whole(0), digits(a) % divisor));
  left.set(pick(bring, whole(0), ea - ed));
  b.repeat([&] {
    const Value l = left.get(), step = pick(l < whole(at_once), l, whole(at_once));
    rest.set((rest.get() << step) % divisor);
    left.set(l - step);
    return l > step;
  });
  // rest * 2^(ed - bias): the highest bit goes to its place.
  const Value r = rest.get();
  const Value as_float = b.op(Op::UnsignedToFloat, t, {r});  // exact; its exponent tells where the highest bit stands
  const Value place = (bits(as_float) >> mantissa) - whole(f32 ? 127 : 1023);
  const Value up = pick(r == whole(0), whole(0), whole(mantissa) - place);
  const Value room = ed - one, shift = pick(up < room, up, room);  // no further than to a subnormal
  const Value moved = r << shift;
  const Value normal = moved >= hidden;
  const Value result = pick(normal, (moved - hidden) | ((ed - shift) << mantissa), moved);
  const Value magnitude = pick(r == whole(0), whole(0), result);
  const Value same = (a < d) | (abs(y) == infinity());
  const Value signed_result = real(magnitude | sign_bit(x));
  return pick(no_value, nan(), pick(same, x, signed_result));
}

// Of f64 by hand: what Mesa's software device makes of it without AVX-512 goes by way of integers, which know no -0, and takes all beyond
// 2^24 for whole. No mode declares that a device keeps a zero's sign in f64 (f32: as far as it says so), so the sign is put back.
Value Math::nearest_magnitude(Value a) {
  const Value top = k(0x1p52);  // from here on all are whole; below, adding it leaves no room for a fraction
  return pick(a < top, (a + top) - top, a);
}

Value Math::round_even(Value x) {
  return with_sign_of(f32 ? b.op(Op::RoundEven, t, {x}) : nearest_magnitude(abs(x)), x);
}

Value Math::trunc(Value x) {
  if (f32) return with_sign_of(b.op(Op::Trunc, t, {x}), x);
  const Value a = abs(x), n = nearest_magnitude(a);
  return with_sign_of(pick(n > a, n - k(1), n), x);
}

Value Math::floor(Value x) {
  if (f32) return with_sign_of(b.op(Op::Floor, t, {x}), x);
  const Value n = round_even(x);
  return with_sign_of(pick(n > x, n - k(1), n), x);
}

Value Math::ceil(Value x) {
  if (f32) return with_sign_of(b.op(Op::Ceil, t, {x}), x);
  const Value n = round_even(x);
  return with_sign_of(pick(n < x, n + k(1), n), x);
}

Value Math::nextafter(Value x, Value y) {
  const Value zero = whole(0), one = whole(1);
  const Value a = bits(x), less = x < y;
  const Value is_zero = (a & ~sign_mask()) == zero;
  const Value positive = (a & sign_mask()) == zero;
  const Value away = pick(positive, less, !less);  // from zero
  const Value stepped = pick(away, a + one, a - one);
  const Value from_zero = one | sign_bit(y);
  const Value r = real(pick(is_zero, from_zero, stepped));
  // Compared as bits where both are so small that a device might take them for equal.
  const Value equal = (x == y) & ((bits(x) == bits(y)) | (is_zero & ((bits(y) & ~sign_mask()) == zero)));
  return pick(is_nan(x) | is_nan(y), nan(), pick(equal, y, r));
}

}  // namespace anygpu::gpu
