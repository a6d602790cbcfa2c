// The _foreach_ operators that torch.optim calls: one record a tensor, no TensorIterator. Lists of several dtypes, of integers, of
// unequal shapes or with tensors elsewhere take PyTorch's own loop over the single operators, which knows every rule.
#include <ATen/NativeFunctions.h>

#include "pointwise.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

using N = anygpu::Scalar;
using S = at::Scalar;
using Scalars = at::ArrayRef<S>;
using Tensors = std::vector<Tensor>;

bool plain_real(const Tensor& t) {
  if (!t.defined() || !is_anygpu(t) || t.layout() != kStrided) return false;
  ScalarType s = t.scalar_type();
  return s == kFloat || s == kDouble || s == kHalf || s == kBFloat16;
}
bool plain(TensorList a) {
  for (const Tensor& t : a)
    if (!plain_real(t)) return false;
  return !a.empty();
}
/// Whether `b` fits `a` elementwise, without any promotion or broadcasting.
bool fits(TensorList a, TensorList b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (!b[i].defined() || b[i].scalar_type() != a[i].scalar_type() || b[i].device() != a[i].device() || b[i].sizes() != a[i].sizes())
      return false;
  return true;
}
bool plain(TensorList a, TensorList b) {
  return plain(a) && fits(a, b);
}
bool plain(TensorList a, TensorList b, TensorList c) {
  return plain(a) && fits(a, b) && fits(a, c);
}
/// Truth values are left to PyTorch's loop too, which refuses them where they have no meaning.
bool real_number(const S& s) {
  return !s.isComplex() && !s.isBoolean();
}
bool real_numbers(Scalars s, TensorList a) {
  return s.size() == a.size() && std::all_of(s.begin(), s.end(), real_number);
}

double value_of(const S& s) {
  return s.to<double>();
}

/// One call of a pointwise operator: out, then tensors; then `scalars`; the last `numbers` inputs of the operator are numbers.
void call(const Op& op, const Tensor& out, std::initializer_list<const Tensor*> in, std::initializer_list<double> scalars = {},
          size_t numbers = 0) {
  if (out.unsafeGetTensorImpl()->numel() == 0) return;
  calls::Pointwise call = pointwise(op, out.scalar_type());
  call.out(out);
  for (const Tensor* t : in) call.in(*t);
  size_t i = 0;
  for (double s : scalars) i++ < scalars.size() - numbers ? call.scalar(N(s)) : call.in(N(s));
  record(call);
}

/// Outputs of a functional call, each in the layout that like(i) has and filled by f(i, out).
template <class Like, class F>
Tensors made(size_t n, Like&& like, F&& f) {
  Tensors out;
  out.reserve(n);
  for (size_t i = 0; i < n; ++i) {
    out.push_back(like(i));
    f(i, out.back());
  }
  return out;
}
template <class F>
Tensors made(TensorList a, F&& f) {
  return made(a.size(), [&](size_t i) { return torch_frontend::iterated_like(a[i]); }, std::forward<F>(f));
}
template <class F>
Tensors made(TensorList a, TensorList b, F&& f) {
  return made(a.size(), [&](size_t i) { return torch_frontend::iterated_like(a[i], b[i], a[i].scalar_type()); }, std::forward<F>(f));
}
template <class F>
Tensors made_with_number(TensorList a, F&& f) {
  return made(a.size(), [&](size_t i) { return torch_frontend::numbered_like(a[i]); }, std::forward<F>(f));
}
template <class F>
void changed(TensorList a, F&& f) {
  for (size_t i = 0; i < a.size(); ++i) f(i, a[i]);
}

// ---- names of the catalogue as types, so that a kernel can be written once ----

#define NAME(id, text)                                \
  struct id {                                         \
    static const Op& op() { return ANYGPU_OP(text); } \
  };
