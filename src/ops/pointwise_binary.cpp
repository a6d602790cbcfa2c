// Pointwise operators of two or three inputs. Scalars: anygpu/calls/parametric.h.
#include <cmath>
#include <limits>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

/// The divisor, checked to be other than zero where integers divide.
Val divisor(P& p) {
  Val b = p.in(1);
  if (is_float(p.type)) return b;
  Val ok = check(b != 0.0, ir::Fault::DivisionByZero);
  return select(ok, b, p.c(1));
}

bool is_signed(DType t) {
  return t != DType::U8;
}

/// Python's %: the sign of the divisor.
Val remainder(P& p) {
  Val a = p.in(0), b = divisor(p), r = a % b;
  if (!is_signed(p.type)) return r;
  return select((r != 0.0) & ((r < 0.0) ^ (b < 0.0)), r + b, r);
}

/// Python's //. For floats as in CPython's float_divmod: the quotient of the exact remainder, then rounded.
Val div_floor(P& p) {
  Val a = p.in(0), b = divisor(p);
  Val r = a % b;
  if (!is_float(p.type)) {
    Val q = a / b;
    return is_signed(p.type) ? select((r != 0.0) & ((r < 0.0) ^ (b < 0.0)), q - 1.0, q) : q;
  }
  Val q = (a - r) / b;
  q = select((r != 0.0) & ((b < 0.0) ^ (r < 0.0)), q - 1.0, q);
  Val down = floor(q);
  Val rounded = select(q - down > 0.5, down + 1.0, down);
  return select(b == 0.0, a / b, select(q != 0.0, rounded, copysign(p.c(0), a / b)));
}

Val div_trunc(P& p) {
  Val q = p.in(0) / divisor(p);
  return is_float(p.type) ? trunc(q) : q;
}

/// Euclid's algorithm, unrolled: Lame's theorem bounds its steps by the width of the type.
Val gcd(P& p) {
  Val a = is_signed(p.type) ? abs(p.in(0)) : p.in(0), b = is_signed(p.type) ? abs(p.in(1)) : p.in(1);
  int steps = 1 + static_cast<int>(std::ceil(8 * size_of(p.type) / std::log2((1 + std::sqrt(5.0)) / 2)));
  for (int i = 0; i < steps; ++i) {
    Val r = a % b;  // 0 where b is 0
    a = select(b == 0.0, a, b);
    b = r;
  }
  return a;
}

/// The magnitude is taken before an overflow is cut off, as C++ does in int.
Val lcm(P& p) {
  DType wide = size_of(p.type) < 4 ? DType::I32 : p.type;
  Val g = gcd(p), m = cast(p.in(0) / g, wide) * cast(p.in(1), wide);
  return cast(select(g == 0.0, like(m, 0), is_signed(wide) ? abs(m) : m), p.type);
}

/// Shifts by less than 0 or by the width and more: 0, or all sign bits.
Val shift_left(P& p) {
  Val b = p.in(1), zero = p.c(0);
  return select((b < 0.0) | (b >= 8.0 * size_of(p.type)), zero, shl(p.in(0), b));
}
Val shift_right(P& p) {
  Val a = p.in(0), b = p.in(1);
  double most = 8.0 * size_of(p.type) - (is_signed(p.type) ? 1 : 0);
  Val far = is_signed(p.type) ? shr(a, p.c(most)) : p.c(0);
  return select((b < 0.0) | (b >= most), far, shr(a, b));
}

/// The next number of the output's own type: of 16 bits by their integers, which are ordered as the numbers are.
Val nextafter(P& p) {
  Val a = p.in(0), b = p.in(1);
  DType t = p.lowering.view(0).dtype;
  if (t != DType::F16 && t != DType::BF16) return binary(ir::ExprOp::Nextafter, a, b);
  auto i = [&](int64_t v) { return ir::constant(p.loop.body(), DType::I16, v); };
  Val bits = bitcast(cast(a, t), DType::I16);
  Val away = (b > a) ^ (a < 0.0);
  Val least = select(b < 0.0, i(INT16_MIN + 1), i(1));  // the least denormal, of b's sign
  Val next = select(a == 0.0, least, select(away, bits + i(1), bits - i(1)));
  return select(isnan(a), a, select(isnan(b) | (a == b), b, cast(bitcast(next, t), p.type)));
}

