// Fused optimizer steps: one record a parameter. And GradScaler's two operators.
#include <ATen/NativeFunctions.h>

#include <cmath>

#include "anygpu/calls/optimizer.h"
#include "structured.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

using OptTensor = std::optional<Tensor>;

bool given(const OptTensor& t) {
  return t && t->defined();
}

void same_length(const char* op, TensorList params, TensorList list, const char* what) {
  TORCH_CHECK(list.size() == params.size(), op, ": expected as many ", what, " as parameters, got ", list.size(), " and ", params.size());
}
void fits(const char* op, const Tensor& param, const Tensor& t) {
  TORCH_CHECK(t.sizes() == param.sizes(), op, ": expected state and gradient of the parameter's shape ", param.sizes(), ", got ",
              t.sizes());
  TORCH_CHECK(t.device() == param.device(), op, ": expected all tensors on ", param.device(), ", got ", t.device());
  TORCH_CHECK(at::isFloatingType(param.scalar_type()) && at::isFloatingType(t.scalar_type()), op, ": expected floating-point tensors");
}

/// A tensor of one element as an operand that holds one number; absent where there is none.
calls::MaybeView one_number(const Tensor* t) {
  if (!t || !t->defined()) return {};
  TORCH_CHECK(t->numel() == 1, "expected one element, got ", t->sizes());
  ViewArg v = view_of(*t);
  v.rank = 0;
  return v;
}
calls::MaybeView one_number(const OptTensor& t) {
  return one_number(t ? &*t : nullptr);
}

/// A CPU tensor of one element is a number.
double number_of(const Tensor& t) {
  if (t.scalar_type() == kFloat && t.numel() == 1) return *t.const_data_ptr<float>();
  return t.item<double>();
}

// ---- Adam and AdamW ----

/// Steps on the CPU are numbers: their corrections are the host's work, as in PyTorch's own loop over lists.
void adam(const char* name, TensorList params, TensorList grads, TensorList ms, TensorList vs, TensorList vmaxs, TensorList steps,
          double rate, const Tensor* rate_tensor, double beta1, double beta2, double decay, double eps, bool amsgrad, bool maximize,
          bool decoupled, const OptTensor& grad_scale, const OptTensor& found_inf) {
  same_length(name, params, grads, "gradients");
  same_length(name, params, ms, "exp_avgs");
  same_length(name, params, vs, "exp_avg_sqs");
  same_length(name, params, steps, "state_steps");
  if (amsgrad) same_length(name, params, vmaxs, "max_exp_avg_sqs");
  const calls::MaybeView scale = one_number(grad_scale), overflow = one_number(found_inf), rate_view = one_number(rate_tensor);
  const bool host_steps = !steps.empty() && steps[0].is_cpu();
  double correction1 = std::log(beta1), correction2 = std::log(beta2);
  double corrected = -1;  // the step that the corrections belong to, where they are the host's
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    for (const Tensor* t : {&grads[i], &ms[i], &vs[i]}) fits(name, p, *t);
    if (!p.numel()) continue;
    if (host_steps) {
      TORCH_CHECK(steps[i].is_cpu(), name, ": expected state_steps on one device");
      if (double t = number_of(steps[i]); t != corrected) {
        correction1 = 1 - std::pow(beta1, t);
        correction2 = std::sqrt(1 - std::pow(beta2, t));
        corrected = t;
      }
    }
    record(calls::Adam{.param = p,
                       .m = ms[i],
                       .v = vs[i],
                       .vmax = amsgrad ? vmaxs[i] : calls::MaybeView(),
                       .unscaled = scale ? grads[i] : calls::MaybeView(),
                       .grad = grads[i],
                       .step = host_steps ? calls::MaybeView() : one_number(&steps[i]),
                       .found_inf = overflow,
                       .grad_scale = scale,
                       .rate = rate_view,
                       .maximize = maximize,
                       .decays = decay != 0,
                       .decoupled = decoupled,
                       .host_rate = rate,
                       .one_minus_beta1 = 1 - beta1,
                       .beta2 = beta2,
                       .one_minus_beta2 = 1 - beta2,
                       .correction1 = correction1,
                       .correction2 = correction2,
                       .decay = decay,
                       .eps = eps});
  }
}

