#include "math.h"

#include "anygpu/error.h"

namespace anygpu::gpu {

Value real_function(Builder& b, ir::ExprOp op, Value x, Value y) {
  using ir::ExprOp;
  Math m(b, x.type);
  switch (op) {
    case ExprOp::Rem:
      return m.rem(x, y);
    case ExprOp::Floor:
      return m.floor(x);
    case ExprOp::Ceil:
      return m.ceil(x);
    case ExprOp::Trunc:
      return m.trunc(x);
    case ExprOp::Round:
      return m.round_even(x);
    case ExprOp::Nextafter:
      return m.nextafter(x, y);
#define ANYGPU_MATH_1(Op, name) \
  case ExprOp::Op:              \
    return m.name(x);
#define ANYGPU_MATH_2(Op, name) \
  case ExprOp::Op:              \
    return m.name(x, y);
#define ANYGPU_EXPR_CALL(Op, name, arity, types)
#define ANYGPU_EXPR_LIBM(Op, name, arity, types) ANYGPU_MATH_##arity(Op, name)
#include "ir/expr_ops.inc"
#undef ANYGPU_MATH_1
#undef ANYGPU_MATH_2
    default:
      throw Error(ErrorKind::Internal, std::string("[gpu] no ") + ir::name_of(op) + " of floats");
  }
}

}  // namespace anygpu::gpu
