// Matrix products.
#include <ATen/ops/addmm.h>
#include <ATen/ops/addmm_meta.h>
#include <ATen/ops/addmv_meta.h>
#include <ATen/ops/addr_native.h>
#include <ATen/ops/baddbmm_meta.h>
#include <ATen/ops/bmm_meta.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/mm_meta.h>
#include <ATen/ops/relu.h>

#include "anygpu/calls/matmul.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::Tensor;

bool is_one(const at::Scalar& s) {
  return s.equal(1);
}
bool is_zero(const at::Scalar& s) {
  return s.equal(0);
}

/// out = beta * self + alpha * (lhs @ rhs), self broadcast to out; absent for beta 0.
void product(const ViewArg& out, const ViewArg& lhs, const ViewArg& rhs, const calls::MaybeView& self, const at::Scalar& beta,
             const at::Scalar& alpha) {
  const calls::MaybeView added = is_zero(beta) ? calls::MaybeView() : self;
  if (is_one(alpha) && (!added || is_one(beta))) return record(calls::Matmul{.dst = out, .lhs = lhs, .rhs = rhs, .bias = added});
  const DType t = compute_type(out.dtype);
  record(calls::MatmulScaled{.dst = out,
                             .lhs = lhs,
                             .rhs = rhs,
                             .self = added,
                             .alpha = to_scalar(alpha, t),
                             .beta = added ? to_scalar(beta, t) : anygpu::Scalar()});
}

/// Whether two matrices of one dtype on this device fit; what does not is left to the meta function, which says why.
bool plain_pair(const Tensor& a, const Tensor& b, int64_t rank) {
  return a.dim() == rank && b.dim() == rank && a.size(rank - 1) == b.size(rank - 2) && (rank == 2 || a.size(0) == b.size(0)) &&
         a.scalar_type() == b.scalar_type() && a.scalar_type() != at::kBool && is_anygpu(a) && is_anygpu(b);
}

Tensor& mm_out(const Tensor& self, const Tensor& mat2, Tensor& out) {
  meta_out<at::meta::structured_mm>({&out}, self, mat2);
  want_numbers(self);
  if (out.numel()) product(out, self, mat2, std::nullopt, 0, 1);
  return out;
}

Tensor mm(const Tensor& self, const Tensor& mat2) {
  if (C10_UNLIKELY(!plain_pair(self, mat2, 2))) {
    Tensor out = empty({0}, self);
    return mm_out(self, mat2, out);
  }
  Tensor out = empty({self.size(0), mat2.size(1)}, self);
  if (out.numel()) record(calls::Matmul{.dst = out, .lhs = self, .rhs = mat2});
  return out;
}

/// What the meta functions of batches do not ask.
void want_one_dtype(std::initializer_list<const Tensor*> tensors) {
  for (const Tensor* t : tensors)
    if (t->scalar_type() != (*tensors.begin())->scalar_type()) throw Refused("a product of several dtypes");
}

Tensor& bmm_out(const Tensor& self, const Tensor& mat2, Tensor& out) {
  want_one_dtype({&self, &mat2});
  meta_out<at::meta::structured_bmm>({&out}, self, mat2);
  want_numbers(self);
  if (out.numel()) product(out, self, mat2, std::nullopt, 0, 1);
  return out;
}

Tensor bmm(const Tensor& self, const Tensor& mat2) {
  if (C10_UNLIKELY(!plain_pair(self, mat2, 3))) {
    Tensor out = empty({0}, self);
    return bmm_out(self, mat2, out);
  }
  Tensor out = empty({self.size(0), self.size(1), mat2.size(2)}, self);
  if (out.numel()) record(calls::Matmul{.dst = out, .lhs = self, .rhs = mat2});
  return out;
}

void check_self(const Tensor& self, const Tensor& out) {
  TORCH_CHECK(self.scalar_type() == out.scalar_type(), "self and mat2 must have the same dtype, but got ", self.scalar_type(), " and ",
              out.scalar_type());
}

Tensor& addmm_out(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  meta_out<at::meta::structured_addmm>({&out}, self, mat1, mat2, beta, alpha);
  check_self(self, out);
  want_numbers(self);
  if (!out.numel()) return out;
  const Tensor bias = on_device(self, out);
  const View broadcast = expand_to(bias, out.sizes());
  product(out, mat1, mat2, broadcast, beta, alpha);
  return out;
}

