// Interpolation between samples: which elements a coordinate draws from, and with what weights. One dimension at a time.
#pragma once

#include <functional>
#include <vector>

#include "ops/window.h"

namespace anygpu::ops {

/// One element that a coordinate draws from.
struct Tap {
  ir::Val at;      ///< i64, safe to load from
  ir::Val weight;  ///< none (body null) stands for 1
  ir::Val slope;   ///< the weight's derivative by the coordinate, where asked for
  ir::Val inside;  ///< false: the element counts as 0. None: always inside
};
using Taps = std::vector<Tap>;

/// A for the cubic kernel: PyTorch's, and PIL's for resampling with a filter.
constexpr double kCubicA = -0.75;

/// Weights of the four samples around t in [0, 1): at -1, 0, 1, 2 (Keys, 1981).
inline std::vector<ir::Val> cubic_weights(ir::Val t) {
  constexpr double a = kCubicA;
  auto near = [](ir::Val x) { return ((a + 2) * x - (a + 3)) * x * x + 1.0; };
  auto far = [](ir::Val x) { return ((a * x - 5 * a) * x + 8 * a) * x - 4 * a; };
  return {far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)};
}
inline std::vector<ir::Val> cubic_slopes(ir::Val t) {
  constexpr double a = kCubicA;
  auto near = [](ir::Val x) { return (3 * (a + 2) * x - 2 * (a + 3)) * x; };
  auto far = [](ir::Val x) { return (3 * a * x - 10 * a) * x + 8 * a; };
  return {far(t + 1.0), near(t), -near(1.0 - t), -far(2.0 - t)};
}

/// Calls f(indices, weight, inside) for each combination of one tap a dimension; weight and inside may be null (1, true).
inline void for_each_combination(const std::vector<Taps>& dims,
                                 const std::function<void(const std::vector<const Tap*>&, ir::Val weight, ir::Val inside)>& f) {
  std::vector<const Tap*> chosen(dims.size());
  std::function<void(size_t, ir::Val, ir::Val)> go = [&](size_t d, ir::Val weight, ir::Val inside) {
    if (d == dims.size()) return f(chosen, weight, inside);
    for (const Tap& tap : dims[d]) {
      chosen[d] = &tap;
      ir::Val w = !tap.weight.body ? weight : !weight.body ? tap.weight : weight * tap.weight;
      ir::Val in = !tap.inside.body ? inside : !inside.body ? tap.inside : inside & tap.inside;
      go(d + 1, w, in);
    }
  };
  go(0, {}, {});
}

/// `o` itself if sums can be gathered in it without loss, else a temporary of its compute type; both start at 0.
inline ir::Operand zeroed_accumulator(Lowering& l, const ir::Operand& o) {
  const ir::Operand sum = compute_type(o.dtype) == o.dtype ? o : l.temp(compute_type(o.dtype), o.sizes);
  fill(l, sum, 0);
  return sum;
}
inline void finish_accumulator(Lowering& l, const ir::Operand& o, const ir::Operand& sum) {
  if (sum.slot != o.slot) copy(l, o, sum);
}

}  // namespace anygpu::ops
