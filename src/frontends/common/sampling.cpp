#include "frontends/common/sampling.h"

#include "anygpu/calls/random.h"

namespace anygpu::common {

Array uniform(Device& device, DType t, const Dims& sizes, Philox p, double low, double high) {
  Array r = make(device, t, sizes);
  if (r.elements()) record(calls::random_uniform(p, t, low, high).out(r));
  return r;
}

Distribution distribution_of(const Array& weights) {
  if (!all(both(is_finite(weights), at_least(weights, 0)))) {
    const bool negative = any(less(weights, 0));
    throw Error(ErrorKind::Value, std::string("invalid multinomial distribution (encountering probability entry ") +
                                      (negative ? "< 0)" : "= infinity or NaN)"));
  }
  const Array upto = cumsum(cast(weights, compute_type(weights.dtype)), -1);
  const Distribution d{upto, narrow(upto, -1, upto.size(-1) - 1, 1)};
  if (!all(greater(d.total, 0))) throw Error(ErrorKind::Value, "invalid multinomial distribution (sum of probabilities <= 0)");
  return d;
}

Array multinomial(const Distribution& d, int64_t samples, Philox p) {
  // Inverts each row's cumulative distribution.
  const Array u = uniform(d.upto.device(), d.upto.dtype, {d.upto.sizes[0], samples}, p, 0, 1);
  return not_above(search(d.upto, u * d.total, /*right=*/true), d.upto.size(-1) - 1);
}

}  // namespace anygpu::common
