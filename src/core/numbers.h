// Small arithmetic that every room needs.
#pragma once

#include "anygpu/dtype.h"

namespace anygpu {

/// The least multiple of `to` that is not below n; n >= 0, to > 0.
template <class T>
constexpr T round_up(T n, T to) {
  return (n + to - 1) / to * to;
}

/// The 16-bit floats, which have no arithmetic of their own: compute_type is f32.
constexpr bool is_half(DType t) {
  return t == DType::F16 || t == DType::BF16;
}

}  // namespace anygpu
