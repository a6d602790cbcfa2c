// Functions of f32 and f64 from arithmetic alone: APIs' own are too coarse (GLSL's sin is good to 2^-11), or
// there are none of f64.
//
// f32 takes the minimax polynomials that the cpu backend uses; f64 takes Taylor and Chebyshev series. The conformance suite holds all
// of them to 4 ULP (erfc 16, lgamma 8, pow 8). One object makes functions of one type.
#pragma once

#include <span>

#include "backends/gpu/builder.h"
#include "ir/expr.h"

namespace anygpu::gpu {

class Math {
 public:
  Math(Builder& b, Type t) : b(b), t(t), f32(t == Type::F32), bits_type(f32 ? Type::U32 : Type::U64) {}

  // math_exp.cpp
  Value exp(Value x);
  Value exp2(Value x);
  Value expm1(Value x);
  Value log(Value x);
  Value log2(Value x);
  Value log10(Value x);
  Value log1p(Value x);
  Value sinh(Value x);
  Value cosh(Value x);
  Value tanh(Value x);
  Value asinh(Value x);
  Value acosh(Value x);
  Value atanh(Value x);
  Value pow(Value x, Value y);

  // math_trig.cpp
  Value sin(Value x);
  Value cos(Value x);
  Value tan(Value x);
  Value asin(Value x);
  Value acos(Value x);
  Value atan(Value x);
  Value atan2(Value y, Value x);

  // math_special.cpp
  Value erf(Value x);
  Value one_plus_erf(Value x);  ///< 1 + erf(x), of f32: 2.5e-7 off at most, and 1e-6 of it from x = -1 on
  Value erfc(Value x);
  Value lgamma(Value x);
  Value hypot(Value x, Value y);
  Value rem(Value x, Value y);  ///< exact
  Value nextafter(Value x, Value y);
  // A zero keeps the sign of x.
  Value floor(Value x);
  Value ceil(Value x);
  Value trunc(Value x);
  Value round_even(Value x);

 private:
  struct Nearest {
    Value value, whole;  // the whole number as a float, and as bits_type
  };
  /// Two floats whose sum is the number.
  struct Pair {
    Value high, low;
  };
  struct Reduced {
    Value r, quadrant;  // in [-pi/4, pi/4]; u32, of which the two low bits count
  };

  Value k(double v) { return b.real(t, v); }
  Value whole(int64_t v) { return b.integer(bits_type, v); }
  Value bits(Value x) { return b.bits(x, bits_type); }
  Value real(Value x) { return b.bits(x, t); }
  Value pick(Value c, Value x, Value y) { return b.select(c, x, y); }
  Value infinity() { return real(whole(f32 ? 0x7f800000 : 0x7ff0000000000000)); }
  Value nan() { return real(whole(f32 ? 0x7fc00000 : 0x7ff8000000000000)); }
  Value is_nan(Value x) { return bits(abs(x)) > bits(infinity()); }
  Value abs(Value x) { return real(bits(x) & whole(f32 ? 0x7fffffff : 0x7fffffffffffffff)); }
  Value sign_bit(Value x) { return bits(x) & ~whole(f32 ? 0x7fffffff : 0x7fffffffffffffff); }
  Value with_sign_of(Value magnitude, Value x) { return real((bits(magnitude) & ~sign_mask()) | sign_bit(x)); }
  Value sign_mask() { return ~whole(f32 ? 0x7fffffff : 0x7fffffffffffffff); }
  Value sqrt(Value x);
  Value least(Value x, Value y) { return pick(x < y, x, y); }
  Value greatest(Value x, Value y) { return pick(x > y, x, y); }
  Value polynomial(Value x, const double* c, int n);
  template <size_t n>
  Value polynomial(Value x, const double (&c)[n]) {
    return polynomial(x, c, static_cast<int>(n));
  }
  /// The same by pairs, pairs of pairs, ...: a few more multiplications, but few that wait for each other.
  Value paired_polynomial(Value x, std::span<const double> c);
  /// sum c[j] T_j(x), the first term halved; terms too small for the type are left out.
  Value chebyshev(Value x, const double* c, int n);
  template <size_t n>
  Value chebyshev(Value x, const double (&c)[n]) {
    return chebyshev(x, c, static_cast<int>(n));
  }

  Value nearest_magnitude(Value a);  ///< f64: the whole number nearest to a >= 0, of two the even one
  Nearest nearest(Value x, double factor);
  Value power_of_2(Value n);  ///< n: bits_type, in the range of normal numbers
  Value scale(Value x, Value n);
  Value small_exp(Value x);    ///< -80 <= x <= 80
  Value exp_minus_1(Value r);  ///< |r| <= ln2 / 2
  Value reduce_ln2(Value x, Value n);
  struct Split {
    Value e, f;  // x = 2^e (1 + f), sqrt(1/2) <= 1 + f < sqrt(2)
  };
  Split split(Value x);
  Value log_of_1_plus(Value f);
  Value log_guarded(Value x, Value r);
  Value log_of_normal(Value x);

  Pair two_sum(Value x, Value y);
  Pair two_product(Value x, Value y);

  Reduced reduce_pi(Value x);
  Reduced reduce_pi_large(Value magnitude);
  Value sin_poly(Value r);
  Value sin_pi(Value r);  ///< |r| <= 1 / 2; of the magnitude
  Value cos_poly(Value r);
  Value atan_magnitude(Value a);  ///< a >= 0
  Value erfc_positive(Value x);   ///< x >= 0.5
  Value lgamma_positive(Value x);

  Builder& b;
  const Type t;
  const bool f32;
  const Type bits_type;
};

/// Functions of floats: Floor ... Round, Exp ... Lgamma, Pow, Atan2, Hypot, Rem, Nextafter, in x's type.
Value real_function(Builder&, ir::ExprOp, Value x, Value y);

}  // namespace anygpu::gpu
