// Indexing by tensors and masks, along one dimension, and by position; rearrangement.
#include "index.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/WrapDimUtils.h>
#include <ATen/WrapDimUtilsMulti.h>
#include <ATen/native/IndexingUtils.h>
#include <ATen/native/TensorAdvancedIndexingUtils.h>
#include <ATen/ops/index_add_meta.h>
#include <ATen/ops/index_copy_meta.h>
#include <ATen/ops/index_meta.h>
#include <ATen/ops/index_reduce_meta.h>

#include "pointwise.h"

namespace anygpu::torch_frontend {

Tensor some_dims(const Tensor& t) {
  return t.dim() ? t : t.unsqueeze(0);
}

Counts count_nonzeros(const Tensor& mask) {
  Counts c;
  c.before = empty({mask.numel()}, at::kLong, mask);
  if (mask.numel() == 0) return c;
  record(calls::CountBefore{.dst = c.before, .src = some_dims(mask)});
  c.total = c.before[-1].item<int64_t>();
  return c;
}

Tensor index_along(const Tensor& index, int64_t dim, at::IntArrayRef sizes) {
  std::vector<int64_t> shape(sizes.size(), 1);
  shape[static_cast<size_t>(dim)] = index.numel();
  return index.reshape(shape).expand(sizes);
}

namespace {

using OptTensorList = c10::List<std::optional<Tensor>>;

// ---- index, index_put_ ----

/// A tensor with its indexed dimensions side by side, and what indexes them.
struct Indexed {
  Tensor self;                  ///< [before.., x_1 .. x_k, after..]
  std::vector<Tensor> indices;  ///< k, of one shape
  int64_t before = 0;
  std::vector<int64_t> sizes;  ///< [before.., I.., after..]
};

Indexed indexed(Tensor self, at::IOptTensorListRef list) {
  at::native::checkIndexTensorTypes(list, /*allow_int=*/true);
  TORCH_CHECK_INDEX(list.size() <= static_cast<size_t>(self.dim()), "too many indices for tensor of dimension ", self.dim(), " (got ",
                    list.size(), ")");
  auto all = at::native::expandTensors(self, list, /*ensure_same_device=*/true);
  try {
    all = at::expand_outplace(all);
  } catch (std::exception&) {
    TORCH_CHECK_INDEX(false, "shape mismatch: indexing tensors could not be broadcast together with shapes ",
                      at::native::shapes_as_str(all));
  }
  TORCH_CHECK_INDEX(all.size() <= static_cast<size_t>(self.dim()), "too many indices for tensor of dimension ", self.dim(), " (got ",
                    all.size(), ")");
  all.resize(static_cast<size_t>(self.dim()));
  if (!at::native::hasContiguousSubspace(all)) std::tie(self, all) = at::native::transposeToFront(self, all);
  Indexed r;
  r.self = self;
  bool seen = false, empty_dim = false;
  for (int64_t d = 0; d < self.dim(); ++d) {
    const Tensor& index = all[static_cast<size_t>(d)];
    if (!index.defined()) {
      r.before += !seen;
      r.sizes.push_back(self.size(d));
      continue;
    }
    if (!seen) r.sizes.insert(r.sizes.end(), index.sizes().begin(), index.sizes().end());
    seen = true;
    empty_dim = empty_dim || self.size(d) == 0;
    r.indices.push_back(index);
  }
  TORCH_CHECK_INDEX(!empty_dim || r.indices.empty() || r.indices[0].numel() == 0, "index is out of bounds for dimension with size 0");
  return r;
}

void record_index(const Indexed& x, const Tensor& out) {
  if (out.numel() == 0) return;
  if (x.indices.empty()) {
    out.copy_(x.self);
    return;
  }
  const c10::SmallVector<ViewArg, 4> indices(x.indices.begin(), x.indices.end());
  record(calls::Index{.dst = bits_of(out), .src = bits_of(x.self), .indices = indices, .before = x.before, .wraps = true});
}

/// A new result of an indexing: row-major, or ordered as PyTorch's iterator over permuted operands is.
Tensor indexed_result(const Tensor& self, const OptTensorList& list, const Indexed& x) {
  const auto contiguous = [](const std::optional<Tensor>& t) { return !t || !t->defined() || t->is_contiguous(); };
  if (self.is_contiguous() && std::all_of(list.begin(), list.end(), contiguous)) return empty(x.sizes, self);
  Iterated<at::meta::structured_index_Tensor, 1> iterated;
  iterated.meta(self, list);
  return iterated.outs[0];
}

Tensor index(const Tensor& self, const OptTensorList& list) {
  Indexed x = indexed(self, list);
  Tensor out = indexed_result(self, list, x);
  record_index(x, out);
  return out;
}

Tensor& index_out(const Tensor& self, const OptTensorList& list, Tensor& out) {
  TORCH_CHECK(self.scalar_type() == out.scalar_type(), "index_out: self (", self.scalar_type(), ") and result (", out.scalar_type(),
              ") must have the same scalar type");
  at::assert_no_internal_overlap(out);
  Indexed x = indexed(self, list);
  at::assert_no_overlap(out, self);
  at::native::resize_output(out, x.sizes);
  record_index(x, out);
  return out;
}

Tensor& index_put(Tensor& self, const OptTensorList& list, const Tensor& value, bool accumulate, bool /*unsafe*/) {
  TORCH_CHECK_INDEX(list.size() <= static_cast<size_t>(self.dim()), "too many indices for tensor of dimension ", self.dim(), " (got ",
                    list.size(), ")");
  if (at::has_internal_overlap(self) == at::MemOverlap::Yes)
    TORCH_WARN("Use of index_put_ on expanded tensors is deprecated. Please clone() the tensor before performing this operation.");
  if (!accumulate && value.dim() == 0) {
    auto [masked, mask] =
        at::native::canDispatchToMaskedFill(self, list, value.is_cpu() ? value : at::empty({}, value.options().device(at::kCPU)));
    if (masked && value.scalar_type() == self.scalar_type())
      return value.is_cpu() ? self.masked_fill_(mask, value.item()) : self.masked_fill_(mask, value);
  }
  const Tensor values = value.device() != self.device() && value.numel() == 1 && value.dim() == 0 ? value.to(self.device()) : value;
  at::assert_no_overlap(self, values);
  for (const std::optional<Tensor>& i : list)
    if (i && i->defined()) at::assert_no_overlap(self, *i);
  Indexed x = indexed(self, list);
  TORCH_CHECK(at::is_expandable_to(values.sizes(), x.sizes), "shape mismatch: value tensor of shape ", values.sizes(),
              " cannot be broadcast to indexing result of shape ", at::IntArrayRef(x.sizes));
  TORCH_CHECK(values.scalar_type() == self.scalar_type(), "Index put requires the source and destination dtypes match, got ",
              self.scalar_type(), " for the destination and ", values.scalar_type(), " for the source.");
  if (x.indices.empty()) {
    if (accumulate)
      x.self.add_(values);
    else
      x.self.copy_(values);
    return self;
  }
  if (accumulate) (void)dtype_of(self.scalar_type());
  const View v = expand_to(bits_of(values), x.sizes);
  if (product(v.sizes) == 0) return self;
  const c10::SmallVector<ViewArg, 4> indices(x.indices.begin(), x.indices.end());
  record(calls::IndexPut{.dst = bits_of(x.self),
                         .values = v,
                         .indices = indices,
                         .before = x.before,
                         .wraps = true,
                         .combine = accumulate ? combine_for(Combine::Add, self) : Combine::None});
  return self;
}

// ---- along one dimension, by a vector ----

Tensor& index_select_out(const Tensor& self, int64_t dim, const Tensor& index, Tensor& out) {
  if (self.is_quantized()) TORCH_CHECK(false, "index_select: quantized tensors are not supported");
  TORCH_CHECK_INDEX(index.dim() <= 1, "index_select(): Index is supposed to be a vector");
  TORCH_CHECK(!(self.dim() == 0 && index.numel() != 1), "index_select(): Index to scalar can have only 1 value, got ", index.numel(),
              " value(s)");
  TORCH_CHECK(index.scalar_type() == at::kLong || index.scalar_type() == at::kInt,
              "index_select(): Expected dtype int32 or int64 for index");
  TORCH_CHECK(self.scalar_type() == out.scalar_type(), "index_select(): self and result must have the same scalar type");
  dim = at::maybe_wrap_dim(dim, self.dim());
  at::assert_no_internal_overlap(out);
  at::assert_no_overlap(out, self);
  at::assert_no_overlap(out, index);
  auto sizes = self.sizes().vec();
  if (self.dim() > 0) sizes[static_cast<size_t>(dim)] = index.numel();
  at::native::resize_output(out, sizes);
  if (out.numel() == 0) return out;
  TORCH_CHECK_INDEX(self.numel() != 0, "index_select(): index out of range in self");
  const Tensor by = some_dims(index);
  const ViewArg indices[] = {by};
  record(calls::Index{
      .dst = bits_of(some_dims(out)), .src = bits_of(some_dims(self)), .indices = indices, .before = dim, .wraps = false});
  return out;
}
Tensor index_select(const Tensor& self, int64_t dim, const Tensor& index) {
  Tensor out = empty({0}, self);
  return index_select_out(self, dim, index, out);
}

/// out[.., index[i], ..] op= alpha * source[.., i, ..]
void put_along(const Tensor& out, int64_t dim, const Tensor& index, const Tensor& source, Combine combine,
               std::optional<anygpu::Scalar> alpha = {}) {
  if (source.numel() == 0 || index.numel() == 0) return;
  const Tensor to = some_dims(out), from = some_dims(source), by = some_dims(index);
  TORCH_CHECK_INDEX(to.size(dim) != 0, "index out of range in self");
  const ViewArg indices[] = {by};
  record(calls::IndexPut{.dst = to,
                         .values = from,
                         .indices = indices,
                         .before = dim,
                         .wraps = false,
                         .combine = combine_for(combine, out),
                         .scaled = alpha.has_value(),
                         .alpha = alpha.value_or(anygpu::Scalar())});
}

Tensor& index_add_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source, const at::Scalar& alpha, Tensor& out) {
  dim = meta_out<at::meta::structured_index_add>({&out}, self, dim, index, source, alpha).dim;
  if (!out.is_same(self)) out.copy_(self);
  const bool plain = !alpha.isFloatingPoint() ? alpha.toLong() == 1 : alpha.toDouble() == 1;
  if (plain)
    put_along(out, dim, index, source, Combine::Add);
  else
    put_along(out, dim, index, source, Combine::Add, to_scalar(alpha, compute_type(dtype_of(out.scalar_type()))));
  return out;
}

Tensor& index_copy_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source, Tensor& out) {
  dim = meta_out<at::meta::structured_index_copy>({&out}, self, dim, index, source).dim;
  if (!out.is_same(self)) out.copy_(self);
  put_along(out, dim, index, source, Combine::None);
  return out;
}

