// Whole recurrent layers. ATen's lstm() and gru() multiply input and state by their weights at every step; here the inputs of all
// steps are multiplied at once, forward and backward, and the weights' gradients are one product each.
//
// What is not the plain case (projections, packed sequences, autocast, tracing, functional transforms, odd arguments) goes ATen's way.
#include <ATen/autocast_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/dropout.h>
#include <ATen/ops/gru.h>
#include <ATen/ops/gru_native.h>
#include <ATen/ops/lstm.h>
#include <ATen/ops/lstm_native.h>
#include <ATen/ops/stack.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/core/impl/TorchDispatchModeTLS.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include "anygpu/calls/matmul.h"
#include "anygpu/calls/rnn.h"
#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using at::TensorList;
using OptTensor = std::optional<Tensor>;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// A sequence's layout: [T, N, *], or [N, T, *] where the batch comes first.
struct Layout {
  bool batch_first, reverse;
  int64_t steps, batch;

  Layout(const Tensor& x, bool batch_first, bool reverse)
      : batch_first(batch_first), reverse(reverse), steps(x.size(batch_first)), batch(x.size(!batch_first)) {}
  Tensor make(int64_t width, const Tensor& like) const {
    return batch_first ? empty({batch, steps, width}, like) : empty({steps, batch, width}, like);
  }
  /// The time of the k-th step.
  int64_t time(int64_t k) const { return reverse ? steps - 1 - k : k; }
  /// Step k of a contiguous sequence, [N, width].
  View at(const Tensor& sequence, int64_t k) const {
    const int64_t width = sequence.size(2);
    return restrided(sequence, {batch, width}, {batch_first ? steps * width : width, 1}, time(k) * (batch_first ? width : batch * width));
  }
  Tensor select(const Tensor& sequence, int64_t k) const { return sequence.select(batch_first, time(k)); }
  /// The states before each step: the first one, then all but the last.
  Tensor before(const Tensor& first, const Tensor& states) const {
    const Tensor head = first.unsqueeze(batch_first), rest = states.narrow(batch_first, reverse, steps - 1);
    return reverse ? at::cat({rest, head}, batch_first) : at::cat({head, rest}, batch_first);
  }
};

View flat(const Tensor& t) {
  return restrided(t, {t.size(0) * t.size(1), t.size(2)}, {t.size(2), 1});
}
View transposed(const View& v) {
  View r = v;
  std::swap(r.sizes[0], r.sizes[1]);
  std::swap(r.strides[0], r.strides[1]);
  return r;
}
View transposed(const Tensor& t) {
  return transposed(own_view_of(t));
}

void multiply(const Operand& dst, const Operand& lhs, const Operand& rhs, const calls::MaybeView& bias = {}) {
  record(calls::Matmul{.dst = dst, .lhs = lhs, .rhs = rhs, .bias = bias});
}

/// The gates' share of the inputs, all steps at once.
Tensor input_gates(const Layout& layout, const Tensor& x, const Tensor& w, const Tensor& bias) {
  Tensor gates = layout.make(w.size(0), x);
  if (bias.defined())
    multiply(flat(gates), flat(x), transposed(w), bias);
  else
    multiply(flat(gates), flat(x), transposed(w));
  return gates;
}

Tensor sum_of_rows(const Tensor& gates) {
  Tensor out = empty({gates.size(2)}, gates);
  record(calls::RowSum{.dst = out, .src = flat(gates)});
  return out;
}

/// Gradients of what one product with a sequence of gates came from.
Tensor weight_grad(const Tensor& gates, const Tensor& from) {
  Tensor dw = empty({gates.size(2), from.size(2)}, gates);
  multiply(dw, transposed(flat(gates)), flat(from));
  return dw;
}
Tensor sequence_grad(const Layout& layout, const Tensor& gates, const Tensor& w) {
  Tensor dx = layout.make(w.size(1), gates);
  multiply(flat(dx), flat(gates), w);
  return dx;
}

