// Expr: the scalar body of a Generic, in SSA form. A node refers only to nodes before it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anygpu/dtype.h"
#include "anygpu/error.h"

namespace anygpu::ir {

/// Semantics, the same on every backend ("f" floats f32/f64, "i" integers, "b" bool):
enum class ExprOp : uint8_t {
  // leaves
  Load,   ///< a = access; b = node (i64) added to the element offset, or -1. Type is the access's dtype
  Arg,    ///< imm.i = position in Generic::args; the run-time Scalar (f: .f, i and b: .i) converted to type
  Const,  ///< imm.f for floats, imm.i else
  Size,   ///< as Const: a number that follows from sizes or strides. A kernel takes it as a parameter, so that it serves other sizes
  Index,  ///< imm.i = dimension; its current index, i64
  // arithmetic, operands and result of one type
  Add,
  Sub,
  Mul,
  Div,  ///< f: IEEE. i: truncates; x/0 = 0 (never traps), MIN/-1 wraps
  Rem,  ///< f: fmod. i: sign of the dividend; x%0 = 0
  Min,
  Max,  ///< f: NaN if either is NaN
  Pow,  ///< f: C pow. i: wraps; negative exponents: 1 for base 1, +-1 for base -1, else 0
  Atan2,
  Copysign,
  Nextafter,
  Hypot,  ///< f
  And,
  Or,
  Xor,  ///< i, b
  Shl,
  Shr,  ///< i; Shr is arithmetic for signed types; shifts of width or more: Shl 0, Shr 0 or all sign bits
  // comparison: operands of one type, result bool. Eq Lt Le are false on NaN, Ne is true
  Eq,
  Ne,
  Lt,
  Le,
  // one operand
  Neg,
  Abs,  ///< f, i
  Not,  ///< i: all bits; b: logical
  Floor,
  Ceil,
  Trunc,
  Round,  ///< f; Round is to nearest, ties to even
  Sqrt,
  Exp,
  Exp2,
  Expm1,
  Log,
  Log2,
  Log10,
  Log1p,  ///< f
  Sin,
  Cos,
  Tan,
  Asin,
  Acos,
  Atan,
  Sinh,
  Cosh,
  Tanh,
  Asinh,
  Acosh,
  Atanh,
  Erf,
  Erfc,
  Lgamma,  ///< f
  // others
  Select,   ///< a (bool) ? b : c
  Cast,     ///< a to type. f to i: truncates, saturates at i64 (NaN 0), then wraps to the narrower type. any to b: != 0
  Bitcast,  ///< a's bits as type, same width
  Philox,   ///< Philox 4x32-10: a = counter (i64), b = key (i64), c = stream (i64); imm.i = word 0..3 of the block; result: the u32
            ///< zero-extended to i64
  Reduce,   ///< a reduced over the Generic's reduction dimensions: imm.i = ReduceKind; b = i64 index node for ArgMax/ArgMin
  Check,    ///< a (bool) must hold, else the step fails with imm.i (fault_code), and goes on: what needs no Check is right. Result: a. b and c,
            ///< where there are: the i64 that breaks it, which the failure tells, and its bound (a number)
};

enum class ReduceKind : uint8_t {
  Sum,
  Prod,
  Max,
  Min,  ///< NaN if any is NaN
  Any,
  All,  ///< bool
  ArgMax,
  ArgMin,  ///< i64: the b of the greatest (least) a; NaN counts as greatest (least); of equals the smallest b
};

/// What a Check may report.
enum class Fault : uint8_t { None, IndexOutOfRange, BadProbability, DivisionByZero, TargetOutOfRange, BadArgument, OutOfBounds };
const char* fault_message(Fault);
/// Imm.i of a Check, and the dimension that it is about (-1: none). Of several that fail, the greatest code is told.
constexpr int64_t fault_code(Fault fault, int dim = -1) {
  return static_cast<int64_t>(fault) << 8 | (dim + 1);
}

/// Which Check failed, and on what.
struct FaultReport {
  static constexpr int64_t kUnknown = INT64_MIN;
  int64_t code = 0;          ///< 0: none failed
  int64_t value = kUnknown;  ///< the Check's b
  Fault fault() const { return static_cast<Fault>(code >> 8); }
  int dim() const { return static_cast<int>(code & 0xff) - 1; }
  explicit operator bool() const { return code != 0; }
};
/// What a frontend is told where a Check of the step `name` has failed: kind Index or Value. bound: the Check's c, or kUnknown.
Error fault_error(const FaultReport&, const std::string& name, int64_t bound = FaultReport::kUnknown);

struct Node {
  ExprOp op;
  DType type;
  int32_t a = -1, b = -1, c = -1;
  union Imm {
    double f;
    int64_t i;
  } imm{.i = 0};
};

/// How many of a, b, c are nodes. (Load's a is an access, not a node; its b is a node if >= 0; Reduce's b likewise; Check's b and c.)
int arity(ExprOp);
inline int arity(const Node& n) {
  if (n.b >= 0 && (n.op == ExprOp::Reduce || n.op == ExprOp::Check)) return n.op == ExprOp::Reduce ? 2 : 3;
  return arity(n.op);
}
const char* name_of(ExprOp);
const char* name_of(ReduceKind);

/// Calls f(id) for each node that `n` refers to.
template <class F>
void for_each_operand(const Node& n, F&& f) {
  if (n.op == ExprOp::Load) {
    if (n.b >= 0) f(n.b);
    return;
  }
  const int count = arity(n);
  if (count > 0) f(n.a);
  if (count > 1) f(n.b);
  if (count > 2) f(n.c);
}

/// The nodes of one body. Equal nodes are made once (Check excepted), so common subexpressions are shared by construction.
class Body {
 public:
  int add(Node);
  const Node& operator[](int i) const { return nodes_[i]; }
  int size() const { return static_cast<int>(nodes_.size()); }
  const std::vector<Node>& nodes() const { return nodes_; }

