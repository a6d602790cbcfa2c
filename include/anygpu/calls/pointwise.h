// Calls of pointwise operators: any number of outputs and inputs, all broadcast to the outputs' sizes.
//
//   calls::record(calls::Pointwise(op("add"), DType::F32).out(y).in(x).in(Scalar(2.0)));
//
// An input may be a number: where frameworks allow a host number among tensors, no tensor need be made of it.
#pragma once

#include <span>
#include <string>

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// Built in any order of kinds; the operands of a kind in the operator's order.
class Pointwise {
 public:
  /// `compute`: the dtype that inputs are cast to and the body computes in (halves in f32, then rounded), as the framework's promotion says.
  Pointwise(const Op& op, DType compute) : entry(op), compute_(compute) {}

  /// An output; all of them before the first input that is no number.
  Pointwise& out(const ViewArg& v) {
    views_.at[place(n_views_, kMost)] = v;
    return *this;
  }
  Pointwise& in(const ViewArg& v) {
    ++inputs_;
    return out(v);
  }
  /// An input that is a number: of the compute type, .f for floats and halves, .i for the others.
  Pointwise& in(Scalar number) {
    number_inputs_ |= 1u << inputs_++;
    numbers_.at[place(n_numbers_, kMost)] = number;
    return *this;
  }
  /// The operator's own scalars and attrs, as its comment in src/ops says.
  Pointwise& scalar(Scalar s) {
    scalars_.at[place(n_scalars_, kMost)] = s;
    return *this;
  }
  Pointwise& attr(int64_t a) {
    attrs_.at[1 + place(n_attrs_, kMost)] = a;
    return *this;
  }

  DType compute() const { return compute_; }

  // ---- as Device::record takes it ----
  const Op& entry;
  std::span<const ViewArg> views() const { return {views_.at, n_views_}; }
  /// The operator's own, then the numbers. Changes nothing that can be seen.
  std::span<const Scalar> scalars() {
    std::copy(numbers_.at, numbers_.at + n_numbers_, scalars_.at + n_scalars_);
    return {scalars_.at, n_scalars_ + n_numbers_};
  }
  std::span<const int64_t> attrs() {
    attrs_.at[0] = encode(compute_, number_inputs_);
    return {attrs_.at, 1 + n_attrs_};
  }

  // ---- attr 0 of every pointwise call: the dtype to compute in, and which inputs are numbers (bits) ----
  static constexpr int64_t encode(DType compute, uint32_t number_inputs) {
    return static_cast<int64_t>(compute) | static_cast<int64_t>(number_inputs) << 8;
  }
  static constexpr DType compute_of(int64_t attr) { return static_cast<DType>(attr & 0xff); }
  static constexpr uint32_t number_inputs_of(int64_t attr) { return static_cast<uint32_t>(attr >> 8); }

 private:
  static constexpr size_t kMost = 20;
  size_t place(size_t& n, size_t most) const {
    if (n == most) throw Error(ErrorKind::Internal, "[" + std::string(name_of(entry)) + "] a pointwise call of too many operands");
    return n++;
  }
  DType compute_;
  uint32_t number_inputs_ = 0;
  int inputs_ = 0;
  size_t n_views_ = 0, n_scalars_ = 0, n_numbers_ = 0, n_attrs_ = 0;
  Room<ViewArg, kMost> views_;
  Room<Scalar, 2 * kMost> scalars_;
  Room<Scalar, kMost> numbers_;
  Room<int64_t, 1 + kMost> attrs_;
};

/// dst = value, a number of dst's dtype.
inline Pointwise fill(const ViewArg& dst, Scalar value) {
  static const Op& entry = op("fill");
  Pointwise call(entry, dst.dtype);
  call.out(dst).scalar(value);
  return call;
}
/// dst = src, cast straight to dst's dtype; src broadcasts.
inline Pointwise copy(const ViewArg& dst, const ViewArg& src) {
  static const Op& entry = op("copy");
  Pointwise call(entry, dst.dtype);
  call.out(dst).in(src);
  return call;
}

}  // namespace anygpu::calls