Tensor& index_reduce_out(const Tensor& self, int64_t dim, const Tensor& index, const Tensor& source, c10::string_view reduce,
                         bool include_self, Tensor& out) {
  TORCH_WARN_ONCE("index_reduce() is in beta and the API may change at any time.");
  dim = meta_out<at::meta::structured_index_reduce>({&out}, self, dim, index, source, reduce, include_self).dim;
  want_numbers(self);
  if (!out.is_same(self)) out.copy_(self);
  const Reduction r = reduction_of(reduce);
  if (!include_self) some_dims(out).index_fill_(dim, index.to(at::kLong), identity_of(r, out.scalar_type()));
  put_along(out, dim, index, source, combine_of(r));
  if (r == Reduction::Mean) {
    Tensor counts = include_self ? at::ones_like(out) : at::zeros_like(out);
    counts.index_add_(dim, index, at::ones_like(source));
    counts.masked_fill_(counts == 0, 1);
    if (out.is_floating_point())
      out.div_(counts);
    else
      out.div_(counts, "floor");
  }
  return out;
}

Tensor checked_fill_index(const Tensor& self, int64_t& dim, const Tensor& index) {
  TORCH_CHECK_INDEX(index.scalar_type() == at::kLong, "index_fill_(): Expected dtype int64 for index.");
  TORCH_CHECK(self.device() == index.device(), "index_fill_(): self and index are on different devices: ", self.device(), " and ",
              index.device());
  at::assert_no_overlap(self, index);
  if (at::has_internal_overlap(self) == at::MemOverlap::Yes)
    TORCH_WARN("Use of index_fill_ on expanded tensors is deprecated. Please clone() the tensor before performing this operation.");
  dim = at::maybe_wrap_dim(dim, self.dim());
  TORCH_CHECK(index.dim() <= 1, "Index has to be a vector/scalar");
  const Tensor to = some_dims(self);
  auto sizes = to.sizes().vec();
  if (index.numel()) TORCH_CHECK_INDEX(sizes[static_cast<size_t>(dim)] != 0, "index out of range in self");
  sizes[static_cast<size_t>(dim)] = index.numel();
  return index_along(index, dim, sizes);
}
Tensor& index_fill_scalar(Tensor& self, int64_t dim, const Tensor& index, const at::Scalar& value) {
  TORCH_CHECK(self.is_complex() || !value.isComplex(), "index_fill_(): Converting complex Scalar to non-complex type is not supported");
  const Tensor by = checked_fill_index(self, dim, index);
  if (by.numel() == 0) return self;
  record(calls::ScatterValue{.dst = some_dims(self),
                             .index = by,
                             .dim = dim,
                             .combine = Combine::None,
                             .wraps = true,
                             .value = to_scalar(value, dtype_of(self.scalar_type()))});
  return self;
}
Tensor& index_fill_tensor(Tensor& self, int64_t dim, const Tensor& index, const Tensor& value) {
  TORCH_CHECK(value.dim() == 0, "index_fill_ only supports a 0-dimensional value tensor, but got tensor with ", value.dim(),
              " dimension(s).");
  if (value.is_cpu()) return index_fill_scalar(self, dim, index, value.item());
  const Tensor by = checked_fill_index(self, dim, index);
  if (by.numel() == 0) return self;
  record(calls::Scatter{.dst = some_dims(self),
                        .index = by,
                        .src = expand_to(value, by.sizes()),
                        .dim = dim,
                        .combine = Combine::None,
                        .wraps = true});
  return self;
}