Tensor addmm(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const at::Scalar& beta, const at::Scalar& alpha) {
  if (C10_LIKELY(plain_pair(mat1, mat2, 2) && is_anygpu(self) && self.scalar_type() == mat1.scalar_type() && self.dim() == 1 &&
                 is_one(beta) && is_one(alpha) && (self.size(0) == mat2.size(1) || self.size(0) == 1))) {
    Tensor out = empty({mat1.size(0), mat2.size(1)}, mat1);
    if (out.numel()) record(calls::Matmul{.dst = out, .lhs = mat1, .rhs = mat2, .bias = self});
    return out;
  }
  Tensor out = empty({0}, mat1);
  return addmm_out(self, mat1, mat2, beta, alpha, out);
}

Tensor& addmm_activation_out(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const at::Scalar& beta, const at::Scalar& alpha,
                             bool use_gelu, Tensor& out) {
  addmm_out(self, mat1, mat2, beta, alpha, out);
  if (use_gelu)
    at::gelu_(out);
  else
    at::relu_(out);
  return out;
}
Tensor addmm_activation(const Tensor& self, const Tensor& mat1, const Tensor& mat2, const at::Scalar& beta, const at::Scalar& alpha,
                        bool use_gelu) {
  Tensor out = empty({0}, mat1);
  return addmm_activation_out(self, mat1, mat2, beta, alpha, use_gelu, out);
}

Tensor& baddbmm_out(const Tensor& self, const Tensor& a, const Tensor& b, const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  want_one_dtype({&self, &a, &b});
  meta_out<at::meta::structured_baddbmm>({&out}, self, a, b, beta, alpha);
  want_numbers(self);
  if (!out.numel()) return out;
  const Tensor bias = on_device(self, out);
  const View broadcast = expand_to(bias, out.sizes());
  product(out, a, b, broadcast, beta, alpha);
  return out;
}

/// The batch's products summed: one product over a longer inner dimension.
Tensor& addbmm_out(const Tensor& self, const Tensor& a, const Tensor& b, const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  TORCH_CHECK(a.dim() == 3, "batch1 must be a 3D tensor");
  TORCH_CHECK(b.dim() == 3, "batch2 must be a 3D tensor");
  TORCH_CHECK(a.size(0) == b.size(0), "batch1 and batch2 must have same number of batches, got ", a.size(0), " and ", b.size(0));
  TORCH_CHECK(a.size(2) == b.size(1), "Incompatible matrix sizes for bmm (", a.size(1), "x", a.size(2), " and ", b.size(1), "x", b.size(2),
              ")");
  const int64_t sizes[] = {a.size(1), b.size(2)};
  (void)expand_to(on_device(self, a), sizes);
  want_one_dtype({&out, &self, &a, &b});
  Tensor lhs = a.transpose(0, 1).reshape({a.size(1), a.size(0) * a.size(2)});
  return addmm_out(self, lhs, b.reshape({b.size(0) * b.size(1), b.size(2)}), beta, alpha, out);
}
Tensor addbmm(const Tensor& self, const Tensor& a, const Tensor& b, const at::Scalar& beta, const at::Scalar& alpha) {
  Tensor out = empty({0}, self);
  return addbmm_out(self, a, b, beta, alpha, out);
}
Tensor& addbmm_(Tensor& self, const Tensor& a, const Tensor& b, const at::Scalar& beta, const at::Scalar& alpha) {
  if (a.dim() == 3 && b.dim() == 3) {
    TORCH_CHECK(self.dim() == 2 && self.size(0) == a.size(1) && self.size(1) == b.size(2), "addbmm_: a result of ", a.size(1), "x",
                b.size(2), " does not fit in-place into ", self.sizes());
  }
  return addbmm_out(self, a, b, beta, alpha, self);
}

// ---- addr: PyTorch's own composition, behind the checks of its CPU kernel ----

