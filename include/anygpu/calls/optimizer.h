// Calls of fused optimizer steps, one a parameter: all state is read and written once. Tensors of a call have the parameter's sizes; those that
// are said to hold one number are scalars (rank 0).
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// What all steps have in common.
///   found_inf: one number. When it is not 0 nothing changes.
///   grad_scale: one number, which divides the gradient; the quotient goes to `unscaled`, which may be grad itself.
///   rate: the learning rate as one number on the device; else the scalar `host_rate`.
///   decays: whether there is a decay at all. maximize: whether the objective is to grow.
///
/// Adam (Kingma and Ba, arXiv:1412.6980), AMSGrad (Reddi et al.) where there is a vmax, AdamW where decoupled (Loshchilov and Hutter,
/// arXiv:1711.05101).
template <class S = Making>
struct Adam {
  static constexpr std::string_view name = "fused_adam";
  View<S> param, m, v;  ///< read and written, as vmax
  Maybe<S> vmax;
  Maybe<S> unscaled;  ///< there where grad_scale is
  View<S> grad;
  Maybe<S> step;  ///< one number: how many steps, this one included. Without it correction1 and correction2 are what follows from it
  Maybe<S> found_inf, grad_scale, rate;
  bool maximize, decays, decoupled;
  Real<S> host_rate;
  Real<S> one_minus_beta1, beta2, one_minus_beta2;  ///< in f64 by the host: 1 - 0.999 in f32 would be wrong in the fifth digit
  Real<S> correction1, correction2;  ///< with `step`: log(beta1), log(beta2). Without: 1 - beta1^step, sqrt(1 - beta2^step)
  Real<S> decay, eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.param, c.m, c.v, c.vmax, c.unscaled);
    f.inputs(c.grad, c.step, c.found_inf, c.grad_scale, c.rate);
    f.attrs(c.maximize, c.decays, c.decoupled);
    f.scalars(c.host_rate, c.one_minus_beta1, c.beta2, c.one_minus_beta2, c.correction1, c.correction2, c.decay, c.eps);
  }
};

/// Stochastic gradient descent, with momentum where there is a buffer; on the first step the buffer becomes the gradient.
template <class S = Making>
struct Sgd {
  static constexpr std::string_view name = "fused_sgd";
  View<S> param;
  Maybe<S> buffer, unscaled;
  View<S> grad;
  Maybe<S> found_inf, grad_scale, rate;
  bool maximize, decays, nesterov, first;
  Real<S> host_rate, momentum, one_minus_dampening, decay;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.param, c.buffer, c.unscaled);
    f.inputs(c.grad, c.found_inf, c.grad_scale, c.rate);
    f.attrs(c.maximize, c.decays, c.nesterov, c.first);
    f.scalars(c.host_rate, c.momentum, c.one_minus_dampening, c.decay);
  }
};

/// Adagrad (Duchi et al., JMLR 2011).
template <class S = Making>
struct Adagrad {
  static constexpr std::string_view name = "fused_adagrad";
  View<S> param, sum;
  Maybe<S> unscaled;
  View<S> grad;
  View<S> step;  ///< one number
  Maybe<S> found_inf, grad_scale, rate;
  bool maximize, decays;
  Real<S> host_rate, rate_decay, decay, eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.param, c.sum, c.unscaled);
    f.inputs(c.grad, c.step, c.found_inf, c.grad_scale, c.rate);
    f.attrs(c.maximize, c.decays);
    f.scalars(c.host_rate, c.rate_decay, c.decay, c.eps);
  }
};

// ---- gradient scaling ----

/// x *= inverse_scale; found_inf becomes 1 where an element of x is not finite.
template <class S = Making>
struct AmpUnscale {
  static constexpr std::string_view name = "amp_unscale";
  View<S> x, found_inf;   ///< read and written. found_inf: one f32
  View<S> inverse_scale;  ///< one f32

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.x, c.found_inf);
    f.inputs(c.inverse_scale);
  }
};

/// The scale shrinks by `backoff` where found_inf is not 0, grows by `growth` after `interval` steps without.
template <class S = Making>
struct AmpUpdate {
  static constexpr std::string_view name = "amp_update";
  View<S> scale, tracker;  ///< read and written: one f32, one i32, the steps since it changed
  View<S> found_inf;
  Real<S> growth, backoff;
  Whole<S> interval;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.scale, c.tracker);
    f.inputs(c.found_inf);
    f.scalars(c.growth, c.backoff, c.interval);
  }
};

}  // namespace anygpu::calls
