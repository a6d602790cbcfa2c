// Reductions.
#include "anygpu/calls/reduce.h"

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

/// Records a reduction of `self` into results that have their shapes already; make(kept views of the results) is the call. An empty `self`
/// gives `identity`.
template <size_t N, class Make>
void reduced(const Tensor* const (&outs)[N], const Tensor& self, uint64_t mask, const std::optional<at::Scalar>& identity, Make make) {
  if (outs[0]->numel() == 0) return;
  if (self.numel() == 0) {
    TORCH_CHECK(identity, "reduction of an empty tensor that has no identity");
    for (const Tensor* out : outs) out->fill_(*identity);
    return;
  }
  const auto kept = [&](const Tensor* out) { return calls::kept(own_view_of(*out), static_cast<int>(self.dim()), mask); };
  if constexpr (N == 1)
    record(make(kept(outs[0])));
  else
    record(make(kept(outs[0]), kept(outs[1])));
}
void reduce(calls::Reduction kind, const Tensor& out, const Tensor& self, uint64_t mask, ScalarType compute,
            const std::optional<at::Scalar>& identity = std::nullopt) {
  reduced({&out}, self, mask, identity, [&](const View& dst) {
    return calls::Reduce{.kind = kind, .dst = dst, .src = self, .compute = dtype_of(compute), .mask = mask};
  });
}
void reduce(calls::Extremum kind, const Tensor& values, const Tensor& indices, const Tensor& self, uint64_t mask) {
  reduced({&values, &indices}, self, mask, std::nullopt, [&](const View& v, const View& i) {
    return calls::ReduceWithIndex{.kind = kind, .values = v, .indices = i, .src = self, .mask = mask};
  });
}

double nan() {
  return std::numeric_limits<double>::quiet_NaN();
}

// ---- sums and products ----

Tensor& sum_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_sum_dim_IntList>({&out}, self, dim, keepdim, dtype);
  reduce(calls::Reduction::Sum, out, self, mask_of(dim, self), out.scalar_type(), 0);
  return out;
}
Tensor sum_dims(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  const uint64_t mask = mask_of(dim, self);
  Tensor out = empty(at::native::shape_from_dim_mask(self, mask, keepdim), at::native::get_dtype_from_self(self, dtype, true), self);
  reduce(calls::Reduction::Sum, out, self, mask, out.scalar_type(), 0);
  return out;
}
Tensor& mean_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_mean_dim>({&out}, self, dim, keepdim, dtype);
  reduce(calls::Reduction::Mean, out, self, mask_of(dim, self), out.scalar_type(), nan());
  return out;
}
Tensor& nansum_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  TORCH_CHECK(!self.is_complex(), "nansum does not support complex inputs");
  TORCH_CHECK(!dtype || *dtype == out.scalar_type(), "nansum: provided dtype must match dtype of result. Got ", out.scalar_type(), " and ",
              *dtype, ".");
  const uint64_t mask = mask_of(dim, self);
  at::native::resize_output(out, at::native::shape_from_dim_mask(self, mask, keepdim));
  reduce(calls::Reduction::NanSum, out, self, mask, out.scalar_type(), 0);
  return out;
}
Tensor nansum(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  TORCH_CHECK(!self.is_complex(), "nansum does not support complex inputs");
  Tensor out = empty({0}, at::native::get_dtype_from_self(self, dtype, true), self);
  return nansum_out(self, dim, keepdim, std::nullopt, out);
}
Tensor& prod_dim_out(const Tensor& self, int64_t dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_prod_dim_int>({&out}, self, dim, keepdim, dtype);
  reduce(calls::Reduction::Prod, out, self, mask_of(std::optional(dim), self), out.scalar_type(), 1);
  return out;
}
Tensor prod(const Tensor& self, OptDtype dtype) {
  Tensor out = empty({}, at::native::get_dtype_from_self(self, dtype, true), self);
  reduce(calls::Reduction::Prod, out, self, all_of(self), out.scalar_type(), 1);
  return out;
}
Tensor count_nonzero(const Tensor& self, at::IntArrayRef dim) {
  const uint64_t mask = mask_of(dim, self);
  Tensor out = empty(at::native::shape_from_dim_mask(self, mask, false), at::kLong, self);
  reduce(calls::Reduction::CountNonzero, out, self, mask, at::kLong, 0);
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
Tensor& logical_out(calls::Reduction kind, bool identity, const Tensor& self, uint64_t mask, Tensor& out, Args&&... args) {
  meta_out<Meta>({&out}, self, std::forward<Args>(args)...);
  reduce(kind, out, self, mask, at::kBool, identity);
  return out;
}
Tensor& any_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_any_dim>(calls::Reduction::Any, false, self, mask_of(std::optional(dim), self), out, dim,
                                                   keepdim);
}
Tensor& all_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_all_dim>(calls::Reduction::All, true, self, mask_of(std::optional(dim), self), out, dim, keepdim);
}
Tensor& any_dims_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_any_dims>(calls::Reduction::Any, false, self, mask_of(dim, self, false), out, dim, keepdim);
}
Tensor& all_dims_out(const Tensor& self, at::OptionalIntArrayRef dim, bool keepdim, Tensor& out) {
  return logical_out<at::meta::structured_all_dims>(calls::Reduction::All, true, self, mask_of(dim, self, false), out, dim, keepdim);
}
Tensor& any_all_out(const Tensor& self, Tensor& out) {
  return logical_out<at::meta::structured_any>(calls::Reduction::Any, false, self, all_of(self), out);
}
Tensor& all_all_out(const Tensor& self, Tensor& out) {
  return logical_out<at::meta::structured_all>(calls::Reduction::All, true, self, all_of(self), out);
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
  const DType type = dtype_of(a.scalar_type());
  if (a.dim() == 0) {
    record(calls::Equal{.dst = out.view({1}), .a = a.view({1}), .b = b.view({1}), .compute = type});
  } else {
    record(calls::Equal{.dst = calls::kept(own_view_of(out), static_cast<int>(a.dim()), all_of(a)), .a = a, .b = b, .compute = type});
  }
  return out.item<bool>();
}