/// Steps of lstm and gru with ATen's differentiable parts: for gradients of gradients.
variable_list differentiable(bool lstm, const Layout& layout, const variable_list& in) {
  const bool biased = in[5].defined();
  std::vector<Tensor> params{in[3], in[4]};
  if (biased) params.insert(params.end(), {in[5], in[6]});
  const Tensor x = layout.reverse ? in[0].flip({layout.batch_first}) : in[0];
  const Tensor h = in[1].unsqueeze(0);
  Tensor out, hn, cn;
  if (lstm)
    std::tie(out, hn, cn) =
        at::native::lstm(x, std::vector<Tensor>{h, in[2].unsqueeze(0)}, params, biased, 1, 0.0, true, false, layout.batch_first);
  else
    std::tie(out, hn) = at::native::gru(x, h, params, biased, 1, 0.0, true, false, layout.batch_first);
  if (layout.reverse) out = out.flip({layout.batch_first});
  variable_list r{out, hn.squeeze(0)};
  if (lstm) r.push_back(cn.squeeze(0));
  return r;
}

/// The gradients of differentiable() at the saved inputs, themselves differentiable. Inputs: x, h, c (or none), w_ih, w_hh, b_ih, b_hh.
variable_list differentiable_grads(bool lstm, const Layout& layout, const variable_list& in, const variable_list& grads) {
  const bool differentiable_again = at::GradMode::is_enabled();
  const at::AutoGradMode recording(true);
  variable_list leaves;
  for (const Tensor& t : in)
    if (t.defined() && t.requires_grad()) leaves.push_back(t);
  variable_list outs, weights;
  const variable_list all = differentiable(lstm, layout, in);
  for (size_t i = 0; i < all.size(); ++i)
    if (grads[i].defined() && all[i].requires_grad()) {
      outs.push_back(all[i]);
      weights.push_back(grads[i]);
    }
  const variable_list found = torch::autograd::grad(outs, leaves, weights, true, differentiable_again, true);
  variable_list r(9);
  size_t next = 0;
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].defined() && in[i].requires_grad()) r[i] = found[next++];
  return r;
}

/// Whether gradients come in batches (is_grads_batched, vmap of a backward pass): such tensors have no storage, so what records by itself
/// cannot take them, and ATen's parts, which the dispatcher takes apart, must.
bool batched(const variable_list& grads) {
  constexpr c10::DispatchKeySet keys({c10::DispatchKey::Batched, c10::DispatchKey::FuncTorchBatched});
  return std::any_of(grads.begin(), grads.end(), [&](const Tensor& t) { return t.defined() && t.key_set().has_any(keys); });
}

