// Reductions.
#include <ATen/WrapDimUtils.h>
#include <ATen/WrapDimUtilsMulti.h>
#include <ATen/native/ReduceOpsUtils.h>
#include <ATen/ops/all_meta.h>
#include <ATen/ops/amax_meta.h>
#include <ATen/ops/amin_meta.h>
#include <ATen/ops/aminmax_meta.h>
#include <ATen/ops/any_meta.h>
#include <ATen/ops/argmax_meta.h>
#include <ATen/ops/argmin_meta.h>
#include <ATen/ops/linalg_vector_norm_meta.h>
#include <ATen/ops/max_meta.h>
#include <ATen/ops/mean_meta.h>
#include <ATen/ops/min_meta.h>
#include <ATen/ops/norm_meta.h>
#include <ATen/ops/prod_meta.h>
#include <ATen/ops/sum_meta.h>

#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Scalar;
using at::ScalarType;
using at::Tensor;
using OptDtype = std::optional<ScalarType>;

uint64_t mask_of(at::OptionalIntArrayRef dims, const Tensor& self, bool none_is_all = true) {
  return at::native::make_dim_mask(dims, self.dim(), !none_is_all).to_ullong() & ((uint64_t{1} << self.dim()) - 1);
}
uint64_t mask_of(std::optional<int64_t> dim, const Tensor& self) {
  if (!dim || !self.dim()) return (uint64_t{1} << self.dim()) - 1;
  return uint64_t{1} << at::maybe_wrap_dim(*dim, self.dim());
}

uint64_t all_of(const Tensor& self) {
  return (uint64_t{1} << self.dim()) - 1;
}

/// A result with its reduced dimensions put back as size 1.
View kept_view(const Tensor& out, const Tensor& self, uint64_t mask) {
  View v = own_view_of(out);
  if (v.rank() == self.dim()) return v;
  for (int d = 0; d < static_cast<int>(self.dim()); ++d) {
    if (!(mask >> d & 1)) continue;
    v.sizes.insert(d, 1);
    v.strides.insert(d, 0);
  }
  return v;
}

/// Records a reduction of `self` into results that have their shapes already. An empty `self` gives `identity`.
void reduce(const Op& op, std::initializer_list<const Tensor*> outs, const Tensor& self, uint64_t mask, ScalarType compute,
            std::optional<Scalar> identity = std::nullopt, c10::ArrayRef<anygpu::Scalar> scalars = {},
            std::optional<int64_t> attribute = {}) {
  const Tensor& first = **outs.begin();
  if (first.numel() == 0) return;
  if (self.numel() == 0) {
    TORCH_CHECK(identity, "reduction of an empty tensor that has no identity");
    for (const Tensor* out : outs) out->fill_(*identity);
    return;
  }
  std::array<View, 2> views;
  c10::SmallVector<Operand, 3> operands;
  size_t i = 0;
  for (const Tensor* out : outs) operands.emplace_back(views[i++] = kept_view(*out, self, mask));
  operands.emplace_back(self);
  c10::SmallVector<int64_t, 3> attrs{attr(compute), static_cast<int64_t>(mask)};
  if (attribute) attrs.push_back(*attribute);
  record(op, operands, scalars, attrs);
}

double nan() {
  return std::numeric_limits<double>::quiet_NaN();
}

// ---- sums and products ----

Tensor& sum_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_sum_dim_IntList>({&out}, self, dim, keepdim, dtype);
  reduce(ANYGPU_OP("sum"), {&out}, self, mask_of(dim, self), out.scalar_type(), 0);
  return out;
}
Tensor sum_dims(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  const uint64_t mask = mask_of(dim, self);
  Tensor out = empty(at::native::shape_from_dim_mask(self, mask, keepdim), at::native::get_dtype_from_self(self, dtype, true), self);
  reduce(ANYGPU_OP("sum"), {&out}, self, mask, out.scalar_type(), 0);
  return out;
}
Tensor& mean_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_mean_dim>({&out}, self, dim, keepdim, dtype);
  reduce(ANYGPU_OP("mean"), {&out}, self, mask_of(dim, self), out.scalar_type(), nan());
  return out;
}
Tensor& nansum_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  TORCH_CHECK(!self.is_complex(), "nansum does not support complex inputs");
  TORCH_CHECK(!dtype || *dtype == out.scalar_type(), "nansum: provided dtype must match dtype of result. Got ", out.scalar_type(), " and ",
              *dtype, ".");
  const uint64_t mask = mask_of(dim, self);
  at::native::resize_output(out, at::native::shape_from_dim_mask(self, mask, keepdim));
  reduce(ANYGPU_OP("nansum"), {&out}, self, mask, out.scalar_type(), 0);
  return out;
}
Tensor nansum(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  TORCH_CHECK(!self.is_complex(), "nansum does not support complex inputs");
  Tensor out = empty({0}, at::native::get_dtype_from_self(self, dtype, true), self);
  return nansum_out(self, dim, keepdim, std::nullopt, out);
}
Tensor& prod_dim_out(const Tensor& self, int64_t dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_prod_dim_int>({&out}, self, dim, keepdim, dtype);
  reduce(ANYGPU_OP("prod"), {&out}, self, mask_of(std::optional(dim), self), out.scalar_type(), 1);
  return out;
}
Tensor prod(const Tensor& self, OptDtype dtype) {
  Tensor out = empty({}, at::native::get_dtype_from_self(self, dtype, true), self);
  reduce(ANYGPU_OP("prod"), {&out}, self, all_of(self), out.scalar_type(), 1);
  return out;
}
Tensor count_nonzero(const Tensor& self, at::IntArrayRef dim) {
  const uint64_t mask = mask_of(dim, self);
  Tensor out = empty(at::native::shape_from_dim_mask(self, mask, false), at::kLong, self);
  reduce(ANYGPU_OP("count_nonzero"), {&out}, self, mask, at::kLong, 0);
  return out;
}
Tensor trace(const Tensor& self) {
  TORCH_CHECK(self.dim() == 2, "trace: expected a matrix, but got tensor with dim ", self.dim());
  want_numbers(self);
  (void)dtype_of(self.scalar_type());
  return self.diagonal().sum();
}

