#include "frontends/common/counting.h"

#include <cmath>
#include <sstream>

namespace anygpu::common {

namespace {

void check(bool right, const std::string& words) {
  if (!right) throw Error(ErrorKind::Value, words);
}

}  // namespace

Array bincount(const Array& vector, const Array& weights, int64_t least) {
  const Extrema e = extrema(vector);
  check(read_int(e.low) >= 0, "bincount only supports 1-d non-negative integral inputs.");
  check(!weights || (weights.rank() == 1 && weights.sizes[0] == vector.sizes[0]),
        "weights should be 1-d and have the same length as input");
  const int64_t bins = std::max(read_int(e.high) + 1, least);
  const Array index = cast(vector, DType::I64);
  const Array each = !weights                      ? full(vector.device(), DType::I64, vector.sizes, 1)
                     : weights.dtype == DType::F32 ? weights
                                                   : cast(weights, DType::F64);
  Array r = full(vector.device(), each.dtype, {bins}, 0);
  scatter(r, 0, index, each, Combine::Add);
  return r;
}

/// What a histogram runs over where it is not said (low == high): from the least to the greatest value, and never nothing.
template <class T>
static void find_range(const Array& x, T& low, T& high, T (*read)(const Array&)) {
  if (low == high && x.elements() > 0) {
    const Extrema e = extrema(x);
    low = read(e.low);
    high = read(e.high);
  }
  if (low == high) {
    low -= 1;
    high += 1;
  }
}

Array histogram(const Array& x, int64_t bins, double low, double high) {
  find_range(x, low, high, read_double);
  if (!std::isfinite(low) || !std::isfinite(high)) {
    std::ostringstream words;
    words << "range of [" << low << ", " << high << "] is not finite";
    check(false, words.str());
  }
  check(low < high, "max must be larger than min");
  const Array inside = both(at_least(x, low), at_most(x, high));
  const Array place = clamp(floor((x - low) * (static_cast<double>(bins) / (high - low))), 0, bins - 1);
  Array r = full(x.device(), x.dtype, {bins}, 0);
  scatter(r, 0, cast(where(inside, place, 0, x.dtype), DType::I64), cast(inside, x.dtype), Combine::Add);
  return r;
}

Array histogram_of_integers(const Array& vector, int64_t bins, int64_t low, int64_t high) {
  find_range(vector, low, high, read_int);
  check(low < high, "max must be larger than min");
  const Array x = cast(vector, DType::I64);
  const Array inside = both(at_least(x, low), at_most(x, high));
  const Array place = clamp(floor_divide((where(inside, x, low, DType::I64) - low) * bins, high - low), 0, bins - 1);
  Array r = full(x.device(), vector.dtype, {bins}, 0);
  scatter(r, 0, place, cast(inside, vector.dtype), Combine::Add);
  return r;
}

Array histogram(const Array& points, std::span<const Array> edges, const Array& weights, bool density) {
  Device& device = points.device();
  const int64_t n = points.sizes[0];
  Dims shape;
  Array place = full(device, DType::I64, {n}, 0), inside = full(device, DType::Bool, {n}, true);
  for (size_t d = 0; d < edges.size(); ++d) {
    const Array x = contiguous(select(points, 1, static_cast<int64_t>(d))), e = contiguous(edges[d]);
    const int64_t bins = e.elements() - 1;
    inside = both(both(inside, at_least(x, select(e, 0, 0))), at_most(x, select(e, 0, bins)));
    place = place * bins + clamp(search(e, x, /*right=*/true) - 1, 0, bins - 1);
    shape.push_back(bins);
  }
  const Array each = weights ? weights : full(device, points.dtype, {n}, 1);
  Array r = full(device, points.dtype, {product(shape)}, 0);
  scatter(r, 0, place, where(inside, each, 0, each.dtype), Combine::Add);
  if (density) r = r / sum(r, 0);
  r = reshape(r, shape);
  for (size_t d = 0; density && d < edges.size(); ++d) {
    const int64_t bins = shape[static_cast<int>(d)];
    r = r / along(narrow(edges[d], 0, 1, bins) - narrow(edges[d], 0, 0, bins), static_cast<int>(d), shape);
  }
  return r;
}

Array repeat_places(const Array& repeats, std::optional<int64_t> total) {
  check(all(at_least(repeats, 0)), "repeats can not be negative");
  const Array ends = cumsum(cast(repeats, DType::I64), 0);
  const int64_t n = read_int(select(ends, 0, ends.elements() - 1));
  check(!total || *total == n, "allocated size does not match required size");
  // Output i belongs to the first entry whose end lies beyond i.
  return cast(search(ends, arange(repeats.device(), n), /*right=*/true), repeats.dtype);
}

}  // namespace anygpu::common
