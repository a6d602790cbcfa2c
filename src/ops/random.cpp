// Random numbers: Philox 4x32-10 (Salmon et al., SC'11), one block an element: key = seed, counter = offset + the element's
// row-major number. Scalars 0 and 1 of every operator are seed and offset (i64); its own parameters follow, as anygpu/calls/random.h says.
#include <cmath>

#include "anygpu/calls/random.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

/// Word 0..3 of this element's block, 0 <= w < 2^32, as i64.
Val word(P& p, int which) {
  Dims strides = contiguous_strides(p.loop.sizes());
  Val counter = p.s(1, DType::I64);
  for (int d = 0; d < strides.size(); ++d)
    if (p.loop.sizes()[d] != 1) counter = counter + p.loop.index(d) * p.loop.size(strides[d]);
  return philox(counter, p.s(0, DType::I64), p.loop.i64(0), which);
}

/// The type that random numbers are made in: integers in f32.
DType float_type(P& p) {
  return p.type == DType::F64 ? DType::F64 : DType::F32;
}

/// Uniform in [0, 1): 24 bits, 53 for f64.
Val uniform(P& p, int at = 0) {
  if (float_type(p) == DType::F32) return cast(shr(word(p, at), p.loop.i64(8)), DType::F32) * 0x1p-24;
  return cast(shr(word(p, at), p.loop.i64(5)) * p.loop.i64(1 << 26) + shr(word(p, at + 1), p.loop.i64(6)), DType::F64) * 0x1p-53;
}

/// Uniform in (0, 1), both ends excluded, so that logarithms and tangents are finite: 23 bits, 52 for f64.
Val open_uniform(P& p) {
  if (float_type(p) == DType::F32) return (cast(shr(word(p, 0), p.loop.i64(9)), DType::F32) + 0.5) * 0x1p-23;
  return (cast(shr(word(p, 0), p.loop.i64(6)) * p.loop.i64(1 << 26) + shr(word(p, 1), p.loop.i64(6)), DType::F64) + 0.5) * 0x1p-52;
}

/// Standard normal by Box and Muller (1958). The radius takes all 32 bits of a word, for the tails' sake.
Val standard_normal(P& p) {
  DType t = float_type(p);
  Val u = t == DType::F32 ? cast(word(p, 0) + p.loop.i64(1), t) * 0x1p-32 : open_uniform(p);
  return sqrt(log(u) * -2.0) * cos(uniform(p, 2) * (2 * M_PI));
}

/// True with probability threshold / 2^32.
Val hit(P& p, Val threshold) {
  return word(p, 0) < threshold;
}

/// A value that rounds up to `high` becomes `low`.
Val uniform_between(P& p) {
  DType t = float_type(p);
  Val low = p.s(2, t), high = p.s(3, t);
  Val v = cast(cast(low + uniform(p) * (high - low), p.lowering.view(0).dtype), t);
  return select(v < high, v, low);
}

/// As integer_between for a count of 2^63 and more, given as the same bits: the high word of a product of 64 by 64 bits, in digits of 32.
Val wide_integer_between(P& p) {
  auto low = [&](Val v) { return v & p.loop.i64(0xffffffff); };
  auto high = [&](Val v) { return low(shr(v, p.loop.i64(32))); };
  Val first = p.s(2, DType::I64), count = p.s(3, DType::I64);
  Val a1 = word(p, 1), a0 = word(p, 0), c1 = high(count), c0 = low(count);
  Val carry = low(a1 * c0) + low(a0 * c1) + high(a0 * c0);  // unsigned products of 32 by 32 bits: their bits are right
  return first + a1 * c1 + high(a1 * c0) + high(a0 * c1) + high(carry);
}

/// A random fraction times the count: a remainder would favour small numbers.
Val integer_between(P& p) {
  auto i = [&](int64_t v) { return p.loop.i64(v); };
  const auto draw = static_cast<calls::Draw>(p.attr(0));
  if (draw == calls::Draw::AllBits) return word(p, 0) ^ shl(word(p, 1), i(32));
  if (draw == calls::Draw::UpTo64Bits) return wide_integer_between(p);
  Val first = p.s(2, DType::I64), count = p.s(3, DType::I64);
  if (draw == calls::Draw::UpTo24Bits) return first + shr(word(p, 0) * count, i(32));
  // 93 bits of fraction in digits of 31 bits, a2 the highest; the count in two, r1 < 2^32
  Val a2 = shr(word(p, 2), i(1)), a1 = shr(word(p, 1), i(1)), a0 = shr(word(p, 0), i(1));
  Val mask = i((int64_t{1} << 31) - 1), r1 = shr(count, i(31)), r0 = count & mask;
  Val middle = r1 * a1, other = r0 * a2;
  Val carry = (middle & mask) + (other & mask) + shr(r1 * a0, i(31)) + shr(r0 * a1, i(31));
  return first + r1 * a2 + shr(middle, i(31)) + shr(other, i(31)) + shr(carry, i(31));
}

}  // namespace

OpTable randoms() {
  static const Op table[] = {
      ANYGPU_POINTWISE("random_uniform", 1, uniform_between),
      ANYGPU_POINTWISE("random_integer", 1, integer_between),
      ANYGPU_POINTWISE("random_normal", 1,
                       [](P& p) {
                         DType t = float_type(p);
                         return cast(p.in(0), t) + standard_normal(p) * cast(p.in(1), t);
                       }),
      ANYGPU_POINTWISE("random_log_normal", 1, [](P& p) { return exp(p.s(2) + standard_normal(p) * p.s(3)); }),
      ANYGPU_POINTWISE("random_exponential", 1, [](P& p) { return -log(open_uniform(p)) / p.s(2); }),
      ANYGPU_POINTWISE("random_cauchy", 1, [](P& p) { return p.s(2) + p.s(3) * tan((open_uniform(p) - 0.5) * M_PI); }),
      ANYGPU_POINTWISE("random_geometric", 1, [](P& p) { return max(ceil(log(open_uniform(p)) / p.s(2, float_type(p))), 1.0); }),
      ANYGPU_POINTWISE("random_bernoulli", 1, [](P& p) { return hit(p, p.s(2, DType::I64)); }),
      ANYGPU_POINTWISE("random_bernoulli_of", 1,
                       [](P& p) {
                         Val q = p.in(0);
                         Val ok = check((q >= 0.0) & (q <= 1.0), ir::Fault::BadProbability);
                         return ok & hit(p, cast(q * 0x1p32, DType::I64));
                       }),
      ANYGPU_POINTWISE("dropout", 2,
                       [](P& p) {
                         Val keep = hit(p, p.s(2, DType::I64));
                         p.out(1, keep);
                         return select(keep, p.in(0) * p.s(3), p.c(0));
                       }),
      ANYGPU_POINTWISE("dropout_grad", 1, [](P& p) { return p.in(0) * cast(p.truth(1), p.type) * p.s(0); }),
      ANYGPU_POINTWISE("rrelu", 2,
                       [](P& p) {
                         Val x = p.in(0), low = p.s(2), r = low + uniform(p) * (p.s(3) - low);
                         Val slope = select(x <= 0.0, r, p.c(1));
                         p.out(1, slope);
                         return x * slope;
                       }),
  };
  return table;
}

}  // namespace anygpu::ops
