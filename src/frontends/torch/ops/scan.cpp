// Scans, sorting, searching; order statistics, by frontends/common/order.h.
#include "anygpu/calls/scan.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/native/BucketizationUtils.h>
#include <ATen/native/ReduceOpsUtils.h>
#include <ATen/ops/cumprod_meta.h>
#include <ATen/ops/cumsum_meta.h>
#include <ATen/ops/sort_meta.h>
#include <ATen/ops/topk_meta.h>

#include "arrays.h"
#include "frontends/common/order.h"
#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::ScalarType;
using OptDtype = std::optional<ScalarType>;

// ---- scans ----

void scan(calls::Scanned kind, const Tensor& out, const Tensor& self, int64_t dim, ScalarType compute) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  if (out.numel())
    record(calls::Scan{.kind = kind, .dst = some_dims(out), .src = some_dims(self), .compute = dtype_of(compute), .axis = dim});
}
Tensor& cumsum_out(const Tensor& self, int64_t dim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_cumsum>({&out}, self, dim, dtype);
  want_numbers(out);
  scan(calls::Scanned::Sum, out, self, dim, out.scalar_type());
  return out;
}
Tensor& cumprod_out(const Tensor& self, int64_t dim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_cumprod>({&out}, self, dim, dtype);
  want_numbers(out);
  scan(calls::Scanned::Prod, out, self, dim, out.scalar_type());
  return out;
}
Tensor& logcumsumexp_out(const Tensor& self, int64_t dim, Tensor& out) {
  at::native::resize_output(out, self.sizes());
  scan(calls::Scanned::LogSumExp, out, self, dim, out.scalar_type());
  return out;
}
Tensor logcumsumexp(const Tensor& self, int64_t dim) {
  Tensor out = empty({0}, self);
  return logcumsumexp_out(self, dim, out);
}
template <calls::Extremum kind>
void scan_extremum(const Tensor& self, Tensor& values, Tensor& indices, int64_t dim) {
  if (self.numel())
    record(
        calls::ScanWithIndex{.kind = kind, .values = values, .indices = indices, .src = self, .axis = at::maybe_wrap_dim(dim, self.dim())});
}

// ---- sorting ----

std::tuple<Tensor&, Tensor&> sort_out(const Tensor& self, std::optional<bool> stable, int64_t dim, bool descending, Tensor& values,
                                      Tensor& indices) {
  meta_out<at::meta::structured_sort_stable>({&values, &indices}, self, stable, dim, descending);
  if (self.numel() == 0) return {values, indices};
  record(calls::Sort{.values = some_dims(values),
                     .indices = some_dims(indices),
                     .src = some_dims(self),
                     .axis = at::maybe_wrap_dim(dim, self.dim()),
                     .descending = descending});
  return {values, indices};
}
std::tuple<Tensor&, Tensor&> topk_out(const Tensor& self, int64_t k, int64_t dim, bool largest, bool sorted, Tensor& values,
                                      Tensor& indices) {
  meta_out<at::meta::structured_topk>({&values, &indices}, self, k, dim, largest, sorted);
  if (values.numel() == 0) return {values, indices};
  record(calls::TopK{.values = some_dims(values),
                     .indices = some_dims(indices),
                     .src = some_dims(self),
                     .axis = at::maybe_wrap_dim(dim, self.dim()),
                     .largest = largest});
  return {values, indices};
}

// ---- order statistics: places in the sorted order ----

/// Puts keepdim-shaped results where the caller wants it.
void give(const common::Ordered& r, const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  const auto shaped = [&](const common::Array& kept) {
    return keepdim && self.dim() ? kept : common::squeeze(kept, static_cast<int>(dim));
  };
  deliver(shaped(r.values), values);
  deliver(shaped(r.order), indices);
}
void check_values_indices(const char* name, const Tensor& self, const Tensor& values, const Tensor& indices) {
  TORCH_CHECK(values.scalar_type() == self.scalar_type(), name, ": output values must be of same type as input");
  TORCH_CHECK(indices.scalar_type() == at::kLong, name, ": output indices must be of scalar type Long");
}

