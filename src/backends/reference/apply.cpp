// What each scalar operation means. f32 functions are computed in f64 and rounded once, so their error is half an ulp.
#include <cmath>
#include <limits>

#include "backends/reference/interpreter.h"

namespace anygpu::reference {
namespace {

using ir::ExprOp;

/// +, -, *, / and the like, really in T.
template <class T>
T arithmetic(ExprOp op, T a, T b) {
  switch (op) {
    case ExprOp::Add:
      return a + b;
    case ExprOp::Sub:
      return a - b;
    case ExprOp::Mul:
      return a * b;
    case ExprOp::Div:
      return a / b;
    case ExprOp::Rem:
      return std::fmod(a, b);
    case ExprOp::Min:
      return std::isnan(a) || std::isnan(b) ? std::numeric_limits<T>::quiet_NaN() : a < b ? a : b;
    case ExprOp::Max:
      return std::isnan(a) || std::isnan(b) ? std::numeric_limits<T>::quiet_NaN() : a > b ? a : b;
    case ExprOp::Copysign:
      return std::copysign(a, b);
    case ExprOp::Nextafter:
      return std::nextafter(a, b);
    case ExprOp::Neg:
      return -a;
    case ExprOp::Abs:
      return std::fabs(a);
    case ExprOp::Floor:
      return std::floor(a);
    case ExprOp::Ceil:
      return std::ceil(a);
    case ExprOp::Trunc:
      return std::trunc(a);
    case ExprOp::Round:
      return std::nearbyint(a);  // the rounding mode is to nearest, ties to even
    case ExprOp::Sqrt:
      return std::sqrt(a);
    default:
      throw Error(ErrorKind::Internal, std::string("[reference] no ") + ir::name_of(op) + " of floats");
  }
}

namespace libm {
/// std::lgamma writes a global.
double lgamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}
double of_1(double (*f)(double), double a, double) {
  return f(a);
}
double of_2(double (*f)(double, double), double a, double b) {
  return f(a, b);
}

double function(ExprOp op, double a, double b) {
  switch (op) {
#define ANYGPU_EXPR_CALL(Op, name, arity, types)
#define ANYGPU_EXPR_LIBM(Op, name, arity, types) \
  case ExprOp::Op:                               \
    return of_##arity(name, a, b);
#include "ir/expr_ops.inc"
    default:
      throw Error(ErrorKind::Internal, std::string("[reference] no ") + ir::name_of(op) + " of floats");
  }
}
}  // namespace libm

int64_t integer_power(int64_t base, int64_t exponent) {
  if (exponent < 0) return base == 1 ? 1 : base == -1 ? (exponent & 1 ? -1 : 1) : 0;
  uint64_t result = 1, square = base;
  for (uint64_t e = exponent; e; e >>= 1) {
    if (e & 1) result *= square;
    square *= square;
  }
  return static_cast<int64_t>(result);
}

/// Before wrapping to the type; `bits` is its width.
int64_t integer(ExprOp op, int64_t a, int64_t b, int bits, bool is_unsigned) {
  const auto ua = static_cast<uint64_t>(a), ub = static_cast<uint64_t>(b);
  switch (op) {
    case ExprOp::Add:
      return static_cast<int64_t>(ua + ub);
    case ExprOp::Sub:
      return static_cast<int64_t>(ua - ub);
    case ExprOp::Mul:
      return static_cast<int64_t>(ua * ub);
    case ExprOp::Div:
      return b == 0 ? 0 : b == -1 ? static_cast<int64_t>(0 - ua) : a / b;
    case ExprOp::Rem:
      return b == 0 || b == -1 ? 0 : a % b;
    case ExprOp::Min:
      return a < b ? a : b;
    case ExprOp::Max:
      return a > b ? a : b;
    case ExprOp::Pow:
      return integer_power(a, b);
    case ExprOp::And:
      return a & b;
    case ExprOp::Or:
      return a | b;
    case ExprOp::Xor:
      return a ^ b;
    case ExprOp::Shl:
      return ub >= static_cast<uint64_t>(bits) ? 0 : static_cast<int64_t>(ua << b);
    case ExprOp::Shr:
      return ub >= static_cast<uint64_t>(bits) ? (is_unsigned || a >= 0 ? 0 : -1) : a >> b;
    case ExprOp::Neg:
      return static_cast<int64_t>(0 - ua);
    case ExprOp::Abs:
      return a < 0 ? static_cast<int64_t>(0 - ua) : a;
    case ExprOp::Not:
      return ~a;
    default:
      throw Error(ErrorKind::Internal, std::string("[reference] no ") + ir::name_of(op) + " of integers");
  }
}

template <class T>
bool compare(ExprOp op, T a, T b) {
  switch (op) {
    case ExprOp::Eq:
      return a == b;
    case ExprOp::Ne:
      return a != b;
    case ExprOp::Lt:
      return a < b;
    default:
      return a <= b;
  }
}

}  // namespace

Value apply(ExprOp op, DType t, Value a, Value b) {
  Value r{.i = 0};
  const ir::ExprInfo& info = ir::info(op);
  if (info.types == ir::TypeRule::Comparison) {
    r.i = t == DType::F32 ? compare(op, a.f, b.f) : t == DType::F64 ? compare(op, a.d, b.d) : compare(op, a.i, b.i);
  } else if (t == DType::F32) {
    r.f = info.libm ? static_cast<float>(libm::function(op, a.f, b.f)) : arithmetic(op, a.f, b.f);
  } else if (t == DType::F64) {
    r.d = info.libm ? libm::function(op, a.d, b.d) : arithmetic(op, a.d, b.d);
  } else if (t == DType::Bool && op == ExprOp::Not) {
    r.i = !a.i;
  } else {
    r.i = wrap(t, integer(op, a.i, b.i, static_cast<int>(8 * size_of(t)), t == DType::U8));
  }
  return r;
}

uint32_t philox(uint64_t counter, uint64_t key, uint64_t stream, int word) {
  uint32_t c[4] = {static_cast<uint32_t>(counter), static_cast<uint32_t>(counter >> 32), static_cast<uint32_t>(stream),
                   static_cast<uint32_t>(stream >> 32)};
  auto k0 = static_cast<uint32_t>(key), k1 = static_cast<uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * c[0], p1 = uint64_t{0xCD9E8D57} * c[2];
    const uint32_t next[4] = {static_cast<uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<uint32_t>(p1),
                              static_cast<uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<uint32_t>(p0)};
    for (int i = 0; i < 4; ++i) c[i] = next[i];
    k0 += 0x9E3779B9;
    k1 += 0xBB67AE85;
  }
  return c[word];
}

Value combine(ir::Combine how, DType t, Value a, Value b) {
  if (how == ir::Combine::None) return b;
  if (t == DType::Bool) {
    const bool is_or = how == ir::Combine::Add || how == ir::Combine::Max;
    return {.i = is_or ? a.i | b.i : a.i & b.i};
  }
  constexpr ExprOp ops[] = {ExprOp::Add, ExprOp::Add, ExprOp::Mul, ExprOp::Max, ExprOp::Min};
  const DType c = compute_type(t);
  return cast(apply(ops[static_cast<int>(how)], c, cast(a, t, c), cast(b, t, c)), c, t);
}

}  // namespace anygpu::reference
