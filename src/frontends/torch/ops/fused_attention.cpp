// scaled_dot_product_attention as one operator, forward and backward, where PyTorch lets a device choose. In f32, without dropout;
// all else takes PyTorch's own composition of matmul and softmax.
#include <ATen/Context.h>
#include <ATen/TensorSubclassLikeUtils.h>
#include <ATen/core/grad_mode.h>
#include <ATen/native/transformers/attention.h>
#include <ATen/ops/_fw_primal.h>
#include <ATen/ops/_safe_softmax.h>
#include <ATen/ops/_scaled_dot_product_fused_attention_overrideable_backward.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/ones.h>

#include <bit>
#include <cmath>

#include "anygpu/calls/matmul.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using OptTensor = std::optional<Tensor>;

/// [.., T, X] of rank 2 to 4 as the sizes or strides [B, H, T, X]; what is missing in front is `missing`.
std::array<int64_t, 4> four(at::IntArrayRef d, int64_t missing) {
  std::array<int64_t, 4> r{missing, missing, missing, missing};
  if (d.size() == 3) {
    r = {d[0], missing, d[1], d[2]};
  } else {
    std::copy(d.begin(), d.end(), r.end() - static_cast<std::ptrdiff_t>(d.size()));
  }
  return r;
}
View four(const Tensor& t) {
  return restrided(t, four(t.sizes(), 1), four(t.strides(), 0));
}

/// The sizes of the scores, in the rank of the query.
c10::SmallVector<int64_t, 4> score_sizes(const Tensor& q, const Tensor& k) {
  c10::SmallVector<int64_t, 4> s(q.sizes().begin(), q.sizes().end());
  s.back() = k.size(-2);
  return s;
}

/// Whether the catalogue's operator does this.
bool fits(const Tensor& q, const Tensor& k, const Tensor& v, const OptTensor& mask, double dropout, bool causal, bool shares_heads) {
  const int64_t r = q.dim();
  if (dropout != 0 || r < 2 || r > 4 || k.dim() != r || v.dim() != r) return false;
  for (const Tensor* t : {&q, &k, &v})
    if (t->scalar_type() != at::kFloat || t->layout() != at::kStrided || t->device() != q.device() || t->numel() == 0) return false;
  if (k.size(-1) != q.size(-1) || k.size(-2) != v.size(-2)) return false;
  for (int64_t d = 0; d < r - 2; ++d) {
    if (k.size(d) != v.size(d)) return false;
    if (k.size(d) != q.size(d) && !(shares_heads && r == 4 && d == 1 && q.size(d) % k.size(d) == 0)) return false;
  }
  if (!mask || !mask->defined()) return true;
  if (causal || mask->layout() != at::kStrided || mask->device() != q.device() || mask->dim() > r) return false;
  return (mask->scalar_type() == at::kFloat || mask->scalar_type() == at::kBool) && at::is_expandable_to(mask->sizes(), score_sizes(q, k));
}

bool transformed(const Tensor& t) {
  return at::isTensorSubclassLike(t) || t._fw_grad(0).defined();
}

int64_t choose(const Tensor& q, const Tensor& k, const Tensor& v, const OptTensor& mask, double dropout, bool causal, std::optional<double>,
               bool enable_gqa) {
  const bool masked = mask && mask->defined();
  const bool fused = at::globalContext().userEnabledOverrideableSDP() && fits(q, k, v, mask, dropout, causal, enable_gqa) &&
                     !transformed(q) && !transformed(k) && !transformed(v) && !(masked && transformed(*mask)) &&
                     !(masked && mask->requires_grad() && at::GradMode::is_enabled());
  return static_cast<int64_t>(fused ? at::SDPBackend::overrideable : at::SDPBackend::math);
}

double scale_of(const Tensor& q, std::optional<double> scale) {
  return scale ? *scale : 1 / std::sqrt(static_cast<double>(q.size(-1)));
}

