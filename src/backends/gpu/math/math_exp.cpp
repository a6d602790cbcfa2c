// Exponentials, logarithms, and what is made of them.
#include <cmath>

#include "ir/minimax.h"
#include "math.h"

namespace anygpu::gpu {

namespace coefficients = ir::minimax;

namespace {
constexpr double kLog2E = 1.44269504088896340736, kLog10E = 0.43429448190325182765;
// In f64: the first has 32 bits, so that its product with an exponent is exact.
constexpr double kLn2High64 = 0.6931471803691238, kLn2Low64 = 1.908214929270587816e-10;
constexpr double kLog10Of2High64 = 0.3010299955494701862, kLog10Of2Low64 = 1.14511008980218384e-10;
}  // namespace

Value Math::sqrt(Value x) {
  return b.op(Op::Sqrt, t, {x});
}

Value Math::polynomial(Value x, const double* c, int n) {
  Value r = k(c[n - 1]);
  // One rounding or two: the device's choice. Nothing here depends on which.
  for (int i = n - 1; i-- > 0;) r = b.op(Op::Fma, t, {r, x, k(c[i])});
  return r;
}

Value Math::paired_polynomial(Value x, std::span<const double> c) {
  std::vector<Value> terms;
  for (size_t i = 0; i + 1 < c.size(); i += 2) terms.push_back(b.op(Op::Fma, t, {x, k(c[i + 1]), k(c[i])}));
  if (c.size() % 2) terms.push_back(k(c.back()));
  for (Value power = x * x; terms.size() > 1; power = power * power) {
    std::vector<Value> pairs;
    for (size_t i = 0; i + 1 < terms.size(); i += 2) pairs.push_back(b.op(Op::Fma, t, {terms[i + 1], power, terms[i]}));
    if (terms.size() % 2) pairs.push_back(terms.back());
    terms = std::move(pairs);
  }
  return terms[0];
}

Value Math::chebyshev(Value x, const double* c, int n) {
  const double small = (f32 ? 2e-9 : 2e-17) * std::fabs(c[0]);
  while (n > 2 && std::fabs(c[n - 1]) < small) --n;
  const Value twice = x + x;
  Value b1 = k(c[n - 1]), b2 = k(0);
  for (int j = n - 1; j-- > 1;) {
    const Value b0 = twice * b1 - b2 + k(c[j]);
    b2 = b1, b1 = b0;
  }
  return x * b1 - b2 + k(c[0] / 2);
}

// The whole number nearest to x * factor, for less than 2^22. NaN gives any number, and NaN. f32: adding 1.5 * 2^23 leaves no room for
// a fraction, and the number itself in the low bits.
Math::Nearest Math::nearest(Value x, double factor) {
  if (f32) {
    const Value magic = k(0x1.8p23), sum = (factor == 1 ? x : x * k(factor)) + magic;
    return {sum - magic, bits(sum) - whole(0x4b400000)};
  }
  const Value n = b.op(Op::RoundEven, t, {factor == 1 ? x : x * k(factor)});
  return {n, b.op(Op::FloatToSigned, bits_type, {n})};
}

Value Math::power_of_2(Value n) {
  const int mantissa = f32 ? 23 : 52;
  return real((n + whole(f32 ? 127 : 1023)) << mantissa);
}

// x * 2^n in two steps, so that neither overflows early nor subnormal results are lost.
Value Math::scale(Value x, Value n) {
  const Value half = arithmetic_shift(n, b.u32(1));
  return x * power_of_2(half) * power_of_2(n - half);
}

Value Math::reduce_ln2(Value x, Value n) {
  if (f32) return x - n * k(coefficients::kLn2High) - n * k(coefficients::kLn2Low);
  return x - n * k(kLn2High64) - n * k(kLn2Low64);
}

Value Math::exp_minus_1(Value r) {
  if (f32) return r * r * polynomial(r, coefficients::kExp) + r;
  double c[12];  // Taylor's
  double factorial = 1;
  for (int i = 0; i < 12; ++i) c[i] = 1 / (factorial *= i + 2);
  return r * r * polynomial(r, c) + r;
}

Value Math::exp(Value x) {
  const Value y = pick(x < k(f32 ? -104 : -746), k(f32 ? -104 : -746), pick(x > k(f32 ? 89 : 710), k(f32 ? 89 : 710), x));
  const Nearest n = nearest(y, kLog2E);
  const Value r = scale(exp_minus_1(reduce_ln2(y, n.value)) + k(1), n.whole);
  return pick(is_nan(x), x, r);
}

Value Math::small_exp(Value x) {
  const Nearest n = nearest(x, kLog2E);
  return (exp_minus_1(reduce_ln2(x, n.value)) + k(1)) * power_of_2(n.whole);
}

Value Math::exp2(Value x) {
  const Value y = pick(x < k(f32 ? -151 : -1076), k(f32 ? -151 : -1076), pick(x > k(f32 ? 129 : 1025), k(f32 ? 129 : 1025), x));
  const Nearest n = nearest(y, 1);
  return pick(is_nan(x), x, scale(exp_minus_1((y - n.value) * k(M_LN2)) + k(1), n.whole));
}

Value Math::expm1(Value x) {
  const Value top = k(f32 ? 89 : 710), bottom = k(f32 ? -20 : -40);
  const Value y = pick(x < bottom, bottom, pick(x > top, top, x));
  const Nearest n = nearest(y, kLog2E);
  const Value p = exp_minus_1(reduce_ln2(y, n.value));
  const Value half = power_of_2(n.whole - whole(1));  // of 2^n, which may be too large
  const Value r = half * p + (half - k(0.5));
  const Value tiny = abs(x) < k(f32 ? 0x1p-24 : 0x1p-53);
  return pick(tiny | is_nan(x), x, r + r);
}

Math::Split Math::split(Value x) {
  const int mantissa = f32 ? 23 : 52;
  const Value root = whole(f32 ? 0x3f3504f3 : 0x3fe6a09e667f3bcd);  // sqrt(1/2)
  const Value low = whole(f32 ? 0x7fffff : 0xfffffffffffff);
  // Too small to be normal: its bits, as a number, are it times 2^149 (2^1074).
  const Value given = bits(x), subnormal = given <= low;
  const Value normal = pick(subnormal, bits(b.op(Op::UnsignedToFloat, t, {given & low})), given);
  const Value shifted = normal - root;
  const Value m = real((shifted & low) + root);
  const Value e = b.op(Op::SignedToFloat, t, {arithmetic_shift(shifted, b.u32(static_cast<uint32_t>(mantissa)))});
  return {e - pick(subnormal, k(f32 ? 149 : 1074), k(0)), m - k(1)};
}

// log(1 + f) - f, for 1 + f from sqrt(1/2) to sqrt(2). f64: with s = f / (2 + f), log(1 + f) is 2 atanh(s).
Value Math::log_of_1_plus(Value f) {
  const Value half_square = f * f * k(0.5);
  if (f32) return polynomial(f, coefficients::kLog) * f * (f * f) - half_square;
  const Value s = f / (f + k(2)), z = s * s;
  double c[11];
  for (int i = 0; i < 11; ++i) c[i] = 2.0 / (2 * i + 3);
  return s * (half_square + z * polynomial(z, c)) - half_square;
}

Value Math::log_of_normal(Value x) {
  const Split p = split(x);
  const Value high = k(f32 ? coefficients::kLn2High : kLn2High64), low = k(f32 ? coefficients::kLn2Low : kLn2Low64);
  return p.e * high + (p.f + (p.e * low + log_of_1_plus(p.f)));
}

Value Math::log_guarded(Value x, Value r) {
  const Value special = pick(x == k(0), real(bits(infinity()) | sign_mask()), pick(x < k(0), nan(), x));  // infinity, NaN: themselves
  return pick((x > k(0)) & (x < infinity()) & !is_nan(x), r, special);
}

Value Math::log(Value x) {
  return log_guarded(x, log_of_normal(x));
}

Value Math::log2(Value x) {
  const Split p = split(x);
  return log_guarded(x, p.e + (p.f * k(kLog2E) + log_of_1_plus(p.f) * k(kLog2E)));
}

Value Math::log10(Value x) {
  const Split p = split(x);
  const Value high = k(f32 ? coefficients::kLog10Of2High : kLog10Of2High64), low = k(f32 ? coefficients::kLog10Of2Low : kLog10Of2Low64);
  return log_guarded(x, p.e * high + (p.f * k(kLog10E) + (log_of_1_plus(p.f) * k(kLog10E) + p.e * low)));
}

Value Math::log1p(Value x) {
  const Value u = k(1) + x, ok = (u > k(0)) & (u < infinity());
  const Value lost = (x - (u - k(1))) / u;  // what the addition rounded off
  const Value r = log_guarded(u, log_of_normal(u)) + pick(ok, lost, k(0));
  return pick((abs(x) < k(f32 ? 0x1p-24 : 0x1p-53)) | is_nan(x), x, r);  // keeps -0 and subnormals
}

Value Math::sinh(Value x) {
  const Value a = abs(x), e = expm1(least(a, k(f32 ? 88 : 709)));
  const Value half = exp(a * k(0.5));  // e^a itself may be too large
  const Value r = pick(a < k(f32 ? 88 : 709), (e + e / (e + k(1))) * k(0.5), half * k(0.5) * half);
  return pick(is_nan(x) | (a < k(f32 ? 0x1p-13 : 0x1p-27)), x, with_sign_of(r, x));
}

Value Math::cosh(Value x) {
  const Value a = abs(x), e = exp(least(a, k(f32 ? 88 : 709))), half = exp(a * k(0.5));
  const Value r = pick(a < k(f32 ? 88 : 709), (e + k(1) / e) * k(0.5), half * k(0.5) * half);
  return pick(is_nan(x), x, r);
}

Value Math::tanh(Value x) {
  const Value a = abs(x), s = x * x;
  const Value near = pick(a > k(f32 ? 10 : 22), k(f32 ? 10 : 22), a);  // 1 from 9.02 (19.1) on
  if (f32) {
    const Value small = polynomial(s, coefficients::kTanh) * s * x + x;
    const Value large = k(1) - k(2) / (small_exp(near + near) + k(1));
    return pick(is_nan(x), x, pick(a < k(0.625), small, with_sign_of(large, x)));
  }
  const Value e = expm1(near + near), r = pick(a < k(1), e / (e + k(2)), k(1) - k(2) / (e + k(2)));
  return pick(is_nan(x), x, with_sign_of(r, x));
}

Value Math::asinh(Value x) {
  const Value a = abs(x), large = k(f32 ? 0x1p20 : 0x1p40), s = least(a, large);
  const Value near = log1p(s + s * s / (k(1) + sqrt(s * s + k(1))));
  const Value r = pick(a < large, near, log(a) + k(M_LN2));
  return pick(is_nan(x) | (a < k(f32 ? 0x1p-13 : 0x1p-27)), x, with_sign_of(r, x));
}

Value Math::acosh(Value x) {
  const Value large = k(f32 ? 0x1p20 : 0x1p40), above = least(greatest(x, k(1)), large) - k(1);
  const Value near = log1p(above + sqrt(above * (above + k(2))));
  const Value r = pick(x < large, near, log(x) + k(M_LN2));
  return pick(is_nan(x), x, pick(x < k(1), nan(), r));
}

Value Math::atanh(Value x) {
  const Value a = abs(x), s = pick(a < k(1), a, k(0.5));
  const Value r = log1p((s + s) / (k(1) - s)) * k(0.5);
  const Value beyond = pick(a == k(1), infinity(), nan());
  return pick(is_nan(x) | (a < k(f32 ? 0x1p-13 : 0x1p-27)), x, with_sign_of(pick(a < k(1), r, beyond), x));
}

Math::Pair Math::two_sum(Value x, Value y) {
  const Value s = x + y, v = s - x;
  return {s, (x - (s - v)) + (y - v)};
}

// Dekker: each factor in two halves whose products are exact.
Math::Pair Math::two_product(Value x, Value y) {
  auto halves = [&](Value v) {
    const Value c = v * k(f32 ? 4097 : 134217729), high = c - (c - v);
    return Pair{high, v - high};
  };
  const Value p = x * y;
  const Pair a = halves(x), c = halves(y);
  return {p, ((a.high * c.high - p) + a.high * c.low + a.low * c.high) + a.low * c.low};
}

// 2^(y log2 |x|), with the logarithm in two floats.
Value Math::pow(Value x, Value y) {
  const Value a = abs(x), one = k(1), zero = k(0);
  const Split p = split(pick((a > zero) & (a < infinity()) & !is_nan(x), a, one));
  // log(1 + f) = 2 atanh(s), s = f / (2 + f) in two parts.
  const Value d = p.f + k(2), d_low = p.f - (d - k(2));
  const Value s = p.f / d;
  const Pair back = two_product(s, d);
  const Value s_low = ((p.f - back.high) - back.low - s * d_low) / d;
  const Value z = s * s;
  double c[12];
  const int terms = f32 ? 5 : 12;
  for (int i = 0; i < terms; ++i) c[i] = 1.0 / (2 * i + 3);
  // s^3 / 3 matters beyond the type's precision, so the factor 1 / 3 is given in two parts.
  const Value cube = z * s, tail = polynomial(z, c + 1, terms - 1) * z * cube;
  const Pair square = two_product(s, s), cubed = two_product(square.high, s);
  const Value cubed_low = cubed.low + square.low * s + k(3) * z * s_low;
  const double third = f32 ? static_cast<double>(static_cast<float>(1.0 / 3)) : 1.0 / 3;
  const double third_low = f32 ? 1.0 / 3 - third : 1.850371707708594e-17;
  const Pair product = two_product(cubed.high, k(third));
  const Value product_low = product.low + cubed.high * k(third_low) + cubed_low * k(third);
  const Pair sum = two_sum(s, product.high);
  const Value sum_low = sum.low + (product_low + s_low + tail);
  // Times 2 log2(e), plus the exponent.
  const double scale_high = f32 ? static_cast<double>(static_cast<float>(2 * kLog2E)) : 2 * kLog2E;
  const double scale_low = f32 ? 2 * kLog2E - scale_high : 4.071054748191002e-17;
  const Pair scaled = two_product(sum.high, k(scale_high));
  const Value scaled_low = scaled.low + sum.high * k(scale_low) + sum_low * k(scale_high);
  const Pair whole_log = two_sum(p.e, scaled.high);
  const Pair log = two_sum(whole_log.high, whole_log.low + scaled_low);
  const Value limit = k(f32 ? 0x1p40 : 0x1p80);  // beyond, every power but those of 1 is out of range
  const Value bounded = pick(y > limit, limit, pick(y < -limit, -limit, y));
  const Value rough = log.high * bounded;
  const Value out = abs(rough) > k(f32 ? 200 : 1200);
  const Value safe_y = pick(out | is_nan(y), zero, bounded);
  const Pair exponent = two_product(log.high, safe_y);
  const Nearest n = nearest(exponent.high, 1);
  const Value r = (exponent.high - n.value) + (exponent.low + log.low * safe_y);
  const Value normal = scale(exp_minus_1(r * k(M_LN2)) + one, n.whole);
  const Value extreme = pick(rough > zero, infinity(), zero);
  Value magnitude = pick(out, extreme, normal);
  // Zeros and infinities.
  const Value up = y > zero;
  magnitude = pick(a == zero, pick(up, zero, infinity()), pick(a == infinity(), pick(up, infinity(), zero), magnitude));
  const Value endless = abs(y) == infinity();
  magnitude = pick(endless, pick(a == one, one, pick((a > one) ^ !up, infinity(), zero)), magnitude);
  // Negative bases: odd whole exponents keep the sign, other whole ones lose it, the rest have no value.
  const Value half = y * k(0.5), is_whole = (trunc(y) == y) | endless;
  const Value odd = is_whole & (trunc(half) != half) & (abs(y) < k(f32 ? 0x1p24 : 0x1p53));
  const Value negative = sign_bit(x) != whole(0);
  const Value with_sign = pick(negative & odd, real(bits(magnitude) | sign_mask()), magnitude);
  const Value no_value = (x < zero) & !is_whole & (a < infinity());
  const Value r1 = pick(is_nan(x) | is_nan(y) | no_value, nan(), with_sign);
  return pick((y == zero) | (x == one), one, r1);
}

}  // namespace anygpu::gpu
