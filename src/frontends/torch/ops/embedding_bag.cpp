// Embedding bags: rows of a table, looked up, weighed and reduced bag by bag.
#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

enum Mode : int64_t { kSum, kMean, kMax };
using Bags = std::tuple<Tensor, Tensor, Tensor, Tensor>;

/// The bag of each of `n` lookups: bag b holds the lookups from offsets[b] on.
Tensor bag_of(const Tensor& offsets, int64_t n) {
  return at::searchsorted(offsets, at::arange(n, offsets.options()), /*out_int32=*/false, /*right=*/true).sub_(1);
}

/// 1 for what counts, 0 for the padding row; undefined where there is none.
Tensor counted(const Tensor& indices, int64_t padding_idx) {
  return padding_idx < 0 ? Tensor() : indices != padding_idx;
}

void check(const Tensor& weight, const Tensor& indices, const Tensor& offsets, int64_t mode, const std::optional<Tensor>& weights,
           bool include_last) {
  TORCH_CHECK(indices.dim() == 1, "input has to be a 1D Tensor, but got Tensor of dimension ", indices.dim());
  TORCH_CHECK(offsets.dim() == 1, "offsets has to be a 1D Tensor, but got Tensor of dimension ", offsets.dim());
  for (const Tensor* t : {&indices, &offsets})
    TORCH_CHECK(t->scalar_type() == at::kLong || t->scalar_type() == at::kInt, "Expected tensor for argument #1 '",
                t == &indices ? "indices" : "offsets", "' to have one of the following scalar types: Long, Int; but got ", t->scalar_type(),
                " instead (while checking arguments for embedding_bag)");
  TORCH_CHECK(at::isFloatingType(weight.scalar_type()),
              "Expected tensor for argument #1 'weight' to have a floating-point type (while checking arguments for embedding_bag)");
  if (include_last) TORCH_CHECK(offsets.size(0) >= 1, "include_last_offset: number of offset should be at least 1");
  if (offsets.size(0) > 0) {
    const int64_t first = offsets[0].item().toLong(), last = offsets[-1].item().toLong();
    TORCH_CHECK(first == 0,
                "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. However, got ", first);
    TORCH_CHECK(last <= indices.size(0), "offsets[-1] can not be greater than input's length ", indices.size(0), " but got offsets[-1] of ",
                last);
  }
  if (weights && weights->defined()) {
    TORCH_CHECK(mode == kSum, "embedding_bag: per_sample_weights only supported with mode='sum'");
    TORCH_CHECK(weights->scalar_type() == weight.scalar_type(), "expected weight and per_sample_weights to have the same dtype");
    TORCH_CHECK(weights->dim() == 1 && weights->numel() == indices.numel(),
                "expected per_sample_weights to be 1D and of the same length as input");
  }
}

Bags embedding_bag(const Tensor& weight, const Tensor& indices_in, const Tensor& offsets_in, bool /*scale_grad_by_freq*/, int64_t mode,
                   bool /*sparse*/, const std::optional<Tensor>& weights, bool include_last, int64_t padding_idx) {
  check(weight, indices_in, offsets_in, mode, weights, include_last);
  if (padding_idx < -1) padding_idx += weight.size(0);
  TORCH_CHECK(padding_idx >= -1 && padding_idx < weight.size(0), "padding_idx must be within the number of embeddings, -", weight.size(0),
              " through ", weight.size(0) - 1, ", but got ", padding_idx);
  const Tensor indices = indices_in.to(at::kLong), offsets = offsets_in.to(at::kLong);
  const int64_t n = indices.size(0), bags = offsets.size(0) - include_last, width = weight.size(1);
  const Tensor starts = offsets.slice(0, 0, bags).contiguous();
  const Tensor bag = bags ? bag_of(starts, n) : at::zeros({n}, indices.options());
  const Tensor keep = counted(indices, padding_idx);
  const Tensor sizes = at::zeros({bags}, indices.options());
  Tensor out = at::zeros({bags, width}, weight.options()),
         max_indices = at::full({mode == kMax ? bags : 0, mode == kMax ? width : 0}, -1, indices.options());
  if (n == 0 || bags == 0) return {out, bag, sizes, max_indices};
  sizes.index_add_(0, bag, keep.defined() ? keep.to(at::kLong) : at::ones_like(indices));
  const Tensor rows = weight.index_select(0, indices);
  if (mode == kMax) {
    const Tensor at = bag.unsqueeze(1).expand({n, width});
    const double infinity = std::numeric_limits<double>::infinity();
    const Tensor seen = keep.defined() ? rows.masked_fill(keep.logical_not().unsqueeze(1), -infinity) : rows;
    const Tensor best = at::full({bags, width}, -infinity, weight.options()).scatter_reduce_(0, at, seen, "amax", true);
    Tensor hit = seen == best.index_select(0, bag);
    if (keep.defined()) hit = hit.logical_and(keep.unsqueeze(1));
    const Tensor places = at::where(hit, at::arange(n, indices.options()).unsqueeze(1), at::full({}, n, indices.options()));
    const Tensor first = at::full({bags, width}, n, indices.options()).scatter_reduce_(0, at, places, "amin", true);
    const Tensor none = (sizes == 0).unsqueeze(1);
    max_indices = indices.index_select(0, first.clamp_max(n - 1).reshape(-1)).view({bags, width}).masked_fill(none, -1);
    return {best.masked_fill(none, 0), bag, sizes, max_indices};
  }
  Tensor values = rows;
  if (weights && weights->defined()) values = values * weights->unsqueeze(1);
  if (keep.defined()) values = values.masked_fill(keep.logical_not().unsqueeze(1), 0);
  // f16 and bf16 add up in f32, as on the CPU.
  const bool narrow = weight.scalar_type() == at::kHalf || weight.scalar_type() == at::kBFloat16;
  if (narrow) values = values.to(at::kFloat);
  Tensor sum = narrow ? at::zeros(out.sizes(), values.options()) : out;
  sum.index_add_(0, bag, values);
  if (mode == kMean) sum = sum / sizes.clamp_min(1).unsqueeze(1).to(sum.scalar_type());
  return {narrow ? sum.to(weight.scalar_type()) : sum, bag, sizes, max_indices};
}

