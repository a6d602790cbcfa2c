// Losses by class index. The pointwise ones are with the pointwise operators.
#include <ATen/ops/nll_loss_backward_meta.h>
#include <ATen/ops/nll_loss_forward_meta.h>

#include "anygpu/calls/loss.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using OptTensor = std::optional<Tensor>;


void check_weight(const OptTensor& weight, const Tensor& self) {
  if (given(weight))
    TORCH_CHECK(weight->scalar_type() == self.scalar_type(), "expected scalar type ", self.scalar_type(), " but found ",
                weight->scalar_type());
}
void check_target(const Tensor& target) {
  TORCH_CHECK(target.scalar_type() == at::kLong || target.scalar_type() == at::kByte, "expected scalar type Long or Byte but found ",
              target.scalar_type());
}

/// PyTorch's numbers are the catalogue's.
calls::Batch batch_of(int64_t reduction) {
  return static_cast<calls::Batch>(reduction);
}

void nll_forward(const Tensor& out, const Tensor& total, const Tensor& self, const Tensor& target, const OptTensor& weight,
                 int64_t reduction, int64_t ignore_index) {
  if (target.numel() == 0) {
    if (out.numel()) reduction == at::Reduction::Mean ? out.fill_(std::numeric_limits<double>::quiet_NaN()) : out.zero_();
    total.zero_();
    return;
  }
  record(calls::NllLoss{.loss = out,
                        .total_weight = total,
                        .x = self,
                        .target = target,
                        .weight = weight,
                        .batch = batch_of(reduction),
                        .ignored = ignore_index});
}

void nll_backward(const Tensor& dx, const Tensor& grad, const Tensor& target, const Tensor& total, const OptTensor& weight,
                  int64_t reduction, int64_t ignore_index) {
  if (dx.numel() == 0) return;
  record(calls::NllLossGrad{.dx = dx,
                            .dloss = grad,
                            .target = target,
                            .total_weight = total,
                            .weight = weight,
                            .batch = batch_of(reduction),
                            .ignored = ignore_index});
}

std::tuple<Tensor&, Tensor&> nll_loss_out(const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                                          int64_t ignore_index, Tensor& out, Tensor& total) {
  meta_out<at::meta::structured_nll_loss_forward>(
      {&out, &total}, self, target, given(weight) ? at::OptionalTensorRef(*weight) : at::OptionalTensorRef(), reduction, ignore_index);
  want_float(self);
  check_weight(weight, self);
  check_target(target);
  nll_forward(out, total, self, target, weight, reduction, ignore_index);
  return {out, total};
}

std::tuple<Tensor, Tensor> nll_loss(const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                                    int64_t ignore_index) {
  Tensor out = empty({0}, self), total = empty({}, self);
  nll_loss_out(self, target, weight, reduction, ignore_index, out, total);
  return {out, total};
}

Tensor& nll_loss_backward_out(const Tensor& grad, const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                              int64_t ignore_index, const Tensor& total, Tensor& dx) {
  meta_out<at::meta::structured_nll_loss_backward>(
      {&dx}, grad, self, target, given(weight) ? at::OptionalTensorRef(*weight) : at::OptionalTensorRef(), reduction, ignore_index, total);
  want_float(self);
  check_weight(weight, self);
  check_target(target);
  nll_backward(dx, grad, target, total, weight, reduction, ignore_index);
  return dx;
}

Tensor nll_loss_backward(const Tensor& grad, const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                         int64_t ignore_index, const Tensor& total) {
  Tensor dx = empty(self.sizes(), self);
  return nll_loss_backward_out(grad, self, target, weight, reduction, ignore_index, total, dx);
}

// ---- with spatial dimensions ----

void check_nll2d(const Tensor& self, const Tensor& target, const OptTensor& weight) {
  TORCH_CHECK(target.dim() == 3, "only batches of spatial targets supported (3D tensors) but got targets of dimension: ", target.dim());
  TORCH_CHECK(self.dim() == 4, "only batches of spatial inputs supported (4D tensors), but got input of dimension: ", self.dim());
  TORCH_CHECK(!given(weight) || weight->numel() == self.size(1), "weight tensor should be defined either for all or no classes");
  TORCH_CHECK(self.size(0) == target.size(0) && self.size(2) == target.size(1) && self.size(3) == target.size(2),
              "size mismatch (got input: ", self.sizes(), " , target: ", target.sizes());
  want_float(self);
  check_weight(weight, self);
  check_target(target);
}

