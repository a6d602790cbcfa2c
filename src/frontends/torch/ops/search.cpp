// What is made of sorting, counting and scattering: unique, histograms, segments, repetition, by frontends/common. Where a result's size
// depends on the data, one number is read from the device.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/linalg_cross_meta.h>
#include <ATen/ops/renorm_meta.h>

#include <algorithm>

#include "arrays.h"
#include "frontends/common/counting.h"
#include "frontends/common/unique.h"
#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::ScalarType;
using Triple = std::tuple<Tensor, Tensor, Tensor>;

// ---- unique ----

Tensor no_longs(const Tensor& like) {
  return empty({0}, at::kLong, like);
}

/// Of all elements; places in the shape of `self`.
Triple unique_flat(const Tensor& self, bool consecutive, bool inverse, bool counts) {
  const Tensor flat = self.reshape(-1);
  if (flat.numel() == 0) return {empty({0}, self), inverse ? empty(self.sizes(), at::kLong, self) : no_longs(self), no_longs(self)};
  const common::Unique u = composed([&] { return common::unique(array_of(flat), consecutive, inverse, counts); });
  return {tensor_of(u.values), inverse ? tensor_of(u.inverse).view(self.sizes()) : no_longs(self),
          counts ? tensor_of(u.counts) : no_longs(self)};
}
std::tuple<Tensor, Tensor> unique(const Tensor& self, bool /*sorted*/, bool inverse) {
  auto [values, where, _] = unique_flat(self, false, inverse, false);
  return {values, where};
}
Triple unique2(const Tensor& self, bool /*sorted*/, bool inverse, bool counts) {
  return unique_flat(self, false, inverse, counts);
}

