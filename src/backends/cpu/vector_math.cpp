// Functions of floats, many lanes at a time: the common ones of f32 in line, the others from libmvec.
//
// The polynomials are minimax fits of our own. Greatest errors seen over all f32 (tests/cpu_kernels.cpp checks them against
// f64): exp and log 1.0 ULP; exp2, expm1, log2, log10, log1p, tanh and erf 2.0 (1.5 where the host has FMA; with AVX-512, where tanh and
// erf are looked up in function_tables.h, 1.0 and 1.5). libmvec: 4, as glibc documents.
#include <cmath>
#include <limits>
#include <string>

#include "emitter.h"
#include "function_tables.h"
#include "ir/minimax.h"

namespace anygpu::cpu {
namespace {

using ir::ExprOp;
using namespace ir::minimax;

constexpr double kLog2E = 1.44269504088896340736;

/// libmvec's function for one register of f32 or f64 on this ISA, or "" where the machine has none. At most 4 ULP, as glibc documents.
std::string libmvec_name(const Isa& isa, ExprOp op, bool two, bool f64, int lanes) {
  if (op == ExprOp::Lgamma || op == ExprOp::Nextafter) return "";
  const char letter = isa.arm ? 'n' : isa.vector_bytes == 64 ? 'e' : isa.vector_bytes == 32 ? 'd' : 'b';
  const std::string name =
      std::string("_ZGV") + letter + "N" + std::to_string(lanes) + (two ? "vv_" : "v_") + ir::name_of(op) + (f64 ? "" : "f");
  return libmvec_function(name.c_str()) ? name : "";
}

Value by_libmvec(IrBuilder& b, const Isa& isa, ExprOp op, Value x, Value y) {
  const bool f64 = b.element_of(b.type_of(x)) == b.f64;
  const int lanes = b.lanes_of(x), one = isa.vector_bytes / (f64 ? 8 : 4);
  if (lanes < one) return nullptr;  // libm
  const std::string name = libmvec_name(isa, op, y != nullptr, f64, one);
  if (name.empty()) return nullptr;
  Values parts;
  for (int i = 0; i < lanes; i += one) {
    Values arguments = {lanes == one ? x : b.lanes(x, i, one)};
    if (y) arguments.push_back(lanes == one ? y : b.lanes(y, i, one));
    parts.push_back(b.call(name.c_str(), b.type_of(arguments[0]), arguments));
  }
  return b.concat(parts);
}

/// f32 functions in line. Values are f32 of any number of lanes.
class Inline {
 public:
  Inline(IrBuilder& b, const Isa& isa) : b(b), isa_(isa) {}

  Value exp(Value x) {
    x = clamp(x, -104, 89);  // to 0 and infinity; NaN stays
    const Nearest n = nearest(x, kLog2E);
    return scale(b.add(k(x, 1), exp_minus_1(reduce(x, n.value))), n);
  }

  Value exp2(Value x) {
    x = clamp(x, -151, 129);
    const Nearest n = nearest(x, 1);
    return scale(b.add(k(x, 1), exp_minus_1(b.mul(b.sub(x, n.value), k(x, std::log(2.0))))), n);
  }

  Value expm1(Value x) {
    const Value y = clamp(x, -20, 89);
    const Nearest n = nearest(y, kLog2E);
    const Value p = exp_minus_1(reduce(y, n.value));
    const Value half = power_of_2(b.sub(n.bits, b.like(n.bits, 1)));  // of 2^n, which may be too large
    const Value r = b.fma(half, p, b.sub(half, k(y, 0.5)));
    const Value tiny = b.fcmp(LLVMRealOLT, b.intrinsic("llvm.fabs", {x}), k(x, 0x1p-24));
    return b.select(tiny, x, b.add(r, r));
  }

  /// log(x) = e * ln2 + log(m): `of_2` and `of_m` are the logarithm's base, as factors of e and of log(m).
  Value log(Value x, double of_2_high, double of_2_low, double of_m) { return log_guarded(x, log_of_normal(x, of_2_high, of_2_low, of_m)); }

  Value log1p(Value x) {
    const Value u = b.add(k(x, 1), x);
    const Value ok = b.bit_and(b.fcmp(LLVMRealOGT, u, k(x, 0)), b.fcmp(LLVMRealOLT, u, k(x, INFINITY)));
    const Value lost = b.div(b.sub(x, b.sub(u, k(x, 1))), u);  // what the addition rounded off
    const Value r = log_guarded(u, log_of_normal(u, kLn2High, kLn2Low, 1));
    const Value corrected = b.add(r, b.select(ok, lost, k(x, 0)));
    const Value tiny = b.fcmp(LLVMRealOLT, b.intrinsic("llvm.fabs", {x}), k(x, 0x1p-24));
    return b.select(tiny, x, corrected);  // keeps -0 and subnormals
  }

