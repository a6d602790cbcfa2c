// Reductions, and those of segments: neighbouring rows that belong together.
#pragma once

#include <optional>

#include "frontends/common/operators.h"

namespace anygpu::common {

enum class Reduction { Sum, Prod, Mean, Max, Min };
/// What combines elements to it; a mean's sum is divided afterwards.
Combine combine_of(Reduction);
/// What leaves the other operand as it is.
Number identity_of(Reduction, DType);

/// The bounds of segments of these lengths [.., S], as i64 [.., S + 1].
Array bounds_of(const Array& lengths);
/// Throws where lengths [.., S] are negative or do not sum to `rows`.
void check_lengths(const Array& lengths, int64_t rows);

/// Reduces the rows of `data` (of floats), along `axis`, the last dimension of `bounds` [.., S + 1], segment by segment. `initial`: what a
/// segment starts with; without, an empty segment's mean is NaN.
Array segment_reduce(const Array& data, Reduction, const Array& bounds, int axis, std::optional<Number> initial);
/// The gradient of `data`. `output`: what segment_reduce gave.
Array segment_reduce_grad(const Array& grad, const Array& output, const Array& data, Reduction, const Array& bounds, int axis,
                          std::optional<Number> initial);

}  // namespace anygpu::common
