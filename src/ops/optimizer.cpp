// Fused optimizer steps: one loop per parameter. All state is read and written once; what depends on the step alone is uniform.
#include "anygpu/calls/optimizer.h"

#include <cmath>

#include "ops/call.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Operand;
using ir::Val;

namespace {

/// What all steps do. Computes in the parameter's compute type.
class Step {
 public:
  Step(Lowering& l, const auto& call) : loop(l, call.param.sizes), type(compute_type(call.param.dtype)) {
    if (call.found_inf) skip_ = loop.load(*call.found_inf, type) == 1.0;
    Val g = loop.load(call.grad, type);
    if (call.grad_scale) {
      Val raw = g;
      g = g / loop.load(*call.grad_scale, type);
      write(*call.unscaled, g, raw);
    }
    gradient = call.maximize ? -g : g;
    rate = call.rate ? loop.load(*call.rate, type) : loop.scalar(call.host_rate, type);
  }
  Val load(const Operand& o) { return loop.load(o, type); }
  Val scalar(int i) { return loop.scalar(i, type); }
  /// Writes the updated value, or the old one where the step is skipped.
  void write(const Operand& o, Val updated, Val old) { loop.store(o, skip_.body ? select(skip_, old, updated) : updated); }

  Loop loop;
  const DType type;
  Val gradient, rate;

 private:
  Val skip_;
};

void lower_adam(Lowering& l, const calls::Adam<Reading>& c) {
  Step s(l, c);
  const Val param = s.load(c.param), m = s.load(c.m), v = s.load(c.v);
  Val g = s.gradient, x = param;
  const Val decay = s.scalar(c.decay), eps = s.scalar(c.eps);
  if (c.decays) {
    if (c.decoupled)
      x = x - s.rate * decay * x;
    else
      g = g + x * decay;
  }
  const Val m1 = m + s.scalar(c.one_minus_beta1) * (g - m);
  const Val v1 = s.scalar(c.beta2) * v + s.scalar(c.one_minus_beta2) * g * g;
  Val correction1 = s.scalar(c.correction1), correction2 = s.scalar(c.correction2);
  if (c.step) {
    const Val step = s.load(*c.step);
    correction1 = -expm1(step * correction1);
    correction2 = sqrt(-expm1(step * correction2));
  }
  Val top = v1;
  if (c.vmax) {
    const Val vmax = s.load(*c.vmax);
    top = max(vmax, v1);
    s.write(*c.vmax, top, vmax);
  }
  s.write(c.m, m1, m);
  s.write(c.v, v1, v);
  s.write(c.param, x - s.rate / correction1 * m1 / (sqrt(top) / correction2 + eps), param);
  s.loop.done();
}

void lower_sgd(Lowering& l, const calls::Sgd<Reading>& c) {
  Step s(l, c);
  const Val param = s.load(c.param);
  Val g = s.gradient;
  if (c.decays) g = g + param * s.scalar(c.decay);
  if (c.buffer) {
    const Val buffer = s.load(*c.buffer), momentum = s.scalar(c.momentum);
    const Val b = c.first ? g : buffer * momentum + g * s.scalar(c.one_minus_dampening);
    s.write(*c.buffer, b, buffer);
    g = c.nesterov ? g + b * momentum : b;
  }
  s.write(c.param, param - s.rate * g, param);
  s.loop.done();
}

void lower_adagrad(Lowering& l, const calls::Adagrad<Reading>& c) {
  Step s(l, c);
  const Val param = s.load(c.param), sum = s.load(c.sum), step = s.load(c.step);
  Val g = s.gradient;
  if (c.decays) g = g + param * s.scalar(c.decay);
  const Val sum1 = sum + g * g;
  s.write(c.sum, sum1, sum);
  s.write(c.param, param - s.rate / (1.0 + (step - 1.0) * s.scalar(c.rate_decay)) * g / (sqrt(sum1) + s.scalar(c.eps)), param);
  s.loop.done();
}

/// State has the parameter's sizes; what is one number, none.
template <class C>
void check_step(const CallArgs& call, const C& c) {
  auto fits = [&](const ViewArg& v) {
    return !v || v.rank == 0 || (v.rank == c.param.rank && std::equal(v.sizes, v.sizes + v.rank, c.param.sizes));
  };
  for (size_t i = 0; i < call.views.size(); ++i)
    if (!fits(call.views[i]))
      throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] operand " + std::to_string(i) + " has not the parameter's sizes");
  if (static_cast<bool>(c.grad_scale) != static_cast<bool>(c.unscaled))
    throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] a grad_scale without a place for the gradient, or the reverse");
}

/// In two loops, for found_inf is a reduction.
void lower_amp_unscale(Lowering& l, const calls::AmpUnscale<Reading>& c) {
  const DType t = compute_type(c.x.dtype);
  const uint32_t all = (1u << c.x.rank()) - 1;
  Operand bad = l.temp(DType::F32, kept(c.x.sizes, all));
  {
    Loop loop(l, c.x.sizes, all);
    Val finite = abs(loop.load(c.x, t)) < static_cast<double>(HUGE_VAL);
    loop.store(bad, reduce(ir::ReduceKind::Max, select(finite, loop.f(DType::F32, 0), loop.f(DType::F32, 1))));
    loop.done();
  }
  {
    Loop loop(l, c.x.sizes);
    loop.store(c.x, loop.load(c.x, t) * loop.load(c.inverse_scale, t));
    loop.done();
  }
  bad.sizes.clear();
  bad.strides.clear();
  Loop loop(l, {});
  loop.store(c.found_inf, max(loop.load(c.found_inf, DType::F32), loop.load(bad)));
  loop.done();
}

void lower_amp_update(Lowering& l, const calls::AmpUpdate<Reading>& c) {
  Loop loop(l, c.scale.sizes);
  const DType t = DType::F32;
  const Val scale = loop.load(c.scale, t), bad = loop.load(c.found_inf, t) != 0.0;
  const Val successes = loop.load(c.tracker, DType::I64) + loop.i64(1);
  const Val grow = successes == loop.scalar(c.interval, DType::I64);
  const Val grown = scale * loop.scalar(c.growth, t);
  loop.store(c.tracker, select(bad | grow, loop.i64(0), successes));
  loop.store(c.scale, select(bad, scale * loop.scalar(c.backoff, t),
                             select(grow & (abs(grown) < static_cast<double>(HUGE_VAL)), grown, scale)));
  loop.done();
}

}  // namespace

OpTable optimizers() {
  static const Op table[] = {
      entry<calls::Adam, lower_adam, check_step<calls::Adam<>>>(),
      entry<calls::Sgd, lower_sgd, check_step<calls::Sgd<>>>(),
      entry<calls::Adagrad, lower_adagrad, check_step<calls::Adagrad<>>>(),
      entry<calls::AmpUnscale, lower_amp_unscale>(),
      entry<calls::AmpUpdate, lower_amp_update>(),
  };
  return table;
}

}  // namespace anygpu::ops
