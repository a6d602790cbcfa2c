// Embedding bags: rows of a table, looked up, weighed and reduced bag by bag, by frontends/common/embedding.h.
#include "arrays.h"
#include "frontends/common/embedding.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;
using common::BagMode;
using Bags = std::tuple<Tensor, Tensor, Tensor, Tensor>;

void check(const Tensor& weight, const Tensor& indices, const Tensor& offsets, BagMode mode, const std::optional<Tensor>& weights,
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
    TORCH_CHECK(mode == BagMode::Sum, "embedding_bag: per_sample_weights only supported with mode='sum'");
    TORCH_CHECK(weights->scalar_type() == weight.scalar_type(), "expected weight and per_sample_weights to have the same dtype");
    TORCH_CHECK(weights->dim() == 1 && weights->numel() == indices.numel(),
                "expected per_sample_weights to be 1D and of the same length as input");
  }
}

Bags embedding_bag(const Tensor& weight, const Tensor& indices, const Tensor& offsets, bool /*scale_grad_by_freq*/, int64_t mode,
                   bool /*sparse*/, const std::optional<Tensor>& weights, bool include_last, int64_t padding_idx) {
  check(weight, indices, offsets, BagMode{mode}, weights, include_last);
  if (padding_idx < -1) padding_idx += weight.size(0);
  TORCH_CHECK(padding_idx >= -1 && padding_idx < weight.size(0), "padding_idx must be within the number of embeddings, -", weight.size(0),
              " through ", weight.size(0) - 1, ", but got ", padding_idx);
  const common::Bags b = composed([&] {
    return common::embedding_bag(array_of(weight), array_of(indices), array_of(offsets), array_of(weights), BagMode{mode}, include_last,
                                 padding_idx);
  });
  return {tensor_of(b.out), tensor_of(b.bag), tensor_of(b.sizes), tensor_of(b.places)};
}

/// Gradient of each lookup becomes gradient of its row.
Tensor dense_backward(const Tensor& grad, const Tensor& indices, const Tensor& bag, const Tensor& sizes, const Tensor& max_indices,
                      int64_t rows, bool scale_by_freq, int64_t mode, const std::optional<Tensor>& weights, int64_t padding_idx) {
  TORCH_CHECK(BagMode{mode} != BagMode::Max || !scale_by_freq || indices.numel() == 0 || grad.numel() == 0,
              "embedding_bag: scale_grad_by_freq was only supported for sum and mean modes");
  return tensor_of(composed([&] {
    const common::Bags bags{{}, array_of(bag), array_of(sizes), array_of(max_indices)};
    return common::embedding_bag_grad(array_of(grad), array_of(indices), bags, array_of(weights), BagMode{mode}, rows, padding_idx,
                                      scale_by_freq);
  }));
}

/// What forward_only left out.
Tensor bags_of(const Tensor& indices, const Tensor& offsets, const Tensor& bag) {
  if (!indices.numel() || bag.numel()) return bag;
  return tensor_of(composed([&] { return common::bag_of(array_of(offsets), indices.numel()); }));
}

Tensor backward(const Tensor& grad, const Tensor& indices, const Tensor& offsets, const Tensor& bag, const Tensor& sizes,
                const Tensor& max_indices, int64_t rows, bool scale_by_freq, int64_t mode, bool sparse,
                const std::optional<Tensor>& weights, int64_t padding_idx) {
  const Tensor b = bags_of(indices, offsets, bag);
  TORCH_CHECK_NOT_IMPLEMENTED(!sparse, "embedding_bag: sparse gradients are not done on this device");
  return at::_embedding_bag_dense_backward(grad, indices, b, sizes, max_indices, rows, scale_by_freq, mode, weights, padding_idx);
}

Tensor weights_backward(const Tensor& grad, const Tensor& weight, const Tensor& indices, const Tensor& offsets, const Tensor& bag,
                        int64_t mode, int64_t padding_idx) {
  TORCH_CHECK(BagMode{mode} == BagMode::Sum, "embedding_bag_backward: per_sample_weights only supported for mode='sum'");
  const Tensor b = bags_of(indices, offsets, bag);
  return tensor_of(composed(
      [&] { return common::embedding_bag_weights_grad(array_of(grad), array_of(weight), array_of(indices), array_of(b), padding_idx); }));
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
