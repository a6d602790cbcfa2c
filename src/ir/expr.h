// Expr: the scalar body of a Generic, in SSA form. A node refers only to nodes before it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "anygpu/dtype.h"
#include "anygpu/error.h"

namespace anygpu::ir {

/// What each means, and where it is defined: expr_ops.inc.
enum class ExprOp : uint8_t {
#define ANYGPU_EXPR(Op, name, arity, types) Op,
#include "ir/expr_ops.inc"
};

/// On which types an operator is defined. Number: f and i; Float: f; Integer: i; Bits: i and b: operands and result are of one type.
/// Comparison: operands of one type, result bool. Own: verify() spells it out.
enum class TypeRule : uint8_t { Own, Number, Float, Integer, Bits, Comparison };

struct ExprInfo {
  const char* name;
  int arity;  ///< how many of a, b, c are nodes. (Load's a is an access, not a node; its b, Reduce's b,
              ///< Next's c, Check's b and c are nodes if >= 0.)
  TypeRule types;
  bool libm = false;  ///< C's mathematics library has it under this name
};
inline constexpr ExprInfo kExprOps[] = {
#define ANYGPU_EXPR(Op, name, arity, types) {#name, arity, TypeRule::types},
#define ANYGPU_EXPR_LIBM(Op, name, arity, types) {#name, arity, TypeRule::types, true},
#include "ir/expr_ops.inc"
};
constexpr const ExprInfo& info(ExprOp op) {
  return kExprOps[static_cast<int>(op)];
}
constexpr int arity(ExprOp op) {
  return info(op).arity;
}
constexpr const char* name_of(ExprOp op) {
  return info(op).name;
}

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

const char* name_of(ReduceKind);

/// Calls f(id) for each node that `n` refers to.
template <class F>
void for_each_operand(const Node& n, F&& f) {
  if (n.a >= 0 && n.op != ExprOp::Load) f(n.a);
  if (n.b >= 0) f(n.b);
  if (n.c >= 0) f(n.c);
}
/// Whether the operands that it cannot do without are there, and none that mean nothing.
inline bool has_operands(const Node& n) {
  const int least = arity(n.op);
  const bool b_is_free = n.op == ExprOp::Load || n.op == ExprOp::Reduce || n.op == ExprOp::Check;
  const bool c_is_free = n.op == ExprOp::Next || n.op == ExprOp::Check;
  return (n.op == ExprOp::Load || (n.a >= 0) == (least > 0)) && (b_is_free || (n.b >= 0) == (least > 1)) &&
         (c_is_free || (n.c >= 0) == (least > 2));
}

/// Per node: the last Next of the loop in whose iterations it is computed, or -1. (A Repeat, the result of a loop, is outside of it.)
std::vector<int> loops_of(const std::vector<Node>&);

/// The nodes of one body. Equal nodes are made once (Check and Carry excepted), so common subexpressions are shared by construction.
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

/// What one iteration of a loop says: whether its values count, and those of the next.
struct Iteration {
  Val counts;
  std::vector<Val> next;
};
/// From `first` on, while an iteration counts, `most` times at most: its `next`. Returns the values of the last that counted. Lanes of a
/// vector wait for each other.
std::vector<Val> repeat(int64_t most, const std::vector<Val>& first, const std::function<Iteration(const std::vector<Val>& now)>& body);

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

// abs(x) ... lgamma(x), min(x, y), pow(x, y) ...
#define ANYGPU_VAL_1(Op, name)   \
  inline Val name(Val a) {       \
    return unary(ExprOp::Op, a); \
  }
#define ANYGPU_VAL_2(Op, name)       \
  inline Val name(Val a, Val b) {    \
    return binary(ExprOp::Op, a, b); \
  }
#define ANYGPU_EXPR_CALL(Op, name, arity, types) ANYGPU_VAL_##arity(Op, name)
#include "ir/expr_ops.inc"
#undef ANYGPU_VAL_1
#undef ANYGPU_VAL_2
inline Val min(Val a, double b) {
  return min(a, like(a, b));
}
inline Val max(Val a, double b) {
  return max(a, like(a, b));
}
/// NaN test without a primitive of its own.
inline Val isnan(Val a) {
  return a != a;
}

}  // namespace anygpu::ir
