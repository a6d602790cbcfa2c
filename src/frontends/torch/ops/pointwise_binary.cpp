// Pointwise operators of two or three tensors: arithmetic, comparison, logic, selection.
#include <ATen/MemoryOverlap.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/BinaryOps.h>
#include <ATen/native/IndexKernel.h>
#include <ATen/native/Lerp.h>
#include <ATen/native/PointwiseOps.h>
#include <ATen/native/Pow.h>
#include <ATen/native/TensorCompare.h>

#include "copy.h"
#include "hot.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

bool is_one(const at::Scalar& s) {
  return s.isIntegral(true) ? s.toLong() == 1 : s.isFloatingPoint() && s.toDouble() == 1;
}

REGISTER_PRIVATEUSE1_DISPATCH(
    add_stub, +[](TensorIteratorBase& iter, const at::Scalar& alpha) {
      if (is_one(alpha))
        record_iter(ANYGPU_OP("add"), iter);
      else
        record_iter(calls::add_scaled(type_of(iter), number_of_dtype(alpha, iter)), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    sub_stub, +[](TensorIteratorBase& iter, const at::Scalar& alpha) {
      if (is_one(alpha))
        record_iter(ANYGPU_OP("sub"), iter);
      else
        record_iter(calls::sub_scaled(type_of(iter), number_of_dtype(alpha, iter)), iter);
    })
ANYGPU_STUB(mul_stub, "mul")
ANYGPU_STUB(div_true_stub, "div")
ANYGPU_STUB_OF(want_numbers, div_floor_stub, "div_floor")
ANYGPU_STUB_OF(want_numbers, div_trunc_stub, "div_trunc")
ANYGPU_STUB_OF(want_numbers, remainder_stub, "remainder")
ANYGPU_STUB_OF(want_numbers, fmod_stub, "fmod")
ANYGPU_STUB(atan2_stub, "atan2")
ANYGPU_STUB(hypot_stub, "hypot")
ANYGPU_STUB(copysign_stub, "copysign")
ANYGPU_STUB(heaviside_stub, "heaviside")
ANYGPU_STUB(logaddexp_stub, "logaddexp")
ANYGPU_STUB(logaddexp2_stub, "logaddexp2")
ANYGPU_STUB(xlogy_stub, "xlogy")
ANYGPU_STUB(xlog1py_stub, "xlog1py")
ANYGPU_STUB(maximum_stub, "maximum")
ANYGPU_STUB(minimum_stub, "minimum")
ANYGPU_STUB(fmax_stub, "fmax")
ANYGPU_STUB(fmin_stub, "fmin")
ANYGPU_STUB(bitwise_and_stub, "bitwise_and")
ANYGPU_STUB(bitwise_or_stub, "bitwise_or")
ANYGPU_STUB(bitwise_xor_stub, "bitwise_xor")
ANYGPU_STUB_OF(want_numbers, lshift_stub, "shift_left")
ANYGPU_STUB_OF(want_numbers, rshift_stub, "shift_right")
ANYGPU_STUB(logical_and_stub, "logical_and")
ANYGPU_STUB(logical_or_stub, "logical_or")
ANYGPU_STUB(logical_xor_stub, "logical_xor")
/// Unsigned integers without arithmetic here are equal where their bits are.
void record_equality(const Op& op, TensorIteratorBase& iter) {
  const ScalarType t = compute_dtype(iter);
  if (find_dtype(t) || !at::isIntegralType(t, false)) return record_iter(op, iter);
  const auto bits = [&](int i) {
    const Tensor& x = iter.tensor(i);
    return x.scalar_type() == t ? bits_of(x) : x.to(t).view(integers_as_wide(t));
  };
  record_pointwise(op, 1, {iter.tensor(0), bits(1), bits(2)}, integers_as_wide(t));
}
REGISTER_PRIVATEUSE1_DISPATCH(eq_stub, +[](TensorIteratorBase& iter) { record_equality(ANYGPU_OP("eq"), iter); })
REGISTER_PRIVATEUSE1_DISPATCH(ne_stub, +[](TensorIteratorBase& iter) { record_equality(ANYGPU_OP("ne"), iter); })
ANYGPU_STUB(lt_stub, "lt")
ANYGPU_STUB(le_stub, "le")
ANYGPU_STUB(gt_stub, "gt")
ANYGPU_STUB(ge_stub, "ge")
ANYGPU_STUB_OF(want_numbers, clamp_stub, "clamp")
ANYGPU_STUB_OF(want_float, lerp_kernel_tensor_weight, "lerp")
ANYGPU_STUB_OF(want_numbers, pow_tensor_tensor_stub, "pow")

ANYGPU_STUB(nextafter_stub, "nextafter")

void want_integers(const TensorIteratorBase& iter) {
  want_numbers(iter);
  if (isFloatingType(compute_dtype(iter))) throw Refused("anygpu does this of integers only");
}
REGISTER_PRIVATEUSE1_DISPATCH(
    gcd_stub, +[](TensorIteratorBase& iter) {
      want_integers(iter);
      record_iter(ANYGPU_OP("gcd"), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    lcm_stub, +[](TensorIteratorBase& iter) {
      want_integers(iter);
      record_iter(ANYGPU_OP("lcm"), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    pow_tensor_scalar_stub, +[](TensorIteratorBase& iter, const c10::Scalar& exponent) {
      want_numbers(iter);
      double e = exponent.to<double>();
      bool real = at::isFloatingType(iter.common_dtype());
      if (e == 2)
        record_iter(ANYGPU_OP("square"), iter);
      else if (e == 3)
        record_iter(ANYGPU_OP("cube"), iter);
      else if (real && e == 0.5)
        record_iter(ANYGPU_OP("sqrt"), iter);
      else if (real && e == -0.5)
        record_iter(ANYGPU_OP("rsqrt"), iter);
      else if (real && e == -1)
        record_iter(ANYGPU_OP("reciprocal"), iter);
      else
        record_iter_with(ANYGPU_OP("pow"), iter, {exponent});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    clamp_scalar_stub, +[](TensorIteratorBase& iter, const c10::Scalar& low, const c10::Scalar& high) {
      want_numbers(iter);
      (void)number_of_dtype(low, iter);
      (void)number_of_dtype(high, iter);
      record_iter_with(ANYGPU_OP("clamp"), iter, {low, high});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    clamp_min_scalar_stub, +[](TensorIteratorBase& iter, c10::Scalar low) {
      (void)number_of_dtype(low, iter);
      record_iter_with(ANYGPU_OP("maximum"), iter, {low});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    clamp_max_scalar_stub, +[](TensorIteratorBase& iter, c10::Scalar high) {
      (void)number_of_dtype(high, iter);
      record_iter_with(ANYGPU_OP("minimum"), iter, {high});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    lerp_kernel_scalar_weight, +[](TensorIteratorBase& iter, const c10::Scalar& w) {
      want_float(iter);
      record_iter_with(ANYGPU_OP("lerp"), iter, {w});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    addcmul_stub, +[](TensorIteratorBase& iter, const c10::Scalar& v) {
      want_numbers(iter);
      record_iter(calls::addcmul(type_of(iter), number(v, iter)), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    addcdiv_stub,
    +[](TensorIteratorBase& iter, const c10::Scalar& v) { record_iter(calls::addcdiv(type_of(iter), number(v, iter)), iter); })
REGISTER_PRIVATEUSE1_DISPATCH(
    where_kernel, +[](TensorIterator& iter) { record_iter(ANYGPU_OP("where"), iter, iter.dtype(0)); })

/// A small set of test elements: all pairs compared in one reduction.
REGISTER_PRIVATEUSE1_DISPATCH(
    isin_default_stub, +[](const Tensor& elements, const Tensor& tests, bool invert, const Tensor& out) {
      (void)dtype_of(elements.scalar_type());
      Tensor found = elements.unsqueeze(-1).eq(tests.reshape({-1})).any(-1);
      out.copy_(invert ? found.logical_not() : found);
    })

// ---- masked_fill ----

Tensor& masked_fill_tensor(Tensor& self, const Tensor& mask, const Tensor& value) {
  TORCH_CHECK(value.dim() == 0, "masked_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
              " dimension(s).");
  TORCH_CHECK(mask.dtype() == ScalarType::Bool, "masked_fill_ only supports boolean masks, but got mask with dtype ", mask.dtype());
  TORCH_CHECK(mask.device() == self.device(), "expected self and mask to be on the same device, but got mask on ", mask.device(),
              " and self on ", self.device());
  if (at::has_internal_overlap(self) == MemOverlap::Yes)
    TORCH_WARN(
        "Use of masked_fill_ on expanded tensors is deprecated. Please clone() the tensor before performing this operation. "
        "This also applies to advanced indexing e.g. tensor[mask] = scalar");
  at::assert_no_partial_overlap(self, mask);
  check_broadcasts(self, mask);
  if (is_cpu_number(value)) (void)to_scalar(value.item(), dtype_of(self.scalar_type()));  // throws where it does not fit
  record_pointwise(ANYGPU_OP("masked_fill"), 1, {self, self, mask, value}, self.scalar_type());
  return self;
}
Tensor& masked_fill_number(Tensor& self, const Tensor& mask, const at::Scalar& value) {
  TORCH_CHECK(self.is_complex() || !value.isComplex(), "value cannot be converted to type ", self.dtype(), " without overflow");
  return masked_fill_tensor(self, mask, c10::scalar_to_tensor(value));
}

template <class Scalar_, class Tensor_, class S1, class T1, class S2, class T2, class S3, class T3>
void comparison(torch::Library& m) {
  faces<Scalar_, S1, S2, S3>(m);
  faces<Tensor_, T1, T2, T3>(m);
}
#define COMPARISON(name)                                                                                               \
  comparison<structured_##name##_Scalar_out, structured_##name##_Tensor_out, _ops::name##_Scalar, _ops::name##_Tensor, \
             _ops::name##__Scalar, _ops::name##__Tensor, _ops::name##_Scalar_out, _ops::name##_Tensor_out>(m)
/// Operators of the form name.Tensor, name_.Tensor, name.out (or another overload of the latter)
#define BINARY(name, out) faces<structured_##name##_out, _ops::name##_Tensor, _ops::name##__Tensor, _ops::name##_##out>(m)

ANYGPU_NAME(AddOp, "add")
ANYGPU_NAME(SubOp, "sub")
ANYGPU_NAME(MulOp, "mul")
ANYGPU_NAME(DivOp, "div")

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  hot_sum_faces<AddOp, structured_ufunc_add_CPU, _ops::add_Tensor, _ops::add__Tensor>(m);
  faces<structured_ufunc_add_CPU, _ops::add_out>(m);
  hot_sum_faces<SubOp, structured_sub_out, _ops::sub_Tensor, _ops::sub__Tensor>(m);
  faces<structured_sub_out, _ops::sub_out>(m);
  hot_pair_faces<MulOp, structured_mul_out, _ops::mul_Tensor, _ops::mul__Tensor>(m);
  faces<structured_mul_out, _ops::mul_out>(m);
  hot_pair_faces<DivOp, structured_div_out, _ops::div_Tensor, _ops::div__Tensor>(m);
  faces<structured_div_out, _ops::div_out>(m);
  faces<structured_div_out_mode, _ops::div_Tensor_mode, _ops::div__Tensor_mode, _ops::div_out_mode>(m);
  BINARY(remainder, Tensor_out);
  BINARY(fmod, Tensor_out);
  ANYGPU_FACES_INPLACE(atan2);
  ANYGPU_FACES_INPLACE(hypot);
  BINARY(copysign, out);
  ANYGPU_FACES_INPLACE(nextafter);
  ANYGPU_FACES_INPLACE(heaviside);
  ANYGPU_FACES(logaddexp);
  ANYGPU_FACES(logaddexp2);
  BINARY(xlogy, OutTensor);
  ANYGPU_FACES(special_xlog1py);
  ANYGPU_FACES_INPLACE(gcd);
  ANYGPU_FACES_INPLACE(lcm);
  ANYGPU_FACES(maximum);
  ANYGPU_FACES(minimum);
  ANYGPU_FACES(fmax);
  ANYGPU_FACES(fmin);
  BINARY(bitwise_and, Tensor_out);
  BINARY(bitwise_or, Tensor_out);
  BINARY(bitwise_xor, Tensor_out);
  BINARY(bitwise_left_shift, Tensor_out);
  BINARY(bitwise_right_shift, Tensor_out);
  COMPARISON(eq);
  COMPARISON(ne);
  COMPARISON(lt);
  COMPARISON(le);
  COMPARISON(gt);
  COMPARISON(ge);
  ANYGPU_FACES_INPLACE(clamp);
  ANYGPU_FACES_INPLACE(clamp_min);
  ANYGPU_FACES_INPLACE(clamp_max);
  faces<structured_clamp_Tensor_out, _ops::clamp_Tensor, _ops::clamp__Tensor, _ops::clamp_Tensor_out>(m);
  faces<structured_clamp_min_Tensor_out, _ops::clamp_min_Tensor, _ops::clamp_min__Tensor, _ops::clamp_min_Tensor_out>(m);
  faces<structured_clamp_max_Tensor_out, _ops::clamp_max_Tensor, _ops::clamp_max__Tensor, _ops::clamp_max_Tensor_out>(m);
  faces<structured_lerp_Scalar, _ops::lerp_Scalar, _ops::lerp__Scalar, _ops::lerp_Scalar_out>(m);
  faces<structured_lerp_Tensor, _ops::lerp_Tensor, _ops::lerp__Tensor, _ops::lerp_Tensor_out>(m);
  ANYGPU_FACES_INPLACE(addcmul);
  ANYGPU_FACES_INPLACE(addcdiv);
  faces<structured_pow_Tensor_Tensor_out, _ops::pow_Tensor_Tensor, _ops::pow__Tensor, _ops::pow_Tensor_Tensor_out>(m);
  faces<structured_pow_Tensor_Scalar_out, _ops::pow_Tensor_Scalar, _ops::pow__Scalar, _ops::pow_Tensor_Scalar_out>(m);
  faces<structured_pow_Scalar_out, _ops::pow_Scalar, _ops::pow_Scalar_out>(m);
  faces<structured_isin_Tensor_Tensor_out, _ops::isin_Tensor_Tensor, _ops::isin_Tensor_Tensor_out>(m);
  faces<structured_isin_Tensor_Scalar_out, _ops::isin_Tensor_Scalar, _ops::isin_Tensor_Scalar_out>(m);
  faces<structured_isin_Scalar_Tensor_out, _ops::isin_Scalar_Tensor, _ops::isin_Scalar_Tensor_out>(m);

  on<_ops::logical_and_out, logical_and_out>(m);
  on<_ops::logical_or_out, logical_or_out>(m);
  on<_ops::logical_xor_out, logical_xor_out>(m);
  using TT = Tensor (*)(const Tensor&, const Tensor&);
  using TS = Tensor (*)(const Tensor&, const at::Scalar&);
  on<_ops::floor_divide, static_cast<TT>(floor_divide)>(m);
  on<_ops::floor_divide_out, static_cast<Tensor& (*)(const Tensor&, const Tensor&, Tensor&)>(floor_divide_out)>(m);
  on<_ops::floor_divide__Tensor, static_cast<Tensor& (*)(Tensor&, const Tensor&)>(floor_divide_)>(m);
  on<_ops::remainder_Scalar_Tensor, static_cast<Tensor (*)(const at::Scalar&, const Tensor&)>(remainder)>(m);
  on<_ops::rsub_Tensor, static_cast<Tensor (*)(const Tensor&, const Tensor&, const at::Scalar&)>(rsub)>(m);
  on<_ops::__lshift___Tensor, static_cast<TT>(__lshift__)>(m);
  on<_ops::__lshift___Scalar, static_cast<TS>(__lshift__)>(m);
  on<_ops::__rshift___Tensor, static_cast<TT>(__rshift__)>(m);
  on<_ops::__rshift___Scalar, static_cast<TS>(__rshift__)>(m);
  on<_ops::__ilshift___Tensor, static_cast<Tensor& (*)(Tensor&, const Tensor&)>(__ilshift__)>(m);
  on<_ops::__ilshift___Scalar, static_cast<Tensor& (*)(Tensor&, const at::Scalar&)>(__ilshift__)>(m);
  on<_ops::__irshift___Tensor, static_cast<Tensor& (*)(Tensor&, const Tensor&)>(__irshift__)>(m);
  on<_ops::__irshift___Scalar, static_cast<Tensor& (*)(Tensor&, const at::Scalar&)>(__irshift__)>(m);
  on<_ops::where_self, static_cast<Tensor (*)(const Tensor&, const Tensor&, const Tensor&)>(where)>(m);
  on<_ops::where_self_out, where_self_out>(m);
  on<_ops::masked_fill__Scalar, masked_fill_number>(m);
  on<_ops::masked_fill__Tensor, masked_fill_tensor>(m);
}

}  // namespace
}  // namespace at::native