std::tuple<Tensor&, Tensor&> nll_loss2d_out(const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                                            int64_t ignore_index, Tensor& out, Tensor& total) {
  check_nll2d(self, target, weight);
  resize_out(out, reduction == at::Reduction::None ? target.sizes() : at::IntArrayRef());
  resize_out(total, {});
  nll_forward(out, total, self, target, weight, reduction, ignore_index);
  return {out, total};
}

std::tuple<Tensor, Tensor> nll_loss2d(const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                                      int64_t ignore_index) {
  Tensor out = empty({0}, self), total = empty({}, self);
  nll_loss2d_out(self, target, weight, reduction, ignore_index, out, total);
  return {out, total};
}

Tensor& nll_loss2d_backward_out(const Tensor& grad, const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                                int64_t ignore_index, const Tensor& total, Tensor& dx) {
  check_nll2d(self, target, weight);
  TORCH_CHECK(total.numel() == 1, "expected total_weight to be a single element tensor, got: ", total.sizes());
  TORCH_CHECK(reduction == at::Reduction::None ? grad.sizes() == target.sizes() : grad.numel() == 1,
              "unexpected size of grad_output: ", grad.sizes());
  resize_out(dx, self.sizes());
  nll_backward(dx, grad, target, total, weight, reduction, ignore_index);
  return dx;
}

Tensor nll_loss2d_backward(const Tensor& grad, const Tensor& self, const Tensor& target, const OptTensor& weight, int64_t reduction,
                           int64_t ignore_index, const Tensor& total) {
  Tensor dx = empty({0}, self);
  return nll_loss2d_backward_out(grad, self, target, weight, reduction, ignore_index, total, dx);
}

// ---- margins ----

void check_multi_margin(const Tensor& self, const Tensor& target, const at::Scalar& p, const OptTensor& weight) {
  TORCH_CHECK(p.equal(1) || p.equal(2), "only p == 1 and p == 2 supported");
  const int64_t n = self.dim() < 2 ? 1 : self.size(0), classes = self.dim() < 2 ? (self.dim() == 0 ? 1 : self.size(0)) : self.size(1);
  TORCH_CHECK((self.dim() == 2 && self.size(1) != 0) || (self.dim() == 1 && self.size(0) != 0) || self.dim() == 0,
              "Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", self.sizes());
  TORCH_CHECK(target.dim() <= 1 && target.numel() == n,
              "multi_margin_loss: target tensor should be 1-D with size equal to the number of input samples (batch size). Expected target "
              "size [", n, "], but got ", target.sizes(), ". Input has shape ", self.sizes(), ".");
  if (given(weight))
    TORCH_CHECK(weight->dim() <= 1 && weight->numel() == classes, "inconsistent weight size, expected ", classes, " but got ",
                weight->sizes());
  want_float(self);
  check_weight(weight, self);
  TORCH_CHECK(target.scalar_type() == at::kLong, "expected scalar type Long but found ", target.scalar_type());
}

/// A scalar input counts as one class.
View at_least_1d(const Tensor& t) {
  return t.dim() ? own_view_of(t) : restrided(t, {1}, {1});
}
View at_least_1d(const OptTensor& t) {
  return given(t) ? at_least_1d(*t) : View();
}

Tensor& multi_margin_loss_out(const Tensor& self, const Tensor& target, const at::Scalar& p, const at::Scalar& margin, const OptTensor& weight,
                              int64_t reduction, Tensor& out) {
  check_multi_margin(self, target, p, weight);
  resize_out(out, reduction == at::Reduction::None && target.dim() > 0 ? target.sizes() : at::IntArrayRef());
  if (self.numel() == 0) return out;
  record(calls::MultiMarginLoss{.loss = out,
                                .x = at_least_1d(self),
                                .target = target,
                                .weight = at_least_1d(weight),
                                .batch = batch_of(reduction),
                                .p = p.to<int64_t>(),
                                .margin = margin.toDouble()});
  return out;
}
Tensor multi_margin_loss(const Tensor& self, const Tensor& target, const at::Scalar& p, const at::Scalar& margin, const OptTensor& weight,
                         int64_t reduction) {
  Tensor out = empty({0}, self);
  return multi_margin_loss_out(self, target, p, margin, weight, reduction, out);
}