 private:
  std::vector<Node> nodes_;
  std::vector<std::pair<uint64_t, int32_t>> table_;  // open addressing: hash -> node
};

/// A value in a Body under construction, with operators, so that the catalogue reads as mathematics:
/// `x * 0.5 * (1 + erf(x * M_SQRT1_2))`. Mixing with a C++ number makes a constant of the other operand's type.
struct Val {
  Body* body = nullptr;
  int id = -1;
  DType type() const { return (*body)[id].type; }
};

Val constant(Body&, DType, double);
Val constant(Body&, DType, int64_t);
/// A constant of v's type.
Val like(Val v, double);
/// A number that follows from sizes or strides. As an integer, 0 and +-1 are constants: what they simplify is worth a kernel.
Val size(Body&, DType, double);
Val size(Body&, DType, int64_t);
/// ... of v's type.
Val size_like(Val v, double);
Val size_like(Val v, int64_t);
Val unary(ExprOp, Val);
Val binary(ExprOp, Val, Val);
Val select(Val cond, Val yes, Val no);
Val cast(Val, DType);  ///< v itself where the type is the same
Val bitcast(Val, DType);
Val index(Body&, int dim);
Val arg(Body&, DType, int position);
Val load(Body&, DType, int access);
Val load(Body&, DType, int access, Val extra_offset);
Val reduce(ReduceKind, Val);
Val reduce_arg(ReduceKind, Val value, Val index);
Val philox(Val counter, Val key, Val stream, int word);
/// `value`: what is told where it does not hold, and the bound that it broke, in dimension `dim` (-1: of the whole).
Val check(Val cond, Fault, Val value = {}, Val bound = {}, int dim = -1);

inline Val operator+(Val a, Val b) {
  return binary(ExprOp::Add, a, b);
}
inline Val operator-(Val a, Val b) {
  return binary(ExprOp::Sub, a, b);
}
inline Val operator*(Val a, Val b) {
  return binary(ExprOp::Mul, a, b);
}
inline Val operator/(Val a, Val b) {
  return binary(ExprOp::Div, a, b);
}
inline Val operator%(Val a, Val b) {
  return binary(ExprOp::Rem, a, b);
}
inline Val operator&(Val a, Val b) {
  return binary(ExprOp::And, a, b);
}
inline Val operator|(Val a, Val b) {
  return binary(ExprOp::Or, a, b);
}
inline Val operator^(Val a, Val b) {
  return binary(ExprOp::Xor, a, b);
}
inline Val operator-(Val a) {
  return unary(ExprOp::Neg, a);
}
inline Val operator!(Val a) {
  return unary(ExprOp::Not, a);
}
inline Val operator==(Val a, Val b) {
  return binary(ExprOp::Eq, a, b);
}
inline Val operator!=(Val a, Val b) {
  return binary(ExprOp::Ne, a, b);
}
inline Val operator<(Val a, Val b) {
  return binary(ExprOp::Lt, a, b);
}
inline Val operator<=(Val a, Val b) {
  return binary(ExprOp::Le, a, b);
}
inline Val operator>(Val a, Val b) {
  return binary(ExprOp::Lt, b, a);
}
inline Val operator>=(Val a, Val b) {
  return binary(ExprOp::Le, b, a);
}

#define ANYGPU_MIXED(op)                    \
  inline Val operator op(Val a, double b) { \
    return a op like(a, b);                 \
  }                                         \
  inline Val operator op(double a, Val b) { \
    return like(b, a) op b;                 \
  }
// clang-format off
ANYGPU_MIXED(+) ANYGPU_MIXED(-) ANYGPU_MIXED(*) ANYGPU_MIXED(/) ANYGPU_MIXED(%)
ANYGPU_MIXED(==) ANYGPU_MIXED(!=) ANYGPU_MIXED(<) ANYGPU_MIXED(<=) ANYGPU_MIXED(>) ANYGPU_MIXED(>=)
// clang-format on
#undef ANYGPU_MIXED

#define ANYGPU_UNARY(name, op)   \
  inline Val name(Val a) {       \
    return unary(ExprOp::op, a); \
  }
        ANYGPU_UNARY(abs, Abs) ANYGPU_UNARY(floor, Floor) ANYGPU_UNARY(ceil, Ceil) ANYGPU_UNARY(trunc, Trunc) ANYGPU_UNARY(round, Round)
            ANYGPU_UNARY(sqrt, Sqrt) ANYGPU_UNARY(exp, Exp) ANYGPU_UNARY(exp2, Exp2) ANYGPU_UNARY(expm1, Expm1) ANYGPU_UNARY(log, Log)
                ANYGPU_UNARY(log2, Log2) ANYGPU_UNARY(log10, Log10) ANYGPU_UNARY(log1p, Log1p) ANYGPU_UNARY(sin, Sin) ANYGPU_UNARY(cos, Cos)
                    ANYGPU_UNARY(tan, Tan) ANYGPU_UNARY(asin, Asin) ANYGPU_UNARY(acos, Acos) ANYGPU_UNARY(atan, Atan)
                        ANYGPU_UNARY(sinh, Sinh) ANYGPU_UNARY(cosh, Cosh) ANYGPU_UNARY(tanh, Tanh) ANYGPU_UNARY(asinh, Asinh)
                            ANYGPU_UNARY(acosh, Acosh) ANYGPU_UNARY(atanh, Atanh) ANYGPU_UNARY(erf, Erf) ANYGPU_UNARY(erfc, Erfc)
                                ANYGPU_UNARY(lgamma, Lgamma)
#undef ANYGPU_UNARY
                                    inline Val min(Val a, Val b) {
  return binary(ExprOp::Min, a, b);
}
inline Val max(Val a, Val b) {
  return binary(ExprOp::Max, a, b);
}
inline Val min(Val a, double b) {
  return min(a, like(a, b));
}
inline Val max(Val a, double b) {
  return max(a, like(a, b));
}
inline Val pow(Val a, Val b) {
  return binary(ExprOp::Pow, a, b);
}
inline Val atan2(Val a, Val b) {
  return binary(ExprOp::Atan2, a, b);
}
inline Val copysign(Val a, Val b) {
  return binary(ExprOp::Copysign, a, b);
}
inline Val shl(Val a, Val b) {
  return binary(ExprOp::Shl, a, b);
}
inline Val shr(Val a, Val b) {
  return binary(ExprOp::Shr, a, b);
}
/// NaN test without a primitive of its own.
inline Val isnan(Val a) {
  return a != a;
}

}  // namespace anygpu::ir