/// The mask over the scores, of four dimensions; none where there is none.
View mask_over(const OptTensor& mask, const Tensor& q, const Tensor& k) {
  if (!mask || !mask->defined()) return {};
  View expanded = expand_to(*mask, score_sizes(q, k));
  const at::IntArrayRef sizes(expanded.sizes.data(), expanded.sizes.size()), strides(expanded.strides.data(), expanded.strides.size());
  const auto s = four(sizes, 1), t = four(strides, 0);
  expanded.sizes = Dims(s.data(), 4);
  expanded.strides = Dims(t.data(), 4);
  return expanded;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, c10::SymInt, c10::SymInt, Tensor, Tensor, Tensor> attention(
    const Tensor& q, const Tensor& k, const Tensor& v, const OptTensor& mask, double dropout, bool causal, bool return_debug_mask,
    std::optional<double> scale) {
  TORCH_CHECK_NOT_IMPLEMENTED(fits(q, k, v, mask, dropout, causal, true) && !return_debug_mask,
                              "anygpu: _scaled_dot_product_fused_attention_overrideable is for float32 tensors of one batch size, not "
                              "empty, without dropout; got query ",
                              q.sizes(), ", key ", k.sizes(), ", value ", v.sizes(), ", ", q.scalar_type(), ", dropout ", dropout);
  // As on the CPU: in the query's order, mostly [B, T, H, E] for the transpose and the linear layer that follow; row-major where the
  // CPU has no fused kernel.
  c10::SmallVector<int64_t, 4> sizes(q.sizes().begin(), q.sizes().end());
  sizes.back() = v.size(-1);
  const bool like_query = q.dim() == 4 && q.sizes() == at::IntArrayRef(sizes) && q.stride(3) == 1 && k.stride(3) == 1 && v.stride(3) == 1;
  Tensor out = like_query ? empty_like(q) : empty(sizes, q);
  const auto rows = four(q.sizes(), 1);
  Tensor logsumexp = empty({rows[0], rows[1], rows[2]}, q);
  record(calls::Attention{.dst = four(out),
                          .logsumexp = logsumexp,
                          .q = four(q),
                          .k = four(k),
                          .v = four(v),
                          .mask = mask_over(mask, q, k),
                          .scale = scale_of(q, scale),
                          .causal = causal});
  Tensor seed = at::empty({}, at::kLong), offset = at::empty({}, at::kLong);
  return {out, logsumexp, Tensor(), Tensor(), q.size(-2), k.size(-2), seed, offset, Tensor()};
}

using Gradients = std::tuple<Tensor, Tensor, Tensor, Tensor>;

/// The gradient in differentiable operators: for double backward, and for a mask that wants one.
Gradients composed_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                            std::array<bool, 4> wanted, bool causal, double scale) {
  const int64_t shared = q.dim() == 4 ? q.size(1) / k.size(1) : 1;
  auto repeated = [&](const Tensor& t) { return shared > 1 ? t.repeat_interleave(shared, 1) : t; };
  auto summed = [&](const Tensor& t) { return shared > 1 ? t.unflatten(1, {k.size(1), shared}).sum(2) : t; };
  const Tensor keys = repeated(k), values = repeated(v);
  Tensor scores = at::matmul(q, keys.transpose(-2, -1)) * scale;
  if (mask.defined()) scores = mask.scalar_type() == at::kBool ? scores.masked_fill(~mask, -INFINITY) : scores + mask;
  if (causal) scores = scores.masked_fill(at::ones({q.size(-2), k.size(-2)}, q.options().dtype(at::kBool)).triu(1), -INFINITY);
  const Tensor weights = at::_safe_softmax(scores, -1);
  const Tensor dweights = at::matmul(grad, values.transpose(-2, -1));
  const Tensor dscores = weights * (dweights - (weights * dweights).sum(-1, true));
  Gradients r;
  if (wanted[0]) std::get<0>(r) = at::matmul(dscores, keys) * scale;
  if (wanted[1]) std::get<1>(r) = summed(at::matmul(dscores.transpose(-2, -1), q) * scale);
  if (wanted[2]) std::get<2>(r) = summed(at::matmul(weights.transpose(-2, -1), grad));
  if (wanted[3]) std::get<3>(r) = dscores.sum_to_size(mask.sizes());
  return r;
}