// ---- extrema ----

Tensor& amax_out(const Tensor& self, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_amax>({&out}, self, dim, keepdim);
  reduce(calls::Reduction::Max, out, self, mask_of(dim, self), self.scalar_type());
  return out;
}
Tensor& amin_out(const Tensor& self, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_amin>({&out}, self, dim, keepdim);
  reduce(calls::Reduction::Min, out, self, mask_of(dim, self), self.scalar_type());
  return out;
}
template <bool greatest>
Tensor& extremum_out(const Tensor& self, Tensor& out) {
  TORCH_CHECK(self.device() == out.device());
  TORCH_CHECK(at::canCast(c10::typeMetaToScalarType(self.dtype()), c10::typeMetaToScalarType(out.dtype())));
  TORCH_CHECK(self.numel() > 0, greatest ? "max" : "min",
              "(): Expected reduction dim to be specified for input.numel() == 0. Specify the reduction dim with the 'dim' argument.");
  at::native::resize_output(out, {});
  reduce(greatest ? calls::Reduction::Max : calls::Reduction::Min, out, self, all_of(self), self.scalar_type());
  return out;
}
template <bool greatest>
Tensor extremum(const Tensor& self) {
  Tensor out = empty({}, self);
  return extremum_out<greatest>(self, out);
}
std::tuple<Tensor&, Tensor&> max_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  meta_out<at::meta::structured_max_dim>({&values, &indices}, self, dim, keepdim);
  reduce(calls::Extremum::Max, values, indices, self, mask_of(std::optional(dim), self));
  return {values, indices};
}
std::tuple<Tensor&, Tensor&> min_dim_out(const Tensor& self, int64_t dim, bool keepdim, Tensor& values, Tensor& indices) {
  meta_out<at::meta::structured_min_dim>({&values, &indices}, self, dim, keepdim);
  reduce(calls::Extremum::Min, values, indices, self, mask_of(std::optional(dim), self));
  return {values, indices};
}
Tensor& argmax_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_argmax>({&out}, self, dim, keepdim);
  reduce(calls::Reduction::ArgMax, out, self, mask_of(dim, self), self.scalar_type());
  return out;
}
Tensor& argmin_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_argmin>({&out}, self, dim, keepdim);
  reduce(calls::Reduction::ArgMin, out, self, mask_of(dim, self), self.scalar_type());
  return out;
}
std::tuple<Tensor&, Tensor&> aminmax_out(const Tensor& self, std::optional<int64_t> dim, bool keepdim, Tensor& min, Tensor& max) {
  meta_out<at::meta::structured_aminmax>({&min, &max}, self, dim, keepdim);
  const uint64_t mask = mask_of(dim, self);
  reduced({&min, &max}, self, mask, std::nullopt,
          [&](const View& least, const View& most) { return calls::AMinMax{.min = least, .max = most, .src = self, .mask = mask}; });
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
template <size_t N>
void moments(const char* name, const Tensor* const (&outs)[N], const Tensor& self, at::OptionalIntArrayRef dim,
             const std::optional<at::Scalar>& correction, bool keepdim, bool root) {
  TORCH_CHECK(at::isFloatingType(self.scalar_type()), "std and var only support floating point and complex dtypes");
  TORCH_CHECK(at::isFloatingType(outs[0]->scalar_type()), name, ": result type must be floating point");
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
  reduced(outs, self, mask, nan(), [&](const View& var, const std::optional<View>& mean = std::nullopt) {
    return calls::Var{
        .var = var, .mean = mean, .src = self, .compute = dtype_of(self.scalar_type()), .mask = mask, .root = root, .correction = c};
  });
}
template <bool root>
Tensor& var_out(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<at::Scalar>& correction, bool keepdim, Tensor& out) {
  moments(root ? "std" : "var", {&out}, self, dim, correction, keepdim, root);
  return out;
}
template <bool root>
Tensor var(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<at::Scalar>& correction, bool keepdim) {
  Tensor out = empty({0}, self);
  moments(root ? "std" : "var", {&out}, self, dim, correction, keepdim, root);
  return out;
}
template <bool root>
std::tuple<Tensor, Tensor> var_mean(const Tensor& self, at::OptionalIntArrayRef dim, const std::optional<at::Scalar>& correction,
                                    bool keepdim) {
  Tensor out = empty({0}, self), mean = empty({0}, self);
  moments(root ? "std_mean" : "var_mean", {&out, &mean}, self, dim, correction, keepdim, root);
  return {out, mean};
}

// ---- norms ----

void record_vector_norm(const Tensor& out, const Tensor& self, at::OptionalIntArrayRef dim, double p, ScalarType compute) {
  const uint64_t mask = mask_of(dim, self);
  const std::optional<at::Scalar> identity = p < 0 ? std::numeric_limits<double>::infinity() : 0.0;
  reduced({&out}, self, mask, identity, [&](const View& dst) {
    return calls::VectorNorm{.dst = dst, .src = self, .compute = dtype_of(compute), .mask = mask, .norm = calls::norm_of_order(p), .p = p};
  });
}
Tensor& vector_norm_out(const Tensor& self, const at::Scalar& ord, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype, Tensor& out) {
  meta_out<at::meta::structured_linalg_vector_norm>({&out}, self, ord, dim, keepdim, dtype);
  record_vector_norm(out, self, dim, ord.toDouble(), out.scalar_type());
  return out;
}
Tensor vector_norm(const Tensor& self, const at::Scalar& ord, at::OptionalIntArrayRef dim, bool keepdim, OptDtype dtype) {
  // The meta function checks far more than this common case needs.
  const bool plain = !dtype && self.numel() && ord.toDouble() >= 0 && at::isFloatingType(self.scalar_type());
  Tensor out = empty(plain ? at::native::shape_from_dim_mask(self, mask_of(dim, self), keepdim) : at::DimVector{0},
                     dtype.value_or(self.scalar_type()), self);
  if (!plain) return vector_norm_out(self, ord, dim, keepdim, dtype, out);
  record_vector_norm(out, self, dim, ord.toDouble(), self.scalar_type());
  return out;
}
Tensor& norm_out(const Tensor& self, const std::optional<at::Scalar>& p, at::IntArrayRef dim, bool keepdim, Tensor& out) {
  meta_out<at::meta::structured_norm_ScalarOpt_dim>({&out}, self, p ? at::OptionalScalarRef(*p) : at::OptionalScalarRef(), dim, keepdim);
  return at::linalg_vector_norm_out(out, self, p.value_or(2.0), dim, keepdim, out.scalar_type());
}
Tensor& norm_dtype_out(const Tensor& self, const std::optional<at::Scalar>& p, at::IntArrayRef dim, bool keepdim, ScalarType dtype,
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