Tensor& multi_margin_loss_backward_out(const Tensor& grad, const Tensor& self, const Tensor& target, const at::Scalar& p, const at::Scalar& margin,
                                       const OptTensor& weight, int64_t reduction, Tensor& dx) {
  check_multi_margin(self, target, p, weight);
  resize_out(dx, self.sizes());
  if (self.numel() == 0) return dx;
  record(calls::MultiMarginLossGrad{.dx = at_least_1d(dx),
                                    .dloss = grad,
                                    .x = at_least_1d(self),
                                    .target = target,
                                    .weight = at_least_1d(weight),
                                    .batch = batch_of(reduction),
                                    .p = p.to<int64_t>(),
                                    .margin = margin.toDouble()});
  return dx;
}
Tensor multi_margin_loss_backward(const Tensor& grad, const Tensor& self, const Tensor& target, const at::Scalar& p, const at::Scalar& margin,
                                  const OptTensor& weight, int64_t reduction) {
  Tensor dx = empty({0}, self);
  return multi_margin_loss_backward_out(grad, self, target, p, margin, weight, reduction, dx);
}

void check_multilabel(const Tensor& self, const Tensor& target) {
  TORCH_CHECK((self.dim() == 2 && self.size(1) != 0) || (self.dim() == 1 && self.size(0) != 0) || self.dim() == 0,
              "Expected non-empty vector or matrix with optional 0-dim batch size, but got: ", self.sizes());
  TORCH_CHECK(self.dim() < 2 ? target.dim() <= 1 && target.numel() == self.numel() : target.sizes() == self.sizes(),
              "inconsistent target size: ", target.sizes(), " for input of size: ", self.sizes());
  want_float(self);
  TORCH_CHECK(target.scalar_type() == at::kLong, "expected scalar type Long but found ", target.scalar_type());
}

std::tuple<Tensor&, Tensor&> multilabel_margin_loss_out(const Tensor& self, const Tensor& target, int64_t reduction, Tensor& out,
                                                        Tensor& is_target) {
  check_multilabel(self, target);
  const int64_t rows[] = {self.dim() == 2 ? self.size(0) : 1};
  resize_out(out, reduction == at::Reduction::None && target.dim() == 2 ? at::IntArrayRef(rows) : at::IntArrayRef());
  resize_out(is_target, target.sizes());
  if (self.numel())
    record(calls::MultilabelMarginLoss{
        .loss = out, .is_target = is_target, .x = self, .target = target, .batch = batch_of(reduction)});
  return {out, is_target};
}
std::tuple<Tensor, Tensor> multilabel_margin_loss(const Tensor& self, const Tensor& target, int64_t reduction) {
  Tensor out = empty({0}, self), is_target = empty({0}, self);
  multilabel_margin_loss_out(self, target, reduction, out, is_target);
  return {out, is_target};
}

Tensor& multilabel_margin_loss_backward_out(const Tensor& grad, const Tensor& self, const Tensor& target, int64_t reduction,
                                            const Tensor& is_target, Tensor& dx) {
  check_multilabel(self, target);
  resize_out(dx, self.sizes());
  if (self.numel())
    record(calls::MultilabelMarginLossGrad{.dx = dx, .dloss = grad, .x = self, .target = target, .batch = batch_of(reduction)});
  return dx;
}
Tensor multilabel_margin_loss_backward(const Tensor& grad, const Tensor& self, const Tensor& target, int64_t reduction,
                                       const Tensor& is_target) {
  Tensor dx = empty({0}, self);
  return multilabel_margin_loss_backward_out(grad, self, target, reduction, is_target, dx);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::nll_loss_forward, nll_loss>(m);
  on<at::_ops::nll_loss_forward_output, nll_loss_out>(m);
  on<at::_ops::nll_loss_backward, nll_loss_backward>(m);
  on<at::_ops::nll_loss_backward_grad_input, nll_loss_backward_out>(m);
  on<at::_ops::nll_loss2d_forward, nll_loss2d>(m);
  on<at::_ops::nll_loss2d_forward_output, nll_loss2d_out>(m);
  on<at::_ops::nll_loss2d_backward, nll_loss2d_backward>(m);
  on<at::_ops::nll_loss2d_backward_grad_input, nll_loss2d_backward_out>(m);
  on<at::_ops::multi_margin_loss, multi_margin_loss>(m);
  on<at::_ops::multi_margin_loss_out, multi_margin_loss_out>(m);
  on<at::_ops::multi_margin_loss_backward, multi_margin_loss_backward>(m);
  on<at::_ops::multi_margin_loss_backward_grad_input, multi_margin_loss_backward_out>(m);
  on<at::_ops::multilabel_margin_loss_forward, multilabel_margin_loss>(m);
  on<at::_ops::multilabel_margin_loss_forward_output, multilabel_margin_loss_out>(m);
  on<at::_ops::multilabel_margin_loss_backward, multilabel_margin_loss_backward>(m);
  on<at::_ops::multilabel_margin_loss_backward_grad_input, multilabel_margin_loss_backward_out>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