// ---- truth ----

template <class Meta, class... Args>
Tensor& logical_out(const Op& op, bool identity, const Tensor& self, uint64_t mask, Tensor& out, Args&&... args) {
  meta_out<Meta>({&out}, self, std::forward<Args>(args)...);
  reduce(op, {&out}, self, mask, at::kBool, identity);
  return out;
}
Tensor& any_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_any_dim>(ANYGPU_OP("any"), false, self, mask_of(std::optional(dim), self), out, dim, keepdim);
}
Tensor& all_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_all_dim>(ANYGPU_OP("all"), true, self, mask_of(std::optional(dim), self), out, dim, keepdim);
}
Tensor& any_dims_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_any_dims>(ANYGPU_OP("any"), false, self, mask_of(dim, self, false), out, dim, keepdim);
}
Tensor& all_dims_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_all_dims>(ANYGPU_OP("all"), true, self, mask_of(dim, self, false), out, dim, keepdim);
}
Tensor& any_all_out(const Tensor& self, Tensor& out) {
  return logical_out<at::meta::structured_any>(ANYGPU_OP("any"), false, self, all_of(self), out);
}
Tensor& all_all_out(const Tensor& self, Tensor& out) {
  return logical_out<at::meta::structured_all>(ANYGPU_OP("all"), true, self, all_of(self), out);
}
bool equal(const Tensor& a_in, const Tensor& b_in) {
  // Unsigned integers without arithmetic here are equal where their bits are.
  const bool bits = at::isIntegralType(a_in.scalar_type(), true) && a_in.scalar_type() == b_in.scalar_type();
  const Tensor a = bits ? bits_of(a_in) : a_in, b = bits ? bits_of(b_in) : b_in;
  TORCH_CHECK(a.device() == b.device(), "Cannot compare two tensors on different devices. Got: ", a.device(), " and ", b.device());
  TORCH_CHECK(a.dtype() == b.dtype(), "Expected all tensors to have the same dtype, but found at least two dtypes: ", a.dtype(), " and ",
              b.dtype());
  if (a.sizes() != b.sizes()) return false;
  if (a.numel() == 0) return true;
  Tensor out = empty({}, at::kBool, a);
  if (a.dim() == 0) {
    record(ANYGPU_OP("equal"), {out.view({1}), a.view({1}), b.view({1})}, {}, {attr(a.scalar_type())});
  } else {
    View v = kept_view(out, a, all_of(a));
    record(ANYGPU_OP("equal"), {v, a, b}, {}, {attr(a.scalar_type())});
  }
  return out.item<bool>();
}

// ---- extrema ----

