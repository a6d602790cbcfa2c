// Sampling at coordinates that a tensor holds, with gradients for the input and the coordinates.
#include "anygpu/calls/resample.h"
#include "ops/call.h"
#include "ops/interpolate.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

using calls::Outside;
using calls::Sampling;

struct Options {
  int n;
  Sampling sampling;
  Outside outside;
  bool align_corners;
  /// PyTorch's 3-D kernel passes over what lies outside; its 2-D one counts it as 0, which an infinite weight makes NaN.
  bool passes_over() const { return n == 3; }
  explicit Options(const auto& c) : n(c.grid.rank() - 2), sampling(c.sampling), outside(c.outside), align_corners(c.align_corners) {}
};

/// A position, and its derivative by the grid's coordinate.
struct Position {
  Val x, slope;
};

Position clipped(Position p, int64_t size) {
  Val inside = (p.x > 0.0) & (p.x < size_like(p.x, size - 1));
  return {min(max(p.x, 0.0), size_like(p.x, size - 1)), select(inside, p.slope, like(p.x, 0))};
}

/// Folds the line over at both ends, as often as it takes; the ends are given doubled.
Position reflected(Position p, int64_t twice_low, int64_t twice_high) {
  if (twice_low == twice_high) return {like(p.x, 0), like(p.x, 0)};
  Val low = size_like(p.x, twice_low / 2.0), span = size_like(p.x, (twice_high - twice_low) / 2.0);
  Val x = p.x - low;
  Val slope = select(x < 0.0, -p.slope, p.slope);
  x = abs(x);
  Val rest = x % span;
  Val flips = floor(x / span);
  Val even = (flips % 2.0) == 0.0;
  return {select(even, rest + low, span - rest + low), select(even, slope, -slope)};
}

Position bounded(Position p, int64_t size, const Options& o) {
  if (o.outside == Outside::Zeros) return p;
  if (o.outside == Outside::Reflection) p = o.align_corners ? reflected(p, 0, 2 * (size - 1)) : reflected(p, -1, 2 * size - 1);
  return clipped(p, size);
}

/// From [-1, 1] to elements.
Position unnormalised(Val c, int64_t size, const Options& o) {
  Val half = size_like(c, static_cast<double>(size) / 2), half_less = size_like(c, static_cast<double>(size - 1) / 2);
  return o.align_corners ? Position{(c + 1.0) * half_less, half_less} : Position{(c + 1.0) * half - 0.5, half};
}

Taps taps_of(Loop& loop, Val coordinate, int64_t size, const Options& o) {
  const DType t = coordinate.type();
  Position p = unnormalised(coordinate, size, o);
  auto tap = [&](Val i, Val weight, Val slope) {
    Val inside = within(i, 0, size);
    if (o.outside == Outside::Zeros) inside = inside & !isnan(coordinate);  // NaN is nowhere, but an integer is made of it
    return Tap{clamp(i, 0, size - 1), weight, slope, inside};
  };
  if (o.sampling == Sampling::Nearest) return {tap(cast(round(bounded(p, size, o).x), DType::I64), {}, {})};
  if (o.sampling == Sampling::Bilinear) {
    p = bounded(p, size, o);
    Val low = floor(p.x), part = p.x - low, i = cast(low, DType::I64);
    return {tap(i, 1.0 - part, -p.slope), tap(i + loop.i64(1), part, p.slope)};
  }
  Val low = floor(p.x), part = p.x - low;
  const std::vector<Val> weights = cubic_weights(part), slopes = cubic_slopes(part);
  Taps taps;
  for (int k = 0; k < 4; ++k) {
    Val at = bounded({low + static_cast<double>(k - 1), like(low, 0)}, size, o).x;
    taps.push_back(tap(cast(at, DType::I64), weights[k], slopes[k] * p.slope));
    (void)t;
  }
  return taps;
}

/// Taps in all dimensions for grid[N,o..,n], whose last dimension names the innermost coordinate first. `index`: of N and o...
std::vector<Taps> all_taps(Loop& loop, const Operand& grid, const std::vector<Val>& index, const Operand& input, const Options& o) {
  const DType t = compute_type(grid.dtype);
  std::vector<Taps> dims;
  for (int d = 0; d < o.n; ++d) {
    std::vector<Val> at = index;
    at.push_back(loop.i64(o.n - 1 - d));
    dims.push_back(taps_of(loop, cast(loop.load_at(grid, at), t), input.sizes[2 + d], o));
  }
  return dims;
}

