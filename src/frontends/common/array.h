// Arrays: tensors that belong to no framework, which algorithms compute with. Errors are anygpu::Error, thrown where the call is made.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "anygpu/calls/call.h"
#include "anygpu/view.h"

namespace anygpu::common {

/// A View that an algorithm holds, or nothing. Copies share their bytes.
struct Array : View {
  Array() = default;
  Array(View v) : View(std::move(v)) {}
  explicit operator bool() const { return static_cast<bool>(buffer); }

  Device& device() const { return buffer->device; }
  /// Dimensions count from the end where negative, here and in all that takes one.
  int64_t size(int dim) const { return sizes[dim < 0 ? dim + rank() : dim]; }
};

// ---- recording ----

namespace detail {
extern thread_local bool in_order;
/// Throws where operands are of two devices.
void check_device(std::span<const ViewArg> operands);
}  // namespace detail

/// While one lives, what its thread records through this room is applied in order: Device::record's in_order.
class InOrder {
 public:
  explicit InOrder(bool);
  ~InOrder();
  InOrder(const InOrder&) = delete;

 private:
  const bool before_;
};

/// Records a call: what builds one operand by operand, or a struct of anygpu/calls.
template <calls::Ready C>
void record(C&& call) {
  detail::check_device(call.views());
  calls::record(call, detail::in_order);
}
template <calls::Call C>
void record(const C& call) {
  record(calls::Encoded<C>(call));
}

// ---- new arrays ----

/// Uninitialised, row-major.
Array make(Device&, DType, const Dims& sizes);
Array make_like(const Array& like);
/// A number of any dtype: exact for integers of 64 bits, too.
struct Number {
  double f;
  int64_t i;
  Number(double v) : f(v), i(0) {
    if (v >= -9223372036854775808.0 && v < 9223372036854775808.0) i = static_cast<int64_t>(v);
  }
  Number(int64_t v) : f(static_cast<double>(v)), i(v) {}
  Number(int v) : Number(static_cast<int64_t>(v)) {}
  Number(bool v) : Number(static_cast<int64_t>(v)) {}
  /// As an argument of a kernel that computes in `t`.
  Scalar as(DType t) const { return is_float(t) ? Scalar(f) : Scalar(i); }
};
Array full(Device&, DType, const Dims& sizes, Number);
/// 0, 1 .. n - 1, of i64
Array arange(Device&, int64_t n);
Array from_host(Device&, std::span<const int64_t> values);  ///< a vector of i64

// ---- views: no work ----

bool is_contiguous(const View&);
Array narrow(const Array&, int dim, int64_t start, int64_t length);
/// One index of a dimension, which goes.
Array select(const Array&, int dim, int64_t index);
Array unsqueeze(const Array&, int dim);
/// Drops a dimension of size 1.
Array squeeze(const Array&, int dim);
Array transpose(const Array&, int a, int b);
/// A dimension elsewhere, the others in their order.
Array move_dim(const Array&, int from, int to);
/// As NumPy broadcasts.
Array expand(const Array&, const Dims& sizes);
/// A vector given the rank of `sizes`, along `dim`, and repeated over the others.
Array along(const Array& vector, int dim, const Dims& sizes);
/// `dim` at least 1: a number becomes a vector of one.
Array some_dims(const Array&);

// ---- copies ----

/// dst = src, cast and broadcast.
void copy_to(const Array& dst, const Array& src);
Array copy(const Array&);
/// Itself, where it has that dtype.
Array cast(const Array&, DType);
/// Itself, where it is.
Array contiguous(const Array&);
/// A view where it is contiguous.
Array reshape(const Array&, const Dims& sizes);
Array flatten(const Array&);
Array concatenate(std::initializer_list<Array> parts, int dim);

// ---- reading: flushes, waits ----

double read_double(const Array&);
int64_t read_int(const Array&);
/// Its elements in row-major order; `T` is the dtype's type.
template <class T>
std::vector<T> read(const Array& a) {
  const Array dense = contiguous(a);
  std::vector<T> out(static_cast<size_t>(dense.elements()));
  if (!out.empty())
    dense.device().download(*dense.buffer.get(), dense.offset * size_of(dense.dtype), out.data(), dense.elements() * size_of(dense.dtype));
  return out;
}

}  // namespace anygpu::common