/// What PyTorch's CPU sorts but takes no order statistics of.
void want_sortable(const Tensor& self) {
  want_numbers(self);
  (void)dtype_of(self.scalar_type());
}

std::tuple<Tensor&, Tensor&> kthvalue_out(const Tensor& self, int64_t k, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  at::native::zero_numel_check_dims(self, dim, "kthvalue()");
  want_sortable(self);
  TORCH_CHECK(k >= 1 && k <= (self.dim() > 0 ? self.size(dim) : 1), "kthvalue(): selected number k out of range for dimension ", dim);
  check_values_indices("kthvalue", self, values, indices);
  at::assert_no_overlap(self, values);
  give(composed([&] { return common::kthvalue(array_of(self), k, static_cast<int>(dim)); }), self, dim, keepdim, values, indices);
  return {values, indices};
}

template <bool ignore_nan>
std::tuple<Tensor&, Tensor&> median_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  at::native::zero_numel_check_dims(self, dim, ignore_nan ? "nanmedian()" : "median()");
  check_values_indices("median()", self, values, indices);
  want_sortable(self);
  if (self.numel() == 0) {
    at::native::zero_numel_tensor_resize(values, indices, self, dim, keepdim, "median()");
    return {values, indices};
  }
  give(composed([&] { return common::median(array_of(self), static_cast<int>(dim), ignore_nan); }), self, dim, keepdim, values, indices);
  return {values, indices};
}
template <bool ignore_nan>
Tensor median(const Tensor& self) {
  if (self.numel() == 0) return at::full({}, std::numeric_limits<double>::quiet_NaN(), self.options());
  want_sortable(self);
  const Tensor flat = self.reshape(-1);
  return tensor_of(composed([&] { return common::squeeze(common::median(array_of(flat), 0, ignore_nan).values, 0); }));
}

std::tuple<Tensor&, Tensor&> mode_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  TORCH_CHECK(self.device() == values.device() && self.device() == indices.device(), "expected device '", self.device(),
              "' for values and indices outputs");
  TORCH_CHECK(self.scalar_type() == values.scalar_type(), "expected scalar type '", self.scalar_type(), "' but got '", values.scalar_type(),
              "' for values output");
  TORCH_CHECK(indices.scalar_type() == at::kLong, "expected scalar type '", at::kLong, "' but got '", indices.scalar_type(),
              "' for indices output");
  dim = at::maybe_wrap_dim(dim, self.dim());
  if (self.numel() == 0) {
    at::native::zero_numel_tensor_resize(values, indices, self, dim, keepdim, "mode()");
    return {values, indices};
  }
  (void)dtype_of(self.scalar_type());
  give(composed([&] { return common::mode(array_of(self), static_cast<int>(dim)); }), self, dim, keepdim, values, indices);
  return {values, indices};
}
std::tuple<Tensor, Tensor> mode(const Tensor& self, int64_t dim, bool keepdim) {
  Tensor values = empty({0}, self), indices = empty({0}, at::kLong, self);
  mode_out(self, dim, keepdim, values, indices);
  return {values, indices};
}

// ---- searching ----