std::vector<Val> element(Val batch, Val channel, const std::vector<const Tap*>& taps) {
  std::vector<Val> at = {batch, channel};
  for (const Tap* tap : taps) at.push_back(tap->at);
  return at;
}

void lower_grid_sample(Lowering& l, const calls::GridSample<Reading>& c) {
  const Options o(c);
  const Operand &dst = c.dst, &src = c.src;
  const DType t = compute_type(src.dtype);
  Loop loop(l, dst.sizes);
  std::vector<Val> where = {loop.index(0)};
  for (int d = 0; d < o.n; ++d) where.push_back(loop.index(2 + d));
  Val sum;
  for_each_combination(all_taps(loop, c.grid, where, src, o), [&](const std::vector<const Tap*>& taps, Val weight, Val inside) {
    Val v = cast(loop.load_at(src, element(loop.index(0), loop.index(1), taps)), t);
    if (!o.passes_over()) v = select(inside, v, like(v, 0));
    if (weight.body) v = v * cast(weight, t);
    if (o.passes_over()) v = select(inside, v, like(v, 0));
    sum = sum.body ? sum + v : v;
  });
  loop.store(dst, sum);
  loop.done();
}

void lower_grid_sample_src_grad(Lowering& l, const calls::GridSampleSrcGrad<Reading>& c) {
  const Options o(c);
  const Operand &dx = c.dsrc, &dy = c.ddst;
  const DType t = compute_type(dx.dtype);
  const Operand sum = zeroed_accumulator(l, dx);
  Loop loop(l, dy.sizes);
  std::vector<Val> where = {loop.index(0)};
  for (int d = 0; d < o.n; ++d) where.push_back(loop.index(2 + d));
  Val g = loop.load(dy, t);
  for_each_combination(all_taps(loop, c.grid, where, dx, o), [&](const std::vector<const Tap*>& taps, Val weight, Val inside) {
    loop.store_at(sum, element(loop.index(0), loop.index(1), taps), weight.body ? g * cast(weight, t) : g, ir::Combine::Add, inside);
  });
  loop.done();
  finish_accumulator(l, dx, sum);
}

void lower_grid_sample_grid_grad(Lowering& l, const calls::GridSampleGridGrad<Reading>& c) {
  const Options o(c);
  const Operand &dgrid = c.dgrid, &dy = c.ddst, &src = c.src;
  if (o.sampling == Sampling::Nearest) return fill(l, dgrid, 0);
  const DType t = compute_type(src.dtype);
  Dims space = {dy.sizes[0]};
  for (int d = 0; d < o.n; ++d) space.push_back(dy.sizes[2 + d]);
  space.push_back(dy.sizes[1]);
  const int channel = o.n + 1;
  Loop loop(l, space, 1u << channel);
  std::vector<Val> where;
  for (int d = 0; d <= o.n; ++d) where.push_back(loop.index(d));
  std::vector<Val> g_at = {loop.index(0), loop.index(channel)};
  for (int d = 0; d < o.n; ++d) g_at.push_back(loop.index(1 + d));
  Val g = cast(loop.load_at(dy, g_at), t);
  std::vector<Val> sums(o.n);
  for_each_combination(all_taps(loop, c.grid, where, src, o), [&](const std::vector<const Tap*>& taps, Val, Val inside) {
    Val v = cast(loop.load_at(src, element(loop.index(0), loop.index(channel), taps)), t);
    v = select(inside, v, like(v, 0)) * g;
    for (int d = 0; d < o.n; ++d) {
      Val term = v;
      for (int e = 0; e < o.n; ++e) term = term * cast(e == d ? taps[e]->slope : taps[e]->weight, t);
      if (o.passes_over()) term = select(inside, term, like(term, 0));
      sums[d] = sums[d].body ? sums[d] + term : term;
    }
  });
  for (int d = 0; d < o.n; ++d) {
    Operand part = selected(dgrid, dgrid.rank() - 1, o.n - 1 - d);
    loop.store(unsqueezed(part, part.rank()), reduce(ReduceKind::Sum, sums[d]));
  }
  loop.done();
}

}  // namespace

OpTable grid_sampling() {
  static const Op table[] = {
      entry<calls::GridSample, lower_grid_sample>(),
      entry<calls::GridSampleSrcGrad, lower_grid_sample_src_grad>(),
      entry<calls::GridSampleGridGrad, lower_grid_sample_grid_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