Tensor& amax_out(const Tensor& self, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_amax>({&out}, self, dim, keepdim);
  reduce(ANYGPU_OP("amax"), {&out}, self, mask_of(dim, self), self.scalar_type());
  return out;
}
Tensor& amin_out(const Tensor& self, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_amin>({&out}, self, dim, keepdim);
  reduce(ANYGPU_OP("amin"), {&out}, self, mask_of(dim, self), self.scalar_type());
  return out;
}
template <bool greatest>
const Op& extremum_op() {
  if constexpr (greatest)
    return ANYGPU_OP("amax");
  else
    return ANYGPU_OP("amin");
}
template <bool greatest>
Tensor& extremum_out(const Tensor& self, Tensor& out) {
  TORCH_CHECK(self.device() == out.device());
  TORCH_CHECK(at::canCast(c10::typeMetaToScalarType(self.dtype()), c10::typeMetaToScalarType(out.dtype())));
  TORCH_CHECK(self.numel() > 0, greatest ? "max" : "min",
              "(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  at::native::resize_output(out, {});
  reduce(extremum_op<greatest>(), {&out}, self, all_of(self), self.scalar_type());
  return out;
}
template <bool greatest>
Tensor extremum(const Tensor& self) {
  Tensor out = empty({}, self);
  return extremum_out<greatest>(self, out);
}
std::tuple<Tensor&, Tensor&> max_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  meta_out<at::meta::structured_max_dim>({&values, &indices}, self, dim, keepdim);
  reduce(ANYGPU_OP("max_with_index"), {&values, &indices}, self, mask_of(std::optional(dim), self), self.scalar_type());
  return {values, indices};
}
std::tuple<Tensor&, Tensor&> min_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  meta_out<at::meta::structured_min_dim>({&values, &indices}, self, dim, keepdim);
  reduce(ANYGPU_OP("min_with_index"), {&values, &indices}, self, mask_of(std::optional(dim), self), self.scalar_type());
  return {values, indices};
}
Tensor& argmax_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_argmax>({&out}, self, dim, keepdim);
  reduce(ANYGPU_OP("argmax"), {&out}, self, mask_of(dim, self), self.scalar_type());
  return out;
}
Tensor& argmin_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_argmin>({&out}, self, dim, keepdim);
  reduce(ANYGPU_OP("argmin"), {&out}, self, mask_of(dim, self), self.scalar_type());
  return out;
}
std::tuple<Tensor&, Tensor&> aminmax_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& min, Tensor& max) {
  meta_out<at::meta::structured_aminmax>({&min, &max}, self, dim, keepdim);
  reduce(ANYGPU_OP("aminmax"), {&min, &max}, self, mask_of(dim, self), self.scalar_type());
  return {min, max};
}
std::tuple<Tensor, Tensor> aminmax_all(const Tensor& self) {
  return at::aminmax(self);
}
std::tuple<Tensor, Tensor> aminmax_dim(const Tensor& self, int64_t dim, bool keepdim) {
  return at::aminmax(self, dim, keepdim);
}

// ---- moments ----

/// Shapes and records var and its kin. An absent correction is 1.
void moments(const char* name, std::initializer_list<const Tensor*> outs, const Tensor& self, at::OptionalIntArrayRef dim,
             const std::optional<Scalar>& correction, bool keepdim, bool root) {
  TORCH_CHECK(at::isFloatingType(self.scalar_type()), "std and var only support floating point and complex dtypes");
  TORCH_CHECK(at::isFloatingType((*outs.begin())->scalar_type()), name, ": result type must be floating point");
  const double c = correction ? correction->toDouble() : 1.0;
  const uint64_t mask = mask_of(dim, self);
  for (const Tensor* out : outs) at::native::resize_output(*out, at::native::shape_from_dim_mask(self, mask, keepdim));
  double n = 1;
  for (int64_t d = 0; d < self.dim(); ++d)
    if (mask >> d & 1) n *= static_cast<double>(self.size(d));
  if (n - c <= 0 && self.numel())
    TORCH_WARN(name,
               "(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor (input numel divided by "
               "output numel).");
  reduce(outs.size() > 1 ? ANYGPU_OP("var_mean") : ANYGPU_OP("var"), outs, self, mask, self.scalar_type(), nan(), {anygpu::Scalar(c)},
         root);
}
template <bool root>
Tensor& var_out(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim, Tensor& out) {
  moments(root ? "std" : "var", {&out}, self, dim, correction, keepdim, root);
  return out;
}
template <bool root>
Tensor var(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<Scalar>& correction, bool keepdim) {
  Tensor out = empty({0}, self);
  moments(root ? "std" : "var", {&out}, self, dim, correction, keepdim, root);
  return out;
}
template <bool root>
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<Scalar>& correction,
                                    bool keepdim) {
  Tensor out = empty({0}, self), mean = empty({0}, self);
  moments(root ? "std_mean" : "var_mean", {&out, &mean}, self, dim, correction, keepdim, root);
  return {out, mean};
}

// ---- norms ----

