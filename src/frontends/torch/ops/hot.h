// The plain cases of the operators that training steps are made of, without TensorIterator: floats of one dtype and shape, row-major,
// or a tensor and a Python number. Measured from Python: 0.5 us a call instead of 0.9. All else takes the general way.
#pragma once

#include "pointwise.h"

namespace anygpu::torch_frontend {

/// An entry of the catalogue as a type.
#define ANYGPU_NAME(id, text)                                   \
  struct id {                                                   \
    static const ::anygpu::Op& op() { return ANYGPU_OP(text); } \
  };

/// Row-major, not empty, of a real floating type. That the tensor is on this device is for the caller to know.
inline bool plain_float(const at::TensorBase& t) {
  const c10::TensorImpl* i = t.unsafeGetTensorImpl();
  c10::ScalarType s = c10::typeMetaToScalarType(i->dtype());
  return i->is_contiguous() && i->numel() > 0 && i->dim() <= kMaxRank &&
         (s == at::kFloat || s == at::kBFloat16 || s == at::kHalf || s == at::kDouble);
}
/// b matches a plain a in all respects.
inline bool like_plain(const at::TensorBase& a, const at::TensorBase& b) {
  const c10::TensorImpl *x = a.unsafeGetTensorImpl(), *y = b.unsafeGetTensorImpl();
  return y->dtype() == x->dtype() && y->is_contiguous() && y->device() == x->device() && y->sizes() == x->sizes();
}
/// b is a Python number that does not change a's dtype. (Truth values cannot be subtracted: the general way says so.)
inline bool plain_number(const at::TensorBase& b) {
  const c10::TensorImpl* y = b.unsafeGetTensorImpl();
  const c10::ScalarType t = c10::typeMetaToScalarType(y->dtype());
  return y->is_wrapped_number() && y->device().is_cpu() && !c10::isComplexType(t) && t != at::kBool;
}

inline void hot_record(const Op& op, const at::TensorBase& out, const at::TensorBase& a) {
  record(pointwise(op, out.scalar_type()).out(out).in(a));
}
/// Records a plain call; false where it is none.
inline bool hot_binary(const Op& op, const at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  at::ScalarType t = a.scalar_type();
  if (is_anygpu(b))
    record(pointwise(op, t).out(out).in(a).in(b));
  else
    record(pointwise(op, t).out(out).in(a).in(to_scalar(b, dtype_of(t))));
  return true;
}
inline bool plain_pair(const at::TensorBase& a, const at::TensorBase& b) {
  return is_anygpu(a) && plain_float(a) && (is_anygpu(b) ? like_plain(a, b) : plain_number(b));
}
/// An in-place call may read what it writes at the same place, but no overlapping view.
inline bool apart(const at::TensorBase& a, const at::TensorBase& b) {
  return a.unsafeGetTensorImpl() == b.unsafeGetTensorImpl() || a.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl() !=
                                                                   b.unsafeGetTensorImpl()->unsafe_storage().unsafeGetStorageImpl();
}
inline at::Tensor plain_like(const at::Tensor& a) {
  return empty(a.sizes(), a);
}
inline at::Tensor plain_like(const at::Tensor& a, const at::TensorBase& b) {
  return is_anygpu(b) ? plain_like(a) : numbered_like(a);
}

template <class O, class S, class Op>
at::Tensor hot_unary(const at::Tensor& a) {
  if (C10_UNLIKELY(!plain_float(a))) return real<Op, &Face<S, Op>::call>(a);
  at::Tensor out = plain_like(a);
  hot_record(O::op(), out, a);
  return out;
}
template <class O, class S, class Op>
at::Tensor& hot_unary_(at::Tensor& a) {
  if (C10_UNLIKELY(!plain_float(a))) return real<Op, &Face<S, Op>::call>(a);
  hot_record(O::op(), a, a);
  return a;
}
/// Registers name and name_ for a structured unary operator.
template <class O, class S, class Op, class InPlace>
void hot_unary_faces(torch::Library& m) {
  implement<Op>(m, &hot_unary<O, S, Op>);
  implement<InPlace>(m, &hot_unary_<O, S, InPlace>);
}

template <class O, class S, class Op>
at::Tensor hot_pair(const at::Tensor& a, const at::Tensor& b) {
  if (C10_UNLIKELY(!plain_pair(a, b))) return real<Op, &Face<S, Op>::call>(a, b);
  at::Tensor out = plain_like(a, b);
  hot_binary(O::op(), out, a, b);
  return out;
}
template <class O, class S, class Op>
at::Tensor& hot_pair_(at::Tensor& a, const at::Tensor& b) {
  if (C10_UNLIKELY(!plain_pair(a, b) || !apart(a, b))) return real<Op, &Face<S, Op>::call>(a, b);
  hot_binary(O::op(), a, a, b);
  return a;
}
template <class O, class S, class Op, class InPlace>
void hot_pair_faces(torch::Library& m) {
  implement<Op>(m, &hot_pair<O, S, Op>);
  implement<InPlace>(m, &hot_pair_<O, S, InPlace>);
}

/// add and sub: plain where alpha is 1.
inline bool alpha_is_one(const at::Scalar& alpha) {
  return alpha.isIntegral(false) && alpha.toLong() == 1;
}
template <class O, class S, class Op>
at::Tensor hot_sum(const at::Tensor& a, const at::Tensor& b, const at::Scalar& alpha) {
  if (C10_UNLIKELY(!plain_pair(a, b) || !alpha_is_one(alpha))) return real<Op, &Face<S, Op>::call>(a, b, alpha);
  at::Tensor out = plain_like(a, b);
  hot_binary(O::op(), out, a, b);
  return out;
}
template <class O, class S, class Op>
at::Tensor& hot_sum_(at::Tensor& a, const at::Tensor& b, const at::Scalar& alpha) {
  if (C10_UNLIKELY(!plain_pair(a, b) || !alpha_is_one(alpha) || !apart(a, b))) return real<Op, &Face<S, Op>::call>(a, b, alpha);
  hot_binary(O::op(), a, a, b);
  return a;
}
template <class O, class S, class Op, class InPlace>
void hot_sum_faces(torch::Library& m) {
  implement<Op>(m, &hot_sum<O, S, Op>);
  implement<InPlace>(m, &hot_sum_<O, S, InPlace>);
}

/// A gradient: dy and what was saved, in the operator's order.
template <class O, class S, class Op>
at::Tensor hot_gradient(const at::Tensor& dy, const at::Tensor& saved) {
  if (C10_UNLIKELY(!is_anygpu(dy) || !is_anygpu(saved) || !plain_float(dy) || !like_plain(dy, saved)))
    return real<Op, &Face<S, Op>::call>(dy, saved);
  at::Tensor out = plain_like(dy);
  record(pointwise(O::op(), dy.scalar_type()).out(out).in(dy).in(saved));
  return out;
}

}  // namespace anygpu::torch_frontend
