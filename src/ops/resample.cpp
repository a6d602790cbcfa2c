// Resizing: nearest, linear, cubic, and the same with a filter that grows with the scale (antialias).
#include <cmath>

#include "anygpu/calls/resample.h"
#include "ops/call.h"
#include "ops/interpolate.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

using calls::Filter;
using Mode = calls::Resize;

/// The taps of output index `o` in an input of size `in`. `scale`: input elements per output element.
Taps taps_of(Loop& loop, Mode mode, bool align_corners, Val o, Val scale, int64_t in, int64_t out) {
  const DType t = scale.type();
  Taps taps;
  auto clamped = [&](Val i) { return clamp(i, 0, in - 1); };
  if (mode == Mode::Nearest && out == in) return {{o}};
  if (mode == Mode::Nearest && out == 2 * in) return {{shr(o, loop.i64(1))}};
  if (mode == Mode::Nearest) return {{clamped(cast(floor(cast(o, t) * scale), DType::I64))}};
  if (mode == Mode::NearestExact) return {{clamped(cast(floor((cast(o, t) + 0.5) * scale), DType::I64))}};
  if (out == in && mode == Mode::Linear) return {{o}};
  Val x = align_corners ? cast(o, t) * scale : scale * (cast(o, t) + 0.5) - 0.5;
  if (mode == Mode::Linear) {
    if (!align_corners) x = max(x, 0.0);
    Val first = clamped(cast(floor(x), DType::I64));
    Val part = min(max(x - cast(first, t), 0.0), 1.0);
    return {{first, 1.0 - part}, {clamped(first + loop.i64(1)), part}};
  }
  Val first = min(cast(floor(x), DType::I64), loop.size(in - 1));
  Val part = min(max(x - cast(first, t), 0.0), 1.0);
  const std::vector<Val> weights = cubic_weights(part);
  for (int i = 0; i < 4; ++i) taps.push_back({clamped(first + loop.i64(i - 1)), weights[i]});
  return taps;
}

/// The type in which positions are computed: PyTorch's nearest modes use float whatever the data is.
DType position_type(Mode mode, DType data) {
  return mode == Mode::Nearest || mode == Mode::NearestExact || data != DType::F64 ? DType::F32 : DType::F64;
}

/// Of a resize call between spatial sizes `in` and `out`.
std::vector<Taps> all_taps(Loop& loop, const auto& c, const Dims& in, const Dims& out, DType data) {
  std::vector<Taps> dims;
  for (int d = 0; d < in.size(); ++d) {
    Val scale = loop.scalar(c.scales[static_cast<size_t>(d)], position_type(c.mode, data));
    dims.push_back(taps_of(loop, c.mode, c.align_corners, loop.index(2 + d), scale, in[d], out[d]));
  }
  return dims;
}

void lower_upsample(Lowering& l, const calls::Upsample<Reading>& c) {
  const Operand &dst = c.dst, &src = c.src;
  const int n = src.rank() - 2;
  const DType t = c.mode == Mode::Nearest || c.mode == Mode::NearestExact ? src.dtype : compute_type(src.dtype);
  Loop loop(l, dst.sizes);
  Val sum;
  for_each_combination(all_taps(loop, c, slice(src.sizes, 2, n), slice(dst.sizes, 2, n), compute_type(src.dtype)),
                       [&](const std::vector<const Tap*>& taps, Val weight, Val) {
                         std::vector<Val> at = {loop.index(0), loop.index(1)};
                         for (const Tap* tap : taps) at.push_back(tap->at);
                         Val v = cast(loop.load_at(src, at), t);
                         if (weight.body) v = v * weight;
                         sum = sum.body ? sum + v : v;
                       });
  loop.store(dst, sum);
  loop.done();
}

void lower_upsample_grad(Lowering& l, const calls::UpsampleGrad<Reading>& c) {
  const Operand &dx = c.dsrc, &dy = c.ddst;
  const int n = dx.rank() - 2;
  const DType t = compute_type(dx.dtype);
  const Operand sum = zeroed_accumulator(l, dx);
  Loop loop(l, dy.sizes);
  Val g = loop.load(dy, t);
  for_each_combination(all_taps(loop, c, slice(dx.sizes, 2, n), slice(dy.sizes, 2, n), t),
                       [&](const std::vector<const Tap*>& taps, Val weight, Val) {
                         std::vector<Val> at = {loop.index(0), loop.index(1)};
                         for (const Tap* tap : taps) at.push_back(tap->at);
                         loop.store_at(sum, at, weight.body ? g * weight : g, ir::Combine::Add);
                       });
  loop.done();
  finish_accumulator(l, dx, sum);
}

