// Connectionist temporal classification (Graves et al., 2006): a recursion over time on the target with blanks between its labels.
#include <limits>

#include "anygpu/calls/loss.h"
#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

/// log(sum of exp) that takes -inf for 0.
Val log_sum_exp(std::initializer_list<Val> parts) {
  Val top = *parts.begin();
  for (const Val& p : parts) top = max(top, p);
  top = select(top == -kInf, like(top, 0), top);
  Val sum;
  for (const Val& p : parts) sum = sum.body ? sum + exp(p - top) : exp(p - top);
  return log(sum) + top;
}

/// What all loops here read.
struct Problem {
  const Operand &log_probs, &labels, &starts, &input_lengths, &target_lengths;
  const int blank_at;
  DType t;
  int64_t steps, batch, classes, states;

  explicit Problem(const auto& c)
      : log_probs(c.log_probs),
        labels(c.labels),
        starts(c.starts),
        input_lengths(c.input_lengths),
        target_lengths(c.target_lengths),
        blank_at(c.blank),
        t(compute_type(log_probs.dtype)),
        steps(log_probs.sizes[0]),
        batch(log_probs.sizes[1]),
        classes(log_probs.sizes[2]),
        states(c.log_alpha.sizes[2]) {}

  Val blank(Loop& loop) const { return loop.scalar(blank_at, DType::I64); }
  Val at(Loop& loop, const Operand& per_sample, Val n) const { return cast(loop.load_at(per_sample, {n}), DType::I64); }

  /// The label of state s: blanks at even states. Past the target's end any class.
  Val label(Loop& loop, Val n, Val s) const {
    const int64_t count = labels.sizes[0];
    if (count == 0) return blank(loop);
    Val k = s / loop.i64(2);
    Val y = cast(loop.load_at(labels, {clamp(at(loop, starts, n) + k, 0, count - 1)}), DType::I64);
    Val is_label = ((s % loop.i64(2)) == 1.0) & (k < at(loop, target_lengths, n));
    Val ok = ir::check((!is_label) | within(y, 0, classes), ir::Fault::TargetOutOfRange, y, loop.size(classes));
    return clamp(select(is_label & ok, y, blank(loop)), 0, classes - 1);
  }
  Val log_prob(Loop& loop, Val step, Val n, Val cls) const { return cast(loop.load_at(log_probs, {step, n, cls}), t); }
};

/// a[N,S] read at state s, -inf where `there` does not hold.
Val state(Loop& loop, const Operand& a, Val n, Val s, Val there, DType t) {
  Val v = cast(loop.load_at(a, {n, clamp(s, 0, a.sizes[1] - 1)}), t);
  return select(there, v, like(v, -kInf));
}

void lower_ctc_loss(Lowering& l, const calls::CtcLoss<Reading>& c) {
  const Operand &loss = c.loss, &alpha = c.log_alpha;
  const Problem p(c);
  for (int64_t step = 0; step < p.steps; ++step) {
    Loop loop(l, {p.batch, p.states});
    Val n = loop.index(0), s = loop.index(1), now = loop.size(step);
    Val label = p.label(loop, n, s), lp = p.log_prob(loop, now, n, label), none = like(lp, -kInf);
    Val v;
    if (step == 0) {
      Val starts_here = (s == 0.0) | ((s == 1.0) & (p.at(loop, p.target_lengths, n) > 0.0));
      v = select(starts_here, lp, none);
    } else {
      const Operand before = selected(alpha, 1, step - 1);
      Val two_back = s - loop.i64(2);
      Val skips = (s > 1.0) & (p.label(loop, n, max(two_back, 0.0)) != label);
      v = log_sum_exp({state(loop, before, n, s, s >= 0.0, p.t), state(loop, before, n, s - loop.i64(1), s > 0.0, p.t),
                       state(loop, before, n, two_back, skips, p.t)}) +
          lp;
    }
    loop.store(selected(alpha, 1, step), v);
    loop.done();
  }
  Loop loop(l, {p.batch});
  Val n = loop.index(0), length = p.at(loop, p.input_lengths, n), last = p.at(loop, p.target_lengths, n) * loop.i64(2);
  Val zero = loop.f(p.t, 0), none = like(zero, -kInf);
  Val nothing = select(last == 0.0, zero, like(zero, kInf));
  if (p.steps == 0) {
    loop.store(loss, nothing);
  } else {
    Val end = clamp(length - loop.i64(1), 0, p.steps - 1);
    auto final_state = [&](Val s) { return cast(loop.load_at(alpha, {n, end, clamp(s, 0, p.states - 1)}), p.t); };
    Val on_label = final_state(last - loop.i64(1));
    Val total = log_sum_exp({final_state(last), select(last > 0.0, on_label, none)});
    loop.store(loss, select(length == 0.0, nothing, -total));
  }
  loop.done();
}

