// Different values, or slices. How many there are is read from the device.
#pragma once

#include "frontends/common/operators.h"

namespace anygpu::common {

struct Unique {
  Array values;          ///< in ascending order, or the given one
  Array inverse;         ///< for each element or slice the place of its value, i64; nothing where that is not wanted
  Array counts;          ///< how often each occurs, i64; nothing where that is not wanted
  bool by_host = false;  ///< whether the slices had to be put in order by the host
};

/// Of a vector. `consecutive`: neighbours that are equal are one; else all that are equal.
Unique unique(const Array& vector, bool consecutive, bool inverse, bool counts);
/// Of the slices of a dimension, in lexicographic order. There must be elements.
Unique unique_slices(const Array&, int dim, bool consecutive, bool inverse, bool counts);

}  // namespace anygpu::common