Gradients attention_backward(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask, std::array<bool, 4> wanted,
                   const Tensor& out, const Tensor& logsumexp, const Tensor& cum_q, const Tensor& cum_k, int64_t max_q, int64_t max_k,
                   double dropout, bool causal, const Tensor& seed, const Tensor& offset, std::optional<double> scale) {
  if (!grad.defined()) return {};
  TORCH_CHECK_NOT_IMPLEMENTED(fits(q, k, v, mask, dropout, causal, true) && grad.scalar_type() == at::kFloat,
                              "anygpu: _scaled_dot_product_fused_attention_overrideable_backward of what the forward does not do");
  if (wanted[3]) return composed_backward(grad, q, k, v, mask, wanted, causal, scale_of(q, scale));
  // Slices of one tensor: their gradients will be stacked, which copies row-major ones fastest.
  auto like = [](const Tensor& t) { return t.is_non_overlapping_and_dense() ? empty_like(t) : empty(t.sizes(), t); };
  Tensor dq = like(q), dk = like(k), dv = like(v);
  record(calls::AttentionGrad{.dq = four(dq),
                              .dk = four(dk),
                              .dv = four(dv),
                              .ddst = four(grad),
                              .q = four(q),
                              .k = four(k),
                              .v = four(v),
                              .dst = four(out),
                              .logsumexp = logsumexp,
                              .mask = mask_over(mask, q, k),
                              .scale = scale_of(q, scale),
                              .causal = causal});
  return {wanted[0] ? dq : Tensor(), wanted[1] ? dk : Tensor(), wanted[2] ? dv : Tensor(), Tensor()};
}

/// PyTorch has no derivative of the backward: with create_graph it is composed of operators that have one.
Gradients backward_autograd(const Tensor& grad, const Tensor& q, const Tensor& k, const Tensor& v, const Tensor& mask,
                            std::array<bool, 4> wanted, const Tensor& out, const Tensor& logsumexp, const Tensor& cum_q,
                            const Tensor& cum_k, c10::SymInt max_q, c10::SymInt max_k, double dropout, bool causal, const Tensor& seed,
                            const Tensor& offset, std::optional<double> scale) {
  auto differentiable = [](const Tensor& t) { return t.defined() && t.requires_grad(); };
  if (grad.defined() && at::GradMode::is_enabled() && dropout == 0 &&
      (differentiable(grad) || differentiable(q) || differentiable(k) || differentiable(v) || differentiable(mask)))
    return composed_backward(grad, q, k, v, mask, wanted, causal, scale_of(q, scale));
  at::AutoDispatchBelowADInplaceOrView guard;
  return at::_scaled_dot_product_fused_attention_overrideable_backward_symint(
      grad, q, k, v, mask, wanted, out, logsumexp, cum_q, cum_k, std::move(max_q), std::move(max_k), dropout, causal, seed, offset, scale);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("_fused_sdp_choice", choose);
  on<at::_ops::_scaled_dot_product_fused_attention_overrideable, attention>(m);
  on<at::_ops::_scaled_dot_product_fused_attention_overrideable_backward, attention_backward>(m);
}
TORCH_LIBRARY_IMPL(aten, AutogradPrivateUse1, m) {
  m.impl("_scaled_dot_product_fused_attention_overrideable_backward", backward_autograd);
}

}  // namespace
}  // namespace anygpu::torch_frontend

namespace at::native {
REGISTER_PRIVATEUSE1_DISPATCH(_fused_sdp_choice_stub, &anygpu::torch_frontend::choose)
}  // namespace at::native