Val xlogy(Val x, Val y, Val log_y) {
  return select(isnan(y), y, select(x == 0.0, like(x, 0), x * log_y));
}

/// 0 where x is 0, whatever y is.
Val zero_or(Val x, Val y) {
  return select(x == 0.0, like(y, 0), y);
}

/// a + w (b - a), from the nearer end
Val lerp(Val a, Val b, Val w) {
  Val d = b - a;
  return select(abs(w) < 0.5, a + w * d, b - d * (1.0 - w));
}

}  // namespace

OpTable pointwise_binary() {
  static const Op table[] = {
      ANYGPU_POINTWISE("add", 1, [](P& p) { return p.in(0) + p.in(1); }),
      ANYGPU_POINTWISE("add_scaled", 1, [](P& p) { return p.in(0) + p.s(0) * p.in(1); }),
      ANYGPU_POINTWISE("sub", 1, [](P& p) { return p.in(0) - p.in(1); }),
      ANYGPU_POINTWISE("sub_scaled", 1, [](P& p) { return p.in(0) - p.s(0) * p.in(1); }),
      ANYGPU_POINTWISE("mul", 1, [](P& p) { return p.in(0) * p.in(1); }),
      ANYGPU_POINTWISE("div", 1, [](P& p) { return p.in(0) / divisor(p); }),
      ANYGPU_POINTWISE("div_trunc", 1, div_trunc),
      ANYGPU_POINTWISE("div_floor", 1, div_floor),
      ANYGPU_POINTWISE("remainder", 1, remainder),
      ANYGPU_POINTWISE("fmod", 1, [](P& p) { return p.in(0) % divisor(p); }),
      ANYGPU_POINTWISE("pow", 1, [](P& p) { return pow(p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("atan2", 1, [](P& p) { return atan2(p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("hypot", 1, [](P& p) { return binary(ir::ExprOp::Hypot, p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("copysign", 1, [](P& p) { return copysign(p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("nextafter", 1, nextafter),
      ANYGPU_POINTWISE("maximum", 1, [](P& p) { return max(p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("minimum", 1, [](P& p) { return min(p.in(0), p.in(1)); }),
      ANYGPU_POINTWISE("fmax", 1,
                       [](P& p) {
                         Val a = p.in(0), b = p.in(1);
                         return is_float(p.type) ? select(isnan(a), b, select(isnan(b), a, max(a, b))) : max(a, b);
                       }),
      ANYGPU_POINTWISE("fmin", 1,
                       [](P& p) {
                         Val a = p.in(0), b = p.in(1);
                         return is_float(p.type) ? select(isnan(a), b, select(isnan(b), a, min(a, b))) : min(a, b);
                       }),
      /// clamp: inputs x, low, high
      ANYGPU_POINTWISE("clamp", 1, [](P& p) { return min(max(p.in(0), p.in(1)), p.in(2)); }),
      ANYGPU_POINTWISE("eq", 1, [](P& p) { return p.in(0) == p.in(1); }),
      ANYGPU_POINTWISE("ne", 1, [](P& p) { return p.in(0) != p.in(1); }),
      ANYGPU_POINTWISE("lt", 1, [](P& p) { return p.in(0) < p.in(1); }),
      ANYGPU_POINTWISE("le", 1, [](P& p) { return p.in(0) <= p.in(1); }),
      ANYGPU_POINTWISE("gt", 1, [](P& p) { return p.in(0) > p.in(1); }),
      ANYGPU_POINTWISE("ge", 1, [](P& p) { return p.in(0) >= p.in(1); }),
      ANYGPU_POINTWISE("logical_and", 1, [](P& p) { return p.truth(0) & p.truth(1); }),
      ANYGPU_POINTWISE("logical_or", 1, [](P& p) { return p.truth(0) | p.truth(1); }),
      ANYGPU_POINTWISE("logical_xor", 1, [](P& p) { return p.truth(0) ^ p.truth(1); }),
      ANYGPU_POINTWISE("bitwise_and", 1, [](P& p) { return p.in(0) & p.in(1); }),
      ANYGPU_POINTWISE("bitwise_or", 1, [](P& p) { return p.in(0) | p.in(1); }),
      ANYGPU_POINTWISE("bitwise_xor", 1, [](P& p) { return p.in(0) ^ p.in(1); }),
      ANYGPU_POINTWISE("shift_left", 1, shift_left),
      ANYGPU_POINTWISE("shift_right", 1, shift_right),
      ANYGPU_POINTWISE("gcd", 1, gcd),
      ANYGPU_POINTWISE("lcm", 1, lcm),
      ANYGPU_POINTWISE("heaviside", 1,
                       [](P& p) {
                         Val a = p.in(0);
                         return select(a == 0.0, p.in(1), select(a > 0.0, p.c(1), p.c(0)));
                       }),
      ANYGPU_POINTWISE("logaddexp", 1,
                       [](P& p) {
                         Val a = p.in(0), b = p.in(1);
                         Val m = max(a, b), d = abs(a - b);
                         return select((a == b) & (abs(a) == std::numeric_limits<double>::infinity()), a, m + log1p(exp(-d)));
                       }),
      ANYGPU_POINTWISE("logaddexp2", 1,
                       [](P& p) {
                         Val a = p.in(0), b = p.in(1);
                         Val m = max(a, b), d = abs(a - b);
                         return select((a == b) & (abs(a) == std::numeric_limits<double>::infinity()), a, m + log1p(exp2(-d)) * M_LOG2E);
                       }),
      ANYGPU_POINTWISE("xlogy", 1, [](P& p) { return xlogy(p.in(0), p.in(1), log(p.in(1))); }),
      ANYGPU_POINTWISE("xlog1py", 1, [](P& p) { return xlogy(p.in(0), p.in(1), log1p(p.in(1))); }),
      // TensorFlow's: quotients and products that are 0 where a 0 meets what has no number.
      ANYGPU_POINTWISE("xdivy", 1, [](P& p) { return zero_or(p.in(0), p.in(0) / p.in(1)); }),
      ANYGPU_POINTWISE("div_no_nan", 1, [](P& p) { return zero_or(p.in(1), p.in(0) / p.in(1)); }),
      ANYGPU_POINTWISE("mul_no_nan", 1, [](P& p) { return zero_or(p.in(1), p.in(0) * p.in(1)); }),
      ANYGPU_POINTWISE("softsign", 1, [](P& p) { return p.in(0) / (abs(p.in(0)) + 1.0); }),
      /// Gradient: dy, x
      ANYGPU_POINTWISE("softsign_grad", 1,
                       [](P& p) {
                         Val d = abs(p.in(1)) + 1.0;
                         return p.in(0) / (d * d);
                       }),
      /// Gradients by the result: dy, y
      ANYGPU_POINTWISE("sqrt_grad", 1, [](P& p) { return p.in(0) * 0.5 / p.in(1); }),
      ANYGPU_POINTWISE("rsqrt_grad", 1, [](P& p) { return p.in(0) * -0.5 * p.in(1) * p.in(1) * p.in(1); }),
      ANYGPU_POINTWISE("reciprocal_grad", 1, [](P& p) { return -p.in(0) * p.in(1) * p.in(1); }),
      /// where: condition, a, b
      ANYGPU_POINTWISE("where", 1, [](P& p) { return select(p.truth(0), p.in(1), p.in(2)); }),
      /// masked_fill: x, mask, value
      ANYGPU_POINTWISE("masked_fill", 1, [](P& p) { return select(p.truth(1), p.in(2), p.in(0)); }),
      /// lerp: start, end, weight
      ANYGPU_POINTWISE("lerp", 1, [](P& p) { return lerp(p.in(0), p.in(1), p.in(2)); }),
      ANYGPU_POINTWISE("addcmul", 1, [](P& p) { return p.in(0) + p.s(0) * p.in(1) * p.in(2); }),
      ANYGPU_POINTWISE("addcdiv", 1, [](P& p) { return p.in(0) + p.s(0) * (p.in(1) / p.in(2)); }),
  };
  return table;
}

}  // namespace anygpu::ops
