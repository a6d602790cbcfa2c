// Filling, and tensors made from indices.
#include <ATen/MemoryOverlap.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/RangeFactories.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/native/UnaryOps.h>

#include <cmath>

#include "pointwise.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

using N = anygpu::Scalar;

// ---- fill ----

Tensor& fill_number(Tensor& self, const at::Scalar& value) {
  if (self.numel() == 0) return self;
  if (self.is_complex()) {
    Tensor pairs = at::view_as_real(self);
    auto z = value.toComplexDouble();
    pairs.select(-1, 0).fill_(z.real());
    pairs.select(-1, 1).fill_(z.imag());
    return self;
  }
  TORCH_CHECK(!value.isComplex() || value.toComplexDouble().imag() == 0, "value cannot be converted to type ", self.dtype(),
              " without overflow");
  if (!find_dtype(self.scalar_type()) && !c10::isQIntType(self.scalar_type())) {
    const ScalarType bits = integers_as_wide(self.scalar_type());
    self.view(bits).fill_(at::scalar_tensor(value, self.scalar_type()).view(bits).item());
    return self;
  }
  DType t = dtype_of(self.scalar_type());
  anygpu::Scalar v = value.isComplex() ? to_scalar(value.toComplexDouble().real(), t) : to_scalar(value, t);
  if (C10_UNLIKELY(self.dim() > kMaxRank))
    record_pointwise(ANYGPU_OP("fill"), 1, {self}, self.scalar_type(), {v});
  else
    record(calls::fill(self, v));
  return self;
}
Tensor& fill_tensor(Tensor& self, const Tensor& value) {
  TORCH_CHECK(value.dim() == 0, "fill_ only supports 0-dimension value tensor but got tensor with ", value.dim(), " dimensions.");
  if (is_cpu_number(value) && !value.is_complex() && find_dtype(self.scalar_type()) && !self.is_complex()) {
    const ScalarType t = self.scalar_type();
    if (self.numel()) record(calls::fill(self, to_scalar(value, dtype_of(t))));
    return self;
  }
  return self.copy_(value);
}
Tensor& zero_all(Tensor& self) {
  return fill_number(self, 0);
}

/// PyTorch's lazy zeros have no storage, which no device but its own can read: ours are zeros.
Tensor zeros_for_gradients(IntArrayRef sizes, std::optional<ScalarType> t, std::optional<Layout>, std::optional<at::Device> device,
                           std::optional<bool>) {
  return torch_frontend::empty(sizes, t.value_or(c10::typeMetaToScalarType(c10::get_default_dtype())), index_of(device)).zero_();
}

// ---- lines ----

/// Gives f(a vector of out's elements in row-major order) to fill: `out` may have any shape and strides.
template <class F>
Tensor& fill_in_order(Tensor& out, F&& f) {
  if (out.numel() == 0) return out;
  at::assert_no_internal_overlap(out);
  const bool straight = out.dim() == 1 || out.is_contiguous();
  const Tensor flat = out.dim() == 1 ? out : straight ? out.view({-1}) : torch_frontend::empty(IntArrayRef{out.numel()}, out);
  f(flat);
  if (!straight) out.copy_(flat.view(out.sizes()));
  return out;
}

void refuse_truth(const char* name, const Tensor& out) {
  TORCH_CHECK_NOT_IMPLEMENTED(out.scalar_type() != kBool, "\"", name, "\" not implemented for 'Bool'");
}

REGISTER_PRIVATEUSE1_DISPATCH(
    arange_stub, +[](TensorIterator& iter, const c10::Scalar& start, const c10::Scalar&, const c10::Scalar& step) {
      Tensor out(iter.output_base(0));
      fill_in_order(out, [&](const Tensor& flat) {
        record_pointwise(calls::arange(dtype_of(flat.scalar_type()), number(start, iter), number(step, iter)), 1, {flat});
      });
    })

/// An end of linspace, converted to the result's type first, as PyTorch does.
double end_of(const at::Scalar& s, ScalarType t) {
  if (!at::isIntegralType(t, true)) return s.to<double>();
  (void)to_scalar(s, dtype_of(t));  // throws where it does not fit
  return static_cast<double>(s.to<int64_t>());
}

REGISTER_PRIVATEUSE1_DISPATCH(
    linspace_stub, +[](TensorIterator& iter, const c10::Scalar& start, const c10::Scalar& end, int64_t steps) {
      double a = end_of(start, iter.dtype());
      double b = end_of(end, iter.dtype());
      Tensor out(iter.output_base(0));
      refuse_truth("linspace_cpu", out);
      fill_in_order(out, [&](const Tensor& flat) {
        record_pointwise(calls::linspace(dtype_of(flat.scalar_type()), a, b, steps), 1, {flat});
      });
    })

/// What torch.kaiser_window hands its own kernel: 0, 1 .. in place. The other windows are composed of operators.
REGISTER_PRIVATEUSE1_DISPATCH(
    kaiser_window_stub, +[](TensorIteratorBase& iter, int64_t length, double beta) {
      record_iter(calls::kaiser_window(type_of(iter), length, beta), iter);
    })

