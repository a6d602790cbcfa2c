// Fused optimizer steps: one record a parameter. And GradScaler's two operators.
#include <ATen/NativeFunctions.h>

#include <cmath>

#include "anygpu/optimizer_flags.h"
#include "pointwise.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
using namespace anygpu::optimizer;
namespace {

using N = anygpu::Scalar;
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

int64_t flag(bool set, Flag f) {
  return set ? static_cast<int64_t>(f) : 0;
}

/// What the steps of all parameters have in common.
struct Common {
  OptTensor grad_scale, found_inf, rate;
  int64_t flags = 0;

  Common(const OptTensor& grad_scale, const OptTensor& found_inf, const Tensor* rate) : grad_scale(grad_scale), found_inf(found_inf) {
    if (given(found_inf)) flags |= kGuarded;
    if (given(grad_scale)) flags |= kScaled;
    if (rate) {
      this->rate = *rate;
      flags |= kTensorRate;
    }
  }
  /// The guards and the rate, after the operator's own inputs.
  void append(c10::SmallVectorImpl<Operand>& operands) const {
    auto scalar = [](const Tensor& t) {
      TORCH_CHECK(t.numel() == 1, "expected one element, got ", t.sizes());
      ViewArg v = view_of(t);
      v.rank = 0;
      return Operand(v);
    };
    if (given(found_inf)) operands.push_back(scalar(*found_inf));
    if (given(grad_scale)) operands.push_back(scalar(*grad_scale));
    if (rate) operands.push_back(scalar(*rate));
  }
};

/// A CPU tensor of one element is a number.
double number_of(const Tensor& t) {
  if (t.scalar_type() == kFloat && t.numel() == 1) return *t.const_data_ptr<float>();
  return t.item<double>();
}

const Op& pick(int outputs, const Op& few, const Op& more, const Op& most, int least) {
  return outputs == least ? few : outputs == least + 1 ? more : most;
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
  Common common(grad_scale, found_inf, rate_tensor);
  int64_t flags =
      common.flags | flag(maximize, kMaximize) | flag(amsgrad, kAmsgrad) | flag(decoupled, kDecoupled) | flag(decay != 0, kDecay);
  N scalars[] = {N(rate), N(1 - beta1), N(beta2), N(1 - beta2), N(std::log(beta1)), N(std::log(beta2)), N(decay), N(eps)};
  const bool host_steps = !steps.empty() && steps[0].is_cpu();
  if (host_steps) flags |= kHostStep;
  double corrected = -1;  // the step that scalars 4 and 5 belong to
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    for (const Tensor* t : {&grads[i], &ms[i], &vs[i]}) fits(name, p, *t);
    if (!p.numel()) continue;
    c10::SmallVector<Operand, 16> operands{p, ms[i], vs[i]};
    if (amsgrad) operands.push_back(vmaxs[i]);
    if (flags & kScaled) operands.push_back(grads[i]);
    const Op& op =
        pick(static_cast<int>(operands.size()), ANYGPU_OP("fused_adam"), ANYGPU_OP("fused_adam_4"), ANYGPU_OP("fused_adam_5"), 3);
    operands.append({p, ms[i], vs[i]});
    if (amsgrad) operands.push_back(vmaxs[i]);
    operands.push_back(grads[i]);
    if (host_steps) {
      TORCH_CHECK(steps[i].is_cpu(), name, ": expected state_steps on one device");
      if (double t = number_of(steps[i]); t != corrected) {
        scalars[4] = N(1 - std::pow(beta1, t));
        scalars[5] = N(std::sqrt(1 - std::pow(beta2, t)));
        corrected = t;
      }
    } else {
      ViewArg step = view_of(steps[i]);
      step.rank = 0;
      operands.push_back(step);
    }
    common.append(operands);
    record(op, operands, scalars, {torch_frontend::pointwise_attr(p.scalar_type()), flags});
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
  Common common(grad_scale, found_inf, rate_tensor);
  int64_t flags = common.flags | flag(maximize, kMaximize) | flag(decay != 0, kDecay);
  if (has_buffer) flags |= kMomentum | flag(nesterov, kNesterov) | flag(first, kFirst);
  N scalars[] = {N(rate), N(momentum), N(1 - dampening), N(decay)};
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    fits(name, p, grads[i]);
    if (!p.numel()) continue;
    c10::SmallVector<Operand, 12> operands{p};
    if (has_buffer) operands.push_back(buffers[i]);
    if (flags & kScaled) operands.push_back(grads[i]);
    const Op& op = pick(static_cast<int>(operands.size()), ANYGPU_OP("fused_sgd"), ANYGPU_OP("fused_sgd_2"), ANYGPU_OP("fused_sgd_3"), 1);
    operands.push_back(p);
    if (has_buffer) operands.push_back(buffers[i]);
    operands.push_back(grads[i]);
    common.append(operands);
    record(op, operands, scalars, {torch_frontend::pointwise_attr(p.scalar_type()), flags});
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
  Common common(grad_scale, found_inf, rate_tensor);
  int64_t flags = common.flags | flag(maximize, kMaximize) | flag(decay != 0, kDecay);
  N scalars[] = {N(rate), N(rate_decay), N(decay), N(eps)};
  for (size_t i = 0; i < params.size(); ++i) {
    const Tensor& p = params[i];
    for (const Tensor* t : {&grads[i], &sums[i]}) fits(name, p, *t);
    if (!p.numel()) continue;
    c10::SmallVector<Operand, 12> operands{p, sums[i]};
    if (flags & kScaled) operands.push_back(grads[i]);
    const Op& op = flags & kScaled ? ANYGPU_OP("fused_adagrad_3") : ANYGPU_OP("fused_adagrad");
    ViewArg step = view_of(steps[i]);
    step.rank = 0;
    operands.append({p, sums[i], grads[i], step});
    common.append(operands);
    record(op, operands, scalars, {torch_frontend::pointwise_attr(p.scalar_type()), flags});
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
    if (g.numel()) record(ANYGPU_OP("amp_unscale"), {g, found, inverse});
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
  record(ANYGPU_OP("amp_update"), {s, t, s, t, f}, {N(growth), N(backoff), N(interval)}, {torch_frontend::pointwise_attr(kFloat)});
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
