// Losses that pick by class index. The pointwise ones are in pointwise_binary.cpp.
#include "anygpu/calls/loss.h"

#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

using calls::Batch;

Val sum(Val v) {
  return reduce(ReduceKind::Sum, v);
}

/// x[N,C,s..] and target[N,s..] with the batch dimension that x[C] and a scalar target lack.
struct Classes {
  Operand x, target;
  int64_t count;
  Classes(const Operand& x_in, const Operand& target_in) : x(x_in), target(target_in) {
    if (x.rank() == 1) x = unsqueezed(x, 0);
    while (target.rank() < x.rank() - 1) target = unsqueezed(target, 0);
    count = x.sizes[1];
  }
};

/// The target of the current index: which class, and whether it counts. Fails the kernel where it names none.
struct Target {
  Val cls, counts;
  Target(Loop& loop, Val t, Val ignored_class, int64_t classes) {
    Val ignored = t == ignored_class;
    Val ok = ir::check(ignored | within(t, 0, classes), ir::Fault::TargetOutOfRange, t, loop.size(classes));
    counts = (!ignored) & ok;
    cls = clamp(t, 0, classes > 0 ? classes - 1 : 0);
  }
};

void lower_nll_loss(Lowering& l, const calls::NllLoss<Reading>& call) {
  Classes c(call.x, call.target);
  const DType t = compute_type(c.x.dtype);
  const Batch how = call.batch;
  const int rank = c.target.rank();
  const uint32_t all = bits(0, rank);
  auto terms = [&](Loop& loop, Val* weight) {
    Target target(loop, loop.load(c.target, DType::I64), loop.scalar(call.ignored, DType::I64), c.count);
    Val w = call.weight ? cast(loop.load_at(*call.weight, {target.cls}), t) : loop.f(t, 1);
    std::vector<Val> at;
    for (int d = 0; d < rank; ++d) {
      at.push_back(loop.index(d));
      if (d == 0) at.push_back(target.cls);
    }
    Val x = cast(loop.load_at(c.x, at), t);
    *weight = select(target.counts, w, like(w, 0));
    return select(target.counts, -(x * w), like(w, 0));
  };
  Val weight;
  if (how == Batch::None) {
    Loop loop(l, c.target.sizes);
    Operand dst = call.loss;
    while (dst.rank() < rank) dst = unsqueezed(dst, 0);
    loop.store(dst, terms(loop, &weight));
    loop.done();
    fill(l, call.total_weight, 0);
    return;
  }
  Loop loop(l, c.target.sizes, all);
  Val loss = sum(terms(loop, &weight));
  Val total = sum(weight);
  loop.store(call.loss, how == Batch::Mean ? loss / total : loss);
  loop.store(call.total_weight, total);
  loop.done();
}

void lower_nll_loss_grad(Lowering& l, const calls::NllLossGrad<Reading>& call) {
  Classes c(call.dx, call.target);
  const DType t = compute_type(c.x.dtype);
  const Batch how = call.batch;
  Loop loop(l, c.x.sizes);
  Operand target_of = unsqueezed(c.target, 1);
  Target target(loop, loop.load(target_of, DType::I64), loop.scalar(call.ignored, DType::I64), c.count);
  Operand grad = call.dloss;
  if (how == Batch::None) {
    while (grad.rank() < c.target.rank()) grad = unsqueezed(grad, 0);
    grad = unsqueezed(grad, 1);
  }
  Val g = -loop.load(grad, t);
  if (how == Batch::Mean) g = g / loop.load(call.total_weight, t);
  if (call.weight) {
    Operand w = *call.weight;
    while (w.rank() < c.x.rank() - 1) w = unsqueezed(w, w.rank());
    g = g * loop.load(w, t);
  }
  loop.store(c.x, select((loop.index(1) == target.cls) & target.counts, g, like(g, 0)));
  loop.done();
}

Val power(Val v, int64_t p) {
  return p == 1 ? v : v * v;
}

void lower_multi_margin_loss(Lowering& l, const calls::MultiMarginLoss<Reading>& call) {
  Classes c(call.x, call.target);
  const DType t = compute_type(c.x.dtype);
  const Batch how = call.batch;
  const int64_t n = c.x.sizes[0];
  Loop loop(l, c.x.sizes, how == Batch::None ? 0b10 : 0b11);
  Target target(loop, loop.load(unsqueezed(c.target, 1), DType::I64), loop.i64(-1), c.count);
  Val own = cast(loop.load_at(c.x, {loop.index(0), target.cls}), t);
  Val z = max(loop.scalar(call.margin, t) - own + loop.load(c.x, t), 0.0);
  Val term = power(z, call.p);
  if (call.weight) term = term * cast(loop.load_at(*call.weight, {target.cls}), t);
  Val loss = sum(select((loop.index(1) == target.cls) | (!target.counts), like(term, 0), term)) / size_like(own, c.count);
  if (how == Batch::Mean) loss = loss / size_like(loss, n);
  Operand dst = call.loss;
  if (how == Batch::None) {
    while (dst.rank() < 1) dst = unsqueezed(dst, 0);
    dst = unsqueezed(dst, 1);
  }
  loop.store(dst, loss);
  loop.done();
}

