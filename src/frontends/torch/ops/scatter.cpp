// gather, scatter and its reductions; embedding gradients; concatenation.
#include <ATen/AccumulateType.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/cat_meta.h>
#include <ATen/ops/gather_meta.h>
#include <ATen/ops/scatter_add_meta.h>
#include <ATen/ops/scatter_meta.h>
#include <ATen/ops/scatter_reduce_meta.h>

#include "arrays.h"
#include "frontends/common/embedding.h"
#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {

at::Scalar identity_of(Reduction r, at::ScalarType t) {
  const common::Number n = common::identity_of(r, dtype_of(t));
  if (at::isFloatingType(t)) return n.f;
  if (t == at::kBool) return n.i != 0;
  return n.i;
}

namespace {

Tensor& gather_out(const Tensor& self, int64_t dim, const Tensor& index, bool sparse_grad, Tensor& out) {
  meta_out<at::meta::structured_gather>({&out}, self, dim, index, sparse_grad);
  if (index.numel() == 0) return out;
  dim = at::maybe_wrap_dim(dim, self.dim());
  const Tensor from = some_dims(self);
  TORCH_CHECK(from.size(dim) != 0, "index out of bounds for dimension ", dim, " with size 0");
  record(calls::Gather{.dst = some_dims(out), .src = from, .index = some_dims(index), .dim = dim});
  return out;
}

/// out[index] op= src, along dim.
void scatter_into(const Tensor& out, int64_t dim, const Tensor& index, const Tensor& src, Combine combine) {
  if (index.numel() == 0) return;
  const Tensor to = some_dims(out);
  TORCH_CHECK(to.size(dim) != 0, "index out of bounds for dimension ", dim, " with size 0");
  record(calls::Scatter{
      .dst = to, .index = some_dims(index), .src = some_dims(src), .dim = dim, .combine = combine_for(combine, out), .wraps = false});
}
void scatter_into(const Tensor& out, int64_t dim, const Tensor& index, const at::Scalar& value, Combine combine) {
  if (index.numel() == 0) return;
  const Tensor to = some_dims(out);
  TORCH_CHECK(to.size(dim) != 0, "index out of bounds for dimension ", dim, " with size 0");
  record(calls::ScatterValue{.dst = to,
                             .index = some_dims(index),
                             .dim = dim,
                             .combine = combine_for(combine, out),
                             .wraps = false,
                             .value = to_scalar(value, dtype_of(out.scalar_type()))});
}

/// What all scatters begin with: `out` becomes a copy of `self`. Returns the dimension, wrapped.
int64_t begin(const Tensor& self, int64_t dim, const Tensor& out) {
  if (!out.is_same(self)) out.copy_(self);
  return at::maybe_wrap_dim(dim, self.dim());
}

Tensor& scatter_src_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src, Tensor& out) {
  meta_out<at::meta::structured_scatter_src>({&out}, self, dim, index, src);
  scatter_into(out, begin(self, dim, out), index, src, Combine::None);
  return out;
}
Tensor& scatter_value_out(const Tensor& self, int64_t dim, const Tensor& index, const at::Scalar& value, Tensor& out) {
  meta_out<at::meta::structured_scatter_value>({&out}, self, dim, index, value);
  scatter_into(out, begin(self, dim, out), index, value, Combine::None);
  return out;
}
Tensor& scatter_reduce_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src, c10::string_view reduce, Tensor& out) {
  meta_out<at::meta::structured_scatter_reduce>({&out}, self, dim, index, src, reduce);
  scatter_into(out, begin(self, dim, out), index, src, combine_of(reduction_of(reduce)));
  return out;
}
Tensor& scatter_value_reduce_out(const Tensor& self, int64_t dim, const Tensor& index, const at::Scalar& value, c10::string_view reduce,
                                 Tensor& out) {
  meta_out<at::meta::structured_scatter_value_reduce>({&out}, self, dim, index, value, reduce);
  scatter_into(out, begin(self, dim, out), index, value, combine_of(reduction_of(reduce)));
  return out;
}
Tensor& scatter_add_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src, Tensor& out) {
  meta_out<at::meta::structured_scatter_add>({&out}, self, dim, index, src);
  scatter_into(out, begin(self, dim, out), index, src, Combine::Add);
  return out;
}
Tensor& scatter_reduce_two_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& src, c10::string_view reduce,
                               bool include_self, Tensor& out) {
  meta_out<at::meta::structured_scatter_reduce_two>({&out}, self, dim, index, src, reduce, include_self);
  dim = begin(self, dim, out);
  const Reduction r = reduction_of(reduce);
  if (!include_self) scatter_into(out, dim, index, identity_of(r, out.scalar_type()), Combine::None);
  scatter_into(out, dim, index, src, combine_of(r));
  if (r == Reduction::Mean) {
    Tensor counts = include_self ? at::ones_like(out) : at::zeros_like(out);
    counts.scatter_add_(dim, index, at::ones_like(src));
    counts.masked_fill_(counts == 0, 1);
    if (out.is_floating_point())
      out.div_(counts);
    else
      out.div_(counts, "floor");
  }
  return out;
}