template <bool decoupled>
void fused_adam(TensorList params, TensorList grads, TensorList ms, TensorList vs, TensorList vmaxs, TensorList steps, double rate,
                double beta1, double beta2, double decay, double eps, bool amsgrad, bool maximize, const OptTensor& grad_scale,
                const OptTensor& found_inf) {
  adam(decoupled ? "_fused_adamw_" : "_fused_adam_", params, grads, ms, vs, vmaxs, steps, rate, nullptr, beta1, beta2, decay, eps, amsgrad,
       maximize, decoupled, grad_scale, found_inf);
}
template <bool decoupled>
void fused_adam_tensor(TensorList params, TensorList grads, TensorList ms, TensorList vs, TensorList vmaxs, TensorList steps,
                       const Tensor& rate, double beta1, double beta2, double decay, double eps, bool amsgrad, bool maximize,
                       const OptTensor& grad_scale, const OptTensor& found_inf) {
  bool number = rate.is_cpu();
  adam(decoupled ? "_fused_adamw_" : "_fused_adam_", params, grads, ms, vs, vmaxs, steps, number ? number_of(rate) : 0,
       number ? nullptr : &rate, beta1, beta2, decay, eps, amsgrad, maximize, decoupled, grad_scale, found_inf);
}

// ---- SGD ----

void sgd(TensorList params, TensorList grads, TensorList buffers, double decay, double momentum, double rate, const Tensor* rate_tensor,
         double dampening, bool nesterov, bool maximize, bool first, const OptTensor& grad_scale, const OptTensor& found_inf) {
  const char* name = "_fused_sgd_";
  same_length(name, params, grads, "gradients");
  bool has_buffer = !buffers.empty();
  if (has_buffer) same_length(name, params, buffers, "momentum buffers");
  TORCH_CHECK(has_buffer || momentum == 0, "_fused_sgd_: momentum wants momentum buffers");
  const calls::MaybeView scale = one_number(grad_scale), overflow = one_number(found_inf), rate_view = one_number(rate_tensor);
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    fits(name, p, grads[i]);
    if (!p.numel()) continue;
    record(calls::Sgd{.param = p,
                      .buffer = has_buffer ? buffers[i] : calls::MaybeView(),
                      .unscaled = scale ? grads[i] : calls::MaybeView(),
                      .grad = grads[i],
                      .found_inf = overflow,
                      .grad_scale = scale,
                      .rate = rate_view,
                      .maximize = maximize,
                      .decays = decay != 0,
                      .nesterov = has_buffer && nesterov,
                      .first = has_buffer && first,
                      .host_rate = rate,
                      .momentum = momentum,
                      .one_minus_dampening = 1 - dampening,
                      .decay = decay});
  }
}
void fused_sgd(TensorList params, TensorList grads, TensorList buffers, double decay, double momentum, double rate, double dampening,
               bool nesterov, bool maximize, bool first, const OptTensor& grad_scale, const OptTensor& found_inf) {
  sgd(params, grads, buffers, decay, momentum, rate, nullptr, dampening, nesterov, maximize, first, grad_scale, found_inf);
}
void fused_sgd_tensor(TensorList params, TensorList grads, TensorList buffers, double decay, double momentum, const Tensor& rate,
                      double dampening, bool nesterov, bool maximize, bool first, const OptTensor& grad_scale, const OptTensor& found_inf) {
  bool number = rate.is_cpu();
  sgd(params, grads, buffers, decay, momentum, number ? number_of(rate) : 0, number ? nullptr : &rate, dampening, nesterov, maximize, first,
      grad_scale, found_inf);
}

// ---- Adagrad ----

