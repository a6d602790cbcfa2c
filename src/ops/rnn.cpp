// Recurrent cells: the pointwise half, after the two matrix products of a step.
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

Val sigmoid(Val x) {
  return 1.0 / (1.0 + exp(-x));
}

/// Chunk i of the last dimension, which holds `n` of them.
Operand chunk(const Operand& o, int i, int n) {
  const int d = o.rank() - 1;
  const int64_t size = o.sizes[d] / n;
  return narrowed(o, d, i * size, size);
}

/// Sum of the gate's chunks over all operands that are there.
Val gate(Loop& loop, DType t, int i, int n, std::initializer_list<const Operand*> parts) {
  Val v;
  for (const Operand* part : parts) {
    if (!part) continue;
    Val x = loop.load(chunk(*part, i, n), t);
    v = v.body ? v + x : x;
  }
  return v;
}

/// views: h[N,H], c[N,H], activated gates[N,4H], old c[N,H], then 1 to 4 operands that add up to the gates: [N,4H], or biases [4H].
/// Gates in the order input, forget, cell, output.
void lower_lstm_cell(Lowering& l) {
  const DType t = compute_type(l.view(0).dtype);
  auto given = [&](int i) { return i < l.views() ? &l.view(i) : nullptr; };
  Loop loop(l, l.view(0).sizes);
  auto part = [&](int i) { return gate(loop, t, i, 4, {given(4), given(5), given(6), given(7)}); };
  Val in = sigmoid(part(0)), forget = sigmoid(part(1)), cell = tanh(part(2)), out = sigmoid(part(3));
  Val c = forget * loop.load(l.view(3), t) + in * cell;
  loop.store(l.view(0), out * tanh(c));
  loop.store(l.view(1), c);
  loop.store(chunk(l.view(2), 0, 4), in);
  loop.store(chunk(l.view(2), 1, 4), forget);
  loop.store(chunk(l.view(2), 2, 4), cell);
  loop.store(chunk(l.view(2), 3, 4), out);
  loop.done();
}

/// views: grad of gates[N,4H], grad of old c[N,H], activated gates, old c, c, then those there of: grad of h, grad of c, more grad of h to
/// be added. attrs: which (bits)
void lower_lstm_cell_grad(Lowering& l) {
  const DType t = compute_type(l.view(2).dtype);
  Loop loop(l, l.view(1).sizes);
  auto part = [&](int i) { return loop.load(chunk(l.view(2), i, 4), t); };
  Val in = part(0), forget = part(1), cell = part(2), out = part(3);
  Val old = loop.load(l.view(3), t), tc = tanh(loop.load(l.view(4), t));
  int at = 5;
  Val dh = l.attr(0) & 1 ? loop.load(l.view(at++), t) : loop.f(t, 0);
  const int dc_at = l.attr(0) & 2 ? at++ : -1;
  if (l.attr(0) & 4) dh = dh + loop.load(l.view(at), t);
  Val dc = dh * out * (1.0 - tc * tc);
  if (dc_at >= 0) dc = dc + loop.load(l.view(dc_at), t);
  auto through_sigmoid = [](Val g, Val s) { return g * (1.0 - s) * s; };
  loop.store(chunk(l.view(0), 0, 4), through_sigmoid(dc * cell, in));
  loop.store(chunk(l.view(0), 1, 4), through_sigmoid(dc * old, forget));
  loop.store(chunk(l.view(0), 2, 4), dc * in * (1.0 - cell * cell));
  loop.store(chunk(l.view(0), 3, 4), through_sigmoid(dh * tc, out));
  loop.store(l.view(1), dc * forget);
  loop.done();
}

/// views: h[N,H], workspace[N,5H], input gates[N,3H], hidden gates[N,3H], old h[N,H], then biases [3H] (none, or two).
/// Gates in the order reset, update, new. The workspace keeps reset, update, new, old h, and the hidden part of new.
void lower_gru_cell(Lowering& l) {
  const DType t = compute_type(l.view(2).dtype);
  const bool biased = l.views() > 5;
  const Operand *b1 = biased ? &l.view(5) : nullptr, *b2 = biased ? &l.view(6) : nullptr;
  Loop loop(l, l.view(0).sizes);
  auto both = [&](int i) { return gate(loop, t, i, 3, {&l.view(2), &l.view(3), b1, b2}); };
  Val r = sigmoid(both(0)), z = sigmoid(both(1));
  Val hidden = gate(loop, t, 2, 3, {&l.view(3), b2});
  Val n = tanh(gate(loop, t, 2, 3, {&l.view(2), b1}) + r * hidden);
  Val h = loop.load(l.view(4), t);
  loop.store(l.view(0), (h - n) * z + n);
  const Val kept[] = {r, z, n, h, hidden};
  for (int i = 0; i < 5; ++i) loop.store(chunk(l.view(1), i, 5), kept[i]);
  loop.done();
}

/// views: grad of input gates[N,3H], grad of hidden gates[N,3H], grad of old h[N,H], grad of h, workspace, and more grad of h to be added,
/// if any
void lower_gru_cell_grad(Lowering& l) {
  const DType t = compute_type(l.view(4).dtype);
  Loop loop(l, l.view(2).sizes);
  auto part = [&](int i) { return loop.load(chunk(l.view(4), i, 5), t); };
  Val r = part(0), z = part(1), n = part(2), h = part(3), hidden = part(4);
  Val g = loop.load(l.view(3), t);
  if (l.views() > 5) g = g + loop.load(l.view(5), t);
  Val dz = g * (h - n) * (1.0 - z) * z;
  Val dn = g * (1.0 - z) * (1.0 - n * n);
  Val dr = dn * hidden * (1.0 - r) * r;
  loop.store(chunk(l.view(0), 0, 3), dr);
  loop.store(chunk(l.view(0), 1, 3), dz);
  loop.store(chunk(l.view(0), 2, 3), dn);
  loop.store(chunk(l.view(1), 0, 3), dr);
  loop.store(chunk(l.view(1), 1, 3), dz);
  loop.store(chunk(l.view(1), 2, 3), dn * r);
  loop.store(l.view(2), g * z);
  loop.done();
}

/// views: dst[M], src[N,M]: the sum over rows, the gradient of a bias
void lower_row_sum(Lowering& l) {
  Loop loop(l, l.view(1).sizes, 1);
  loop.store(l.view(0), reduce(ReduceKind::Sum, loop.load(l.view(1), compute_type(l.view(1).dtype))));
  loop.done();
}

}  // namespace

OpTable recurrent_cells() {
  static const Op table[] = {
      {"lstm_cell", nullptr, lower_lstm_cell, 3}, {"lstm_cell_grad", nullptr, lower_lstm_cell_grad, 2},
      {"gru_cell", nullptr, lower_gru_cell, 2},   {"gru_cell_grad", nullptr, lower_gru_cell_grad, 3},
      {"row_sum", nullptr, lower_row_sum},
  };
  return table;
}

}  // namespace anygpu::ops
