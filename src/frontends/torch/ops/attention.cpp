// Multi-head attention and the transformer layer as the fast paths of torch.nn call them, made of operators that fuse.
#include <ATen/ops/_masked_softmax.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/relu.h>
#include <ATen/ops/softmax.h>

#include <cmath>

#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using OptTensor = std::optional<Tensor>;

/// [B, T, H * d] as [B, H, T, d].
Tensor heads(const Tensor& x, int64_t n) {
  return x.unflatten(-1, {n, -1}).transpose(1, 2);
}

std::tuple<Tensor, Tensor> multi_head_attention(const Tensor& query, const Tensor& key, const Tensor& value, int64_t embed_dim,
                                                int64_t num_head, const Tensor& qkv_weight, const Tensor& qkv_bias,
                                                const Tensor& proj_weight, const Tensor& proj_bias, const OptTensor& mask,
                                                bool need_weights, bool average_attn_weights, std::optional<int64_t> mask_type) {
  TORCH_CHECK(query.dim() == 3, "expected 3-D `query`, got ", query.dim(), "-D tensor");
  TORCH_CHECK(query.size(2) == embed_dim, "passed-in embed_dim ", embed_dim, " didn't match last dim of query ", query.size(2));
  TORCH_CHECK(key.dim() == 3 && value.dim() == 3, "expected 3-D `key` and `value`");
  TORCH_CHECK(key.sizes() == value.sizes() || key.size(1) == value.size(1), "expected `key`/`value` shapes to match");
  TORCH_CHECK(qkv_weight.dim() == 2 && qkv_weight.size(0) == 3 * embed_dim, "expected `qkv_weight` first dim to be 3x embed_dim");
  TORCH_CHECK(qkv_bias.dim() == 1 && qkv_bias.size(0) == 3 * embed_dim, "expected `qkv_bias` first dim and first dim of query to be equal");
  TORCH_CHECK(embed_dim % num_head == 0, "`embed_dim` must divide evenly by `num_heads`");
  Tensor q, k, v;
  if (query.is_same(key) && key.is_same(value)) {
    const auto parts = at::linear(query, qkv_weight, qkv_bias).chunk(3, -1);
    q = parts[0], k = parts[1], v = parts[2];
  } else {
    const auto w = qkv_weight.chunk(3), b = qkv_bias.chunk(3);
    q = at::linear(query, w[0], b[0]), k = at::linear(key, w[1], b[1]), v = at::linear(value, w[2], b[2]);
  }
  q = heads(q, num_head), k = heads(k, num_head), v = heads(v, num_head);
  Tensor weights = at::matmul(q * (1 / std::sqrt(static_cast<double>(embed_dim / num_head))), k.transpose(-2, -1));
  if (mask && mask->defined()) {
    const Tensor hidden = mask->scalar_type() == at::kBool ? *mask : mask->to(at::kBool);
    weights = at::_masked_softmax(weights, hidden, weights.dim() - 1, mask_type);
  } else {
    weights = weights.softmax(-1);
  }
  Tensor out =
      at::linear(at::matmul(weights, v).transpose(1, 2).reshape({query.size(0), query.size(1), embed_dim}), proj_weight, proj_bias);
  if (!need_weights) return {out, Tensor()};
  return {out, average_attn_weights ? weights.mean(1) : weights};
}

Tensor transformer_encoder_layer(const Tensor& src, int64_t embed_dim, int64_t num_heads, const Tensor& qkv_weight, const Tensor& qkv_bias,
                                 const Tensor& proj_weight, const Tensor& proj_bias, bool use_gelu, bool norm_first, double eps,
                                 const Tensor& norm_weight_1, const Tensor& norm_bias_1, const Tensor& norm_weight_2,
                                 const Tensor& norm_bias_2, const Tensor& ffn_weight_1, const Tensor& ffn_bias_1,
                                 const Tensor& ffn_weight_2, const Tensor& ffn_bias_2, const OptTensor& mask,
                                 std::optional<int64_t> mask_type) {
  auto norm = [&](const Tensor& x, const Tensor& w, const Tensor& b) { return at::layer_norm(x, {embed_dim}, w, b, eps); };
  Tensor x = norm_first ? norm(src, norm_weight_1, norm_bias_1) : src;
  x = src + std::get<0>(multi_head_attention(x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias, mask, false, true,
                                             mask_type));
  if (!norm_first) x = norm(x, norm_weight_1, norm_bias_1);
  const Tensor inner = at::linear(norm_first ? norm(x, norm_weight_2, norm_bias_2) : x, ffn_weight_1, ffn_bias_1);
  x = x + at::linear(use_gelu ? at::gelu(inner) : at::relu(inner), ffn_weight_2, ffn_bias_2);
  return norm_first ? x : norm(x, norm_weight_2, norm_bias_2);
}

/// Whether a padded batch can become a nested tensor. This device has none, and torch.nn then keeps the padding.
bool can_nest(const Tensor& t, const Tensor& mask) {
  return false;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_native_multi_head_attention, multi_head_attention>(m);
  on<at::_ops::_transformer_encoder_layer_fwd, transformer_encoder_layer>(m);
  m.impl("_nested_tensor_from_mask_left_aligned", can_nest);
}

}  // namespace
}  // namespace anygpu::torch_frontend
