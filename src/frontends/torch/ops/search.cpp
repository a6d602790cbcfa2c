// What is made of sorting, counting and scattering: unique, histograms, segments, repetition. Where a result's size depends
// on the data, one number is read from the device.
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/linalg_cross_meta.h>
#include <ATen/ops/renorm_meta.h>

#include <algorithm>

#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::ScalarType;
using Triple = std::tuple<Tensor, Tensor, Tensor>;

// ---- unique ----

/// From marks of where a new value begins in a sequence of n: the places of the firsts, each element's group, each group's size.
struct Groups {
  Tensor firsts, group, counts;
};
Groups groups_of(const Tensor& begins, bool want_counts) {
  Groups g;
  const int64_t n = begins.numel();
  g.firsts = begins.nonzero().squeeze(1);
  g.group = begins.to(at::kLong).cumsum(0).sub_(1);
  if (want_counts) {
    const Tensor ends = at::cat({g.firsts.slice(0, 1), at::full({1}, n, g.firsts.options())});
    g.counts = ends - g.firsts;
  }
  return g;
}
/// Marks of the elements that differ from the one before.
Tensor changes(const Tensor& flat) {
  Tensor begins = at::ones(flat.sizes(), flat.options().dtype(at::kBool));
  if (flat.numel() > 1) begins.slice(0, 1).copy_(flat.slice(0, 1) != flat.slice(0, 0, -1));
  return begins;
}
Tensor no_longs(const Tensor& like) {
  return empty({0}, at::kLong, like);
}

Triple unique_flat(const Tensor& self, bool inverse, bool counts) {
  const Tensor flat = self.reshape(-1);
  if (flat.numel() == 0) return {empty({0}, self), inverse ? empty(self.sizes(), at::kLong, self) : no_longs(self), no_longs(self)};
  auto [sorted, order] = flat.sort(/*stable=*/true, 0, false);
  const Groups g = groups_of(changes(sorted), counts);
  Tensor where = no_longs(self);
  if (inverse) where = at::empty_like(order).scatter_(0, order, g.group).view(self.sizes());
  return {sorted.index({g.firsts}), where, counts ? g.counts : no_longs(self)};
}
std::tuple<Tensor, Tensor> unique(const Tensor& self, bool /*sorted*/, bool inverse) {
  auto [values, where, _] = unique_flat(self, inverse, false);
  return {values, where};
}
Triple unique2(const Tensor& self, bool /*sorted*/, bool inverse, bool counts) {
  return unique_flat(self, inverse, counts);
}

/// Marks, per slice along dim 0 of a matrix, of those that differ from the one before.
Tensor row_changes(const Tensor& rows) {
  Tensor begins = at::ones({rows.size(0)}, rows.options().dtype(at::kBool));
  if (rows.size(0) > 1 && rows.size(1) > 0)
    begins.slice(0, 1).copy_((rows.slice(0, 1) != rows.slice(0, 0, -1)).any(1));
  else if (rows.size(0) > 1)
    begins.slice(0, 1).fill_(false);
  return begins;
}

/// The order of a matrix's rows by their columns. NaN has no place among numbers: where a row holds one, PyTorch's order is what std::sort
/// makes of a comparison that a NaN never decides, and only the host can follow it.
Tensor order_on_host(const Tensor& rows) {
  TORCH_WARN_ONCE("unique(dim): rows that hold NaN have no order; they are read back and sorted on the CPU");
  const Tensor host = rows.to(at::kDouble).cpu().contiguous();
  const double* x = host.const_data_ptr<double>();
  const int64_t n = host.size(0), columns = host.size(1);
  const auto before = [&](int64_t a, int64_t b) {
    if (a == n || b == n) return false;
    for (int64_t c = 0; c < columns; ++c) {
      const double l = x[a * columns + c], r = x[b * columns + c];
      if (l < r) return true;
      if (l > r) return false;
    }
    return false;
  };
  // std::sort may step over the ends where a comparison is none: there it meets n, and stops.
  Tensor guarded = at::arange(-1, n + 1, at::TensorOptions().dtype(at::kLong));
  int64_t* order = guarded.mutable_data_ptr<int64_t>() + 1;
  order[-1] = order[n] = n;
  std::sort(order, order + n, before);
  return guarded.slice(0, 1, n + 1).to(rows.device());
}
Tensor order_of_rows(const Tensor& rows) {
  if (rows.is_floating_point() && rows.isnan().any().item<bool>()) return order_on_host(rows);
  Tensor order = at::arange(rows.size(0), rows.options().dtype(at::kLong));
  // Lexicographic: stable sorts from the last column to the first.
  for (int64_t c = rows.size(1) - 1; c >= 0; --c)
    order = order.index({std::get<1>(rows.select(1, c).index({order}).sort(/*stable=*/true, 0, false))});
  return order;
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
  const Tensor moved = self.moveaxis(dim, 0), rows = moved.reshape({moved.size(0), -1});
  const Tensor order = consecutive ? Tensor() : order_of_rows(rows), sorted = consecutive ? rows : rows.index({order});
  const Groups g = groups_of(row_changes(sorted), counts);
  Tensor where = no_longs(self);
  if (inverse) where = consecutive ? g.group : at::empty_like(order).scatter_(0, order, g.group);
  auto sizes = moved.sizes().vec();
  sizes[0] = g.firsts.numel();
  return {sorted.index({g.firsts}).view(sizes).moveaxis(0, dim).contiguous(), where, counts ? g.counts : no_longs(self)};
}
Triple unique_dim(const Tensor& self, int64_t dim, bool /*sorted*/, bool inverse, bool counts) {
  return unique_rows(self, dim, false, inverse, counts);
}
Triple unique_dim_consecutive(const Tensor& self, int64_t dim, bool inverse, bool counts) {
  return unique_rows(self, dim, true, inverse, counts);
}
Triple unique_consecutive(const Tensor& self, bool inverse, bool counts, std::optional<int64_t> dim) {
  if (dim && !(self.dim() == 0 || (*dim == 0 && self.dim() == 1))) return unique_rows(self, *dim, true, inverse, counts);
  const Tensor flat = self.reshape(-1);
  if (flat.numel() == 0) return {empty({0}, self), inverse ? empty(self.sizes(), at::kLong, self) : no_longs(self), no_longs(self)};
  const Groups g = groups_of(changes(flat), counts);
  return {flat.index({g.firsts}), inverse ? g.group.view(self.sizes()) : no_longs(self), counts ? g.counts : no_longs(self)};
}

