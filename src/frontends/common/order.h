// Order statistics along a dimension: places in the sorted order. Results keep the dimension, with size 1; a number counts as a vector of
// one.
#pragma once

#include "frontends/common/operators.h"

namespace anygpu::common {

/// The k-th smallest, from 1 on.
Ordered kthvalue(const Array&, int64_t k, int dim);
/// The lower median; NaN where there is one, unless they are ignored.
Ordered median(const Array&, int dim, bool ignore_nan);
/// The most frequent value, the smallest of several, and its last place.
Ordered mode(const Array&, int dim);

}  // namespace anygpu::common