void adagrad(TensorList params, TensorList grads, TensorList sums, TensorList steps, double rate, const Tensor* rate_tensor,
             double rate_decay, double decay, double eps, bool maximize, const OptTensor& grad_scale, const OptTensor& found_inf) {
  const char* name = "_fused_adagrad_";
  same_length(name, params, grads, "gradients");
  same_length(name, params, sums, "state_sums");
  same_length(name, params, steps, "state_steps");
  const calls::MaybeView scale = one_number(grad_scale), overflow = one_number(found_inf), rate_view = one_number(rate_tensor);
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    for (const Tensor* t : {&grads[i], &sums[i]}) fits(name, p, *t);
    if (!p.numel()) continue;
    record(calls::Adagrad{.param = p,
                          .sum = sums[i],
                          .unscaled = scale ? grads[i] : calls::MaybeView(),
                          .grad = grads[i],
                          .step = one_number(&steps[i]),
                          .found_inf = overflow,
                          .grad_scale = scale,
                          .rate = rate_view,
                          .maximize = maximize,
                          .decays = decay != 0,
                          .host_rate = rate,
                          .rate_decay = rate_decay,
                          .decay = decay,
                          .eps = eps});
  }
}
void fused_adagrad(TensorList params, TensorList grads, TensorList sums, TensorList steps, double rate, double rate_decay, double decay,
                   double eps, bool maximize, const OptTensor& grad_scale, const OptTensor& found_inf) {
  adagrad(params, grads, sums, steps, rate, nullptr, rate_decay, decay, eps, maximize, grad_scale, found_inf);
}
void fused_adagrad_tensor(TensorList params, TensorList grads, TensorList sums, TensorList steps, const Tensor& rate, double rate_decay,
                          double decay, double eps, bool maximize, const OptTensor& grad_scale, const OptTensor& found_inf) {
  bool number = rate.is_cpu();
  adagrad(params, grads, sums, steps, number ? number_of(rate) : 0, number ? nullptr : &rate, rate_decay, decay, eps, maximize, grad_scale,
          found_inf);
}

// ---- mixed precision ----

void unscale(TensorList grads, Tensor& found_inf, const Tensor& inverse_scale) {
  TORCH_CHECK(inverse_scale.numel() == 1, "inv_scale must be a 1-element tensor.");
  TORCH_CHECK(found_inf.numel() == 1, "found_inf must be a 1-element tensor.");
  TORCH_CHECK(inverse_scale.scalar_type() == kFloat, "inv_scale must be a float tensor.");
  TORCH_CHECK(found_inf.scalar_type() == kFloat, "found_inf must be a float tensor.");
  ViewArg found = view_of(found_inf), inverse = view_of(inverse_scale);
  found.rank = inverse.rank = 0;
  for (const Tensor& g : grads) {
    TORCH_CHECK(is_anygpu(g), "one of the gradients was not on the device of inv_scale: ", g.device());
    TORCH_CHECK(g.layout() == kStrided, "one of the gradients was not a strided tensor.");
    TORCH_CHECK(at::isFloatingType(g.scalar_type()), "gradients must be floating-point tensors, got ", g.scalar_type());
    if (g.numel()) record(calls::AmpUnscale{.x = g, .found_inf = found, .inverse_scale = inverse});
  }
}

Tensor& update_scale(Tensor& scale, Tensor& tracker, const Tensor& found_inf, double growth, double backoff, int64_t interval) {
  TORCH_CHECK(tracker.numel() == 1, "growth_tracker must be a 1-element tensor.");
  TORCH_CHECK(scale.numel() == 1, "current_scale must be a 1-element tensor.");
  TORCH_CHECK(found_inf.numel() == 1, "found_inf must be a 1-element tensor.");
  TORCH_CHECK(tracker.scalar_type() == kInt, "growth_tracker must be an int tensor.");
  TORCH_CHECK(scale.scalar_type() == kFloat, "current_scale must be a float tensor.");
  TORCH_CHECK(found_inf.scalar_type() == kFloat, "found_inf must be a float tensor.");
  ViewArg s = view_of(scale), t = view_of(tracker), f = view_of(found_inf);
  s.rank = t.rank = f.rank = 0;
  record(calls::AmpUpdate{.scale = s, .tracker = t, .found_inf = f, .growth = growth, .backoff = backoff, .interval = interval});
  return scale;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_fused_adam_, fused_adam<false>>(m);
  on<at::_ops::_fused_adam__tensor_lr, fused_adam_tensor<false>>(m);
  on<at::_ops::_fused_adamw_, fused_adam<true>>(m);
  on<at::_ops::_fused_adamw__tensor_lr, fused_adam_tensor<true>>(m);
  on<at::_ops::_fused_sgd_, fused_sgd>(m);
  on<at::_ops::_fused_sgd__tensor_lr, fused_sgd_tensor>(m);
  on<at::_ops::_fused_adagrad_, fused_adagrad>(m);
  on<at::_ops::_fused_adagrad__tensor_lr, fused_adagrad_tensor>(m);
  on<at::_ops::_amp_foreach_non_finite_check_and_unscale_, unscale>(m);
  on<at::_ops::_amp_update_scale_, update_scale>(m);
}

}  // namespace
}  // namespace at::native