// clang-format off
NAME(Add, "add") NAME(AddScaled, "add_scaled") NAME(Sub, "sub") NAME(SubScaled, "sub_scaled") NAME(Mul, "mul")
NAME(Div, "div") NAME(Pow, "pow") NAME(Max, "maximum") NAME(Min, "minimum") NAME(Sqrt, "sqrt")
NAME(Rsqrt, "rsqrt") NAME(Neg, "neg") NAME(Abs, "abs") NAME(Sign, "sign") NAME(Reciprocal, "reciprocal")
NAME(Exp, "exp") NAME(Log, "log") NAME(Sigmoid, "sigmoid") NAME(Tanh, "tanh") NAME(Addcmul, "addcmul")
NAME(Addcdiv, "addcdiv") NAME(Lerp, "lerp") NAME(Square, "square")
// clang-format on
#undef NAME

    // ---- kernels: each in place and not; Slow is PyTorch's loop ----

    template <class O, auto Slow>
    Tensors unary(TensorList a) {
  if (!plain(a)) return Slow(a);
  return made(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}); });
}
template <class O, auto Slow>
void unary_(TensorList a) {
  if (!plain(a)) return Slow(a);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}); });
}

template <class O, auto Slow>
Tensors with_scalar(TensorList a, const S& s) {
  if (!plain(a) || !real_number(s)) return Slow(a, s);
  return made_with_number(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}, {value_of(s)}, 1); });
}
template <class O, auto Slow>
void with_scalar_(TensorList a, const S& s) {
  if (!plain(a) || !real_number(s)) return Slow(a, s);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}, {value_of(s)}, 1); });
}

template <class O, auto Slow>
Tensors with_scalars(TensorList a, Scalars s) {
  if (!plain(a) || !real_numbers(s, a)) return Slow(a, s);
  return made_with_number(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}, {value_of(s[i])}, 1); });
}
template <class O, auto Slow>
void with_scalars_(TensorList a, Scalars s) {
  if (!plain(a) || !real_numbers(s, a)) return Slow(a, s);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i]}, {value_of(s[i])}, 1); });
}

template <class O, auto Slow>
Tensors with_list(TensorList a, TensorList b) {
  if (!plain(a, b)) return Slow(a, b);
  return made(a, b, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i]}); });
}
template <class O, auto Slow>
void with_list_(TensorList a, TensorList b) {
  if (!plain(a, b)) return Slow(a, b);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i]}); });
}

template <class O, class Scaled, auto Slow>
Tensors with_alpha(TensorList a, TensorList b, const S& alpha) {
  if (!plain(a, b) || !real_number(alpha)) return Slow(a, b, alpha);
  double k = value_of(alpha);
  return made(a, b, [&](size_t i, const Tensor& out) {
    if (k == 1)
      call(O::op(), out, {&a[i], &b[i]});
    else
      call(Scaled::op(), out, {&a[i], &b[i]}, {k});
  });
}
template <class O, class Scaled, auto Slow>
void with_alpha_(TensorList a, TensorList b, const S& alpha) {
  if (!plain(a, b) || !real_number(alpha)) return Slow(a, b, alpha);
  double k = value_of(alpha);
  changed(a, [&](size_t i, const Tensor& out) {
    if (k == 1)
      call(O::op(), out, {&a[i], &b[i]});
    else
      call(Scaled::op(), out, {&a[i], &b[i]}, {k});
  });
}

/// A 0-dimensional tensor for all: of this device and dtype it is an operand, and broadcasts.
bool common_operand(TensorList a, const Tensor& t) {
  return plain(a) && t.dim() == 0 && is_anygpu(t) &&
         std::all_of(a.begin(), a.end(), [&](const Tensor& x) { return x.scalar_type() == t.scalar_type() && x.device() == t.device(); });
}
template <class O, auto Slow>
Tensors with_tensor(TensorList a, const Tensor& t) {
  if (!common_operand(a, t)) return Slow(a, t);
  return made_with_number(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &t}); });
}
template <class O, auto Slow>
void with_tensor_(TensorList a, const Tensor& t) {
  if (!common_operand(a, t)) return Slow(a, t);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &t}); });
}