struct LstmLayer : torch::autograd::Function<LstmLayer> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& h0, const OptTensor& c0_opt, const Tensor& w_ih,
                               const Tensor& w_hh, const OptTensor& b_ih_opt, const OptTensor& b_hh_opt, bool batch_first, bool reverse) {
    const Tensor x = x_in.contiguous(), b_ih = b_ih_opt.value_or(Tensor()), b_hh = b_hh_opt.value_or(Tensor());
    const Layout layout(x, batch_first, reverse);
    const int64_t hidden = w_hh.size(1);
    const Tensor c0 = *c0_opt;
    const Tensor gates = input_gates(layout, x, w_ih, b_ih.defined() ? b_ih + b_hh : Tensor());
    const Tensor out = layout.make(hidden, x), cells = layout.make(hidden, x), active = layout.make(4 * hidden, x);
    const View w = transposed(w_hh);
    for (int64_t k = 0; k < layout.steps; ++k) {
      const Tensor sum = empty({layout.batch, 4 * hidden}, x);
      multiply(sum, k ? layout.at(out, k - 1) : own_view_of(h0), w, layout.at(gates, k));
      record(calls::LstmCell{.h = layout.at(out, k),
                             .c = layout.at(cells, k),
                             .gates = layout.at(active, k),
                             .old_c = k ? layout.at(cells, k - 1) : own_view_of(c0),
                             .part = sum});
    }
    ctx->save_for_backward({x_in, h0, c0, w_ih, w_hh, b_ih, b_hh, out, cells, active});
    ctx->saved_data["batch_first"] = batch_first;
    ctx->saved_data["reverse"] = reverse;
    return {out, layout.select(out, layout.steps - 1).clone(), layout.select(cells, layout.steps - 1).clone()};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Layout layout(saved[0], ctx->saved_data["batch_first"].toBool(), ctx->saved_data["reverse"].toBool());
    if (at::GradMode::is_enabled() || batched(grads)) return differentiable_grads(true, layout, {saved.begin(), saved.begin() + 7}, grads);
    const Tensor &h0 = saved[1], &c0 = saved[2], &w_ih = saved[3], &w_hh = saved[4], &out = saved[7], &cells = saved[8], &active = saved[9];
    const Tensor x = saved[0].contiguous();
    const Tensor d_out = grads[0].defined() ? grads[0].contiguous() : Tensor();
    Tensor dh = grads[1], dc = grads[2];
    const Tensor d_gates = layout.make(w_hh.size(0), x);
    for (int64_t k = layout.steps - 1; k >= 0; --k) {
      const Tensor dc_before = empty(c0.sizes(), c0);
      // What comes from this step's output, and what from the step after.
      const View d_out_k = d_out.defined() ? layout.at(d_out, k) : View();
      record(calls::LstmCellGrad{.dgates = layout.at(d_gates, k),
                                 .dold_c = dc_before,
                                 .gates = layout.at(active, k),
                                 .old_c = k ? layout.at(cells, k - 1) : own_view_of(c0),
                                 .c = layout.at(cells, k),
                                 .dh = d_out.defined() ? calls::MaybeView(d_out_k) : calls::MaybeView(dh),
                                 .dc = dc,
                                 .more_dh = d_out.defined() ? calls::MaybeView(dh) : calls::MaybeView()});
      dc = dc_before;
      dh = empty(h0.sizes(), h0);
      multiply(dh, layout.at(d_gates, k), w_hh);
    }
    const auto wanted = [&](size_t i) { return saved[i].defined() && saved[i].requires_grad(); };
    variable_list r(9);
    if (wanted(0)) r[0] = sequence_grad(layout, d_gates, w_ih);
    r[1] = dh;
    r[2] = dc;
    if (wanted(3)) r[3] = weight_grad(d_gates, x);
    if (wanted(4)) r[4] = weight_grad(d_gates, layout.before(h0, out));
    if (wanted(5) || wanted(6)) {
      const Tensor db = sum_of_rows(d_gates);
      r[5] = db;
      r[6] = db.clone();
    }
    return r;
  }
};