Tensor& logspace_to(const at::Scalar& start, const at::Scalar& end, int64_t steps, double base, Tensor& out) {
  TORCH_CHECK(steps >= 0, "number of steps must be non-negative");
  if (out.numel() != steps) out.resize_({steps});
  if (steps == 0) return out;
  if (steps > 1) refuse_truth("logspace_cpu", out);
  double a = end_of(start, out.scalar_type()), b = end_of(end, out.scalar_type());
  if (steps == 1)
    return out.fill_(at::isIntegralType(out.scalar_type(), true) ? at::Scalar(static_cast<int64_t>(std::pow(base, a)))
                                                                 : at::Scalar(std::pow(base, a)));
  return fill_in_order(out, [&](const Tensor& flat) {
    record_pointwise(calls::logspace(dtype_of(out.scalar_type()), a, b, steps, base), 1, {flat});
  });
}

Tensor& range_to(const at::Scalar& start, const at::Scalar& end, const at::Scalar& step, Tensor& out) {
  refuse_truth("range_cpu", out);
  double a = start.to<double>(), b = end.to<double>(), d = step.to<double>();
  TORCH_CHECK(d > 0 || d < 0, "step must be nonzero");
  TORCH_CHECK(std::isfinite(a) && std::isfinite(b), "unsupported range: ", a, " -> ", b);
  TORCH_CHECK((d > 0 && b >= a) || (d < 0 && b <= a), "upper bound and lower bound inconsistent with step sign");
  int64_t n = static_cast<int64_t>((b - a) / d + 1);
  if (out.numel() != n) out.resize_({n});
  DType t = dtype_of(out.scalar_type());
  return fill_in_order(out, [&](const Tensor& flat) {
    record_pointwise(calls::arange(t, to_scalar(start, t), to_scalar(step, t)), 1, {flat});
  });
}

// ---- matrices ----

Tensor& eye_m(int64_t n, int64_t m, Tensor& out) {
  TORCH_CHECK(n >= 0, "n must be greater or equal to 0, got ", n);
  TORCH_CHECK(m >= 0, "m must be greater or equal to 0, got ", m);
  out.resize_({n, m});
  record_pointwise(ANYGPU_OP("eye"), 1, {out}, out.scalar_type());
  return out;
}
Tensor& eye_n(int64_t n, Tensor& out) {
  TORCH_CHECK(n >= 0, "n must be greater or equal to 0, got ", n);
  return eye_m(n, n, out);
}

struct Tril : at::meta::structured_tril {
  void impl(const Tensor& self, int64_t k, const Tensor& out) {
    record_pointwise(calls::tril(dtype_of(self.scalar_type()), k), 1, {out, self});
  }
};
struct Triu : at::meta::structured_triu {
  void impl(const Tensor& self, int64_t k, const Tensor& out) {
    record_pointwise(calls::triu(dtype_of(self.scalar_type()), k), 1, {out, self});
  }
};

// Indices of a triangle: few numbers, made on the host.
using OptType = std::optional<ScalarType>;
using OptDevice = std::optional<at::Device>;
Tensor tril_pairs(int64_t r, int64_t c, int64_t k, OptType t, std::optional<Layout> layout, OptDevice device, std::optional<bool>) {
  return tril_indices_cpu(r, c, k, t, layout, at::kCPU, false).to(device.value_or(at::kPrivateUse1));
}
Tensor triu_pairs(int64_t r, int64_t c, int64_t k, OptType t, std::optional<Layout> layout, OptDevice device, std::optional<bool>) {
  return triu_indices_cpu(r, c, k, t, layout, at::kCPU, false).to(device.value_or(at::kPrivateUse1));
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("fill_.Scalar", or_cpu<_ops::fill__Scalar, fill_number>);
  m.impl("fill_.Tensor", or_cpu<_ops::fill__Tensor, fill_tensor>);
  m.impl("zero_", or_cpu<_ops::zero_, zero_all>);
  m.impl("_efficientzerotensor", zeros_for_gradients);
  on<_ops::arange_start_out, static_cast<Tensor& (*)(const at::Scalar&, const at::Scalar&, const at::Scalar&, Tensor&)>(arange_out)>(m);
  on<_ops::linspace_out, static_cast<Tensor& (*)(const at::Scalar&, const at::Scalar&, int64_t, Tensor&)>(linspace_out)>(m);
  on<_ops::logspace_out, logspace_to>(m);
  on<_ops::range_out, range_to>(m);
  on<_ops::eye_out, eye_n>(m);
  on<_ops::eye_m_out, eye_m>(m);
  faces<Tril, _ops::tril, _ops::tril_, _ops::tril_out>(m);
  faces<Triu, _ops::triu, _ops::triu_, _ops::triu_out>(m);
  m.impl("tril_indices", tril_pairs);
  m.impl("triu_indices", triu_pairs);
}

}  // namespace
}  // namespace at::native
