// Recurrent cells. ATen's lstm() and gru() call these once a step, between two matrix products.
#include "anygpu/calls/rnn.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using OptTensor = std::optional<Tensor>;


void check_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& state, const OptTensor& b1, const OptTensor& b2,
                int64_t factor) {
  TORCH_CHECK_NOT_IMPLEMENTED(at::isFloatingType(input_gates.scalar_type()), "\"_thnn_fused_cell\" not implemented for '",
                              input_gates.scalar_type(), "'");
  TORCH_CHECK(input_gates.dim() == 2 && input_gates.sizes() == hidden_gates.sizes(), "expected gates of one 2-dimensional size, got ",
              input_gates.sizes(), " and ", hidden_gates.sizes());
  TORCH_CHECK(state.dim() == 2 && state.size(0) == input_gates.size(0) && state.size(1) * factor == input_gates.size(1), "a state of ",
              state.sizes(), " does not fit gates of ", input_gates.sizes());
  TORCH_CHECK(given(b1) == given(b2), "expected both biases or none");
  if (given(b1))
    TORCH_CHECK(b1->dim() == 1 && b1->size(0) == input_gates.size(1) && b2->sizes() == b1->sizes(), "biases of ", b1->sizes(),
                " do not fit gates of ", input_gates.sizes());
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& cx, const OptTensor& b1,
                                             const OptTensor& b2) {
  check_cell(input_gates, hidden_gates, cx, b1, b2, 4);
  Tensor hy = empty(cx.sizes(), cx), cy = empty(cx.sizes(), cx), workspace = empty(input_gates.sizes(), input_gates);
  if (hy.numel() == 0) return {hy, cy, workspace};
  record(calls::LstmCell{.h = hy,
                         .c = cy,
                         .gates = workspace,
                         .old_c = cx,
                         .part = input_gates,
                         .part2 = hidden_gates,
                         .part3 = b1,
                         .part4 = b2});
  return {hy, cy, workspace};
}

Tensor row_sum(const Tensor& t) {
  Tensor out = empty({t.size(1)}, t);
  if (t.numel() == 0) return out.zero_();
  record(calls::RowSum{.dst = out, .src = t});
  return out;
}

std::tuple<Tensor, Tensor, Tensor> lstm_cell_backward(const OptTensor& grad_hy, const OptTensor& grad_cy, const Tensor& cx,
                                                      const Tensor& cy, const Tensor& workspace, bool has_bias) {
  if (!given(grad_hy) && !given(grad_cy)) return {};
  Tensor gates = empty(workspace.sizes(), workspace), dcx = empty(cx.sizes(), cx);
  if (cx.numel())
    record(calls::LstmCellGrad{
        .dgates = gates, .dold_c = dcx, .gates = workspace, .old_c = cx, .c = cy, .dh = grad_hy, .dc = grad_cy});
  return {gates, dcx, has_bias ? row_sum(gates) : Tensor()};
}

std::tuple<Tensor, Tensor> gru_cell(const Tensor& input_gates, const Tensor& hidden_gates, const Tensor& hx, const OptTensor& b1,
                                    const OptTensor& b2) {
  check_cell(input_gates, hidden_gates, hx, b1, b2, 3);
  Tensor hy = empty(hx.sizes(), hx), workspace = empty({hx.size(0), hx.size(1) * 5}, hx);
  if (hy.numel() == 0) return {hy, workspace};
  record(calls::GruCell{.h = hy,
                        .workspace = workspace,
                        .input_gates = input_gates,
                        .hidden_gates = hidden_gates,
                        .old_h = hx,
                        .input_bias = b1,
                        .hidden_bias = b2});
  return {hy, workspace};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> gru_cell_backward(const Tensor& grad_hy, const Tensor& workspace, bool has_bias) {
  const int64_t n = workspace.size(0), h = workspace.size(1) / 5;
  Tensor di = empty({n, 3 * h}, workspace), dh = empty({n, 3 * h}, workspace), dhx = empty({n, h}, workspace);
  if (dhx.numel())
    record(calls::GruCellGrad{.dinput_gates = di, .dhidden_gates = dh, .dold_h = dhx, .dh = grad_hy, .workspace = workspace});
  return {di, dh, dhx, has_bias ? row_sum(di) : Tensor(), has_bias ? row_sum(dh) : Tensor()};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_thnn_fused_lstm_cell", lstm_cell);
  m.impl("_thnn_fused_lstm_cell_backward_impl", lstm_cell_backward);
  m.impl("_thnn_fused_gru_cell", gru_cell);
  m.impl("_thnn_fused_gru_cell_backward", gru_cell_backward);
}

}  // namespace
}  // namespace anygpu::torch_frontend