// ---- counting ----

Tensor bincount(const Tensor& self, const std::optional<Tensor>& weights, int64_t minlength) {
  TORCH_CHECK(minlength >= 0, "minlength should be >= 0");
  TORCH_CHECK(at::isIntegralType(self.scalar_type(), false), "bincount only supports 1-d non-negative integral inputs.");
  const bool weighted = weights && weights->defined();
  if (self.dim() == 1 && self.numel() == 0) return at::zeros({minlength}, self.options().dtype(at::kLong));
  TORCH_CHECK(self.dim() == 1, "bincount only supports 1-d non-negative integral inputs.");
  auto [low, high] = self.aminmax();
  TORCH_CHECK(low.item<int64_t>() >= 0, "bincount only supports 1-d non-negative integral inputs.");
  TORCH_CHECK(!weighted || (weights->dim() == 1 && weights->size(0) == self.size(0)),
              "weights should be 1-d and have the same length as input");
  const int64_t bins = std::max(high.item<int64_t>() + 1, minlength);
  const Tensor index = self.to(at::kLong);
  if (!weighted) return at::zeros({bins}, self.options().dtype(at::kLong)).scatter_add_(0, index, at::ones_like(index));
  const Tensor w = weights->scalar_type() == at::kFloat ? *weights : weights->to(at::kDouble);
  return at::zeros({bins}, w.options()).scatter_add_(0, index, w);
}