  Value tanh(Value x) {
    if (has_tables(x)) return by_table(x, tables::kTanh, tables::kTanhPerUnit, tables::kTanhOne);
    const Value a = b.intrinsic("llvm.fabs", {x}), s = b.mul(x, x);
    const Value p = polynomial(s, kTanh);
    const Value small = b.fma(b.mul(p, s), x, x);
    const Value near = b.select(b.fcmp(LLVMRealOGT, a, k(x, 10)), k(x, 10), a);  // 1 from 9.02 on
    const Value e = small_exp(b.add(near, near));
    const Value large = b.sub(k(x, 1), b.div(k(x, 2), b.add(e, k(x, 1))));
    return b.select(b.fcmp(LLVMRealOLT, a, k(x, 0.625)), small, b.intrinsic("llvm.copysign", {large, x}));
  }

  Value erf(Value x) {
    if (has_tables(x)) return by_table(x, tables::kErf, tables::kErfPerUnit, tables::kErfOne);
    const Value a = b.intrinsic("llvm.fabs", {x}), s = b.mul(x, x);
    const Value p = polynomial(s, kErf);
    const Value small = b.fma(p, x, x);
    // erfc(a) = exp(-q(a)); beyond 3.95 erf rounds to 1.
    const Value near = b.select(b.fcmp(LLVMRealOGT, a, k(x, 3.95)), k(x, 3.95), a);
    const Value q = polynomial(near, kLogErfc);
    const Value large = b.sub(k(x, 1), small_exp(b.neg(q)));
    return b.select(b.fcmp(LLVMRealOLT, a, k(x, 0.93)), small, b.intrinsic("llvm.copysign", {large, x}));
  }