void lower_multi_margin_loss_grad(Lowering& l, const calls::MultiMarginLossGrad<Reading>& call) {
  Classes c(call.x, call.target);
  Operand dx = call.dx;
  if (dx.rank() == 1) dx = unsqueezed(dx, 0);
  const DType t = compute_type(c.x.dtype);
  const Batch how = call.batch;
  Loop loop(l, c.x.sizes, 0b10);
  Target target(loop, loop.load(unsqueezed(c.target, 1), DType::I64), loop.i64(-1), c.count);
  Val own = cast(loop.load_at(c.x, {loop.index(0), target.cls}), t);
  Val z = loop.scalar(call.margin, t) - own + loop.load(c.x, t);
  Operand grad = call.dloss;
  if (how == Batch::None) {
    while (grad.rank() < 1) grad = unsqueezed(grad, 0);
    grad = unsqueezed(grad, 1);
  }
  Val g = loop.load(grad, t) / size_like(own, c.count);
  if (how == Batch::Mean) g = g / size_like(g, c.x.sizes[0]);
  if (call.weight) g = g * cast(loop.load_at(*call.weight, {target.cls}), t);
  Val d = call.p == 1 ? g : g * 2.0 * z;
  Val is_own = loop.index(1) == target.cls;
  Val push = select(is_own | (z <= 0.0), like(d, 0), d);
  loop.store(dx, select(is_own, -sum(push), push));
  loop.done();
}

/// Labels of a row end at the first -1. Counts of each class among them: dst[N,C] (f32), from target[N,C] (i64).
Operand label_counts(Lowering& l, const Operand& target) {
  const int64_t n = target.sizes[0], c = target.sizes[1];
  Operand ends = l.temp(DType::I64, {n, 1});
  {
    Loop loop(l, target.sizes, 0b10);
    Val t = loop.load(target, DType::I64);
    loop.store(ends, reduce(ReduceKind::Min, select(t < 0.0, loop.index(1), loop.size(c))));
    loop.done();
  }
  Operand counts = l.temp(DType::F32, {n, c});
  Loop loop(l, {n, c, c}, 0b100);
  Val t = loop.load(unsqueezed(target, 1), DType::I64);
  Val in_list = loop.index(2) < loop.load(unsqueezed(ends, 1));
  Val ok = ir::check((!in_list) | within(t, 0, c), ir::Fault::TargetOutOfRange, t, loop.size(c));
  Val hit = in_list & (t == loop.index(1)) & ok;
  loop.store(unsqueezed(counts, 2), sum(cast(hit, DType::F32)));
  loop.done();
  return counts;
}

void lower_multilabel_margin_loss(Lowering& l, const calls::MultilabelMarginLoss<Reading>& call) {
  auto rows = [](const Operand& o) {
    Operand r = o;
    while (r.rank() < 2) r = unsqueezed(r, 0);
    return r;
  };
  const Operand x = rows(call.x), target = rows(call.target);
  const DType t = compute_type(x.dtype);
  const Batch how = call.batch;
  const int64_t n = x.sizes[0], c = x.sizes[1];
  Operand counts = label_counts(l, target);
  {
    Loop loop(l, x.sizes);
    loop.store(rows(call.is_target), loop.load(counts) != 0.0);
    loop.done();
  }
  // Every label j pushes against every class k that is no label.
  Loop loop(l, {n, c, c}, how == Batch::None ? 0b110 : 0b111);
  Val z = max(1.0 - loop.load(unsqueezed(x, 2), t) + loop.load(unsqueezed(x, 1), t), 0.0);
  Val count = loop.load(unsqueezed(counts, 2), t);
  Val is_label = loop.load(unsqueezed(counts, 1), t) != 0.0;
  Val loss = sum(select(is_label, like(z, 0), z * count)) / size_like(z, c);
  if (how == Batch::Mean) loss = loss / size_like(loss, n);
  Operand dst = call.loss;
  if (how == Batch::None) {
    while (dst.rank() < 1) dst = unsqueezed(dst, 0);
    dst = unsqueezed(unsqueezed(dst, 1), 2);
  }
  loop.store(dst, loss);
  loop.done();
}

void lower_multilabel_margin_loss_grad(Lowering& l, const calls::MultilabelMarginLossGrad<Reading>& call) {
  auto rows = [](const Operand& o) {
    Operand r = o;
    while (r.rank() < 2) r = unsqueezed(r, 0);
    return r;
  };
  const Operand x = rows(call.x), target = rows(call.target);
  const DType t = compute_type(x.dtype);
  const Batch how = call.batch;
  const int64_t n = x.sizes[0], c = x.sizes[1];
  Operand counts = label_counts(l, target);
  Loop loop(l, {n, c, c}, 0b100);
  Val mine = loop.load(unsqueezed(x, 2), t), other = loop.load(unsqueezed(x, 1), t);
  Val my_count = loop.load(unsqueezed(counts, 2), t), its_count = loop.load(unsqueezed(counts, 1), t);
  Val zero = like(mine, 0);
  Val as_class = sum(select(1.0 - other + mine > 0.0, its_count, zero));
  Val as_label = sum(select((1.0 - mine + other > 0.0) & (its_count == 0.0), my_count, zero));
  Operand grad = call.dloss;
  if (how == Batch::None) {
    while (grad.rank() < 1) grad = unsqueezed(grad, 0);
    grad = unsqueezed(unsqueezed(grad, 1), 2);
  }
  Val g = loop.load(grad, t) / size_like(mine, c);
  if (how == Batch::Mean) g = g / size_like(g, n);
  loop.store(unsqueezed(rows(call.dx), 2), g * select(my_count != 0.0, -as_label, as_class));
  loop.done();
}

}  // namespace

OpTable losses() {
  static const Op table[] = {
      entry<calls::NllLoss, lower_nll_loss>(),
      entry<calls::NllLossGrad, lower_nll_loss_grad>(),
      entry<calls::MultiMarginLoss, lower_multi_margin_loss>(),
      entry<calls::MultiMarginLossGrad, lower_multi_margin_loss_grad>(),
      entry<calls::MultilabelMarginLoss, lower_multilabel_margin_loss>(),
      entry<calls::MultilabelMarginLossGrad, lower_multilabel_margin_loss_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
