// Drawing by given probabilities.
#pragma once

#include "anygpu/philox.h"
#include "frontends/common/operators.h"

namespace anygpu::common {

/// New uniform numbers of [low, high). One counter an element.
Array uniform(Device&, DType, const Dims& sizes, Philox, double low, double high);

/// Of weights [rows, n]: their running sums, and the sums [rows, 1].
struct Distribution {
  Array upto, total;
};
/// Throws where a row is no distribution: negative, infinite, NaN, or 0 altogether. Reads the device.
Distribution distribution_of(const Array& weights);
/// `samples` draws with replacement from each row, i64 [rows, samples]. One counter a sample.
Array multinomial(const Distribution&, int64_t samples, Philox);

}  // namespace anygpu::common
