// Pointwise operators on this device: PyTorch's own code does all up to the dispatch stub (types, shapes, checks), and the stub
// is ours: it records the iterator's operands under a name of the catalogue.
#pragma once

#include <ATen/ExpandUtils.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/native/TensorIterator.h>

#include "anygpu/calls/parametric.h"
#include "structured.h"

namespace anygpu::torch_frontend {

// ---- recording an iterator ----

/// What an iterator computes in: its common dtype, else that of its first input or, without inputs, its output.
at::ScalarType compute_dtype(const at::TensorIteratorBase&);

inline DType type_of(const at::TensorIteratorBase& iter) {
  return dtype_of(compute_dtype(iter));
}

/// Records `op` of the catalogue's pointwise tables on the iterator's operands in their own shapes: the runtime broadcasts and
/// collapses dimensions by itself. CPU numbers among the inputs become scalars. `scalars` and `attrs` are the operator's own.
void record_iter(const Op& op, at::TensorIteratorBase&, c10::ArrayRef<Scalar> scalars = {}, c10::ArrayRef<int64_t> attrs = {});
void record_iter(const Op& op, at::TensorIteratorBase&, at::ScalarType compute, c10::ArrayRef<Scalar> scalars = {},
                 c10::ArrayRef<int64_t> attrs = {});
/// A call that lacks the iterator's operands.
void record_iter(calls::Pointwise&& call, at::TensorIteratorBase&);
inline void record_iter(const Op& op, at::TensorIteratorBase& iter, std::initializer_list<Scalar> scalars,
                        std::initializer_list<int64_t> attrs = {}) {
  record_iter(op, iter, c10::ArrayRef<Scalar>(scalars), c10::ArrayRef<int64_t>(attrs));
}

/// The same with `numbers` as further inputs after the iterator's.
void record_iter_with(const Op& op, at::TensorIteratorBase&, c10::ArrayRef<at::Scalar> numbers);

/// A pointwise call on plain tensors, outputs first: no promotion, no checks; `compute` is the dtype to compute in. An input that is a
/// CPU number becomes a scalar.
void record_pointwise(const Op& op, int outputs, c10::ArrayRef<at::Tensor> tensors, at::ScalarType compute,
                      c10::ArrayRef<Scalar> scalars = {}, c10::ArrayRef<int64_t> attrs = {});
/// A call that lacks these operands.
void record_pointwise(calls::Pointwise&& call, int outputs, c10::ArrayRef<at::Tensor> tensors);
inline void record_pointwise(const Op& op, int outputs, std::initializer_list<at::Tensor> tensors, at::ScalarType compute,
                             std::initializer_list<Scalar> scalars = {}, std::initializer_list<int64_t> attrs = {}) {
  record_pointwise(op, outputs, c10::ArrayRef<at::Tensor>(tensors), compute, c10::ArrayRef<Scalar>(scalars), c10::ArrayRef<int64_t>(attrs));
}

/// A call for record(), on plain tensors of this device: record(pointwise(ANYGPU_OP("relu"), type).out(y).in(x)).
inline calls::Pointwise pointwise(const Op& op, at::ScalarType compute) {
  return calls::Pointwise(op, dtype_of(compute));
}

/// A number of the type that the iterator computes in, f32 for halves.
inline Scalar number(const at::Scalar& s, const at::TensorIteratorBase& iter) {
  return to_scalar(s, compute_type(dtype_of(compute_dtype(iter))));
}
/// The same where PyTorch refuses a number that the halves do not hold.
inline Scalar number_of_dtype(const at::Scalar& s, const at::TensorIteratorBase& iter) {
  return to_scalar(s, dtype_of(compute_dtype(iter)));
}

/// The output that TensorIterator makes of two inputs of one shape (or of one): the memory format that both have, else a's order.
inline at::Tensor iterated_like(const at::Tensor& a, const at::Tensor& b, at::ScalarType t) {
  constexpr at::MemoryFormat last = at::MemoryFormat::ChannelsLast;
  if (a.is_contiguous() && b.is_contiguous()) return empty(a.sizes(), t, a);
  if (a.is_contiguous(last) && b.is_contiguous(last)) return empty_in(last, a.sizes(), t, a.get_device());
  if (a.strides() == b.strides() && a.is_non_overlapping_and_dense()) return empty_like(a, t);
  return empty_strided(a.sizes(), at::infer_dense_strides(a.sizes(), a.strides()), t, a.get_device());
}
inline at::Tensor iterated_like(const at::Tensor& a, at::ScalarType t) {
  return iterated_like(a, a, t);
}
/// The output that it makes of a tensor and a number: strides in a's order, those of sizes of 1 as well.
inline at::Tensor numbered_like(const at::Tensor& a) {
  const at::IntArrayRef sizes = a.sizes(), strides = a.strides();
  bool row_major = true;
  int64_t n = 1;
  for (size_t d = sizes.size(); d-- > 0; n *= sizes[d]) row_major &= strides[d] == n;
  if (C10_LIKELY(row_major)) return empty(sizes, a);
  return empty_strided(sizes, at::infer_dense_strides(sizes, strides), a.scalar_type(), a.get_device());
}
inline at::Tensor iterated_like(const at::Tensor& a) {
  return iterated_like(a, a.scalar_type());
}
inline void want_numbers(const at::TensorIteratorBase& iter) {
  want_numbers(compute_dtype(iter));
}
inline void want_float(const at::TensorIteratorBase& iter) {
  want_float(compute_dtype(iter));
}

/// The stub of a native function that takes an iterator alone.
#define ANYGPU_STUB(stub, op_name) \
  REGISTER_PRIVATEUSE1_DISPATCH(   \
      stub, +[](decltype(iterator_of(stub)) iter) { ::anygpu::torch_frontend::record_iter(ANYGPU_OP(op_name), iter); })
/// The same for operators that PyTorch's CPU knows of floats only (`want_float`), or not of truth values (`want_numbers`).
#define ANYGPU_STUB_OF(want, stub, op_name)                              \
  REGISTER_PRIVATEUSE1_DISPATCH(                                         \
      stub, +[](decltype(iterator_of(stub)) iter) {                      \
        ::anygpu::torch_frontend::want(iter);                            \
        ::anygpu::torch_frontend::record_iter(ANYGPU_OP(op_name), iter); \
      })
/// The type of a stub's iterator: some take TensorIterator, some its base.
template <class I, class T>
I& iterator_of(at::native::DispatchStub<void (*)(I&), T>&);

// ---- faces of a structured operator whose meta function builds an iterator ----

/// The iterator with outputs of ours: new ones where `outs` are undefined, else checked and resized.
template <class S, size_t N>
class Iterated final : public S {
 public:
  at::Tensor outs[N];
  bool in_place = false;

