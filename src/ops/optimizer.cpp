// Fused optimizer steps: one loop per parameter. All state is read and written once; what depends on the step alone is uniform.
// Common to all: operands named in each comment, absent ones left out as the flags (attr 1) say; when `found_inf` is not 0
// nothing changes; `grad_scale` divides the gradient, which is written back, as PyTorch's fused optimizers do.
#include <cmath>

#include "anygpu/optimizer_flags.h"
#include "ops/tables.h"

namespace anygpu::ops {

using namespace optimizer;
using ir::Val;
using P = Pointwise;

namespace {

/// Hands out the operands in order, and keeps what is written when an overflow was found.
class Step {
 public:
  explicit Step(P& p) : p(p), flags(p.attr(0)) {}
  bool has(Flag f) const { return flags & f; }
  Val next() { return p.in(at_++); }
  /// Writes output i, or its old value where the step is skipped.
  Val kept(Val updated, Val old) { return skip_.body ? select(skip_, old, updated) : updated; }
  void write(int i, Val updated, Val old) { p.out(i, kept(updated, old)); }

  /// Reads found_inf, grad_scale where present; unscales, flips `g`. The unscaled gradient is output `g_out`.
  Val gradient(Val g, int g_out) {
    if (has(kGuarded)) skip_ = next() == 1.0;
    if (has(kScaled)) {
      Val raw = g;
      g = g / next();
      write(g_out, g, raw);
    }
    return has(kMaximize) ? -g : g;
  }
  /// The learning rate: the next operand, or scalar 0.
  Val rate() { return has(kTensorRate) ? next() : p.s(0); }

  P& p;
  const int64_t flags;