Triple unique_rows(const Tensor& self, int64_t dim, bool consecutive, bool inverse, bool counts) {
  dim = at::maybe_wrap_dim(dim, self.dim());
  if (self.size(dim) == 0) {
    auto sizes = self.sizes().vec();
    TORCH_CHECK(std::count(sizes.begin(), sizes.end(), 0) == 1,
                "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
    return {empty(self.sizes(), self), no_longs(self), no_longs(self)};
  }
  TORCH_CHECK(self.numel() > 0, "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied");
  const common::Unique u =
      composed([&] { return common::unique_slices(array_of(self), static_cast<int>(dim), consecutive, inverse, counts); });
  if (u.by_host) TORCH_WARN_ONCE("unique(dim): rows that hold NaN have no order; they are read back and sorted on the CPU");
  return {tensor_of(u.values), inverse ? tensor_of(u.inverse) : no_longs(self), counts ? tensor_of(u.counts) : no_longs(self)};
}
Triple unique_dim(const Tensor& self, int64_t dim, bool /*sorted*/, bool inverse, bool counts) {
  return unique_rows(self, dim, false, inverse, counts);
}
Triple unique_dim_consecutive(const Tensor& self, int64_t dim, bool inverse, bool counts) {
  return unique_rows(self, dim, true, inverse, counts);
}
Triple unique_consecutive(const Tensor& self, bool inverse, bool counts, std::optional<int64_t> dim) {
  if (dim && !(self.dim() == 0 || (*dim == 0 && self.dim() == 1))) return unique_rows(self, *dim, true, inverse, counts);
  return unique_flat(self, true, inverse, counts);
}

// ---- counting ----

Tensor bincount(const Tensor& self, const std::optional<Tensor>& weights, int64_t minlength) {
  TORCH_CHECK(minlength >= 0, "minlength should be >= 0");
  TORCH_CHECK(at::isIntegralType(self.scalar_type(), false), "bincount only supports 1-d non-negative integral inputs.");
  if (self.dim() == 1 && self.numel() == 0) return at::zeros({minlength}, self.options().dtype(at::kLong));
  TORCH_CHECK(self.dim() == 1, "bincount only supports 1-d non-negative integral inputs.");
  return tensor_of(composed([&] { return common::bincount(array_of(self), array_of(weights), minlength); }));
}

Tensor histc_new(const Tensor& self, int64_t bins, const at::Scalar& min, const at::Scalar& max) {
  const bool integers = at::isIntegralType(self.scalar_type(), /*includeBool=*/false);  // as PyTorch's other devices; its CPU refuses them
  if (!integers) want_float(self);
  TORCH_CHECK(bins > 0, "bins must be > 0");
  TORCH_CHECK(min.toDouble() <= max.toDouble(), "torch.histc: max must be larger than min");
  const Tensor flat = self.reshape(-1);
  return tensor_of(composed([&] {
    if (integers) return common::histogram_of_integers(array_of(flat), bins, min.to<int64_t>(), max.to<int64_t>());
    return common::histogram(array_of(flat), bins, min.toDouble(), max.toDouble());
  }));
}
Tensor& histc_out(const Tensor& self, int64_t bins, const at::Scalar& min, const at::Scalar& max, Tensor& out) {
  const Tensor h = histc_new(self, bins, min, max);
  TORCH_CHECK(h.scalar_type() == out.scalar_type(), "torch.histogram: input tensor and hist tensor should have the same dtype");
  at::native::resize_output(out, h.sizes());
  return out.copy_(h);
}

// ---- repetition ----

Tensor repeat_interleave(const Tensor& repeats, std::optional<int64_t> output_size) {
  TORCH_CHECK(repeats.dim() == 1, "repeat_interleave only accept 1D vector as repeat");
  TORCH_CHECK(repeats.scalar_type() == at::kLong || repeats.scalar_type() == at::kInt, "repeats has to be Long or Int tensor");
  if (repeats.size(0) == 0) return empty({0}, repeats);
  return tensor_of(composed([&] { return common::repeat_places(array_of(repeats), output_size); }));
}

// ---- segments ----

std::optional<common::Number> number_of(const std::optional<at::Scalar>& s) {
  if (!s) return std::nullopt;
  return s->isFloatingPoint() ? common::Number(s->toDouble()) : common::Number(s->toLong());
}
common::Array bounds_of(const std::optional<Tensor>& lengths, const std::optional<Tensor>& offsets) {
  if (offsets && offsets->defined()) return common::contiguous(common::cast(array_of(offsets), DType::I64));
  return common::bounds_of(array_of(lengths));
}
Tensor segment_reduce(const Tensor& data, c10::string_view reduce, const std::optional<Tensor>& lengths,
                      const std::optional<Tensor>& indices, const std::optional<Tensor>& offsets, int64_t axis, bool unsafe,
                      const std::optional<at::Scalar>& initial) {
  axis = at::maybe_wrap_dim(axis, data.dim());
  TORCH_CHECK(data.numel() >= 0);
  const bool by_length = lengths && lengths->defined(), by_offset = offsets && offsets->defined();
  TORCH_CHECK(by_length || by_offset, "segment_reduce(): Either lengths or offsets must be defined.");
  TORCH_CHECK(!(indices && indices->defined()), "segment_reduce(): indices based reduction is not supported yet.");
  const Tensor& given = by_length ? *lengths : *offsets;
  TORCH_CHECK(data.device() == given.device());
  TORCH_CHECK(data.dim() >= given.dim());
  TORCH_CHECK(axis == given.dim() - 1, "segment_reduce(): Expected axis to be the last dimension of ", by_length ? "lengths" : "offsets",
              " but got ", axis, ".");
  return tensor_of(composed([&] {
    if (by_length && !unsafe) common::check_lengths(array_of(given), data.size(axis));
    want_float(data);
    return common::segment_reduce(array_of(data), reduction_of(reduce), bounds_of(lengths, offsets), static_cast<int>(axis),
                                  number_of(initial));
  }));
}
Tensor segment_reduce_backward(const Tensor& grad, const Tensor& output, const Tensor& data, c10::string_view reduce,
                               const std::optional<Tensor>& lengths, const std::optional<Tensor>& offsets, int64_t axis,
                               const std::optional<at::Scalar>& initial) {
  axis = at::maybe_wrap_dim(axis, data.dim());
  want_float(data);
  return tensor_of(composed([&] {
    return common::segment_reduce_grad(array_of(grad), array_of(output), array_of(data), reduction_of(reduce), bounds_of(lengths, offsets),
                                       static_cast<int>(axis), number_of(initial));
  }));
}

// ---- rows held to a norm; vector products ----

Tensor& renorm_out(const Tensor& self, const at::Scalar& p, int64_t dim, const at::Scalar& maxnorm, Tensor& out) {
  meta_out<at::meta::structured_renorm>({&out}, self, p, dim, maxnorm);
  dim = at::maybe_wrap_dim(dim, self.dim());
  if (self.numel() == 0) return out;
  std::vector<int64_t> others;
  for (int64_t d = 0; d < self.dim(); ++d)
    if (d != dim) others.push_back(d);
  const ScalarType t = self.scalar_type() == at::kHalf || self.scalar_type() == at::kBFloat16 ? at::kFloat : self.scalar_type();
  const Tensor norm = at::linalg_vector_norm(self, p, others, true, t);
  const Tensor scale = at::where(norm > maxnorm, maxnorm.toDouble() / (norm + 1e-7), at::ones({}, norm.options())).to(self.scalar_type());
  return at::mul_out(out, self, scale);
}

Tensor& cross_out(const Tensor& a, const Tensor& b, int64_t dim, Tensor& out) {
  meta_out<at::meta::structured_linalg_cross>({&out}, a, b, dim);
  if (out.numel() == 0) return out;
  dim = at::maybe_wrap_dim(dim, out.dim());
  // a_{k+1} b_{k+2} - a_{k+2} b_{k+1}
  return at::sub_out(out, a.roll(-1, dim) * b.roll(-2, dim), a.roll(-2, dim) * b.roll(-1, dim));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_unique, unique>(m);
  on<at::_ops::_unique2, unique2>(m);
  on<at::_ops::unique_dim, unique_dim>(m);
  on<at::_ops::unique_dim_consecutive, unique_dim_consecutive>(m);
  on<at::_ops::unique_consecutive, unique_consecutive>(m);
  on<at::_ops::bincount, bincount>(m);
  on<at::_ops::histc, histc_new>(m);
  on<at::_ops::histc_out, histc_out>(m);
  on<at::_ops::repeat_interleave_Tensor, repeat_interleave>(m);
  on<at::_ops::segment_reduce, segment_reduce>(m);
  on<at::_ops::_segment_reduce_backward, segment_reduce_backward>(m);
  m.impl("renorm.out", real<at::_ops::renorm_out, renorm_out>);
  m.impl("linalg_cross.out", real<at::_ops::linalg_cross_out, cross_out>);
}

}  // namespace
}  // namespace anygpu::torch_frontend