struct GruLayer : torch::autograd::Function<GruLayer> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x_in, const Tensor& h0, const OptTensor& c0_opt, const Tensor& w_ih,
                               const Tensor& w_hh, const OptTensor& b_ih_opt, const OptTensor& b_hh_opt, bool batch_first, bool reverse) {
    const Tensor x = x_in.contiguous(), b_ih = b_ih_opt.value_or(Tensor()), b_hh = b_hh_opt.value_or(Tensor());
    const Layout layout(x, batch_first, reverse);
    const int64_t hidden = w_hh.size(1);
    const Tensor gates = input_gates(layout, x, w_ih, b_ih);
    const Tensor out = layout.make(hidden, x), kept = layout.make(5 * hidden, x);
    const View w = transposed(w_hh);
    for (int64_t k = 0; k < layout.steps; ++k) {
      const Tensor from_state = empty({layout.batch, 3 * hidden}, x);
      const View h = k ? layout.at(out, k - 1) : own_view_of(h0);
      if (b_hh.defined())
        multiply(from_state, h, w, b_hh);
      else
        multiply(from_state, h, w);
      record(calls::GruCell{.h = layout.at(out, k),
                            .workspace = layout.at(kept, k),
                            .input_gates = layout.at(gates, k),
                            .hidden_gates = from_state,
                            .old_h = h});
    }
    ctx->save_for_backward({x_in, h0, Tensor(), w_ih, w_hh, b_ih, b_hh, out, kept});
    ctx->saved_data["batch_first"] = batch_first;
    ctx->saved_data["reverse"] = reverse;
    return {out, layout.select(out, layout.steps - 1).clone()};
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const Layout layout(saved[0], ctx->saved_data["batch_first"].toBool(), ctx->saved_data["reverse"].toBool());
    if (at::GradMode::is_enabled() || batched(grads)) return differentiable_grads(false, layout, {saved.begin(), saved.begin() + 7}, grads);
    const Tensor &h0 = saved[1], &w_ih = saved[3], &w_hh = saved[4], &out = saved[7], &kept = saved[8];
    const Tensor x = saved[0].contiguous();
    const Tensor d_out = grads[0].defined() ? grads[0].contiguous() : Tensor();
    Tensor dh = grads[1];
    const Tensor di = layout.make(w_ih.size(0), x), ds = layout.make(w_hh.size(0), x);
    for (int64_t k = layout.steps - 1; k >= 0; --k) {
      const Tensor kept_part = empty(h0.sizes(), h0);
      if (!d_out.defined() && !dh.defined()) dh = at::zeros_like(h0);
      const View g = d_out.defined() ? layout.at(d_out, k) : own_view_of(dh);
      record(calls::GruCellGrad{.dinput_gates = layout.at(di, k),
                                .dhidden_gates = layout.at(ds, k),
                                .dold_h = kept_part,
                                .dh = g,
                                .workspace = layout.at(kept, k),
                                .more_dh = d_out.defined() ? calls::MaybeView(dh) : calls::MaybeView()});
      dh = empty(h0.sizes(), h0);
      multiply(dh, layout.at(ds, k), w_hh, kept_part);
    }
    const auto wanted = [&](size_t i) { return saved[i].defined() && saved[i].requires_grad(); };
    variable_list r(9);
    if (wanted(0)) r[0] = sequence_grad(layout, di, w_ih);
    r[1] = dh;
    if (wanted(3)) r[3] = weight_grad(di, x);
    if (wanted(4)) r[4] = weight_grad(ds, layout.before(h0, out));
    if (wanted(5)) r[5] = sum_of_rows(di);
    if (wanted(6)) r[6] = sum_of_rows(ds);
    return r;
  }
};

/// Whether all is as the layers above expect it; what is not, ATen's own functions do, or refuse with their words.
bool plain(const Tensor& input, TensorList states, TensorList params, bool has_biases, int64_t num_layers, bool bidirectional,
           bool batch_first, int64_t gates) {
  if (c10::impl::tls_is_dispatch_key_included(c10::DispatchKey::FuncTorchDynamicLayerFrontMode) || c10::impl::dispatch_mode_enabled() ||
      at::autocast::is_autocast_enabled(at::kPrivateUse1))
    return false;
  const size_t directions = bidirectional ? 2 : 1, per_layer = has_biases ? 4 : 2;
  if (input.dim() != 3 || input.numel() == 0 || num_layers < 1 || params.size() != num_layers * directions * per_layer) return false;
  if (!at::isFloatingType(input.scalar_type())) return false;
  const auto fits = [&](const Tensor& t) {
    return t.defined() && is_anygpu(t) && t.scalar_type() == input.scalar_type() &&
           !t.unsafeGetTensorImpl()->key_set().has(c10::DispatchKey::Python) && t.is_contiguous();
  };
  if (!is_anygpu(input) || input.unsafeGetTensorImpl()->key_set().has(c10::DispatchKey::Python)) return false;
  for (const Tensor& p : params)
    if (!fits(p)) return false;
  if (params[1].dim() != 2) return false;
  const int64_t hidden = params[1].size(1), batch = input.size(batch_first ? 0 : 1);
  for (const Tensor& s : states)
    if (!s.defined() || !is_anygpu(s) || s.scalar_type() != input.scalar_type() ||
        s.sizes() != at::IntArrayRef({num_layers * static_cast<int64_t>(directions), batch, hidden}))
      return false;
  for (size_t i = 0; i < params.size(); i += per_layer) {
    const bool first = i < directions * per_layer;
    const int64_t width = first ? input.size(2) : hidden * static_cast<int64_t>(directions);
    if (params[i].sizes() != at::IntArrayRef({gates * hidden, width}) || params[i + 1].sizes() != at::IntArrayRef({gates * hidden, hidden}))
      return false;
    for (size_t b = 2; b < per_layer; ++b)
      if (params[i + b].sizes() != at::IntArrayRef({gates * hidden})) return false;
  }
  return true;
}