void check_addr(const Tensor& self, const Tensor& x, const Tensor& y, const at::Scalar& beta, const at::Scalar& alpha) {
  const at::ScalarType t = at::promote_types(at::result_type(self, x), y.scalar_type());
  for (const auto& [name, s] : {std::pair("beta", &beta), std::pair("alpha", &alpha)}) {
    TORCH_CHECK(!s->isBoolean() || t == at::kBool, "Boolean ", name, " only supported for Boolean results.");
    TORCH_CHECK(at::isFloatingType(t) || at::isComplexType(t) || s->isIntegral(true), "For integral input tensors, argument ", name,
                " must not be a floating point number.");
  }
}
Tensor addr(const Tensor& self, const Tensor& x, const Tensor& y, const at::Scalar& beta, const at::Scalar& alpha) {
  check_addr(self, x, y, beta, alpha);
  return at::native::math_addr(self, x, y, beta, alpha);
}
Tensor& addr_out(const Tensor& self, const Tensor& x, const Tensor& y, const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  check_addr(self, x, y, beta, alpha);
  return at::native::math_addr_out(self, x, y, beta, alpha, out);
}

View as_column(const Tensor& v) {
  return restrided(v, {v.size(0), 1}, {v.stride(0), 0});
}

Tensor& addmv_out(const Tensor& self, const Tensor& mat, const Tensor& vec, const at::Scalar& beta, const at::Scalar& alpha, Tensor& out) {
  meta_out<at::meta::structured_addmv>({&out}, self, mat, vec, beta, alpha);
  want_numbers(mat);
  TORCH_CHECK(mat.scalar_type() == vec.scalar_type() && self.scalar_type() == mat.scalar_type(),
              "expected mat and vec to have the same dtype, but got: ", mat.scalar_type(), " and ", vec.scalar_type());
  if (!out.numel()) return out;
  const Tensor bias = on_device(self, out);
  View broadcast = expand_to(bias, out.sizes());
  broadcast.sizes.push_back(1);
  broadcast.strides.push_back(0);
  const View y = as_column(out), x = as_column(vec);
  product(y, mat, x, broadcast, beta, alpha);
  return out;
}

Tensor dot(const Tensor& self, const Tensor& other) {
  TORCH_CHECK(self.dim() == 1 && other.dim() == 1, "1D tensors expected, but got ", self.dim(), "D and ", other.dim(), "D tensors");
  TORCH_CHECK(self.scalar_type() == other.scalar_type(), "dot : expected both vectors to have same dtype, but found ", self.scalar_type(),
              " and ", other.scalar_type());
  TORCH_CHECK(self.numel() == other.numel(), "inconsistent tensor size, expected tensor [", self.numel(), "] and src [", other.numel(),
              "] to have the same number of elements, but got ", self.numel(), " and ", other.numel(), " elements respectively");
  want_numbers(self);
  Tensor out = empty({}, self);
  if (self.numel() == 0) return out.zero_();
  record(calls::Dot{.dst = out, .lhs = self, .rhs = other});
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("mm", real<at::_ops::mm, mm>);
  m.impl("mm.out", real<at::_ops::mm_out, mm_out>);
  m.impl("bmm", real<at::_ops::bmm, bmm>);
  m.impl("bmm.out", real<at::_ops::bmm_out, bmm_out>);
  m.impl("addmm", real<at::_ops::addmm, addmm>);
  m.impl("addmm.out", real<at::_ops::addmm_out, addmm_out>);
  m.impl("_addmm_activation", real<at::_ops::_addmm_activation, addmm_activation>);
  m.impl("_addmm_activation.out", real<at::_ops::_addmm_activation_out, addmm_activation_out>);
  m.impl("baddbmm.out", real<at::_ops::baddbmm_out, baddbmm_out>);
  m.impl("addbmm", real<at::_ops::addbmm, addbmm>);
  m.impl("addbmm.out", real<at::_ops::addbmm_out, addbmm_out>);
  m.impl("addbmm_", real<at::_ops::addbmm_, addbmm_>);
  m.impl("addr", addr);
  m.impl("addr.out", addr_out);
  m.impl("addmv.out", real<at::_ops::addmv_out, addmv_out>);
  m.impl("dot", real<at::_ops::dot, dot>);
  m.impl("vdot", real<at::_ops::vdot, dot>);
}

}  // namespace
}  // namespace anygpu::torch_frontend