void lower_ctc_loss_grad(Lowering& l, const calls::CtcLossGrad<Reading>& call) {
  const Operand &dx = call.dlog_probs, &alpha = call.log_alpha;
  const Problem p(call);
  if (product(dx.sizes) == 0) return;
  const Operand beta = l.temp(p.t, alpha.sizes);
  for (int64_t step = p.steps - 1; step >= 0; --step) {
    Loop loop(l, {p.batch, p.states});
    Val n = loop.index(0), s = loop.index(1), now = loop.size(step);
    Val length = p.at(loop, p.input_lengths, n), last = p.at(loop, p.target_lengths, n) * loop.i64(2);
    Val label = p.label(loop, n, s), lp = p.log_prob(loop, now, n, label), none = like(lp, -kInf);
    Val ends_here = (s == last) | ((s == last - loop.i64(1)) & (last > 0.0));
    Val v = select((length == now + loop.i64(1)) & ends_here, lp, none);
    if (step + 1 < p.steps) {
      const Operand after = selected(beta, 1, step + 1);
      Val one_on = s + loop.i64(1), two_on = s + loop.i64(2);
      Val skips = (two_on <= last) & (p.label(loop, n, two_on) != label);
      Val on = log_sum_exp({state(loop, after, n, s, s >= 0.0, p.t), state(loop, after, n, one_on, one_on <= last, p.t),
                            state(loop, after, n, two_on, skips, p.t)}) +
               lp;
      v = select(now + loop.i64(1) < length, on, v);
    }
    loop.store(selected(beta, 1, step), v);
    loop.done();
  }
  Loop loop(l, {p.steps, p.batch, p.classes, p.states}, 0b1000);
  Val now = loop.index(0), n = loop.index(1), c = loop.index(2), s = loop.index(3);
  Val both = cast(loop.load_at(alpha, {n, now, s}), p.t) + cast(loop.load_at(beta, {n, now, s}), p.t);
  Val mine = (p.label(loop, n, s) == c) & (s <= p.at(loop, p.target_lengths, n) * loop.i64(2));
  Val x = select(mine, both, like(both, -kInf));
  Val top = reduce(ReduceKind::Max, x);
  top = select(top == -kInf, like(top, 0), top);
  Val total = log(reduce(ReduceKind::Sum, exp(x - top))) + top;
  Val lp = p.log_prob(loop, now, n, c), loss = cast(loop.load_at(call.loss, {n}), p.t);
  Val g = (exp(lp) - exp(total + loss - lp)) * cast(loop.load_at(call.dloss, {n}), p.t);
  Val counts = now < p.at(loop, p.input_lengths, n);
  if (call.zero_infinity) counts = counts & (loss != kInf);
  loop.store(unsqueezed(dx, 3), select(counts, g, like(g, 0)));
  loop.done();
}

}  // namespace

OpTable ctc() {
  static const Op table[] = {
      entry<calls::CtcLoss, lower_ctc_loss>(),
      entry<calls::CtcLossGrad, lower_ctc_loss_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