void search(const Tensor& bounds, const Tensor& values, bool right, const std::optional<Tensor>& sorter, const Tensor& out) {
  if (out.numel() == 0) return;
  if (bounds.numel() == 0) {
    out.zero_();
    return;
  }
  const ScalarType t = at::result_type(bounds, values);
  record(calls::SearchSorted{.dst = out, .boundaries = bounds, .values = values, .sorter = sorter, .compute = dtype_of(t), .right = right});
}
Tensor& searchsorted_out(const Tensor& sequence, const Tensor& self, bool out_int32, bool right, std::optional<c10::string_view> side,
                         const std::optional<Tensor>& sorter, Tensor& out) {
  at::native::searchsorted_pre_check(sequence, self, out, out_int32, right, side, sorter.value_or(Tensor()));
  at::native::resize_output(out, self.sizes());
  search(sequence, self, right || (side && *side == "right"), sorter, out);
  return out;
}
Tensor searchsorted_new(const Tensor& sequence, const Tensor& self, bool out_int32, bool right, std::optional<c10::string_view> side,
                        const std::optional<Tensor>& sorter) {
  Tensor out = empty({0}, out_int32 ? at::kInt : at::kLong, sequence);
  return searchsorted_out(sequence, self, out_int32, right, side, sorter, out);
}
Tensor& searchsorted_scalar_out(const Tensor& sequence, const at::Scalar& self, bool out_int32, bool right,
                                std::optional<c10::string_view> side, const std::optional<Tensor>& sorter, Tensor& out) {
  return searchsorted_out(sequence, at::native::searchsorted_scalar_tensor(self, sequence.device()), out_int32, right, side, sorter, out);
}
Tensor searchsorted_scalar(const Tensor& sequence, const at::Scalar& self, bool out_int32, bool right, std::optional<c10::string_view> side,
                           const std::optional<Tensor>& sorter) {
  return searchsorted_new(sequence, at::native::searchsorted_scalar_tensor(self, sequence.device()), out_int32, right, side, sorter);
}
Tensor& bucketize_out(const Tensor& self, const Tensor& bounds, bool out_int32, bool right, Tensor& out) {
  TORCH_CHECK(bounds.dim() == 1, "boundaries tensor must be 1 dimension, but got dim(", bounds.dim(), ")");
  return searchsorted_out(bounds, self, out_int32, right, std::nullopt, std::nullopt, out);
}
Tensor bucketize_new(const Tensor& self, const Tensor& bounds, bool out_int32, bool right) {
  Tensor out = empty({0}, out_int32 ? at::kInt : at::kLong, self);
  return bucketize_out(self, bounds, out_int32, right, out);
}
Tensor bucketize_scalar(const at::Scalar& self, const Tensor& bounds, bool out_int32, bool right) {
  return bucketize_new(at::native::searchsorted_scalar_tensor(self, bounds.device()), bounds, out_int32, right);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace op = at::_ops;
  m.impl("cumsum.out", real<op::cumsum_out, cumsum_out>);
  m.impl("cumprod.out", real<op::cumprod_out, cumprod_out>);
  m.impl("_logcumsumexp", real<op::_logcumsumexp, logcumsumexp>);
  m.impl("_logcumsumexp.out", real<op::_logcumsumexp_out, logcumsumexp_out>);
  on<at::_ops::_cummax_helper, scan_extremum<calls::Extremum::Max>>(m);
  on<at::_ops::_cummin_helper, scan_extremum<calls::Extremum::Min>>(m);
  on<at::_ops::sort_values_stable, sort_out>(m);
  on<at::_ops::topk_values, topk_out>(m);
  on<at::_ops::kthvalue_values, kthvalue_out>(m);
  on<at::_ops::median, median<false>>(m);
  on<at::_ops::nanmedian, median<true>>(m);
  on<at::_ops::median_dim_values, median_dim_out<false>>(m);
  on<at::_ops::nanmedian_dim_values, median_dim_out<true>>(m);
  on<at::_ops::mode, mode>(m);
  on<at::_ops::mode_values, mode_out>(m);
  on<at::_ops::searchsorted_Tensor, searchsorted_new>(m);
  on<at::_ops::searchsorted_Tensor_out, searchsorted_out>(m);
  on<at::_ops::searchsorted_Scalar, searchsorted_scalar>(m);
  on<at::_ops::searchsorted_Scalar_out, searchsorted_scalar_out>(m);
  on<at::_ops::bucketize_Tensor, bucketize_new>(m);
  on<at::_ops::bucketize_Tensor_out, bucketize_out>(m);
  on<at::_ops::bucketize_Scalar, bucketize_scalar>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