/// All layers and directions. Returns the last layer's outputs, and each one's final h (and c).
template <class Layer>
variable_list run_layers(const Tensor& input, const Tensor& h, const Tensor& c, TensorList params, bool has_biases, int64_t num_layers,
                         double dropout, bool train, bool bidirectional, bool batch_first) {
  const size_t per_layer = has_biases ? 4 : 2;
  const int64_t directions = bidirectional ? 2 : 1;
  Tensor x = input;
  std::vector<Tensor> final_h, final_c;
  size_t at = 0;
  for (int64_t layer = 0; layer < num_layers; ++layer) {
    std::vector<Tensor> outs;
    for (int64_t d = 0; d < directions; ++d, at += per_layer) {
      const int64_t state = layer * directions + d;
      const auto bias = [&](size_t i) { return has_biases ? OptTensor(params[at + i]) : OptTensor(); };
      // The state's slice is as it was given; a layer wants it dense.
      variable_list r =
          Layer::apply(x, h.select(0, state).contiguous(), c.defined() ? OptTensor(c.select(0, state).contiguous()) : OptTensor(),
                       params[at], params[at + 1], bias(2), bias(3), batch_first, d == 1);
      outs.push_back(r[0]);
      final_h.push_back(r[1]);
      if (r.size() > 2) final_c.push_back(r[2]);
    }
    x = directions == 1 ? outs[0] : at::cat(outs, 2);
    if (dropout > 0 && train && layer + 1 < num_layers) x = at::dropout(x, dropout, true);
  }
  variable_list r{x, at::stack(final_h)};
  if (!final_c.empty()) r.push_back(at::stack(final_c));
  return r;
}

std::tuple<Tensor, Tensor, Tensor> lstm(const Tensor& input, TensorList hx, TensorList params, bool has_biases, int64_t num_layers,
                                        double dropout, bool train, bool bidirectional, bool batch_first) {
  if (hx.size() != 2 || !plain(input, hx, params, has_biases, num_layers, bidirectional, batch_first, 4))
    return at::native::lstm(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  const variable_list r =
      run_layers<LstmLayer>(input, hx[0], hx[1], params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  return {r[0], r[1], r[2]};
}

std::tuple<Tensor, Tensor> gru(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, int64_t num_layers,
                               double dropout, bool train, bool bidirectional, bool batch_first) {
  if (!plain(input, {hx}, params, has_biases, num_layers, bidirectional, batch_first, 3))
    return at::native::gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  const variable_list r =
      run_layers<GruLayer>(input, hx, Tensor(), params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  return {r[0], r[1]};
}

// These decompose in ATen, so autograd's key must say so as well; without autograd (inference mode) the plain key is asked.
TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("lstm.input", lstm);
  m.impl("gru.input", gru);
}
TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("lstm.input", lstm);
  m.impl("gru.input", gru);
}

}  // namespace
}  // namespace anygpu::torch_frontend