/// Gradient of each lookup becomes gradient of its row.
Tensor dense_backward(const Tensor& grad, const Tensor& indices_in, const Tensor& bag, const Tensor& sizes, const Tensor& max_indices,
                      int64_t rows, bool scale_by_freq, int64_t mode, const std::optional<Tensor>& weights, int64_t padding_idx) {
  const Tensor indices = indices_in.to(at::kLong);
  if (mode == kMax) {
    Tensor out = at::zeros({rows, grad.size(1)}, grad.options());
    if (indices.numel() == 0 || grad.numel() == 0) return out;
    TORCH_CHECK(!scale_by_freq, "embedding_bag: scale_grad_by_freq was only supported for sum and mean modes");
    return out.scatter_add_(0, max_indices.clamp_min(0), grad.masked_fill(max_indices < 0, 0));
  }
  if (indices.numel() == 0) return at::zeros({rows, grad.size(1)}, grad.options());
  Tensor g = grad;
  if (mode == kMean) g = g / sizes.clamp_min(1).unsqueeze(1).to(g.scalar_type());
  g = g.index_select(0, bag);
  if (weights && weights->defined()) g = g * weights->unsqueeze(1);
  return at::embedding_dense_backward(g, indices, rows, padding_idx, scale_by_freq);
}

Tensor backward(const Tensor& grad, const Tensor& indices, const Tensor& offsets, const Tensor& bag, const Tensor& sizes,
                const Tensor& max_indices, int64_t rows, bool scale_by_freq, int64_t mode, bool sparse,
                const std::optional<Tensor>& weights, int64_t padding_idx) {
  const Tensor b = indices.numel() && !bag.numel() ? bag_of(offsets.to(at::kLong).contiguous(), indices.numel()) : bag;
  TORCH_CHECK_NOT_IMPLEMENTED(!sparse, "embedding_bag: sparse gradients are not done on this device");
  return at::_embedding_bag_dense_backward(grad, indices, b, sizes, max_indices, rows, scale_by_freq, mode, weights, padding_idx);
}

Tensor weights_backward(const Tensor& grad, const Tensor& weight, const Tensor& indices, const Tensor& offsets, const Tensor& bag,
                        int64_t mode, int64_t padding_idx) {
  TORCH_CHECK(mode == kSum, "embedding_bag_backward: per_sample_weights only supported for mode='sum'");
  if (indices.numel() == 0) return at::zeros({0}, grad.options());
  const Tensor i = indices.to(at::kLong), b = bag.numel() ? bag : bag_of(offsets.to(at::kLong).contiguous(), indices.numel());
  const Tensor g = (grad.index_select(0, b) * weight.index_select(0, i)).sum({1});
  const Tensor keep = counted(i, padding_idx);
  return keep.defined() ? g.masked_fill(keep.logical_not(), 0) : g;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_embedding_bag, embedding_bag>(m);
  on<at::_ops::_embedding_bag_forward_only, embedding_bag>(m);
  on<at::_ops::_embedding_bag_backward, backward>(m);
  on<at::_ops::_embedding_bag_dense_backward, dense_backward>(m);
  on<at::_ops::_embedding_bag_per_sample_weights_backward, weights_backward>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