// ---- with a filter ----

Val sinc(Val x) {
  Val z = x * M_PI;
  return select(x == 0.0, like(x, 1), sin(z) / z);
}

Val filter_weight(Filter f, Val x) {
  x = abs(x);
  Val zero = like(x, 0);
  if (f == Filter::Triangle) return max(1.0 - x, 0.0);
  if (f == Filter::Lanczos) return select(x < 3.0, sinc(x) * sinc(x / 3.0), zero);
  constexpr double a = -0.5;
  Val near = ((a + 2) * x - (a + 3)) * x * x + 1.0, far = (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return select(x < 1.0, near, select(x < 2.0, far, zero));
}

/// The window of output index `o`, and the weight (not yet normalised) of its element `j`; 0 past its end.
struct Filtered {
  Val at, weight;
  Filtered(Loop& loop, Filter f, Val o, Val j, Val scale, int64_t in) {
    const DType t = scale.type();
    Val wide = max(scale, 1.0);
    Val support = wide * calls::filter_support(f);
    Val centre = scale * (cast(o, t) + 0.5);
    Val first = max(cast(centre - support + 0.5, DType::I64), 0.0);
    Val end = min(cast(centre + support + 0.5, DType::I64), loop.size(in));
    Val i = first + j;
    Val w = filter_weight(f, (cast(i, t) - centre + 0.5) / wide);
    weight = select(i < end, w, like(w, 0));
    at = clamp(i, 0, in - 1);
  }
};

/// One dimension of a filtered resize: dst and src differ in size along `dim` alone.
void resize_one(Lowering& l, const Operand& dst, const Operand& src, int dim, Filter f, int64_t taps, int scalar) {
  const DType t = compute_type(src.dtype);
  Dims space = dst.sizes;
  space.push_back(taps);
  Loop loop(l, space, 1u << 4);
  Filtered w(loop, f, loop.index(dim), loop.index(4), loop.scalar(scalar, t), src.sizes[dim]);
  std::vector<Val> at;
  for (int d = 0; d < 4; ++d) at.push_back(d == dim ? w.at : loop.index(d));
  Val v = cast(loop.load_at(src, at), t);
  loop.store(unsqueezed(dst, 4), reduce(ReduceKind::Sum, v * w.weight) / reduce(ReduceKind::Sum, w.weight));
  loop.done();
}

/// ... and its transpose: adds dy's elements where they came from.
void resize_one_grad(Lowering& l, const Operand& dx, const Operand& dy, int dim, Filter f, int64_t taps, int scalar) {
  const DType t = dx.dtype;
  fill(l, dx, 0);
  Dims space = dy.sizes;
  space.push_back(taps);
  Loop loop(l, space, 1u << 4);
  Filtered w(loop, f, loop.index(dim), loop.index(4), loop.scalar(scalar, t), dx.sizes[dim]);
  std::vector<Val> at;
  for (int d = 0; d < 4; ++d) at.push_back(d == dim ? w.at : loop.index(d));
  loop.store_at(dx, at, loop.load(unsqueezed(dy, 4), t) * (w.weight / reduce(ReduceKind::Sum, w.weight)), ir::Combine::Add);
  loop.done();
}

void lower_upsample_filtered(Lowering& l, const calls::UpsampleFiltered<Reading>& c) {
  const Operand &dst = c.dst, &src = c.src;
  Dims half = src.sizes;
  half[3] = dst.sizes[3];
  const Operand mid = l.temp(compute_type(src.dtype), half);
  resize_one(l, mid, src, 3, c.filter, c.taps_w, c.scale_w);
  resize_one(l, dst, mid, 2, c.filter, c.taps_h, c.scale_h);
}

void lower_upsample_filtered_grad(Lowering& l, const calls::UpsampleFilteredGrad<Reading>& c) {
  const Operand &dx = c.dsrc, &dy = c.ddst;
  const DType t = compute_type(dx.dtype);
  Dims half = dx.sizes;
  half[3] = dy.sizes[3];
  const Operand mid = l.temp(t, half), sum = l.temp(t, dx.sizes);
  resize_one_grad(l, mid, dy, 2, c.filter, c.taps_h, c.scale_h);
  resize_one_grad(l, sum, mid, 3, c.filter, c.taps_w, c.scale_w);
  copy(l, dx, sum);
}

}  // namespace

OpTable resampling() {
  static const Op table[] = {
      entry<calls::Upsample, lower_upsample>(),
      entry<calls::UpsampleGrad, lower_upsample_grad>(),
      entry<calls::UpsampleFiltered, lower_upsample_filtered>(),
      entry<calls::UpsampleFilteredGrad, lower_upsample_filtered_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