/// As NormKind in the catalogue.
int64_t norm_kind(double p) {
  if (p == 0) return 0;
  if (p == 1) return 1;
  if (p == 2) return 2;
  if (std::isinf(p)) return p > 0 ? 3 : 4;
  return 5;
}
Tensor& vector_norm_out(const Tensor& self, const Scalar& ord, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_linalg_vector_norm>({&out}, self, ord, dim, keepdim, dtype);
  const double p = ord.toDouble();
  const ScalarType t = out.scalar_type();
  reduce(ANYGPU_OP("vector_norm"), {&out}, self, mask_of(dim, self), t, p < 0 ? std::numeric_limits<double>::infinity() : 0.0,
         {to_scalar(p, dtype_of(t))}, norm_kind(p));
  return out;
}
Tensor vector_norm(const Tensor& self, const Scalar& ord, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  // The meta function checks far more than this common case needs.
  const bool plain = !dtype && self.numel() && ord.toDouble() >= 0 && at::isFloatingType(self.scalar_type());
  Tensor out = empty(plain ? at::native::shape_from_dim_mask(self, mask_of(dim, self), keepdim) : at::DimVector{0},
                     dtype.value_or(self.scalar_type()), self);
  if (!plain) return vector_norm_out(self, ord, dim, keepdim, dtype, out);
  const double p = ord.toDouble();
  reduce(ANYGPU_OP("vector_norm"), {&out}, self, mask_of(dim, self), self.scalar_type(), std::nullopt,
         {to_scalar(p, dtype_of(self.scalar_type()))}, norm_kind(p));
  return out;
}
Tensor& norm_out(const Tensor& self, const std::optional<Scalar>& p, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_norm_ScalarOpt_dim>({&out}, self, p ? at::OptionalScalarRef(*p) : at::OptionalScalarRef(), dim, keepdim);
  return at::linalg_vector_norm_out(out, self, p.value_or(2.0), dim, keepdim, out.scalar_type());
}
Tensor& norm_dtype_out(const Tensor& self, const std::optional<Scalar>& p, at::IntArrayRef dim, bool keepdim, ScalarType dtype,
                       Tensor& out) {
  meta_out<at::meta::structured_norm_ScalarOpt_dim_dtype>({&out}, self, p ? at::OptionalScalarRef(*p) : at::OptionalScalarRef(), dim,
                                                          keepdim, dtype);
  return at::linalg_vector_norm_out(out, self, p.value_or(2.0), dim, keepdim, dtype);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  namespace op = at::_ops;
  m.impl("sum.IntList_out", real<op::sum_IntList_out, sum_out>);
  m.impl("sum.dim_IntList", real<op::sum_dim_IntList, sum_dims>);
  m.impl("mean.out", real<op::mean_out, mean_out>);
  m.impl("nansum.out", real<op::nansum_out, nansum_out>);
  m.impl("nansum", real<op::nansum, nansum>);
  m.impl("prod.int_out", real<op::prod_int_out, prod_dim_out>);
  m.impl("prod", real<op::prod, prod>);
  m.impl("count_nonzero.dim_IntList", real<op::count_nonzero_dim_IntList, count_nonzero>);
  on<at::_ops::trace, trace>(m);
  m.impl("any.out", real<op::any_out, any_dim_out>);
  m.impl("all.out", real<op::all_out, all_dim_out>);
  m.impl("any.dims_out", real<op::any_dims_out, any_dims_out>);
  m.impl("all.dims_out", real<op::all_dims_out, all_dims_out>);
  m.impl("any.all_out", real<op::any_all_out, any_all_out>);
  m.impl("all.all_out", real<op::all_all_out, all_all_out>);
  m.impl("equal", real<op::equal, equal>);
  on<at::_ops::amax_out, amax_out>(m);
  on<at::_ops::amin_out, amin_out>(m);
  on<at::_ops::max, extremum<true>>(m);
  on<at::_ops::min, extremum<false>>(m);
  on<at::_ops::max_unary_out, extremum_out<true>>(m);
  on<at::_ops::min_unary_out, extremum_out<false>>(m);
  on<at::_ops::max_dim_max, max_dim_out>(m);
  on<at::_ops::min_dim_min, min_dim_out>(m);
  on<at::_ops::argmax_out, argmax_out>(m);
  on<at::_ops::argmin_out, argmin_out>(m);
  on<at::_ops::aminmax_out, aminmax_out>(m);
  on<at::_ops::_aminmax, aminmax_all>(m);
  on<at::_ops::_aminmax_dim, aminmax_dim>(m);
  m.impl("var.correction", real<op::var_correction, var<false>>);
  m.impl("std.correction", real<op::std_correction, var<true>>);
  m.impl("var.correction_out", real<op::var_correction_out, var_out<false>>);
  m.impl("std.correction_out", real<op::std_correction_out, var_out<true>>);
  m.impl("var_mean.correction", real<op::var_mean_correction, var_mean<false>>);
  m.impl("std_mean.correction", real<op::std_mean_correction, var_mean<true>>);
  m.impl("linalg_vector_norm.out", real<op::linalg_vector_norm_out, vector_norm_out>);
  m.impl("linalg_vector_norm", real<op::linalg_vector_norm, vector_norm>);
  m.impl("norm.out", real<op::norm_out, norm_out>);
  m.impl("norm.dtype_out", real<op::norm_dtype_out, norm_dtype_out>);
}

}  // namespace
}  // namespace anygpu::torch_frontend
