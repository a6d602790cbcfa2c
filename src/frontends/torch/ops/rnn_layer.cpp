// Whole recurrent layers, by frontends/common/recurrent.h: ATen's lstm() and gru() multiply input and state by their weights at every step.
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

#include "arrays.h"
#include "frontends/common/recurrent.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using at::TensorList;
using OptTensor = std::optional<Tensor>;
using common::SequenceOrder;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

/// Steps of lstm and gru with ATen's differentiable parts: for gradients of gradients.
variable_list differentiable(bool lstm, SequenceOrder order, const variable_list& in) {
  const bool biased = in[5].defined();
  std::vector<Tensor> params{in[3], in[4]};
  if (biased) params.insert(params.end(), {in[5], in[6]});
  const Tensor x = order.reverse ? in[0].flip({order.batch_first}) : in[0];
  const Tensor h = in[1].unsqueeze(0);
  Tensor out, hn, cn;
  if (lstm)
    std::tie(out, hn, cn) =
        at::native::lstm(x, std::vector<Tensor>{h, in[2].unsqueeze(0)}, params, biased, 1, 0.0, true, false, order.batch_first);
  else
    std::tie(out, hn) = at::native::gru(x, h, params, biased, 1, 0.0, true, false, order.batch_first);
  if (order.reverse) out = out.flip({order.batch_first});
  variable_list r{out, hn.squeeze(0)};
  if (lstm) r.push_back(cn.squeeze(0));
  return r;
}

/// The gradients of differentiable() at the saved inputs, themselves differentiable. Inputs: x, h, c (or none), w_ih, w_hh, b_ih, b_hh.
variable_list differentiable_grads(bool lstm, SequenceOrder order, const variable_list& in, const variable_list& grads) {
  const bool differentiable_again = at::GradMode::is_enabled();
  const at::AutoGradMode recording(true);
  variable_list leaves;
  for (const Tensor& t : in)
    if (t.defined() && t.requires_grad()) leaves.push_back(t);
  variable_list outs, weights;
  const variable_list all = differentiable(lstm, order, in);
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

/// One direction of one layer.
template <bool lstm>
struct Layer : torch::autograd::Function<Layer<lstm>> {
  static variable_list forward(AutogradContext* ctx, const Tensor& x, const Tensor& h0, const OptTensor& c0, const Tensor& w_ih,
                               const Tensor& w_hh, const OptTensor& b_ih, const OptTensor& b_hh, bool batch_first, bool reverse) {
    const SequenceOrder order{batch_first, reverse};
    const common::RecurrentResult r = composed([&] {
      const common::RecurrentWeights w{array_of(w_ih), array_of(w_hh), array_of(b_ih), array_of(b_hh)};
      return lstm ? common::lstm(array_of(x), array_of(h0), array_of(c0), w, order) : common::gru(array_of(x), array_of(h0), w, order);
    });
    const Tensor out = tensor_of(r.out);
    const auto or_none = [](const OptTensor& t) { return t.value_or(Tensor()); };
    ctx->save_for_backward({x, h0, or_none(c0), w_ih, w_hh, or_none(b_ih), or_none(b_hh), out, tensor_of(r.cells), tensor_of(r.active)});
    ctx->saved_data["batch_first"] = batch_first;
    ctx->saved_data["reverse"] = reverse;
    variable_list results{out, tensor_of(r.h)};
    if (lstm) results.push_back(tensor_of(r.c));
    return results;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const variable_list saved = ctx->get_saved_variables();
    const SequenceOrder order{ctx->saved_data["batch_first"].toBool(), ctx->saved_data["reverse"].toBool()};
    if (at::GradMode::is_enabled() || batched(grads)) return differentiable_grads(lstm, order, {saved.begin(), saved.begin() + 7}, grads);
    const auto wanted = [&](size_t i) { return saved[i].defined() && saved[i].requires_grad(); };
    const common::RecurrentWanted want{wanted(0), wanted(3), wanted(4), wanted(5), wanted(6)};
    const common::RecurrentGrads r = composed([&] {
      const auto array = [&](size_t i) { return array_of(saved[i]); };
      const common::RecurrentWeights w{array(3), array(4), array(5), array(6)};
      const common::RecurrentResult forward{array(7), {}, {}, array(8), array(9)};
      const common::Array d_out = array_of(grads[0]), dh = array_of(grads[1]);
      return lstm ? common::lstm_grad(array(0), array(1), array(2), w, forward, d_out, dh, array_of(grads[2]), want, order)
                  : common::gru_grad(array(0), array(1), w, forward, d_out, dh, want, order);
    });
    return {tensor_of(r.x),          tensor_of(r.h0), tensor_of(r.c0), tensor_of(r.input), tensor_of(r.state), tensor_of(r.input_bias),
            tensor_of(r.state_bias), Tensor(),        Tensor()};
  }
};

/// Whether all is as the layer above expects it; what is not, ATen's own functions do, or refuse with their words.
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
template <bool lstm>
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
          Layer<lstm>::apply(x, h.select(0, state).contiguous(), c.defined() ? OptTensor(c.select(0, state).contiguous()) : OptTensor(),
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
  const variable_list r = run_layers<true>(input, hx[0], hx[1], params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  return {r[0], r[1], r[2]};
}

std::tuple<Tensor, Tensor> gru(const Tensor& input, const Tensor& hx, TensorList params, bool has_biases, int64_t num_layers,
                               double dropout, bool train, bool bidirectional, bool batch_first) {
  if (!plain(input, {hx}, params, has_biases, num_layers, bidirectional, batch_first, 3))
    return at::native::gru(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
  const variable_list r =
      run_layers<false>(input, hx, Tensor(), params, has_biases, num_layers, dropout, train, bidirectional, batch_first);
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