 private:
  int at_ = 0;
  Val skip_;
};

/// Adam (Kingma and Ba, arXiv:1412.6980), AMSGrad (Reddi et al.), AdamW where decoupled (Loshchilov and Hutter, arXiv:1711.05101).
/// outputs: param, m, v, max v if AMSGrad, g if scaled. inputs: param, m, v, [max v], g, [step], [found_inf], [grad_scale], [rate].
/// scalars: rate, 1 - beta1, beta2, 1 - beta2, log beta1, log beta2, decay, eps. Differences from 1 and logarithms are the host's, in
/// f64: 1 - 0.999 in f32 would be wrong in the fifth digit.
/// Where the host knows the step (kHostStep), scalars 4 and 5 are the corrections themselves, 1 - beta1^step and sqrt(1 - beta2^step).
Val adam(P& p) {
  Step s(p);
  Val param = s.next(), m = s.next(), v = s.next(), vmax = s.has(kAmsgrad) ? s.next() : v, g = s.next();
  Val step = s.has(kHostStep) ? Val{} : s.next();
  g = s.gradient(g, s.has(kAmsgrad) ? 4 : 3);
  Val rate = s.rate(), decay = p.s(6), eps = p.s(7);
  Val x = param;
  if (s.has(kDecay)) {
    if (s.has(kDecoupled))
      x = x - rate * decay * x;
    else
      g = g + x * decay;
  }
  Val m1 = m + p.s(1) * (g - m);
  Val v1 = p.s(2) * v + p.s(3) * g * g;
  Val correction1 = s.has(kHostStep) ? p.s(4) : -expm1(step * p.s(4));
  Val correction2 = s.has(kHostStep) ? p.s(5) : sqrt(-expm1(step * p.s(5)));
  Val top = v1;
  if (s.has(kAmsgrad)) {
    top = max(vmax, v1);
    s.write(3, top, vmax);
  }
  s.write(1, m1, m);
  s.write(2, v1, v);
  return s.kept(x - rate / correction1 * m1 / (sqrt(top) / correction2 + eps), param);
}

/// outputs: param, momentum buffer if there is momentum, g if scaled. inputs: param, [buffer], g, [found_inf], [grad_scale], [rate].
/// scalars: rate, momentum, 1 - dampening, decay. On the first step the buffer becomes the gradient.
Val sgd(P& p) {
  Step s(p);
  Val param = s.next(), buffer = s.has(kMomentum) ? s.next() : Val{}, g = s.next();
  g = s.gradient(g, s.has(kMomentum) ? 2 : 1);
  Val rate = s.rate();
  if (s.has(kDecay)) g = g + param * p.s(3);
  if (s.has(kMomentum)) {
    Val b = s.has(kFirst) ? g : buffer * p.s(1) + g * p.s(2);
    s.write(1, b, buffer);
    g = s.has(kNesterov) ? g + b * p.s(1) : b;
  }
  return s.kept(param - rate * g, param);
}

/// Adagrad (Duchi et al., JMLR 2011). outputs: param, sum, g if scaled. inputs: param, sum, g, step, [found_inf], [grad_scale], [rate].
/// scalars: rate, rate decay, decay, eps.
Val adagrad(P& p) {
  Step s(p);
  Val param = s.next(), sum = s.next(), g = s.next(), step = s.next();
  g = s.gradient(g, 2);
  Val rate = s.rate();
  if (s.has(kDecay)) g = g + param * p.s(2);
  Val sum1 = sum + g * g;
  s.write(1, sum1, sum);
  return s.kept(param - rate / (1.0 + (step - 1.0) * p.s(1)) * g / (sqrt(sum1) + p.s(3)), param);
}

}  // namespace

OpTable optimizers() {
  static const Op table[] = {
      /// the number is that of the outputs
      ANYGPU_POINTWISE("fused_adam", 3, adam),
      ANYGPU_POINTWISE("fused_adam_4", 4, adam),
      ANYGPU_POINTWISE("fused_adam_5", 5, adam),
      ANYGPU_POINTWISE("fused_sgd", 1, sgd),
      ANYGPU_POINTWISE("fused_sgd_2", 2, sgd),
      ANYGPU_POINTWISE("fused_sgd_3", 3, sgd),
      ANYGPU_POINTWISE("fused_adagrad", 2, adagrad),
      ANYGPU_POINTWISE("fused_adagrad_3", 3, adagrad),
      /// amp_unscale: outputs x, found_inf; inputs x, found_inf, inverse scale
      /// (in two loops, for found_inf is a reduction)
      {"amp_unscale", nullptr,
       [](Lowering& l) {
         const ir::Operand &x = l.view(0), &found = l.view(1), &inverse = l.view(2);
         DType t = compute_type(x.dtype);
         uint32_t all = (1u << x.rank()) - 1;
         ir::Operand bad = l.temp(DType::F32, kept(x.sizes, all));
         {
           Loop loop(l, x.sizes, all);
           Val finite = abs(loop.load(x, t)) < static_cast<double>(HUGE_VAL);
           loop.store(bad, reduce(ir::ReduceKind::Max, select(finite, loop.f(DType::F32, 0), loop.f(DType::F32, 1))));
           loop.done();
         }
         {
           Loop loop(l, x.sizes);
           loop.store(x, loop.load(x, t) * loop.load(inverse, t));
           loop.done();
         }
         bad.sizes.clear();
         bad.strides.clear();
         Loop loop(l, {});
         loop.store(found, max(loop.load(found, DType::F32), loop.load(bad)));
         loop.done();
       },
       2},
      /// amp_update: outputs scale, growth tracker (i32); inputs the same, found_inf; scalars growth, backoff (f), interval (i64)
      ANYGPU_POINTWISE("amp_update", 2,
                       [](P& p) {
                         Val scale = p.in(0), tracker = cast(p.raw(1), DType::I64), bad = p.in(2) != 0.0;
                         Val successes = tracker + p.loop.i64(1);
                         Val grow = successes == p.s(2, DType::I64);
                         Val grown = scale * p.s(0);
                         Val new_scale =
                             select(bad, scale * p.s(1), select(grow & (abs(grown) < static_cast<double>(HUGE_VAL)), grown, scale));
                         p.out(1, select(bad | grow, p.loop.i64(0), successes));
                         return new_scale;
                       }),
  };
  return table;
}

}  // namespace anygpu::ops