/// The bounds of a histogram: those given, or the data's; widened where they are one point.
std::pair<double, double> bounds_of(const Tensor& self, double low, double high) {
  if (low == high && self.numel() > 0) {
    auto [a, b] = self.aminmax();
    low = a.item<double>();
    high = b.item<double>();
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
  TORCH_CHECK(std::isfinite(low) && std::isfinite(high), "range of [", low, ", ", high, "] is not finite");
  TORCH_CHECK(low < high, "max must be larger than min");
  return {low, high};
}
Tensor histc_new(const Tensor& self, int64_t bins, const at::Scalar& min, const at::Scalar& max) {
  want_float(self);
  TORCH_CHECK(bins > 0, "bins must be > 0");
  TORCH_CHECK(min.toDouble() <= max.toDouble(), "torch.histc: max must be larger than min");
  auto [low, high] = bounds_of(self, min.toDouble(), max.toDouble());
  const Tensor x = self.reshape(-1);
  const Tensor inside = (x >= low).logical_and_(x <= high);
  const Tensor place = ((x - low) * (static_cast<double>(bins) / (high - low))).floor_().clamp_(0, bins - 1);
  const Tensor index = at::where(inside, place, at::zeros({}, x.options())).to(at::kLong);
  return at::zeros({bins}, self.options()).scatter_add_(0, index, inside.to(self.scalar_type()));
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
  TORCH_CHECK((repeats >= 0).all().item<bool>(), "repeats can not be negative");
  const Tensor ends = repeats.cumsum(0);
  const int64_t total = ends[-1].item<int64_t>();
  TORCH_CHECK(!output_size || *output_size == total, "allocated size does not match required size");
  // Output i belongs to the first entry whose end lies beyond i.
  return at::searchsorted(ends, at::arange(total, ends.options()), /*out_int32=*/false, /*right=*/true).to(repeats.scalar_type());
}

// ---- segments ----

/// A segment's number for each of `n` rows: offsets are its bounds, [.., segments + 1].
Tensor segment_of(const Tensor& offsets, int64_t n) {
  auto sizes = offsets.sizes().vec();
  sizes.back() = n;
  const Tensor at = at::arange(n, offsets.options()).expand(sizes).contiguous();
  return at::searchsorted(offsets.slice(-1, 1).contiguous(), at, /*out_int32=*/false, /*right=*/true);
}
Tensor offsets_of(const std::optional<Tensor>& lengths, const std::optional<Tensor>& offsets) {
  if (offsets && offsets->defined()) return offsets->to(at::kLong).contiguous();
  const Tensor l = lengths->to(at::kLong);
  auto sizes = l.sizes().vec();
  sizes.back() = 1;
  return at::cat({at::zeros(sizes, l.options()), l.cumsum(-1)}, -1).contiguous();
}
/// `index` [.., n] given the trailing dimensions of data.
Tensor over(const Tensor& index, const Tensor& data) {
  Tensor i = index;
  while (i.dim() < data.dim()) i = i.unsqueeze(-1);
  return i.expand(data.sizes());
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
  if (by_length && !unsafe) {
    TORCH_CHECK(given.numel() == 0 || given.min().item<int64_t>() >= 0, "lengths contains negative value!");
    TORCH_CHECK(at::equal(given.sum(-1).to(at::kLong),
                          at::full(given.sizes().slice(0, given.dim() - 1), data.size(axis), given.options().dtype(at::kLong))),
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe.");
  }
  const Tensor bounds = offsets_of(lengths, offsets);
  const Reduction r = reduction_of(reduce);
  const int64_t segments = bounds.size(-1) - 1;
  auto sizes = data.sizes().vec();
  sizes[static_cast<size_t>(axis)] = segments + 1;  // the last takes the rows that belong to none
  const bool mean = r == Reduction::Mean;
  // An empty segment's mean is NaN, unless there is an initial value.
  Tensor out = at::full(sizes, initial ? *initial : identity_of(r, data.scalar_type()), data.options());
  const Tensor index = over(segment_of(bounds, data.size(axis)), data);
  if (segments && data.numel())
    out.scatter_reduce_(axis, index, data,
                        mean                   ? "sum"
                        : r == Reduction::Sum  ? "sum"
                        : r == Reduction::Prod ? "prod"
                        : r == Reduction::Max  ? "amax"
                                               : "amin",
                        true);
  out = out.narrow(axis, 0, segments).contiguous();
  if (mean) {
    const Tensor n = bounds.slice(-1, 1) - bounds.slice(-1, 0, -1);
    const Tensor wide = over(n, out);
    out = at::where(wide > 0, out / wide.to(out.scalar_type()).clamp_min(1),
                    initial ? out : at::full({}, std::numeric_limits<double>::quiet_NaN(), out.options()));
  }
  return out;
}
Tensor segment_reduce_backward(const Tensor& grad, const Tensor& output, const Tensor& data, c10::string_view reduce,
                               const std::optional<Tensor>& lengths, const std::optional<Tensor>& offsets, int64_t axis,
                               const std::optional<at::Scalar>& initial) {
  axis = at::maybe_wrap_dim(axis, data.dim());
  const Tensor bounds = offsets_of(lengths, offsets);
  const int64_t segments = bounds.size(-1) - 1;
  if (!segments || !data.numel()) return at::zeros_like(data);
  // Rows that belong to no segment get no gradient.
  const Tensor segment = over(segment_of(bounds, data.size(axis)), data), outside = segment == segments,
               index = segment.clamp_max(segments - 1);
  const auto per_row = [&](const Tensor& per_segment) { return per_segment.gather(axis, index); };
  const auto total = [&](const Tensor& rows) {
    return per_row(at::zeros(grad.sizes(), data.options()).scatter_add_(axis, index, rows.to(data.scalar_type()).masked_fill(outside, 0)));
  };
  const Tensor g = per_row(grad).masked_fill(outside, 0);
  const Reduction r = reduction_of(reduce);
  if (r == Reduction::Sum) return g;
  if (r == Reduction::Mean)
    return g / per_row(over(bounds.slice(-1, 1) - bounds.slice(-1, 0, -1), grad)).to(data.scalar_type()).clamp_min(1);
  const Tensor y = per_row(output);
  if (r == Reduction::Max || r == Reduction::Min) {
    // Equal extrema share the gradient.
    const Tensor hit = (data == y).logical_or_(data.isnan());
    return at::where(hit, g / total(hit), at::zeros({}, data.options())).masked_fill(outside, 0);
  }
  // The product of the others: by division, but of zeros and NaNs, by which nothing can be divided, by counting the others of them.
  const Tensor zero = data == 0, nan = data.isnan(), special = zero.logical_or(nan);
  const Tensor plain = data.masked_fill(special.logical_or(outside), 1);
  Tensor others =
      per_row(at::full(grad.sizes(), initial.value_or(1), data.options()).scatter_reduce_(axis, index, plain, "prod", true));
  const auto among_others = [&](const Tensor& rows) { return total(rows) > rows; };
  others = others.mul(among_others(zero).logical_not()).masked_fill(among_others(nan), std::numeric_limits<double>::quiet_NaN());
  return at::where(special, g * others, g * y / data).masked_fill(outside, 0);
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
