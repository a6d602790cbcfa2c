#include "frontends/common/recurrent.h"

#include "anygpu/calls/matmul.h"
#include "anygpu/calls/rnn.h"
#include "frontends/common/operators.h"

namespace anygpu::common {

namespace {

/// A sequence's steps.
struct Layout {
  SequenceOrder order;
  int64_t steps, batch;

  Layout(const Array& x, SequenceOrder order) : order(order), steps(x.sizes[order.batch_first]), batch(x.sizes[!order.batch_first]) {}

  Array make(int64_t width, const Array& like) const {
    return common::make(like.device(), like.dtype, order.batch_first ? Dims{batch, steps, width} : Dims{steps, batch, width});
  }
  /// The time of the k-th step.
  int64_t time(int64_t k) const { return order.reverse ? steps - 1 - k : k; }
  /// Step k of a sequence, [N, width].
  Array at(const Array& sequence, int64_t k) const { return select(sequence, order.batch_first, time(k)); }
  /// The states before each step: the first one, then all but the last.
  Array before(const Array& first, const Array& states) const {
    const Array head = unsqueeze(first, order.batch_first), rest = narrow(states, order.batch_first, order.reverse, steps - 1);
    return order.reverse ? concatenate({rest, head}, order.batch_first) : concatenate({head, rest}, order.batch_first);
  }
};

/// A sequence as a matrix of [T N, width].
Array flat(const Array& sequence) {
  return reshape(sequence, {sequence.sizes[0] * sequence.sizes[1], sequence.sizes[2]});
}
Array transposed(const Array& matrix) {
  return transpose(matrix, 0, 1);
}

/// dst = lhs rhs + bias, where there is one.
void multiply(const Array& dst, const Array& lhs, const Array& rhs, const Array& bias = {}) {
  record(calls::Matmul{.dst = dst, .lhs = lhs, .rhs = rhs, .bias = bias});
}

/// The gates' share of the inputs, all steps at once.
Array input_gates(const Layout& layout, const Array& x, const Array& w, const Array& bias) {
  Array gates = layout.make(w.sizes[0], x);
  multiply(flat(gates), flat(x), transposed(w), bias);
  return gates;
}

/// Gradients of what one product with a sequence of gates came from.
Array weight_grad(const Array& gates, const Array& from) {
  Array dw = make(gates.device(), gates.dtype, {gates.sizes[2], from.sizes[2]});
  multiply(dw, transposed(flat(gates)), flat(from));
  return dw;
}
Array sequence_grad(const Layout& layout, const Array& gates, const Array& w) {
  Array dx = layout.make(w.sizes[1], gates);
  multiply(flat(dx), flat(gates), w);
  return dx;
}

}  // namespace

Array row_sum(const Array& matrix) {
  Array r = make(matrix.device(), matrix.dtype, {matrix.sizes[1]});
  record(calls::RowSum{.dst = r, .src = matrix});
  return r;
}

RecurrentResult lstm(const Array& x_in, const Array& h0, const Array& c0, const RecurrentWeights& w, SequenceOrder order) {
  const Array x = contiguous(x_in), from_state = transposed(w.state);
  const Layout layout(x, order);
  const int64_t hidden = w.state.sizes[1];
  const Array gates = input_gates(layout, x, w.input, w.input_bias ? w.input_bias + w.state_bias : Array());
  RecurrentResult r{layout.make(hidden, x), {}, {}, layout.make(hidden, x), layout.make(4 * hidden, x)};
  for (int64_t k = 0; k < layout.steps; ++k) {
    const Array sum = make(x.device(), x.dtype, {layout.batch, 4 * hidden});
    multiply(sum, k ? layout.at(r.out, k - 1) : h0, from_state, layout.at(gates, k));
    record(calls::LstmCell{.h = layout.at(r.out, k),
                           .c = layout.at(r.cells, k),
                           .gates = layout.at(r.active, k),
                           .old_c = k ? layout.at(r.cells, k - 1) : c0,
                           .part = sum});
  }
  r.h = copy(layout.at(r.out, layout.steps - 1));
  r.c = copy(layout.at(r.cells, layout.steps - 1));
  return r;
}

RecurrentGrads lstm_grad(const Array& x_in, const Array& h0, const Array& c0, const RecurrentWeights& w, const RecurrentResult& forward,
                         const Array& grad_out, const Array& grad_h, const Array& grad_c, RecurrentWanted wanted, SequenceOrder order) {
  const Array x = contiguous(x_in), d_out = grad_out ? contiguous(grad_out) : Array();
  const Layout layout(x, order);
  Array dh = grad_h, dc = grad_c;
  const Array d_gates = layout.make(w.state.sizes[0], x);
  for (int64_t k = layout.steps - 1; k >= 0; --k) {
    const Array dc_before = make_like(c0);
    // What comes from this step's output, and what from the step after.
    const Array d_out_k = d_out ? layout.at(d_out, k) : dh;
    record(calls::LstmCellGrad{.dgates = layout.at(d_gates, k),
                               .dold_c = dc_before,
                               .gates = layout.at(forward.active, k),
                               .old_c = k ? layout.at(forward.cells, k - 1) : c0,
                               .c = layout.at(forward.cells, k),
                               .dh = d_out_k,
                               .dc = dc,
                               .more_dh = d_out ? dh : Array()});
    dc = dc_before;
    dh = make_like(h0);
    multiply(dh, layout.at(d_gates, k), w.state);
  }
  RecurrentGrads r{.x = {}, .h0 = dh, .c0 = dc};
  if (wanted.x) r.x = sequence_grad(layout, d_gates, w.input);
  if (wanted.input) r.input = weight_grad(d_gates, x);
  if (wanted.state) r.state = weight_grad(d_gates, layout.before(h0, forward.out));
  if (wanted.input_bias || wanted.state_bias) {
    r.input_bias = row_sum(flat(d_gates));
    r.state_bias = copy(r.input_bias);
  }
  return r;
}

RecurrentResult gru(const Array& x_in, const Array& h0, const RecurrentWeights& w, SequenceOrder order) {
  const Array x = contiguous(x_in), from_state = transposed(w.state);
  const Layout layout(x, order);
  const int64_t hidden = w.state.sizes[1];
  const Array gates = input_gates(layout, x, w.input, w.input_bias);
  RecurrentResult r{layout.make(hidden, x), {}, {}, {}, layout.make(5 * hidden, x)};
  for (int64_t k = 0; k < layout.steps; ++k) {
    const Array sum = make(x.device(), x.dtype, {layout.batch, 3 * hidden}), h = k ? layout.at(r.out, k - 1) : h0;
    multiply(sum, h, from_state, w.state_bias);
    record(calls::GruCell{.h = layout.at(r.out, k),
                          .workspace = layout.at(r.active, k),
                          .input_gates = layout.at(gates, k),
                          .hidden_gates = sum,
                          .old_h = h});
  }
  r.h = copy(layout.at(r.out, layout.steps - 1));
  return r;
}

RecurrentGrads gru_grad(const Array& x_in, const Array& h0, const RecurrentWeights& w, const RecurrentResult& forward,
                        const Array& grad_out, const Array& grad_h, RecurrentWanted wanted, SequenceOrder order) {
  const Array x = contiguous(x_in), d_out = grad_out ? contiguous(grad_out) : Array();
  const Layout layout(x, order);
  Array dh = grad_h;
  if (!d_out && !dh) dh = full(h0.device(), h0.dtype, h0.sizes, 0);
  const Array di = layout.make(w.input.sizes[0], x), ds = layout.make(w.state.sizes[0], x);
  for (int64_t k = layout.steps - 1; k >= 0; --k) {
    const Array kept_part = make_like(h0), ds_k = layout.at(ds, k), d_out_k = d_out ? layout.at(d_out, k) : dh;
    record(calls::GruCellGrad{.dinput_gates = layout.at(di, k),
                              .dhidden_gates = ds_k,
                              .dold_h = kept_part,
                              .dh = d_out_k,
                              .workspace = layout.at(forward.active, k),
                              .more_dh = d_out ? dh : Array()});
    dh = make_like(h0);
    multiply(dh, ds_k, w.state, kept_part);
  }
  RecurrentGrads r{.x = {}, .h0 = dh};
  if (wanted.x) r.x = sequence_grad(layout, di, w.input);
  if (wanted.input) r.input = weight_grad(di, x);
  if (wanted.state) r.state = weight_grad(ds, layout.before(h0, forward.out));
  if (wanted.input_bias) r.input_bias = row_sum(flat(di));
  if (wanted.state_bias) r.state_bias = row_sum(flat(ds));
  return r;
}

}  // namespace anygpu::common
