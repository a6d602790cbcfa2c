// The geometry of windows that slide over the last n dimensions of an array: convolution, pooling, unfolding. Sizes, strides and padding are
// in elements of the input, a number a dimension; padding is on either side.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// n numbers from a list of n, or of one that stands for all. Throws Error(Value) for any other list.
inline Dims spread(const Dims& list, int n) {
  if (list.size() == 1) return Dims::filled(n, list[0]);
  if (list.size() != n)
    throw Error(ErrorKind::Value, "[window] a list of " + std::to_string(list.size()) + " for " + std::to_string(n) + " dimensions");
  return list;
}

/// Input elements that one window spans.
constexpr int64_t reach(int64_t kernel, int64_t dilation) {
  return dilation * (kernel - 1) + 1;
}
/// How many windows lie along a dimension of `size` elements; negative or 0 where none does.
constexpr int64_t windows_along(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  return (size + 2 * padding - reach(kernel, dilation)) / stride + 1;
}
/// Elements that a transposed convolution makes of `size`: the least input of which a convolution makes `size`, and `extra` more.
constexpr int64_t transposed_along(int64_t size, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation, int64_t extra) {
  return (size - 1) * stride - 2 * padding + reach(kernel, dilation) + extra;
}

/// The windows of pooling and unfolding.
struct Window {
  Dims kernel, stride, padding, dilation;

  int n() const { return kernel.size(); }
};
/// Lists of one stand for all n dimensions; without a stride, windows lie side by side.
inline Window window(int n, const Dims& kernel, const Dims& stride, const Dims& padding, const Dims& dilation = {1}) {
  return {spread(kernel, n), spread(stride.empty() ? kernel : stride, n), spread(padding, n), spread(dilation, n)};
}

/// The windows of a convolution; its kernel is the weight's.
struct ConvGeometry {
  Dims stride, padding, dilation;
  int64_t groups = 1;

  int n() const { return stride.size(); }
};
inline ConvGeometry conv_geometry(int n, const Dims& stride, const Dims& padding, const Dims& dilation, int64_t groups) {
  return {spread(stride, n), spread(padding, n), spread(dilation, n), groups};
}

}  // namespace anygpu::calls