  const at::Tensor& maybe_get_output(int64_t i) override { return outs[i]; }
  void set_output_strided(int64_t i, at::IntArrayRef sizes, at::IntArrayRef strides, at::TensorOptions options ANYGPU_NAMES) override {
    set(i, sizes, strides, options ANYGPU_PASS_NAMES);
  }
  void set_output_raw_strided(int64_t i, at::IntArrayRef sizes, at::IntArrayRef strides, at::TensorOptions options ANYGPU_NAMES) override {
    set(i, sizes, strides, options ANYGPU_PASS_NAMES);
  }

 private:
  void set(int64_t i, at::IntArrayRef sizes, at::IntArrayRef strides, at::TensorOptions options ANYGPU_NAMES) {
    set_new_or_out(outs[i], in_place, sizes, strides, options);
    if constexpr (std::is_base_of_v<at::TensorIteratorBase, S>) S::set_output_raw_strided(i, sizes, strides, options ANYGPU_PASS_NAMES);
  }
};

// Arguments of the dispatcher's signature as the meta function takes them.
template <class T>
const T& as_meta(const T& v) {
  return v;
}
inline at::OptionalScalarRef as_meta(const std::optional<at::Scalar>& v) {
  return v ? at::OptionalScalarRef(&*v) : at::OptionalScalarRef();
}
inline at::OptionalTensorRef as_meta(const std::optional<at::Tensor>& v) {
  return v && v->defined() ? at::OptionalTensorRef(*v) : at::OptionalTensorRef();
}

/// A schema with plain integers: whoever registers such a kernel is given numbers, never symbols.
template <class Schema>
struct Plain;
template <class R, class... A>
struct Plain<R(A...)> {
  using type = R(typename c10::maybe_keep_symint<false, A>::type...);
};
template <class Op>
using SchemaOf = typename Plain<typename Op::schema>::type;

template <class S, class Op, class Schema = SchemaOf<Op>>
struct Face;

/// Functional: Tensor (args...)
template <class S, class Op, class... A>
struct Face<S, Op, at::Tensor(A...)> {
  static at::Tensor call(A... a) {
    Iterated<S, 1> op;
    op.meta(as_meta(a)...);
    op.impl(as_meta(a)..., op.outs[0]);
    return std::move(op.outs[0]);
  }
};

/// In-place: Tensor& (Tensor& self, args...); out=: Tensor& (args..., Tensor& out)
template <class S, class Op, class... A>
struct Face<S, Op, at::Tensor&(A...)> {
  static constexpr bool kInPlace = std::is_same_v<std::tuple_element_t<0, std::tuple<A...>>, at::Tensor&>;
  static at::Tensor& call(A... a) {
    auto args = std::forward_as_tuple(a...);
    Iterated<S, 1> op;
    op.in_place = kInPlace;
    at::Tensor& out = std::get < kInPlace ? 0 : sizeof...(A) - 1 > (args);
    op.outs[0] = out;
    [&]<size_t... i>(std::index_sequence<i...>) {
      op.meta(as_meta(std::get<i>(args))...);
      op.impl(as_meta(std::get<i>(args))..., out);
    }
    (std::make_index_sequence<sizeof...(A) - (kInPlace ? 0 : 1)>{});
    return out;
  }
};

/// Registers the faces Ops of the structured native function S (at::native::structured_<name>).
template <class S, class... Ops>
void faces(torch::Library& m) {
  (on<Ops, &Face<S, Ops>::call>(m), ...);
}

#define ANYGPU_FACES(name) ::anygpu::torch_frontend::faces<at::native::structured_##name##_out, at::_ops::name, at::_ops::name##_out>(m)
#define ANYGPU_FACES_INPLACE(name) \
  ::anygpu::torch_frontend::faces<at::native::structured_##name##_out, at::_ops::name, at::_ops::name##_, at::_ops::name##_out>(m)

}  // namespace anygpu::torch_frontend
