// Softmax, log_softmax, their masked and safe forms, and gradients.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/_log_softmax_backward_data_meta.h>
#include <ATen/ops/_log_softmax_meta.h>
#include <ATen/ops/_softmax_backward_data_meta.h>
#include <ATen/ops/_softmax_meta.h>

#include "anygpu/calls/softmax.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using calls::SoftmaxKind;

int64_t wrapped(int64_t dim, const Tensor& t) {
  return at::maybe_wrap_dim(dim, t.dim());
}

template <bool logarithm>
void forward(const Tensor& self, int64_t dim, const Tensor& out) {
  if (!out.numel()) return;
  record(calls::Softmax{
      .kind = logarithm ? SoftmaxKind::Log : SoftmaxKind::Plain, .dst = out, .src = self, .axis = wrapped(dim, self)});
}

template <bool logarithm>
Tensor& softmax_out(const Tensor& self, int64_t dim, bool half_to_float, Tensor& out) {
  want_float(self);
  TORCH_CHECK(!half_to_float || self.scalar_type() == at::kHalf, "conversion is supported for Half type only");
  using Meta = std::conditional_t<logarithm, at::meta::structured__log_softmax, at::meta::structured__softmax>;
  meta_out<Meta>({&out}, self, dim, half_to_float);
  forward<logarithm>(self, dim, out);
  return out;
}

template <bool logarithm>
Tensor softmax(const Tensor& self, int64_t dim, bool half_to_float) {
  if (half_to_float || !at::isFloatingType(self.scalar_type())) {
    Tensor out = empty({0}, half_to_float ? at::kFloat : self.scalar_type(), self);
    return softmax_out<logarithm>(self, dim, half_to_float, out);
  }
  dim = wrapped(dim, self);
  Tensor out = empty(self.sizes(), self);
  forward<logarithm>(self, dim, out);
  return out;
}

template <bool logarithm>
void backward(const Tensor& grad, const Tensor& output, int64_t dim, const Tensor& out) {
  if (!out.numel()) return;
  record(calls::SoftmaxGrad{.kind = logarithm ? SoftmaxKind::Log : SoftmaxKind::Plain,
                            .dsrc = out,
                            .ddst = grad,
                            .dst = output,
                            .axis = wrapped(dim, grad)});
}

template <bool logarithm>
Tensor& softmax_backward_out(const Tensor& grad, const Tensor& output, int64_t dim, at::ScalarType input_dtype, Tensor& out) {
  using Meta = std::conditional_t<logarithm, at::meta::structured__log_softmax_backward_data, at::meta::structured__softmax_backward_data>;
  meta_out<Meta>({&out}, grad, output, dim, input_dtype);
  backward<logarithm>(grad, output, dim, out);
  return out;
}

template <bool logarithm>
Tensor softmax_backward(const Tensor& grad, const Tensor& output, int64_t dim, at::ScalarType input_dtype) {
  if (input_dtype != grad.scalar_type() || grad.sizes() != output.sizes()) {
    Tensor out = empty({0}, input_dtype, grad);
    return softmax_backward_out<logarithm>(grad, output, dim, input_dtype, out);
  }
  Tensor out = empty(grad.sizes(), grad);
  backward<logarithm>(grad, output, dim, out);
  return out;
}

Tensor safe_softmax(const Tensor& self, int64_t dim, std::optional<at::ScalarType> dtype) {
  const Tensor x = dtype ? self.to(*dtype) : self;
  want_float(x);
  dim = wrapped(dim, x);
  Tensor out = empty(x.sizes(), x);
  if (out.numel()) record(calls::Softmax{.kind = SoftmaxKind::Safe, .dst = out, .src = x, .axis = dim});
  return out;
}

/// The mask over the input's sizes: [B, L] for keys and [L, L] for the source of attention weights [B, H, L, L], else as it broadcasts.
View mask_view(const Tensor& mask, const Tensor& self, std::optional<int64_t> mask_type) {
  if (self.dim() == 4 && mask.dim() == 2 && mask_type) {
    if (*mask_type == 1) return expand_to(mask.view({mask.size(0), 1, 1, mask.size(1)}), self.sizes());
    if (*mask_type == 0) return expand_to(mask.view({1, 1, mask.size(0), mask.size(1)}), self.sizes());
  }
  return expand_to(mask, self.sizes());
}

Tensor masked_softmax(const Tensor& self, const Tensor& mask, std::optional<int64_t> dim, std::optional<int64_t> mask_type) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "Mask should be a boolean tensor");
  want_float(self);
  const int64_t d = wrapped(dim.value_or(-1), self);
  Tensor out = empty_like(self);
  if (out.numel()) record(calls::MaskedSoftmax{.dst = out, .src = self, .mask = mask_view(mask, self, mask_type), .axis = d});
  return out;
}

Tensor masked_softmax_backward(const Tensor& grad, const Tensor& output, const Tensor& mask, std::optional<int64_t> dim) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "Mask should be a boolean tensor");
  const int64_t d = wrapped(dim.value_or(-1), output);
  Tensor out = empty_like(grad);
  if (out.numel())
    record(calls::MaskedSoftmaxGrad{
        .dsrc = out, .ddst = grad, .dst = output, .mask = mask_view(mask, output, std::nullopt), .axis = d});
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_softmax", real<at::_ops::_softmax, softmax<false>>);
  m.impl("_softmax.out", real<at::_ops::_softmax_out, softmax_out<false>>);
  m.impl("_log_softmax", real<at::_ops::_log_softmax, softmax<true>>);
  m.impl("_log_softmax.out", real<at::_ops::_log_softmax_out, softmax_out<true>>);
  m.impl("_softmax_backward_data", real<at::_ops::_softmax_backward_data, softmax_backward<false>>);
  m.impl("_softmax_backward_data.out", real<at::_ops::_softmax_backward_data_out, softmax_backward_out<false>>);
  m.impl("_log_softmax_backward_data", real<at::_ops::_log_softmax_backward_data, softmax_backward<true>>);
  m.impl("_log_softmax_backward_data.out", real<at::_ops::_log_softmax_backward_data_out, softmax_backward_out<true>>);
  on<at::_ops::_safe_softmax, safe_softmax>(m);
  on<at::_ops::_masked_softmax, masked_softmax>(m);
  on<at::_ops::_masked_softmax_backward, masked_softmax_backward>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
