#include "math.h"

#include "anygpu/error.h"

namespace anygpu::gpu {

Value real_function(Builder& b, ir::ExprOp op, Value x, Value y) {
  using ir::ExprOp;
  Math m(b, x.type);
  switch (op) {
    case ExprOp::Rem:
      return m.rem(x, y);
    case ExprOp::Pow:
      return m.pow(x, y);
    case ExprOp::Atan2:
      return m.atan2(x, y);
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
    case ExprOp::Hypot:
      return m.hypot(x, y);
    case ExprOp::Exp:
      return m.exp(x);
    case ExprOp::Exp2:
      return m.exp2(x);
    case ExprOp::Expm1:
      return m.expm1(x);
    case ExprOp::Log:
      return m.log(x);
    case ExprOp::Log2:
      return m.log2(x);
    case ExprOp::Log10:
      return m.log10(x);
    case ExprOp::Log1p:
      return m.log1p(x);
    case ExprOp::Sin:
      return m.sin(x);
    case ExprOp::Cos:
      return m.cos(x);
    case ExprOp::Tan:
      return m.tan(x);
    case ExprOp::Asin:
      return m.asin(x);
    case ExprOp::Acos:
      return m.acos(x);
    case ExprOp::Atan:
      return m.atan(x);
    case ExprOp::Sinh:
      return m.sinh(x);
    case ExprOp::Cosh:
      return m.cosh(x);
    case ExprOp::Tanh:
      return m.tanh(x);
    case ExprOp::Asinh:
      return m.asinh(x);
    case ExprOp::Acosh:
      return m.acosh(x);
    case ExprOp::Atanh:
      return m.atanh(x);
    case ExprOp::Erf:
      return m.erf(x);
    case ExprOp::Erfc:
      return m.erfc(x);
    case ExprOp::Lgamma:
      return m.lgamma(x);
    default:
      throw Error(ErrorKind::Internal, std::string("[gpu] no ") + ir::name_of(op) + " of floats");
  }
}

}  // namespace anygpu::gpu