 private:
  Value k(Value like, double v) { return b.real(b.like(like, b.f32), v); }
  template <size_t n>
  Value polynomial(Value x, const double (&c)[n]) {
    Value r = k(x, c[n - 1]);
    for (size_t i = n - 1; i-- > 0;) r = b.fma(r, x, k(x, c[i]));
    return r;
  }
  bool has_tables(Value x) const { return isa_.x86 && isa_.masks && b.lanes_of(x) % 16 == 0; }
  /// An odd function from 32 polynomials in |x| less the nearest multiple of 1 / per_unit. Half as many operations as without tables.
  template <size_t n>
  Value by_table(Value x, const float (&table)[n][32], double per_unit, double one) {
    Values parts;
    for (int i = 0; i < b.lanes_of(x); i += 16) parts.push_back(of_register(b.lanes(x, i, 16), table, n, per_unit, one));
    return b.concat(parts);
  }
  Value of_register(Value x, const float (*table)[32], size_t n, double per_unit, double one) {
    const Value a = b.intrinsic("llvm.fabs", {x});
    const Value near = b.select(b.fcmp(LLVMRealOGT, a, k(x, one)), k(x, one), a);  // NaN stays
    const Nearest interval = nearest(near, per_unit);
    const Value t = b.fma(interval.value, k(x, -static_cast<float>(1 / per_unit)), near);
    auto coefficient = [&](size_t power) {
      Values half[2];
      for (int j = 0; j < 32; ++j) half[j / 16].push_back(b.real(b.f32, table[power][j]));
      return b.intrinsic("llvm.x86.avx512.vpermi2var.ps.512", {},
                         {LLVMConstVector(half[0].data(), 16), interval.bits, LLVMConstVector(half[1].data(), 16)});
    };
    Value r = coefficient(n - 1);
    for (size_t power = n - 1; power-- > 1;) r = b.fma(r, t, coefficient(power));
    // Around 0, t times the rounded first coefficient would be the whole of it: the 1 in that coefficient is multiplied exactly.
    const Value first = b.fcmp(LLVMRealOEQ, interval.value, k(x, 0));
    r = b.fma(r, t, b.select(first, t, coefficient(0)));
    return b.intrinsic("llvm.copysign", {r, x});
  }
  Value clamp(Value x, double lo, double hi) {
    x = b.select(b.fcmp(LLVMRealOLT, x, k(x, lo)), k(x, lo), x);
    return b.select(b.fcmp(LLVMRealOGT, x, k(x, hi)), k(x, hi), x);
  }
  /// x - n ln 2, in two steps.
  Value reduce(Value x, Value n) { return b.fma(n, k(x, -kLn2Low), b.fma(n, k(x, -kLn2High), x)); }
  /// e^r - 1 for |r| <= ln2 / 2.
  Value exp_minus_1(Value r) { return b.fma(b.mul(r, r), polynomial(r, kExp), r); }
  /// The whole number nearest to x * factor, for less than 2^22: as f32, and in the low bits of an i32. Adding 1.5 * 2^23 leaves
  /// no room for a fraction. NaN gives NaN, and any bits.
  struct Nearest {
    Value value, bits;
  };
  Nearest nearest(Value x, double factor) {
    const Value magic = k(x, 0x1.8p23), t = factor == 1 ? b.add(x, magic) : b.fma(x, k(x, factor), magic);
    return {b.sub(t, magic), b.bitcast(t, b.i32)};
  }
  /// 2^n for -126 <= n <= 127, from the low bits of `bits`.
  Value power_of_2(Value bits) { return b.bitcast(b.add(b.shl(bits, b.like(bits, 23)), b.like(bits, 0x3f800000)), b.f32); }
  /// exp for -80 <= x <= 80.
  Value small_exp(Value x) {
    const Nearest n = nearest(x, kLog2E);
    return b.mul(b.add(k(x, 1), exp_minus_1(reduce(x, n.value))), power_of_2(n.bits));
  }
  /// x * 2^n for |n| <= 252: in two steps, so that neither overflows early nor subnormal results are lost.
  Value scale(Value x, const Nearest& n) {
    if (isa_.x86 && isa_.masks && b.lanes_of(x) % 16 == 0) {
      Values parts;
      for (int i = 0; i < b.lanes_of(x); i += 16) {
        const Value part = b.lanes(x, i, 16), by = b.lanes(n.value, i, 16);
        parts.push_back(b.intrinsic("llvm.x86.avx512.mask.scalef.ps.512", {},
                                    {part, by, LLVMConstNull(b.type_of(part)), b.constant(b.i16, -1), b.constant(b.i32, 4)}));
      }
      return b.concat(parts);
    }
    const Value i = b.sub(n.bits, b.like(n.bits, 0x4b400000));
    const Value half = b.ashr(i, b.like(i, 1)), rest = b.sub(i, half);
    return b.mul(b.mul(x, power_of_2(half)), power_of_2(rest));
  }
  Value log_of_normal(Value x, double of_2_high, double of_2_low, double of_m) {
    const Value subnormal = b.fcmp(LLVMRealOLT, x, k(x, 0x1p-126));
    const Value bits = b.bitcast(b.select(subnormal, b.mul(x, k(x, 0x1p23)), x), b.i32);
    const Value shifted = b.sub(bits, b.like(bits, 0x3f3504f3));  // sqrt(1/2)
    const Value mantissa = b.add(b.bit_and(shifted, b.like(bits, 0x7fffff)), b.like(bits, 0x3f3504f3));
    Value e = LLVMBuildSIToFP(b.b, b.ashr(shifted, b.like(bits, 23)), b.like(x, b.f32), "");
    e = b.sub(e, b.select(subnormal, k(x, 23), k(x, 0)));
    const Value m = b.sub(b.bitcast(mantissa, b.f32), k(x, 1)), s = b.mul(m, m);
    const Value p = polynomial(m, kLog);
    const Value tail = b.fma(b.mul(p, m), s, b.mul(s, k(x, -0.5)));  // log(1 + m) - m
    if (of_m == 1) return b.fma(e, k(x, of_2_high), b.add(m, b.fma(e, k(x, of_2_low), tail)));
    return b.fma(e, k(x, of_2_high), b.fma(m, k(x, of_m), b.fma(tail, k(x, of_m), b.mul(e, k(x, of_2_low)))));
  }
  Value log_guarded(Value x, Value r) {
    const Value negative =
        b.select(b.fcmp(LLVMRealOLT, x, k(x, 0)), k(x, std::numeric_limits<double>::quiet_NaN()), x);  // infinity, NaN: themselves
    const Value special = b.select(b.fcmp(LLVMRealOEQ, x, k(x, 0)), k(x, -INFINITY), negative);
    const Value ok = b.bit_and(b.fcmp(LLVMRealOGT, x, k(x, 0)), b.fcmp(LLVMRealOLT, x, k(x, INFINITY)));
    return b.select(ok, r, special);
  }

  IrBuilder& b;
  const Isa& isa_;
};

}  // namespace

Value vector_function(IrBuilder& b, const Isa& isa, ExprOp op, Value x, Value y) {
  if (b.element_of(b.type_of(x)) == b.f32) {
    Inline f(b, isa);
    switch (op) {
      case ExprOp::Exp:
        return f.exp(x);
      case ExprOp::Exp2:
        return f.exp2(x);
      case ExprOp::Expm1:
        return f.expm1(x);
      case ExprOp::Log:
        return f.log(x, kLn2High, kLn2Low, 1);
      case ExprOp::Log2:
        return f.log(x, 1, 0, kLog2E);
      case ExprOp::Log10:
        return f.log(x, kLog10Of2High, kLog10Of2Low, 0.43429448190325182765);
      case ExprOp::Log1p:
        return f.log1p(x);
      case ExprOp::Tanh:
        return f.tanh(x);
      case ExprOp::Erf:
        return f.erf(x);
      default:
        break;
    }
  }
  return by_libmvec(b, isa, op, x, y);
}

}  // namespace anygpu::cpu
