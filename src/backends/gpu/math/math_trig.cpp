// Sine and its kin, and their inverses.
#include <cmath>
#include <iterator>

#include "math.h"

namespace anygpu::gpu {
namespace {

/// 2 / pi, 32 bits a word.
constexpr uint32_t kTwoOverPi[] = {0xa2f9836e, 0x4e441529, 0xfc2757d1, 0xf534ddc0, 0xdb629599, 0x3c439041, 0xfe5163ab, 0xdebbc561,
                                   0xb7246e3a, 0x424dd2e0, 0x06492eea, 0x09d1921c, 0xfe1deb1c, 0xb129a73e, 0xe88235f5, 0x2ebb4484,
                                   0xe99c7026, 0xb45f7e41, 0x3991d639, 0x835339f4, 0x9c845f8b, 0xbdf9283b, 0x1ff897ff, 0xde05980f,
                                   0xef2f118b, 0x5a0a6d1f, 0x6d367ecf, 0x27cb09b7, 0x4f463f66, 0x9e5fea2d, 0x7527bac7, 0xebe5f17b,
                                   0x3d0739f7, 0x8a5292ea, 0x6bfb5fb1, 0x1f8d5d08, 0x56033046, 0xfc7b6bab, 0xf0cfbc20, 0x9af4361d};

constexpr double kHalfPiHigh32 = 1.57079637050628662109, kHalfPiLow32 = -4.37113900018624283e-8;
constexpr double kHalfPiHigh64 = 1.57079632679489655800, kHalfPiLow64 = 6.123233995736766036e-17;

}  // namespace

// Below the limit, pi / 2 in three parts, of which the first two have so few bits that their products with n are exact.
Math::Reduced Math::reduce_pi(Value x) {
  const Value a = abs(x), limit = k(f32 ? 1000 : 0x1p22);
  const Value near = pick(a < limit, x, k(0));
  const Nearest n = nearest(near, 2 / M_PI);
  const double parts[2][3] = {{1.570796325802803039550781, 9.920935791635221434603409e-10, 5.170182981794105568859398e-19},
                              {1.5703125, 4.837512969970703125e-4, 7.549789954891882169163975e-8}};
  const double* p = parts[f32];
  const Variable r = b.variable(t), quadrant = b.variable(Type::U32);
  r.set(near - n.value * k(p[0]) - n.value * k(p[1]) - n.value * k(p[2]));
  quadrant.set(b.to_u32(n.whole));
  b.if_(!(a < limit), [&] {
    const Reduced far = reduce_pi_large(a);
    const Value negative = sign_bit(x) != whole(0), endless = (!(a < infinity())) | is_nan(x);
    r.set(pick(endless, nan(), pick(negative, -far.r, far.r)));
    quadrant.set(b.select(negative, -far.quadrant, far.quadrant));
  });
  return {r.get(), quadrant.get()};
}

// Payne and Hanek: x = m 2^q with m whole. Of 2 / pi only those bits matter whose product with x is below 4 and not far below 2^-64:
// a window of its words, shifted, times m.
Math::Reduced Math::reduce_pi_large(Value a) {
  const int words = f32 ? 3 : 6, mantissa = f32 ? 23 : 52;
  const Value raw = bits(a);
  const Value exponent = b.to_u32(raw >> mantissa);
  const Value m = (raw & whole(f32 ? 0x7fffff : 0xfffffffffffff)) | whole(int64_t{1} << mantissa);
  // Bits of 2 / pi are counted from 32 zeros before it; q - 2 of them are multiples of 4.
  const Value start = exponent - b.u32(static_cast<uint32_t>((f32 ? 127 : 1023) + mantissa - 30));
  const Value first = start >> 5, shift = start & b.u32(31);
  const int places = f32 ? 5 : 33;
  std::vector<Value> window(words + 1, b.u32(0));
  for (int i = 0; i <= words; ++i) {
    for (int at = 0; at < places; ++at) {
      const int word = at + i - 1;
      if (word < 0 || word >= static_cast<int>(std::size(kTwoOverPi))) continue;
      window[i] = b.select(first == b.u32(static_cast<uint32_t>(at)), b.u32(kTwoOverPi[word]), window[i]);
    }
  }
  std::vector<Value> x(words);  // the first word is the most significant
  const Value unshift = b.u32(31) - shift;
  for (int i = 0; i < words; ++i) x[i] = (window[i] << shift) | ((window[i + 1] >> 1) >> unshift);
  // The low `words` words of m x: what is above are multiples of 4 quarters.
  std::vector<Value> product(words, b.u32(0));
  for (int part = 0; part < (f32 ? 1 : 2); ++part) {
    const Value factor = part ? b.to_u32(m >> 32) : b.to_u32(m);
    Value carry = b.u32(0);
    for (int i = words - 1; i >= part; --i) {
      const auto p = b.multiply_wide(x[i], factor);
      const int at = i - part;
      const Value low = p.low + carry, c1 = b.select(low < carry, b.u32(1), b.u32(0));
      const Value sum = product[at] + low, c2 = b.select(sum < low, b.u32(1), b.u32(0));
      product[at] = sum;
      carry = p.high + c1 + c2;
    }
  }
  // The quarter, rounded to nearest; the rest is within half a quarter of 0 and has a sign.
  const Value rounded = product[0] + b.u32(1u << 29), quadrant = rounded >> 30;
  Value top = product[0] - (quadrant << 30);
  const Value negative = top >= b.u32(1u << 31), flip = b.select(negative, b.u32(0xffffffff), b.u32(0));
  product[0] = top;
  for (Value& w : product) w = w ^ flip;
  // To the top: words that are zero, then bits.
  Value skipped = b.u32(0);
  for (int pass = 0; pass < words - 2; ++pass) {
    const Value zero = product[0] == b.u32(0);
    for (int i = 0; i + 1 < words; ++i) product[i] = b.select(zero, product[i + 1], product[i]);
    product[words - 1] = b.select(zero, b.u32(0), product[words - 1]);
    skipped = b.select(zero, skipped + b.u32(32), skipped);
  }
  const Value lead = b.op(Op::HighestBit, Type::U32, {product[0] | b.u32(1)}), up = b.u32(31) - lead;
  const Value high = (product[0] << up) | ((product[1] >> 1) >> (b.u32(31) - up));
  const Value low = (product[1] << up) | ((product[2] >> 1) >> (b.u32(31) - up));
  Value r = b.op(Op::UnsignedToFloat, t, {high});
  if (!f32) r = r + b.op(Op::UnsignedToFloat, t, {low}) * k(0x1p-32);
  // `high` counts units of 2^-32 of four quarters, less what it was shifted by.
  const Value down = -(up + skipped);
  const Value scaled = r * k(0x1p-32 * 2 * M_PI) * power_of_2(f32 ? down : b.sign_extend(down));
  return {pick(negative, -scaled, scaled), quadrant};
}

Value Math::sin_poly(Value r) {
  double c[9], factorial = 1;
  const int terms = f32 ? 5 : 9;
  for (int i = 0; i < terms; ++i) {
    factorial *= (2 * i + 2) * (2 * i + 3);
    c[i] = (i % 2 ? 1 : -1) / factorial;
  }
  const Value s = r * r;
  return polynomial(s, c, terms) * s * r + r;
}

Value Math::cos_poly(Value r) {
  double c[9], factorial = 2;
  const int terms = f32 ? 5 : 9;
  for (int i = 0; i < terms; ++i) {
    factorial *= (2 * i + 3) * (2 * i + 4);
    c[i] = (i % 2 ? -1 : 1) / factorial;
  }
  const Value s = r * r, half = s * k(0.5), w = k(1) - half;
  return w + (((k(1) - w) - half) + polynomial(s, c, terms) * s * s);  // what the subtraction rounded off is put back
}

Value Math::sin(Value x) {
  const Reduced p = reduce_pi(x);
  const Value swapped = (p.quadrant & b.u32(1)) != 0, v = pick(swapped, cos_poly(p.r), sin_poly(p.r));
  const Value r = pick((p.quadrant & b.u32(2)) != 0, -v, v);
  return pick(abs(x) < k(f32 ? 0x1p-13 : 0x1p-27), x, r);
}

Value Math::cos(Value x) {
  const Reduced p = reduce_pi(x);
  const Value swapped = (p.quadrant & b.u32(1)) != 0, v = pick(swapped, sin_poly(p.r), cos_poly(p.r));
  return pick(((p.quadrant + b.u32(1)) & b.u32(2)) != 0, -v, v);
}

Value Math::tan(Value x) {
  const Reduced p = reduce_pi(x);
  const Value s = sin_poly(p.r), c = cos_poly(p.r), swapped = (p.quadrant & b.u32(1)) != 0;
  const Value r = pick(swapped, -c, s) / pick(swapped, s, c);
  return pick(abs(x) < k(f32 ? 0x1p-13 : 0x1p-27), x, r);
}

// From the nearest of 0, pi / 8, pi / 4, by a series in what is left, which is at most tan(pi / 16).
Value Math::atan_magnitude(Value a) {
  const double t1 = std::tan(M_PI / 8);
  const Value inverse = a > k(1), x = pick(inverse, k(1) / a, a);
  const Value far = x > k(std::tan(3 * M_PI / 16)), middle = (x > k(std::tan(M_PI / 16))) & !far;
  const Value at = pick(far, k(1), pick(middle, k(t1), k(0)));
  const Value r = (x - at) / (x * at + k(1)), s = r * r;
  double c[12];
  const int terms = f32 ? 5 : 12;
  for (int i = 0; i < terms; ++i) c[i] = (i % 2 ? 1.0 : -1.0) / (2 * i + 3);
  const Value rest = polynomial(s, c, terms) * s * r;
  // The constants in two parts.
  auto low = [&](double v, double beyond) { return k(f32 ? v - static_cast<double>(static_cast<float>(v)) : beyond); };
  const Value base = pick(far, k(M_PI_4), pick(middle, k(M_PI / 8), k(0)));
  const Value base_low = pick(far, low(M_PI_4, 3.061616997868383e-17), pick(middle, low(M_PI / 8, 1.5308084989341915e-17), k(0)));
  const Value y = base + (r + (rest + base_low));
  const Value turned = k(f32 ? kHalfPiHigh32 : kHalfPiHigh64) - (y - k(f32 ? kHalfPiLow32 : kHalfPiLow64));
  return pick(inverse, turned, y);
}

Value Math::atan(Value x) {
  const Value a = abs(x);
  return pick(is_nan(x) | (a < k(f32 ? 0x1p-13 : 0x1p-27)), x, with_sign_of(atan_magnitude(a), x));
}

Value Math::asin(Value x) {
  const Value a = abs(x), in = least(a, k(1));
  // pi / 2 - 2 asin(sqrt((1 - x) / 2)) loses less towards 1.
  const Value r = atan_magnitude(in / sqrt((k(1) - in) * (k(1) + in)));
  const Value y = pick(a == k(1), k(M_PI_2), r);
  return pick(is_nan(x) | (a < k(f32 ? 0x1p-13 : 0x1p-27)), x, pick(a > k(1), nan(), with_sign_of(y, x)));
}

Value Math::acos(Value x) {
  const Value in = greatest(least(x, k(1)), k(-1));
  const Value half = atan_magnitude(sqrt((k(1) - in) / (k(1) + in)));
  const Value y = pick(in == k(-1), k(M_PI), half + half);
  return pick(is_nan(x), x, pick(abs(x) > k(1), nan(), y));
}

Value Math::atan2(Value y, Value x) {
  const Value ay = abs(y), ax = abs(x), zero = k(0), one = k(1);
  const Value steep = ay > ax, high = pick(steep, ay, ax), low = pick(steep, ax, ay);
  const Value ratio = pick(high == zero, zero, pick(low == infinity(), one, low / high));
  const Value angle = atan_magnitude(ratio);  // of the octant
  const Value half_high = k(f32 ? kHalfPiHigh32 : kHalfPiHigh64), half_low = k(f32 ? kHalfPiLow32 : kHalfPiLow64);
  const Value first = pick(steep, half_high - (angle - half_low), angle);
  const Value left = sign_bit(x) != whole(0);
  const Value turned = (half_high + half_high) - (first - (half_low + half_low));
  const Value r = pick(left, turned, first);
  return pick(is_nan(x) | is_nan(y), nan(), with_sign_of(r, y));
}

}  // namespace anygpu::gpu