// ---- by position ----

Tensor& take_out(const Tensor& self, const Tensor& index, Tensor& out) {
  TORCH_CHECK(index.scalar_type() == at::kLong, "take(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK_INDEX(!(self.numel() == 0 && index.numel() != 0), "take(): tried to take from an empty tensor");
  TORCH_CHECK(self.scalar_type() == out.scalar_type(),
              "take(): self and out expected to have the same dtype, but got self.dtype = ", self.scalar_type(),
              " and out.dtype = ", out.scalar_type());
  TORCH_CHECK(self.device() == index.device(), "take(): self and index must be on the same device");
  at::assert_no_internal_overlap(out);
  at::assert_no_overlap(out, index);
  at::assert_no_overlap(out, self);
  at::native::resize_output(out, index.sizes());
  if (out.numel()) record(calls::Take{.dst = out, .src = self, .index = index});
  return out;
}
Tensor take(const Tensor& self, const Tensor& index) {
  Tensor out = empty({0}, self);
  return take_out(self, index, out);
}
Tensor& put(Tensor& self, const Tensor& index, const Tensor& source, bool accumulate) {
  at::assert_no_internal_overlap(self);
  TORCH_CHECK(index.scalar_type() == at::kLong, "put_(): Expected a long tensor for index, but got ", index.scalar_type());
  TORCH_CHECK(self.scalar_type() == source.scalar_type(),
              "put_(): self and source expected to have the same dtype, but got self.dtype = ", self.scalar_type(),
              " and source.dtype = ", source.scalar_type());
  TORCH_CHECK(self.device() == source.device() && self.device() == index.device(),
              "put_(): self, index and source expected to be in the same device");
  TORCH_CHECK_INDEX(source.numel() == index.numel(),
                    "put_(): Expected source and index to have the same number of elements, but got source.numel() = ", source.numel(),
                    ", index.numel() = ", index.numel());
  TORCH_CHECK_INDEX(!(self.numel() == 0 && index.numel() != 0), "put_(): Tried to put elements into an empty tensor");
  at::assert_no_overlap(self, source);
  at::assert_no_overlap(self, index);
  if (index.numel() == 0) return self;
  record(calls::Put{.dst = self,
                    .src = source.reshape(index.sizes()),
                    .index = index,
                    .combine = accumulate ? combine_for(Combine::Add, self) : Combine::None});
  return self;
}

// ---- masks ----

Tensor& nonzero_out(const Tensor& self, Tensor& out) {
  TORCH_CHECK(out.scalar_type() == at::kLong, "nonzero: Expected out tensor to have scalar type Long but got scalar type",
              out.scalar_type());
  at::assert_no_internal_overlap(out);
  at::assert_no_overlap(out, self);
  const Counts c = count_nonzeros(self);
  // One dimension's indices after another's, as PyTorch.
  if (at::native::resize_output(out, {c.total, self.dim()})) out.as_strided_({c.total, self.dim()}, {1, c.total});
  if (out.numel()) record(calls::Nonzero{.dst = out, .src = self, .before = c.before});
  return out;
}
Tensor nonzero(const Tensor& self) {
  Tensor out = empty({0}, at::kLong, self);
  return nonzero_out(self, out);
}
Tensor& nonzero_static_out(const Tensor& self, int64_t size, int64_t fill_value, Tensor& out) {
  TORCH_CHECK(size >= 0, "nonzero_static: 'size' must be an non-negative integer");
  TORCH_CHECK(out.scalar_type() == at::kLong, "nonzero_static: Expected out tensor to have scalar type Long but got scalar type",
              out.scalar_type());
  if (out.dim() != 2 || out.size(0) != size || out.size(1) != self.dim()) at::native::resize_output(out, {size, self.dim()});
  if (out.numel() == 0) return out;
  out.fill_(fill_value);
  if (self.numel() == 0) return out;
  Tensor before = empty({self.numel()}, at::kLong, self);
  record(calls::CountBefore{.dst = before, .src = some_dims(self)});
  record(calls::Nonzero{.dst = out, .src = self, .before = before});
  return out;
}
Tensor nonzero_static(const Tensor& self, int64_t size, int64_t fill_value) {
  TORCH_CHECK(size >= 0, "nonzero_static: 'size' must be an non-negative integer");
  Tensor out = empty({size, self.dim()}, at::kLong, self);
  return nonzero_static_out(self, size, fill_value, out);
}

Tensor& masked_select_out(const Tensor& self, const Tensor& mask, Tensor& out) {
  TORCH_CHECK(mask.scalar_type() == at::kBool, "masked_select: expected BoolTensor for mask");
  TORCH_CHECK(self.scalar_type() == out.scalar_type(), "masked_select(): self and result must have the same scalar type");
  TORCH_CHECK(self.device() == mask.device(), "masked_select(): expected self and mask to be on the same device, but got mask on ",
              mask.device(), " and self on ", self.device());
  at::assert_no_internal_overlap(out);
  at::assert_no_overlap(out, self);
  at::assert_no_overlap(out, mask);
  auto [m, x] = at::expand_outplace(mask, self);
  const Counts c = count_nonzeros(*m);
  at::native::resize_output(out, {c.total});
  if (c.total) record(calls::Compress{.dst = out, .src = some_dims(*x), .mask = some_dims(*m), .before = c.before});
  return out;
}
Tensor masked_select(const Tensor& self, const Tensor& mask) {
  Tensor out = empty({0}, self);
  return masked_select_out(self, mask, out);
}

Tensor& masked_scatter(Tensor& self, const Tensor& mask, const Tensor& source) {
  at::assert_no_internal_overlap(self);
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), "masked_scatter: expected self and source to have same dtypes but got",
              self.scalar_type(), " and ", source.scalar_type());
  TORCH_CHECK(self.device() == mask.device() && self.device() == source.device(),
              "masked_scatter: expected self, mask and source to be on the same device");
  TORCH_CHECK(mask.scalar_type() == at::kBool, "masked_scatter_ only supports boolean masks, but got mask with dtype ", mask.scalar_type());
  const Tensor m = mask.expand(self.sizes());
  if (self.numel() == 0) return self;
  Tensor before = empty({m.numel()}, at::kLong, self);
  record(calls::CountBefore{.dst = before, .src = some_dims(m)});
  record(calls::Expand{.dst = some_dims(self), .mask = some_dims(m), .before = before, .src = source.contiguous().view(-1)});
  return self;
}

