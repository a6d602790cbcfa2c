// Losses that are pointwise before their reduction.
#include <ATen/NativeFunctions.h>
#include <ATen/native/BinaryOps.h>
#include <ATen/native/PointwiseOps.h>

#include "pointwise.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

ANYGPU_STUB_OF(want_float, mse_stub, "mse")
REGISTER_PRIVATEUSE1_DISPATCH(
    smooth_l1_stub, +[](TensorIteratorBase& iter, double beta) {
      want_float(iter);
      record_iter(calls::smooth_l1(type_of(iter), beta), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    huber_stub, +[](TensorIterator& iter, double delta) {
      want_float(iter);
      record_iter(calls::huber(type_of(iter), delta), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    mse_backward_stub,
    +[](TensorIterator& iter, const c10::Scalar& k) { record_iter(calls::mse_grad(type_of(iter), number(k, iter)), iter); })
REGISTER_PRIVATEUSE1_DISPATCH(
    smooth_l1_backward_stub, +[](TensorIterator& iter, const c10::Scalar& k, double beta) {
      record_iter(calls::smooth_l1_grad(type_of(iter), number(k, iter), beta), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    huber_backward_stub, +[](TensorIterator& iter, const c10::Scalar& k, double delta) {
      record_iter(calls::huber_grad(type_of(iter), number(k, iter), delta), iter);
    })

// ---- binary cross entropy: PyTorch's own is bound to the CPU ----

using OptTensor = std::optional<Tensor>;

void check_bce(const Tensor& x, const Tensor& t, const OptTensor& w) {
  TORCH_CHECK(x.scalar_type() == t.scalar_type(), "Found dtype ", t.scalar_type(), " but expected ", x.scalar_type());
  want_float(x);
  at::infer_size(x.sizes(), t.sizes());
  TORCH_CHECK(!w || !w->defined() || w->scalar_type() == x.scalar_type(), "Found dtype ", w->scalar_type(), " but expected ",
              x.scalar_type());
}

Tensor bce(const Tensor& x, const Tensor& t, const OptTensor& w, int64_t reduction) {
  check_bce(x, t, w);
  Tensor loss = torch_frontend::empty_like(x);
  const DType type = dtype_of(x.scalar_type());
  if (w && w->defined())
    record_pointwise(calls::binary_cross_entropy(type, true), 1, {loss, x, t, *w});
  else
    record_pointwise(calls::binary_cross_entropy(type, false), 1, {loss, x, t});
  return reduction == Reduction::Mean ? loss.mean() : reduction == Reduction::Sum ? loss.sum() : loss;
}
Tensor& bce_out(const Tensor& x, const Tensor& t, const OptTensor& w, int64_t reduction, Tensor& out) {
  Tensor loss = bce(x, t, w, reduction);
  torch_frontend::resize_out(out, loss.sizes());
  return out.copy_(loss);
}

Tensor& bce_grad_out(const Tensor& dy, const Tensor& x, const Tensor& t, const OptTensor& w, int64_t reduction, Tensor& dx) {
  check_bce(x, t, w);
  torch_frontend::resize_out(dx, x.sizes());
  double factor = reduction == Reduction::Mean ? 1.0 / static_cast<double>(x.numel()) : 1.0;
  const DType type = dtype_of(x.scalar_type());
  if (w && w->defined())
    record_pointwise(calls::binary_cross_entropy_grad(type, factor, true), 1, {dx, x, t, dy, *w});
  else
    record_pointwise(calls::binary_cross_entropy_grad(type, factor, false), 1, {dx, x, t, dy});
  return dx;
}
Tensor bce_grad(const Tensor& dy, const Tensor& x, const Tensor& t, const OptTensor& w, int64_t reduction) {
  Tensor dx = torch_frontend::empty_like(x);
  return bce_grad_out(dy, x, t, w, reduction, dx);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  ANYGPU_FACES(mse_loss);
  ANYGPU_FACES(smooth_l1_loss);
  on<_ops::mse_loss_backward, mse_loss_backward>(m);
  on<_ops::mse_loss_backward_grad_input, mse_loss_backward_out>(m);
  on<_ops::smooth_l1_loss_backward_grad_input, smooth_l1_loss_backward_out>(m);
  on<_ops::huber_loss, huber_loss>(m);
  on<_ops::huber_loss_out, huber_loss_out>(m);
  on<_ops::huber_loss_backward_out, huber_loss_backward_out>(m);
  on<_ops::binary_cross_entropy, bce>(m);
  on<_ops::binary_cross_entropy_out, bce_out>(m);
  on<_ops::binary_cross_entropy_backward, bce_grad>(m);
  on<_ops::binary_cross_entropy_backward_grad_input, bce_grad_out>(m);
}

}  // namespace
}  // namespace at::native
