// Counting and repetition. Where a result's size depends on the data, or the data on an argument, that is read from the device.
#pragma once

#include <optional>

#include "frontends/common/operators.h"

namespace anygpu::common {

/// How often each of 0, 1 .. occurs in a vector of integers (i64), or the sum of its weights (f32 for those of f32, else f64). At least
/// `least` results.
Array bincount(const Array& vector, const Array& weights, int64_t least);

/// How many elements of a vector of floats lie in each of `bins` equal parts of [low, high], in its dtype; the last part has its end.
/// Bounds that are equal are the data's, widened by 1 where those are one point.
Array histogram(const Array& vector, int64_t bins, double low, double high);
/// The same of integers.
Array histogram_of_integers(const Array& vector, int64_t bins, int64_t low, int64_t high);

/// How many points [n, d], or the sum of their weights [n], lie between `edges`: for each of the d dimensions an ascending vector; the last
/// bin has its end. Of points' dtype, as edges and weights are. `density`: divided by the total and by each bin's extent.
Array histogram(const Array& points, std::span<const Array> edges, const Array& weights, bool density);

/// Place i of a vector of integers, as often as it says. `total`: what the sum must be.
Array repeat_places(const Array& repeats, std::optional<int64_t> total);

}  // namespace anygpu::common