// ---- rearrangement ----

Tensor flip(const Tensor& self, at::IntArrayRef dims) {
  const uint64_t mask = at::dim_list_to_bitset(dims, self.dim()).to_ullong();
  Tensor out = empty_like(self);
  if (out.numel()) record(calls::Flip{.dst = some_dims(out), .src = some_dims(self), .mask = self.dim() ? mask : 0});
  return out;
}

Tensor roll_by(const Tensor& self, at::IntArrayRef shifts, at::IntArrayRef dims) {
  TORCH_CHECK(!shifts.empty(), "`shifts` required");
  if (dims.empty() && shifts.size() == 1) {
    const Tensor flat = self.contiguous().view(self.numel());
    return roll_by(flat, shifts, at::IntArrayRef{0}).view(self.sizes());
  }
  TORCH_CHECK(shifts.size() == dims.size(), "shifts and dimensions must align. shifts: ", shifts.size(), ", dims:", dims.size());
  Dims along, by;
  at::MemoryFormat format = self.suggest_memory_format();
  for (size_t i = 0; i < dims.size(); ++i) {
    const int64_t d = at::maybe_wrap_dim(dims[i], self.dim(), /*wrap_scalar=*/false), n = std::max<int64_t>(self.size(d), 1);
    along.push_back(d);
    by.push_back((shifts[i] % n + n) % n);
    if (shifts[i] % n == 0) format = at::MemoryFormat::Contiguous;  // PyTorch joins two parts, of which one is empty
  }
  Tensor out = empty_in(format, self.sizes(), self);
  if (out.numel()) record(calls::Roll{.dst = bits_of(out), .src = bits_of(self), .dims = along, .shifts = by});
  return out;
}

