// Recurrent cells: the pointwise half, after the two matrix products of a step.
#include "anygpu/calls/rnn.h"
#include "ops/call.h"
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
Val gate(Loop& loop, DType t, int i, int n, std::initializer_list<std::optional<Operand>> parts) {
  Val v;
  for (const std::optional<Operand>& part : parts) {
    if (!part) continue;
    Val x = loop.load(chunk(*part, i, n), t);
    v = v.body ? v + x : x;
  }
  return v;
}

void lower_lstm_cell(Lowering& l, const calls::LstmCell<Reading>& x) {
  const DType t = compute_type(x.h.dtype);
  Loop loop(l, x.h.sizes);
  auto part = [&](int i) { return gate(loop, t, i, 4, {x.part, x.part2, x.part3, x.part4}); };
  Val in = sigmoid(part(0)), forget = sigmoid(part(1)), cell = tanh(part(2)), out = sigmoid(part(3));
  Val c = forget * loop.load(x.old_c, t) + in * cell;
  loop.store(x.h, out * tanh(c));
  loop.store(x.c, c);
  loop.store(chunk(x.gates, 0, 4), in);
  loop.store(chunk(x.gates, 1, 4), forget);
  loop.store(chunk(x.gates, 2, 4), cell);
  loop.store(chunk(x.gates, 3, 4), out);
  loop.done();
}

void lower_lstm_cell_grad(Lowering& l, const calls::LstmCellGrad<Reading>& x) {
  const DType t = compute_type(x.gates.dtype);
  Loop loop(l, x.dold_c.sizes);
  auto part = [&](int i) { return loop.load(chunk(x.gates, i, 4), t); };
  Val in = part(0), forget = part(1), cell = part(2), out = part(3);
  Val old = loop.load(x.old_c, t), tc = tanh(loop.load(x.c, t));
  Val dh = x.dh ? loop.load(*x.dh, t) : loop.f(t, 0);
  if (x.more_dh) dh = dh + loop.load(*x.more_dh, t);
  Val dc = dh * out * (1.0 - tc * tc);
  if (x.dc) dc = dc + loop.load(*x.dc, t);
  auto through_sigmoid = [](Val g, Val s) { return g * (1.0 - s) * s; };
  loop.store(chunk(x.dgates, 0, 4), through_sigmoid(dc * cell, in));
  loop.store(chunk(x.dgates, 1, 4), through_sigmoid(dc * old, forget));
  loop.store(chunk(x.dgates, 2, 4), dc * in * (1.0 - cell * cell));
  loop.store(chunk(x.dgates, 3, 4), through_sigmoid(dh * tc, out));
  loop.store(x.dold_c, dc * forget);
  loop.done();
}

void lower_gru_cell(Lowering& l, const calls::GruCell<Reading>& x) {
  const DType t = compute_type(x.input_gates.dtype);
  Loop loop(l, x.h.sizes);
  auto both = [&](int i) { return gate(loop, t, i, 3, {x.input_gates, x.hidden_gates, x.input_bias, x.hidden_bias}); };
  Val r = sigmoid(both(0)), z = sigmoid(both(1));
  Val hidden = gate(loop, t, 2, 3, {x.hidden_gates, x.hidden_bias});
  Val n = tanh(gate(loop, t, 2, 3, {x.input_gates, x.input_bias}) + r * hidden);
  Val h = loop.load(x.old_h, t);
  loop.store(x.h, (h - n) * z + n);
  const Val kept[] = {r, z, n, h, hidden};
  for (int i = 0; i < 5; ++i) loop.store(chunk(x.workspace, i, 5), kept[i]);
  loop.done();
}

void lower_gru_cell_grad(Lowering& l, const calls::GruCellGrad<Reading>& x) {
  const DType t = compute_type(x.workspace.dtype);
  Loop loop(l, x.dold_h.sizes);
  auto part = [&](int i) { return loop.load(chunk(x.workspace, i, 5), t); };
  Val r = part(0), z = part(1), n = part(2), h = part(3), hidden = part(4);
  Val g = loop.load(x.dh, t);
  if (x.more_dh) g = g + loop.load(*x.more_dh, t);
  Val dz = g * (h - n) * (1.0 - z) * z;
  Val dn = g * (1.0 - z) * (1.0 - n * n);
  Val dr = dn * hidden * (1.0 - r) * r;
  loop.store(chunk(x.dinput_gates, 0, 3), dr);
  loop.store(chunk(x.dinput_gates, 1, 3), dz);
  loop.store(chunk(x.dinput_gates, 2, 3), dn);
  loop.store(chunk(x.dhidden_gates, 0, 3), dr);
  loop.store(chunk(x.dhidden_gates, 1, 3), dz);
  loop.store(chunk(x.dhidden_gates, 2, 3), dn * r);
  loop.store(x.dold_h, g * z);
  loop.done();
}

void lower_row_sum(Lowering& l, const calls::RowSum<Reading>& x) {
  Loop loop(l, x.src.sizes, 1);
  loop.store(x.dst, reduce(ReduceKind::Sum, loop.load(x.src, compute_type(x.src.dtype))));
  loop.done();
}

}  // namespace

OpTable recurrent_cells() {
  static const Op table[] = {
      entry<calls::LstmCell, lower_lstm_cell>(),
      entry<calls::LstmCellGrad, lower_lstm_cell_grad>(),
      entry<calls::GruCell, lower_gru_cell>(),
      entry<calls::GruCellGrad, lower_gru_cell_grad>(),
      entry<calls::RowSum, lower_row_sum>(),
  };
  return table;
}

}  // namespace anygpu::ops
