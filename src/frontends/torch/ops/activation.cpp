// Activation functions and their gradients.
#include <ATen/MemoryOverlap.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/Activation.h>
#include <ATen/native/BinaryOps.h>

#include "hot.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

using Iter = TensorIteratorBase;
using S = c10::Scalar;

ANYGPU_STUB(sigmoid_backward_stub, "sigmoid_grad")
ANYGPU_STUB(tanh_backward_stub, "tanh_grad")
ANYGPU_STUB_OF(want_float, hardsigmoid_stub, "hardsigmoid")
ANYGPU_STUB(hardsigmoid_backward_stub, "hardsigmoid_grad")
ANYGPU_STUB_OF(want_float, hardswish_stub, "hardswish")
ANYGPU_STUB(hardswish_backward_stub, "hardswish_grad")
ANYGPU_STUB(glu_stub, "glu")
ANYGPU_STUB(glu_backward_stub, "glu_gate_grad")
ANYGPU_STUB(glu_jvp_stub, "glu_jvp")
ANYGPU_STUB(silu_stub, "silu")
ANYGPU_STUB(silu_backward_stub, "silu_grad")
ANYGPU_STUB(mish_stub, "mish")
ANYGPU_STUB(mish_backward_stub, "mish_grad")
ANYGPU_STUB(prelu_stub, "prelu")
ANYGPU_STUB(prelu_backward_stub, "prelu_grad")

#define STUB_1(stub, op_name)                                     \
  REGISTER_PRIVATEUSE1_DISPATCH(                                  \
      stub, +[](Iter& iter, const S& a) {                         \
        want_float(iter);                                         \
        record_iter(ANYGPU_OP(op_name), iter, {number(a, iter)}); \
      })

