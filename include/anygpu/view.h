// A View: all that an operator ever sees of a tensor. Reshape, transpose, slice and expand make Views, never work.
#pragma once

#include "anygpu/buffer.h"
#include "anygpu/dims.h"
#include "anygpu/dtype.h"

namespace anygpu {

/// A Buffer seen as an array. Strides and offset are in elements of `dtype`; strides are never negative, 0 repeats.
struct View {
  BufferRef buffer;
  DType dtype = DType::F32;
  int64_t offset = 0;
  Dims sizes;
  Dims strides;

  int rank() const { return sizes.size(); }
  int64_t elements() const { return product(sizes); }
};

/// What else can be seen as an operand: a framework specialises it for its tensors (T and what derives from it), so that they may stand
/// wherever a ViewArg is wanted. `of`: the View, which owns nothing; `there`: whether the tensor is one at all.
template <class T>
struct Viewable;
template <class T>
concept Seen = requires(const T& t) {
  Viewable<T>::of(t);
  Viewable<T>::there(t);
};

/// A View with Buffer not owned: what the hot path passes to Device::record, which pins what it keeps. Without a Buffer: an operand that
/// is absent (see calls/call.h).
struct ViewArg {
  Buffer* buffer;
  DType dtype;
  int64_t offset;
  int rank;
  const int64_t* sizes;
  const int64_t* strides;

  ViewArg() : buffer(nullptr), dtype(DType::F32), offset(0), rank(0), sizes(nullptr), strides(nullptr) {}
  ViewArg(const View& v)
      : buffer(v.buffer.get()), dtype(v.dtype), offset(v.offset), rank(v.rank()), sizes(v.sizes.data()), strides(v.strides.data()) {}
  ViewArg(Buffer* buffer, DType dtype, int64_t offset, int rank, const int64_t* sizes, const int64_t* strides)
      : buffer(buffer), dtype(dtype), offset(offset), rank(rank), sizes(sizes), strides(strides) {}
  template <Seen T>
  ViewArg(const T& t) : ViewArg(Viewable<T>::of(t)) {}

  /// Whether there is an operand.
  explicit operator bool() const { return buffer != nullptr; }
};

/// A number handed to a kernel at run time, never compiled into it. Which of the two is meant follows from the operator.
union Scalar {
  double f;
  int64_t i;

  Scalar() : i(0) {}
  Scalar(double v) : f(v) {}
  Scalar(int64_t v) : i(v) {}
  static Scalar of(DType t, double v) { return is_float(t) ? Scalar(v) : Scalar(static_cast<int64_t>(v)); }
};

}  // namespace anygpu
