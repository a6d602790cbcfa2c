// Pointwise operators of one tensor.
#include <ATen/NativeFunctions.h>
#include <ATen/native/TensorCompare.h>
#include <ATen/native/UnaryOps.h>

#include "hot.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

ANYGPU_STUB_OF(want_numbers, abs_stub, "abs")
ANYGPU_STUB(angle_stub, "angle")
ANYGPU_STUB(acos_stub, "acos")
ANYGPU_STUB(acosh_stub, "acosh")
ANYGPU_STUB(asin_stub, "asin")
ANYGPU_STUB(asinh_stub, "asinh")
ANYGPU_STUB(atan_stub, "atan")
ANYGPU_STUB(atanh_stub, "atanh")
ANYGPU_STUB(bitwise_not_stub, "bitwise_not")
ANYGPU_STUB(logical_not_stub, "logical_not")
ANYGPU_STUB(ceil_stub, "ceil")
ANYGPU_STUB(conj_physical_stub, "copy")
ANYGPU_STUB(cos_stub, "cos")
ANYGPU_STUB(cosh_stub, "cosh")
ANYGPU_STUB(special_entr_stub, "entr")
ANYGPU_STUB(erf_stub, "erf")
ANYGPU_STUB(erfc_stub, "erfc")
ANYGPU_STUB(exp_stub, "exp")
ANYGPU_STUB(exp2_stub, "exp2")
ANYGPU_STUB(expm1_stub, "expm1")
ANYGPU_STUB(floor_stub, "floor")
ANYGPU_STUB(frac_stub, "frac")
ANYGPU_STUB(frexp_stub, "frexp")
ANYGPU_STUB(lgamma_stub, "lgamma")
ANYGPU_STUB(log_stub, "log")
ANYGPU_STUB(log10_stub, "log10")
ANYGPU_STUB(log1p_stub, "log1p")
ANYGPU_STUB(log2_stub, "log2")
ANYGPU_STUB(neg_stub, "neg")
ANYGPU_STUB(reciprocal_stub, "reciprocal")
ANYGPU_STUB(round_stub, "round")
ANYGPU_STUB(rsqrt_stub, "rsqrt")
ANYGPU_STUB(sigmoid_stub, "sigmoid")
ANYGPU_STUB(sign_stub, "sign")
ANYGPU_STUB(sgn_stub, "sign")
ANYGPU_STUB(signbit_stub, "signbit")
ANYGPU_STUB(sin_stub, "sin")
ANYGPU_STUB(sinc_stub, "sinc")
ANYGPU_STUB(sinh_stub, "sinh")
ANYGPU_STUB(sqrt_stub, "sqrt")
ANYGPU_STUB(tan_stub, "tan")
ANYGPU_STUB(tanh_stub, "tanh")
ANYGPU_STUB(trunc_stub, "trunc")
ANYGPU_STUB(isposinf_stub, "isposinf")
ANYGPU_STUB(isneginf_stub, "isneginf")

REGISTER_PRIVATEUSE1_DISPATCH(
    logit_stub, +[](TensorIteratorBase& iter, const c10::Scalar& eps) {
      record_iter(calls::logit(type_of(iter), eps.to<double>()), iter);
    })

REGISTER_PRIVATEUSE1_DISPATCH(
    round_decimals_stub,
    +[](TensorIteratorBase& iter, int64_t decimals) { record_iter(calls::round_decimals(type_of(iter), decimals), iter); })

/// What nan_to_num puts for an infinity by default: the greatest finite number of the dtype.
double greatest(ScalarType t) {
  switch (t) {
    case ScalarType::Half:
      return 65504;
    case ScalarType::BFloat16:
      return 3.38953139e38;
    case ScalarType::Float:
      return std::numeric_limits<float>::max();
    default:
      return std::numeric_limits<double>::max();
  }
}

REGISTER_PRIVATEUSE1_DISPATCH(
    nan_to_num_stub, +[](TensorIteratorBase& iter, std::optional<double> nan, std::optional<double> up, std::optional<double> down) {
      double most = greatest(iter.dtype(0));
      record_iter(calls::nan_to_num(type_of(iter), nan.value_or(0), up.value_or(most), down.value_or(-most)), iter);
    })

at::Tensor is_nan(const Tensor& self) {
  Tensor out = torch_frontend::iterated_like(self, kBool);
  if (at::isFloatingType(self.scalar_type()))
    record_pointwise(ANYGPU_OP("isnan"), 1, {out, self}, self.scalar_type());
  else
    out.fill_(false);
  return out;
}

#define HOT(name)                                                                 \
  {                                                                               \
    ANYGPU_NAME(Name, #name)                                                      \
    hot_unary_faces<Name, structured_##name##_out, _ops::name, _ops::name##_>(m); \
    faces<structured_##name##_out, _ops::name##_out>(m);                          \
  }

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  ANYGPU_FACES_INPLACE(acos);
  ANYGPU_FACES_INPLACE(acosh);
  ANYGPU_FACES_INPLACE(asin);
  ANYGPU_FACES_INPLACE(asinh);
  ANYGPU_FACES_INPLACE(atan);
  ANYGPU_FACES_INPLACE(atanh);
  ANYGPU_FACES_INPLACE(bitwise_not);
  ANYGPU_FACES_INPLACE(ceil);
  HOT(cos);
  ANYGPU_FACES_INPLACE(cosh);
  HOT(erf);
  ANYGPU_FACES_INPLACE(erfc);
  HOT(exp);
  ANYGPU_FACES_INPLACE(exp2);
  ANYGPU_FACES_INPLACE(expm1);
  ANYGPU_FACES_INPLACE(floor);
  ANYGPU_FACES_INPLACE(frac);
  ANYGPU_FACES(isneginf);
  ANYGPU_FACES(isposinf);
  ANYGPU_FACES_INPLACE(lgamma);
  HOT(log);
  ANYGPU_FACES_INPLACE(log10);
  HOT(log1p);
  ANYGPU_FACES_INPLACE(log2);
  HOT(neg);
  HOT(reciprocal);
  ANYGPU_FACES_INPLACE(round);
  faces<structured_round_decimals_out, _ops::round_decimals, _ops::round__decimals, _ops::round_decimals_out>(m);
  HOT(rsqrt);
  HOT(sigmoid);
  ANYGPU_FACES_INPLACE(sgn);
  ANYGPU_FACES_INPLACE(sign);
  ANYGPU_FACES(signbit);
  HOT(sin);
  ANYGPU_FACES_INPLACE(sinc);
  ANYGPU_FACES_INPLACE(sinh);
  ANYGPU_FACES(special_entr);
  HOT(sqrt);
  ANYGPU_FACES_INPLACE(tan);
  HOT(tanh);
  ANYGPU_FACES_INPLACE(trunc);

  on<_ops::abs_out, abs_out>(m);
  on<_ops::angle, static_cast<Tensor (*)(const Tensor&)>(angle)>(m);
  on<_ops::angle_out, angle_out>(m);
  on<_ops::conj_physical_out, conj_physical_out>(m);
  on<_ops::frexp_Tensor_out, frexp_out>(m);
  on<_ops::isnan, is_nan>(m);
  on<_ops::logical_not_out, logical_not_out>(m);
  on<_ops::logit, logit>(m);
  on<_ops::logit_, logit_>(m);
  on<_ops::logit_out, logit_out>(m);
  on<_ops::mvlgamma_out, mvlgamma_out>(m);
  on<_ops::nan_to_num_out, nan_to_num_out>(m);
}

}  // namespace
}  // namespace at::native