REGISTER_PRIVATEUSE1_DISPATCH(
    softplus_stub, +[](Iter& iter, const S& beta, const S& threshold) {
      record_iter(calls::softplus(type_of(iter), beta.to<double>(), threshold.to<double>()), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    softplus_backward_stub, +[](Iter& iter, const S& beta, const S& threshold) {
      record_iter(calls::softplus_grad(type_of(iter), beta.to<double>(), threshold.to<double>()), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    threshold_stub, +[](Iter& iter, const S& a, const S& b) {
      want_numbers(iter);
      record_iter(calls::threshold(type_of(iter), number_of_dtype(a, iter), number_of_dtype(b, iter)), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    hardshrink_stub, +[](Iter& iter, const S& a) {
      want_float(iter);
      record_iter(ANYGPU_OP("hardshrink"), iter, {number_of_dtype(a, iter)});
    })
STUB_1(softshrink_stub, "softshrink")
STUB_1(shrink_backward_stub, "shrink_grad")
STUB_1(leaky_relu_stub, "leaky_relu")
STUB_1(leaky_relu_backward_stub, "leaky_relu_grad")

REGISTER_PRIVATEUSE1_DISPATCH(
    hardtanh_backward_stub, +[](TensorIterator& iter, const S& low, const S& high) {
      record_iter(calls::hardtanh_grad(type_of(iter), number(low, iter), number(high, iter)), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    elu_stub, +[](Iter& iter, const S& alpha, const S& scale, const S& input_scale) {
      record_iter(calls::elu(type_of(iter), alpha.to<double>(), scale.to<double>(), input_scale.to<double>()), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    elu_backward_stub, +[](Iter& iter, const S& alpha, const S& scale, const S& input_scale, bool is_result) {
      record_iter(calls::elu_grad(type_of(iter), alpha.to<double>(), scale.to<double>(), input_scale.to<double>(), is_result), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    logit_backward_stub, +[](Iter& iter, const S& eps) {
      record_iter(calls::logit_grad(type_of(iter), eps.to<double>()), iter);
    })

// PyTorch's own gelu is bound to the CPU by name.
struct Gelu : at::meta::structured_gelu {
  void impl(const Tensor&, std::string_view approximate, const Tensor&) {
    if (get_gelutype_enum(approximate) == GeluType::Tanh)
      record_iter(ANYGPU_OP("tanh_gelu"), *this);
    else
      record_iter(ANYGPU_OP("gelu"), *this);
  }
};
struct GeluBackward : at::meta::structured_gelu_backward {
  void impl(const Tensor&, const Tensor&, std::string_view approximate, const Tensor&) {
    if (get_gelutype_enum(approximate) == GeluType::Tanh)
      record_iter(ANYGPU_OP("tanh_gelu_grad"), *this);
    else
      record_iter(ANYGPU_OP("gelu_grad"), *this);
  }
};

Tensor relu_of(const Tensor& self) {
  TORCH_CHECK(self.scalar_type() != at::kBool, "Boolean inputs not supported for relu");
  Tensor out = torch_frontend::iterated_like(self);
  if (C10_UNLIKELY(self.dim() > kMaxRank))
    record_pointwise(ANYGPU_OP("relu"), 1, {out, self}, self.scalar_type());
  else if (self.numel())
    hot_record(ANYGPU_OP("relu"), out, self);
  return out;
}
Tensor& relu_in_place(Tensor& self) {
  TORCH_CHECK(self.scalar_type() != at::kBool, "Boolean inputs not supported for relu");
  at::assert_no_internal_overlap(self);
  if (C10_UNLIKELY(self.dim() > kMaxRank))
    record_pointwise(ANYGPU_OP("relu"), 1, {self, self}, self.scalar_type());
  else if (self.numel())
    hot_record(ANYGPU_OP("relu"), self, self);
  return self;
}

std::tuple<Tensor, Tensor> log_sigmoid(const Tensor& self) {
  Tensor out = torch_frontend::empty(self.sizes(), self);
  record_pointwise(ANYGPU_OP("log_sigmoid"), 1, {out, self}, self.scalar_type());
  return {out, torch_frontend::empty(IntArrayRef{0}, self)};  // the gradient needs no buffer
}
std::tuple<Tensor&, Tensor&> log_sigmoid_out_(const Tensor& self, Tensor& out, Tensor& buffer) {
  torch_frontend::resize_out(out, self.sizes());
  record_pointwise(ANYGPU_OP("log_sigmoid"), 1, {out, self}, self.scalar_type());
  return {out, buffer};
}
Tensor log_sigmoid_grad(const Tensor& dy, const Tensor& self, const Tensor&) {
  Tensor dx = torch_frontend::empty_like(dy);
  record_pointwise(ANYGPU_OP("log_sigmoid_grad"), 1, {dx, dy, self}, self.scalar_type());
  return dx;
}
Tensor& log_sigmoid_grad_out(const Tensor& dy, const Tensor& self, const Tensor&, Tensor& dx) {
  torch_frontend::resize_out(dx, self.sizes());
  record_pointwise(ANYGPU_OP("log_sigmoid_grad"), 1, {dx, dy, self}, self.scalar_type());
  return dx;
}

// The plain cases of what MLPs, CNNs and transformers do in every layer.
Tensor gelu_of(const Tensor& x, std::string_view approximate) {
  if (!plain_float(x)) return torch_frontend::real<_ops::gelu, &Face<Gelu, _ops::gelu>::call>(x, approximate);
  Tensor y = plain_like(x);
  if (get_gelutype_enum(approximate) == GeluType::Tanh)
    hot_record(ANYGPU_OP("tanh_gelu"), y, x);
  else
    hot_record(ANYGPU_OP("gelu"), y, x);
  return y;
}
Tensor gelu_gradient(const Tensor& dy, const Tensor& x, std::string_view approximate) {
  if (!is_anygpu(dy) || !is_anygpu(x) || !plain_float(dy) || !like_plain(dy, x))
    return torch_frontend::real<_ops::gelu_backward, &Face<GeluBackward, _ops::gelu_backward>::call>(dy, x, approximate);
  Tensor dx = plain_like(dy);
  bool approx = get_gelutype_enum(approximate) == GeluType::Tanh;
  record(pointwise(approx ? ANYGPU_OP("tanh_gelu_grad") : ANYGPU_OP("gelu_grad"), dy.scalar_type()).out(dx).in(dy).in(x));
  return dx;
}
/// The gradient of relu, as autograd asks for it.
Tensor threshold_gradient(const Tensor& dy, const Tensor& x, const at::Scalar& threshold) {
  if (!is_anygpu(dy) || !is_anygpu(x) || !plain_float(dy) || !like_plain(dy, x) || threshold.isComplex() || threshold.toDouble() != 0)
    return torch_frontend::real<_ops::threshold_backward, &Face<structured_threshold_backward_out, _ops::threshold_backward>::call>(
        dy, x, threshold);
  Tensor dx = plain_like(dy);
  record(pointwise(ANYGPU_OP("relu_grad"), dy.scalar_type()).out(dx).in(dy).in(x));
  return dx;
}
ANYGPU_NAME(SigmoidGrad, "sigmoid_grad")
ANYGPU_NAME(TanhGrad, "tanh_grad")
ANYGPU_NAME(SiluGrad, "silu_grad")
ANYGPU_NAME(Silu, "silu")

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<_ops::relu, relu_of>(m);
  on<_ops::relu_, relu_in_place>(m);
  m.impl("gelu", gelu_of);
  faces<Gelu, _ops::gelu_, _ops::gelu_out>(m);
  m.impl("gelu_backward", gelu_gradient);
  faces<GeluBackward, _ops::gelu_backward_grad_input>(m);
  m.impl("threshold_backward", threshold_gradient);
  faces<structured_threshold_backward_out, _ops::threshold_backward_grad_input>(m);
  hot_unary_faces<Silu, structured_silu_out, _ops::silu, _ops::silu_>(m);
  faces<structured_silu_out, _ops::silu_out>(m);
#define HOT_GRADIENT(name, Name)                                                                          \
  m.impl(#name "_backward", hot_gradient<Name, structured_##name##_backward_out, _ops::name##_backward>); \
  faces<structured_##name##_backward_out, _ops::name##_backward_grad_input>(m)
  HOT_GRADIENT(sigmoid, SigmoidGrad);
  HOT_GRADIENT(tanh, TanhGrad);
  HOT_GRADIENT(silu, SiluGrad);
  ANYGPU_FACES_INPLACE(elu);
  ANYGPU_FACES(glu);
  ANYGPU_FACES(hardshrink);
  ANYGPU_FACES_INPLACE(hardsigmoid);
  ANYGPU_FACES_INPLACE(leaky_relu);
  ANYGPU_FACES_INPLACE(mish);
  ANYGPU_FACES(softplus);
  ANYGPU_FACES(softshrink);
  ANYGPU_FACES_INPLACE(threshold);
#define GRADIENT(name) faces<structured_##name##_backward_out, _ops::name##_backward, _ops::name##_backward_grad_input>(m)
  GRADIENT(elu);
  GRADIENT(hardshrink);
  GRADIENT(hardsigmoid);
  GRADIENT(leaky_relu);
  GRADIENT(logit);
  GRADIENT(softplus);
  GRADIENT(softshrink);

  on<_ops::_prelu_kernel, _prelu_kernel>(m);
  on<_ops::_prelu_kernel_backward, _prelu_kernel_backward>(m);
  on<_ops::glu_backward, glu_backward_cpu>(m);
  on<_ops::glu_backward_grad_input, glu_backward_cpu_out>(m);
  on<_ops::glu_jvp, glu_jvp>(m);
  on<_ops::glu_backward_jvp, glu_backward_jvp>(m);
  on<_ops::hardswish, hardswish>(m);
  on<_ops::hardswish_, hardswish_>(m);
  on<_ops::hardswish_out, hardswish_out>(m);
  on<_ops::hardswish_backward, hardswish_backward>(m);
  on<_ops::hardtanh, hardtanh>(m);
  on<_ops::hardtanh_, hardtanh_>(m);
  on<_ops::hardtanh_out, hardtanh_out>(m);
  on<_ops::hardtanh_backward, hardtanh_backward>(m);
  on<_ops::hardtanh_backward_grad_input, hardtanh_backward_out>(m);
  on<_ops::log_sigmoid_forward, log_sigmoid>(m);
  on<_ops::log_sigmoid_forward_output, log_sigmoid_out_>(m);
  on<_ops::log_sigmoid_backward, log_sigmoid_grad>(m);
  on<_ops::log_sigmoid_backward_grad_input, log_sigmoid_grad_out>(m);
  on<_ops::mish_backward, mish_backward>(m);
}

}  // namespace
}  // namespace at::native
