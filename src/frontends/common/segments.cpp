#include "frontends/common/segments.h"

#include <limits>

namespace anygpu::common {

namespace {

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

/// A segment's number for each of `n` rows.
Array segment_of(const Array& bounds, int64_t n) {
  Dims sizes = bounds.sizes;
  sizes[sizes.size() - 1] = n;
  return search(contiguous(narrow(bounds, -1, 1, bounds.size(-1) - 1)), along(arange(bounds.device(), n), -1, sizes), /*right=*/true);
}

/// `index` [.., n] given the trailing dimensions of `sizes`.
Array over(const Array& index, const Dims& sizes) {
  Array r = index;
  while (r.rank() < sizes.size()) r = unsqueeze(r, r.rank());
  return expand(r, sizes);
}

Array lengths_of(const Array& bounds) {
  const int64_t n = bounds.size(-1) - 1;
  return narrow(bounds, -1, 1, n) - narrow(bounds, -1, 0, n);
}

}  // namespace

Combine combine_of(Reduction r) {
  switch (r) {
    case Reduction::Prod:
      return Combine::Mul;
    case Reduction::Max:
      return Combine::Max;
    case Reduction::Min:
      return Combine::Min;
    default:
      return Combine::Add;
  }
}

Number identity_of(Reduction r, DType t) {
  if (r == Reduction::Sum || r == Reduction::Mean) return 0;
  if (r == Reduction::Prod) return 1;
  const bool lowest = r == Reduction::Max;
  if (is_float(t)) return lowest ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity();
  switch (t) {
    case DType::Bool:
      return !lowest;
    case DType::U8:
      return lowest ? 0 : 255;
    case DType::I8:
      return lowest ? -128 : 127;
    case DType::I16:
      return lowest ? -32768 : 32767;
    case DType::I32:
      return lowest ? std::numeric_limits<int32_t>::min() : std::numeric_limits<int32_t>::max();
    default:
      return lowest ? std::numeric_limits<int64_t>::min() : std::numeric_limits<int64_t>::max();
  }
}

Array bounds_of(const Array& lengths) {
  const Array l = cast(lengths, DType::I64);
  Dims sizes = l.sizes;
  sizes[sizes.size() - 1] = 1;
  return concatenate({full(l.device(), DType::I64, sizes, 0), cumsum(l, -1)}, -1);
}

void check_lengths(const Array& lengths, int64_t rows) {
  if (lengths.elements() && read_int(extrema(lengths).low) < 0) throw Error(ErrorKind::Value, "lengths contains negative value!");
  if (!all(equal(sum(cast(lengths, DType::I64), -1), rows)))
    throw Error(ErrorKind::Value,
                "segment_reduce(): Expected all rows of lengths along axis to sum to data.size(lengths.dim()-1) when !unsafe.");
}

Array segment_reduce(const Array& data, Reduction r, const Array& bounds, int axis, std::optional<Number> initial) {
  const int64_t segments = bounds.size(-1) - 1;
  Dims sizes = data.sizes;
  sizes[axis] = segments + 1;  // the last takes the rows that belong to none
  const Array all = full(data.device(), data.dtype, sizes, initial ? *initial : identity_of(r, data.dtype));
  if (segments && data.elements()) scatter(all, axis, over(segment_of(bounds, data.sizes[axis]), data.sizes), data, combine_of(r));
  const Array out = contiguous(narrow(all, axis, 0, segments));
  if (r != Reduction::Mean) return out;
  const Array n = over(lengths_of(bounds), out.sizes), mean = out / not_below(cast(n, out.dtype), 1);
  return where(greater(n, 0), mean, initial ? Term(out) : Term(kNaN), out.dtype);
}

Array segment_reduce_grad(const Array& grad, const Array& output, const Array& data, Reduction r, const Array& bounds, int axis,
                          std::optional<Number> initial) {
  const int64_t segments = bounds.size(-1) - 1;
  const auto all = [&](Number n) { return full(data.device(), data.dtype, grad.sizes, n); };
  if (!segments || !data.elements()) return full(data.device(), data.dtype, data.sizes, 0);
  // Rows that belong to no segment get no gradient.
  const Array segment = over(segment_of(bounds, data.sizes[axis]), data.sizes), outside = equal(segment, segments),
              index = not_above(segment, segments - 1);
  const auto per_row = [&](const Array& per_segment) { return gather(per_segment, axis, index); };
  const auto total = [&](const Array& rows) {
    const Array t = all(0);
    scatter(t, axis, index, filled(cast(rows, data.dtype), outside, 0), Combine::Add);
    return per_row(t);
  };
  const Array g = filled(per_row(grad), outside, 0);
  if (r == Reduction::Sum) return g;
  if (r == Reduction::Mean) return g / not_below(cast(per_row(over(lengths_of(bounds), grad.sizes)), data.dtype), 1);
  const Array y = per_row(output);
  if (r == Reduction::Max || r == Reduction::Min) {
    // Equal extrema share the gradient.
    const Array hit = either(equal(data, y), is_nan(data));
    return filled(where(hit, g / total(hit), 0, data.dtype), outside, 0);
  }
  // The product of the others: by division, but of zeros and NaNs, by which nothing can be divided, by counting the others of them.
  const Array zero = equal(data, 0), nan = is_nan(data), special = either(zero, nan);
  const Array products = all(initial.value_or(1));
  scatter(products, axis, index, filled(data, either(special, outside), 1), Combine::Mul);
  const auto among_others = [&](const Array& rows) { return greater(total(rows), rows); };
  const Array others = filled(per_row(products) * negate(among_others(zero)), among_others(nan), kNaN);
  return filled(where(special, g * others, g * y / data, data.dtype), outside, 0);
}

}  // namespace anygpu::common