template <class O, auto Slow>
Tensors ternary(TensorList a, TensorList b, TensorList c, const S& s) {
  if (!plain(a, b, c) || !real_number(s)) return Slow(a, b, c, s);
  return made(a, b, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i], &c[i]}, {value_of(s)}); });
}
template <class O, auto Slow>
void ternary_(TensorList a, TensorList b, TensorList c, const S& s) {
  if (!plain(a, b, c) || !real_number(s)) return Slow(a, b, c, s);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i], &c[i]}, {value_of(s)}); });
}
template <class O, auto Slow>
Tensors ternary_scalars(TensorList a, TensorList b, TensorList c, Scalars s) {
  if (!plain(a, b, c) || !real_numbers(s, a)) return Slow(a, b, c, s);
  return made(a, b, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i], &c[i]}, {value_of(s[i])}); });
}
template <class O, auto Slow>
void ternary_scalars_(TensorList a, TensorList b, TensorList c, Scalars s) {
  if (!plain(a, b, c) || !real_numbers(s, a)) return Slow(a, b, c, s);
  changed(a, [&](size_t i, const Tensor& out) { call(O::op(), out, {&a[i], &b[i], &c[i]}, {value_of(s[i])}); });
}

Tensors lerp_scalar(TensorList a, TensorList b, const S& w) {
  if (!plain(a, b) || !real_number(w)) return foreach_tensor_lerp_list_kernel_slow(a, b, w);
  return made(a, b, [&](size_t i, const Tensor& out) { call(Lerp::op(), out, {&a[i], &b[i]}, {value_of(w)}, 1); });
}
void lerp_scalar_(TensorList a, TensorList b, const S& w) {
  if (!plain(a, b) || !real_number(w)) return foreach_tensor_lerp_list_kernel_slow_(a, b, w);
  changed(a, [&](size_t i, const Tensor& out) { call(Lerp::op(), out, {&a[i], &b[i]}, {value_of(w)}, 1); });
}
void lerp_scalars_(TensorList a, TensorList b, Scalars w) {
  if (!plain(a, b) || !real_numbers(w, a)) return foreach_tensor_lerp_scalarlist_kernel_slow_(a, b, w);
  changed(a, [&](size_t i, const Tensor& out) { call(Lerp::op(), out, {&a[i], &b[i]}, {value_of(w[i])}, 1); });
}
void lerp_list_(TensorList a, TensorList b, TensorList w) {
  if (!plain(a, b, w)) return foreach_tensor_ternary_lerp_slow_(a, b, w);
  changed(a, [&](size_t i, const Tensor& out) { call(Lerp::op(), out, {&a[i], &b[i], &w[i]}); });
}

/// pow takes the special exponents that torch.pow does: 2 is a product.
Tensors pow_scalar(TensorList a, const S& e) {
  if (!plain(a) || !real_number(e)) return foreach_tensor_pow_scalar_kernel_slow(a, e);
  double k = value_of(e);
  return made(a, [&](size_t i, const Tensor& out) {
    if (k == 2)
      call(Square::op(), out, {&a[i]});
    else if (k == 0.5)
      call(Sqrt::op(), out, {&a[i]});
    else if (k == -1)
      call(Reciprocal::op(), out, {&a[i]});
    else
      call(Pow::op(), out, {&a[i]}, {k}, 1);
  });
}

void zero_(TensorList a) {
  if (!plain(a)) return foreach_tensor_zero_slow_(a);
  for (const Tensor& t : a)
    if (t.numel()) record(calls::fill(t, N(0.0)));
}

void copy_(TensorList a, TensorList b, bool non_blocking) {
  if (!plain(a, b)) return foreach_tensor_copy_list_kernel_slow_(a, b, non_blocking);
  changed(a, [&](size_t i, const Tensor& out) {
    if (!out.is_same(b[i])) call(ANYGPU_OP("copy"), out, {&b[i]});
  });
}