// ---- embedding ----

Tensor embedding_dense_backward(const Tensor& grad, const Tensor& indices, int64_t rows, int64_t padding_idx, bool scale_by_freq) {
  TORCH_CHECK(indices.scalar_type() == at::kLong || indices.scalar_type() == at::kInt,
              "Expected tensor for argument #2 'indices' to have one of the following scalar types: Long, Int; but got ",
              indices.scalar_type(), " instead (while checking arguments for embedding_backward)");
  return tensor_of(composed([&] { return common::embedding_grad(array_of(grad), array_of(indices), rows, padding_idx, scale_by_freq); }));
}

Tensor& embedding_renorm(Tensor& self, const Tensor& indices, double max_norm, double norm_type) {
  TORCH_CHECK(self.dim() == 2, "Expected 2-dimensional tensor, but got ", self.dim(),
              "-dimensional tensor for argument #1 'self' (while checking arguments for embedding_renorm_)");
  TORCH_CHECK(indices.scalar_type() == at::kLong || indices.scalar_type() == at::kInt,
              "Expected tensor for argument #2 'indices' to be Long or Int");
  if (indices.numel() == 0) return self;
  // Only the rows that are looked up change, each once, however often it is.
  Tensor used = at::zeros({self.size(0)}, self.options().dtype(at::kBool));
  scatter_into(used, 0, indices.reshape(-1).to(at::kLong), at::Scalar(true), Combine::None);
  Tensor norms = at::linalg_vector_norm(self, norm_type, at::IntArrayRef{1}, true);
  Tensor scale = at::where((norms > max_norm).logical_and_(used.unsqueeze(1)), max_norm / (norms + 1e-7), at::ones({}, norms.options()));
  return self.mul_(scale);
}

// ---- cat ----

/// What PyTorch's cat skips for old times' sake: vectors without elements.
bool skipped(const Tensor& t) {
  return t.numel() == 0 && t.dim() == 1;
}

Tensor& cat_out(const at::ITensorListRef& tensors, int64_t dim, Tensor& out) {
  const auto shape = meta_out<at::meta::structured_cat>({&out}, tensors, dim);
  at::assert_no_internal_overlap(out);
  for (const Tensor& t : tensors) at::assert_no_overlap(out, t);
  if (out.numel() == 0) return out;
  if (C10_UNLIKELY(!find_dtype(out.scalar_type()))) {
    std::vector<Tensor> parts;
    for (const Tensor& t : tensors) parts.push_back(bits_of(t.to(out.scalar_type())));
    Tensor bits = bits_of(out);
    return cat_out(parts, dim, bits), out;
  }
  c10::SmallVector<ViewArg, 8> parts;
  for (const Tensor& t : tensors)
    if (!skipped(t) && t.numel()) parts.emplace_back(t);
  record(calls::Cat{.dst = out, .parts = parts, .dim = shape.dim});
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace op = at::_ops;
  m.impl("gather.out", real<op::gather_out, gather_out>);
  m.impl("scatter.src_out", real<op::scatter_src_out, scatter_src_out>);
  m.impl("scatter.value_out", real<op::scatter_value_out, scatter_value_out>);
  m.impl("scatter.reduce_out", real<op::scatter_reduce_out, scatter_reduce_out>);
  m.impl("scatter.value_reduce_out", real<op::scatter_value_reduce_out, scatter_value_reduce_out>);
  m.impl("scatter_add.out", real<op::scatter_add_out, scatter_add_out>);
  on<at::_ops::scatter_reduce_two_out, scatter_reduce_two_out>(m);
  on<at::_ops::embedding_dense_backward, embedding_dense_backward>(m);
  on<at::_ops::embedding_renorm_, embedding_renorm>(m);
  m.impl("cat.out", real<op::cat_out, cat_out>);
}

}  // namespace
}  // namespace anygpu::torch_frontend