/// The CPU's kernel refuses a dimension out of range in its own way.
Tensor narrow_copy(const Tensor& self, int64_t dim, int64_t start, int64_t length) {
  const at::IntArrayRef self_sizes = self.sizes();
  if (!self_sizes.empty()) TORCH_CHECK(dim < static_cast<int64_t>(self_sizes.size()));
  const int64_t size = self_sizes.empty() ? 0 : self.size(dim);
  TORCH_CHECK(self_sizes.empty() || length >= 0, "start (", start < 0 ? start + size : start, ") + length (", length,
              ") exceeds dimension size (", size, ").");
  return self.narrow(dim, start, length).clone(at::MemoryFormat::Contiguous);
}

/// Overlapping windows add up; others are copied to their place.
Tensor unfold_backward(const Tensor& grad, at::IntArrayRef sizes, int64_t dim, int64_t size, int64_t step) {
  Tensor out = at::zeros(sizes, grad.options());
  if (grad.numel() == 0) return out;
  if (step >= size || out.dim() == 0) {
    out.unfold(dim, size, step).copy_(grad);
    return out;
  }
  dim = at::maybe_wrap_dim(dim, out.dim());
  const auto longs = grad.options().dtype(at::kLong);
  const Tensor index = (at::arange(grad.size(dim), longs) * step).unsqueeze(1) + at::arange(size, longs);
  return out.index_add_(dim, index.reshape(-1), grad.movedim(-1, dim + 1).flatten(dim, dim + 1));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace op = at::_ops;
  m.impl("index.Tensor", real<op::index_Tensor, index>);
  m.impl("index.Tensor_out", real<op::index_Tensor_out, index_out>);
  m.impl("_index_put_impl_", real<op::_index_put_impl_, index_put>);
  m.impl("index_select", real<op::index_select, index_select>);
  m.impl("index_select.out", real<op::index_select_out, index_select_out>);
  m.impl("index_add.out", real<op::index_add_out, index_add_out>);
  m.impl("index_copy.out", real<op::index_copy_out, index_copy_out>);
  on<at::_ops::index_reduce_out, index_reduce_out>(m);
  m.impl("index_fill_.int_Scalar", real<op::index_fill__int_Scalar, index_fill_scalar>);
  m.impl("index_fill_.int_Tensor", real<op::index_fill__int_Tensor, index_fill_tensor>);
  m.impl("take", real<op::take, take>);
  m.impl("take.out", real<op::take_out, take_out>);
  m.impl("put_", real<op::put_, put>);
  m.impl("nonzero", real<op::nonzero, nonzero>);
  m.impl("nonzero.out", real<op::nonzero_out, nonzero_out>);
  m.impl("nonzero_static", real<op::nonzero_static, nonzero_static>);
  m.impl("nonzero_static.out", real<op::nonzero_static_out, nonzero_static_out>);
  m.impl("masked_select", real<op::masked_select, masked_select>);
  m.impl("masked_select.out", real<op::masked_select_out, masked_select_out>);
  m.impl("masked_scatter_", real<op::masked_scatter_, masked_scatter>);
  on<at::_ops::unfold_backward, unfold_backward>(m);
  m.impl("narrow_copy", narrow_copy);
  m.impl("flip", real<op::flip, flip>);
  m.impl("roll", real<op::roll, roll_by>);
}

}  // namespace
}  // namespace anygpu::torch_frontend