#define UNARY(name, O)                                               \
  m.impl("_foreach_" #name, unary<O, foreach_tensor_##name##_slow>); \
  m.impl("_foreach_" #name "_", unary_<O, foreach_tensor_##name##_slow_>);
#define ARITHMETIC(name, slow, O)                                                                           \
  m.impl("_foreach_" #name ".Scalar", with_scalar<O, foreach_tensor_##slow##_scalar_kernel_slow>);          \
  m.impl("_foreach_" #name "_.Scalar", with_scalar_<O, foreach_tensor_##slow##_scalar_kernel_slow_>);       \
  m.impl("_foreach_" #name ".ScalarList", with_scalars<O, foreach_tensor_##slow##_scalarlist_kernel_slow>); \
  m.impl("_foreach_" #name "_.ScalarList", with_scalars_<O, foreach_tensor_##slow##_scalarlist_kernel_slow_>);
#define LISTS(name, slow, O)                                                                 \
  m.impl("_foreach_" #name ".List", with_list<O, foreach_tensor_##slow##_list_kernel_slow>); \
  m.impl("_foreach_" #name "_.List", with_list_<O, foreach_tensor_##slow##_list_kernel_slow_>);
#define ALPHA(name, O, Scaled)                                                                        \
  m.impl("_foreach_" #name ".List", with_alpha<O, Scaled, foreach_tensor_##name##_list_kernel_slow>); \
  m.impl("_foreach_" #name "_.List", with_alpha_<O, Scaled, foreach_tensor_##name##_list_kernel_slow_>);
#define TENSORS(name, O)                                                                           \
  m.impl("_foreach_" #name ".Tensor", with_tensor<O, foreach_tensor_##name##_tensor_kernel_slow>); \
  m.impl("_foreach_" #name "_.Tensor", with_tensor_<O, foreach_tensor_##name##_tensor_kernel_slow_>);
#define TERNARY(name, O)                                                                                \
  m.impl("_foreach_" #name ".Scalar", ternary<O, foreach_tensor_##name##_scalar_slow>);                 \
  m.impl("_foreach_" #name "_.Scalar", ternary_<O, foreach_tensor_##name##_scalar_slow_>);              \
  m.impl("_foreach_" #name ".ScalarList", ternary_scalars<O, foreach_tensor_##name##_scalarlist_slow>); \
  m.impl("_foreach_" #name "_.ScalarList", ternary_scalars_<O, foreach_tensor_##name##_scalarlist_slow_>);

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  UNARY(sqrt, Sqrt)
  UNARY(rsqrt, Rsqrt)
  UNARY(neg, Neg)
  UNARY(abs, Abs)
  UNARY(sign, Sign)
  UNARY(reciprocal, Reciprocal)
  UNARY(exp, Exp)
  UNARY(log, Log)
  UNARY(sigmoid, Sigmoid)
  UNARY(tanh, Tanh)
  ARITHMETIC(add, add, Add)
  ARITHMETIC(sub, sub, Sub)
  ARITHMETIC(mul, mul, Mul)
  ARITHMETIC(div, div, Div)
  ARITHMETIC(clamp_min, clamp_min, Max)
  ARITHMETIC(clamp_max, clamp_max, Min)
  ARITHMETIC(maximum, clamp_min, Max)
  ARITHMETIC(minimum, clamp_max, Min)
  LISTS(mul, mul, Mul)
  LISTS(div, div, Div)
  LISTS(pow, pow, Pow)
  LISTS(maximum, clamp_min, Max)
  LISTS(minimum, clamp_max, Min)
  LISTS(clamp_min, clamp_min, Max)
  LISTS(clamp_max, clamp_max, Min)
  ALPHA(add, Add, AddScaled)
  ALPHA(sub, Sub, SubScaled)
  TENSORS(mul, Mul)
  TENSORS(div, Div)
  TERNARY(addcmul, Addcmul)
  TERNARY(addcdiv, Addcdiv)
  m.impl("_foreach_lerp.Scalar", lerp_scalar);
  m.impl("_foreach_lerp_.Scalar", lerp_scalar_);
  m.impl("_foreach_lerp_.ScalarList", lerp_scalars_);
  m.impl("_foreach_lerp_.List", lerp_list_);
  m.impl("_foreach_pow.Scalar", pow_scalar);
  m.impl("_foreach_pow_.Scalar", with_scalar_<Pow, foreach_tensor_pow_scalar_kernel_slow_>);
  m.impl("_foreach_zero_", zero_);
  m.impl("_foreach_copy_", copy_);
}

}  // namespace
}  // namespace at::native
