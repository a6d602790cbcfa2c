// Pooling over sliding windows. Every gradient gathers: an input element looks for the windows that hold it, so nothing needs atomics.
#include "anygpu/calls/pool.h"

#include <cmath>
#include <limits>

#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::NamedKind;
using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

double lowest(DType t) {
  if (is_float(t)) return -std::numeric_limits<double>::infinity();
  return t == DType::U8 ? 0 : -std::ldexp(1.0, static_cast<int>(8 * size_of(t) - 1));
}

/// The taps of all windows over the last n dimensions of `in`, with where in the input each lies. Loop: [lead.., o.., k..].
struct Taps {
  Val value;  ///< `outside` where the tap lies outside
  Val flat;   ///< row-major position within the input's spatial dimensions
  Val inside;
};
Taps load_taps(Loop& loop, const Operand& in, const Window& w, const int64_t* out, double outside) {
  const int lead = in.rank() - w.n;
  const DType t = compute_type(in.dtype);
  std::vector<Val> at, index, conditions;
  for (int d = 0; d < lead; ++d) at.push_back(loop.index(d));
  const bool fits = windows_inside(w, in.sizes.data() + lead, out);
  for (int d = 0; d < w.n; ++d) {
    Val i = loop.index(lead + d) * loop.i64(w.stride[d]) + loop.index(lead + w.n + d) * loop.i64(w.dilation[d]);
    if (!fits) {
      i = i - loop.i64(w.padding[d]);
      conditions.push_back(within(i, 0, in.sizes[lead + d]));
      at.push_back(clamp(i, 0, in.sizes[lead + d] - 1));
    }
    index.push_back(i);
  }
  Taps taps;
  taps.flat = flat_index(loop, index, in.sizes.data() + lead);
  if (fits) {
    taps.value = loop.load(windowed(in, w, out), t);
    taps.inside = all_of(loop, {});
  } else {
    taps.inside = all_of(loop, conditions);
    Val v = cast(loop.load_at(in, at), t);
    taps.value = select(taps.inside, v, like(v, outside));
  }
  return taps;
}

/// An operand of sizes [lead.., o..] in a loop over [lead.., o.., k..].
Operand over_windows(const Operand& o, int n) {
  Operand r = o;
  for (int d = 0; d < n; ++d) r = unsqueezed(r, r.rank());
  return r;
}

void lower_max_pool(Lowering& l, const calls::MaxPool<Reading>& c) {
  const Window w(c.window);
  const Operand dst = batched(c.dst, w.n), indices = batched(c.indices, w.n), src = batched(c.src, w.n);
  const DType t = compute_type(src.dtype);
  Dims out = slice(dst.sizes, 2, w.n);
  Loop loop(l, joined({dst.sizes, w.kernel}), bits(2 + w.n, w.n));
  Taps taps = load_taps(loop, src, w, out.data(), lowest(t));
  Val position = select(taps.inside, taps.flat, loop.i64(std::numeric_limits<int64_t>::max()));
  loop.store(over_windows(dst, w.n), reduce(ReduceKind::Max, taps.value));
  loop.store(over_windows(indices, w.n), reduce_arg(ReduceKind::ArgMax, taps.value, position));
  loop.done();
}

/// The windows that may hold input element i: the last is (i + padding) / stride, and `spread` of them lie before it.
Dims window_spread(const Window& w) {
  Dims spread;
  for (int d = 0; d < w.n; ++d) spread.push_back((w.reach(d) + w.stride[d] - 1) / w.stride[d]);
  return spread;
}

/// Loop over [lead.., i.., spread..]: the candidate windows of the current input element. False where there is none.
struct Candidates {
  std::vector<Val> at;  ///< lead indices and the window's, made safe to load from
  std::vector<Val> window;
  Val there;
  Candidates(Loop& loop, const Window& w, int lead, const int64_t* out) {
    std::vector<Val> conditions;
    for (int d = 0; d < lead; ++d) at.push_back(loop.index(d));
    for (int d = 0; d < w.n; ++d) {
      Val o = (loop.index(lead + d) + loop.i64(w.padding[d])) / loop.i64(w.stride[d]) - loop.index(lead + w.n + d);
      conditions.push_back(within(o, 0, out[d]));
      at.push_back(clamp(o, 0, out[d] - 1));
      window.push_back(at.back());
    }
    there = all_of(loop, conditions);
  }
};

void lower_max_pool_grad(Lowering& l, const calls::MaxPoolGrad<Reading>& call) {
  const Window w(call.window);
  const Operand dx = batched(call.dsrc, w.n), dy = batched(call.ddst, w.n), indices = batched(call.indices, w.n);
  const DType t = compute_type(dx.dtype);
  Dims in = slice(dx.sizes, 2, w.n), out = slice(dy.sizes, 2, w.n);
  if (product(dy.sizes) == 0) return fill(l, dx, 0);
  bool tiled = windows_inside(w, in.data(), out.data());
  for (int d = 0; d < w.n; ++d) tiled = tiled && w.dilation[d] == 1 && w.kernel[d] == w.stride[d] && out[d] * w.kernel[d] == in[d];
  if (tiled) {  // each input element is in exactly one window: write window by window
    Loop loop(l, joined({dy.sizes, w.kernel}));
    std::vector<Val> at;
    for (int d = 0; d < w.n; ++d) at.push_back(loop.index(2 + d) * loop.i64(w.stride[d]) + loop.index(2 + w.n + d));
    Val g = loop.load(over_windows(dy, w.n), t);
    Val mine = loop.load(over_windows(indices, w.n)) == flat_index(loop, at, in.data());
    loop.store(windowed(dx, w, out.data()), select(mine, g, like(g, 0)));
    loop.done();
    return;
  }
  Loop loop(l, joined({dx.sizes, window_spread(w)}), bits(2 + w.n, w.n));
  Candidates c(loop, w, 2, out.data());
  std::vector<Val> mine;
  for (int d = 0; d < w.n; ++d) mine.push_back(loop.index(2 + d));
  Val hit = c.there & (loop.load_at(indices, c.at) == flat_index(loop, mine, in.data()));
  Val g = cast(loop.load_at(dy, c.at), t);
  loop.store(over_windows(dx, w.n), reduce(ReduceKind::Sum, select(hit, g, like(g, 0))));
  loop.done();
}

/// How many elements window `o` (one index a dimension) is divided by.
Val divisor(Loop& loop, const Window& w, const std::vector<Val>& o, const int64_t* in, bool count_pad, int64_t override_, DType t) {
  if (override_ != 0) return cast(loop.i64(override_), t);
  Val n = loop.i64(1);
  for (int d = 0; d < w.n; ++d) {
    Val start = o[d] * loop.i64(w.stride[d]) - loop.i64(w.padding[d]);
    Val end = min(start + loop.i64(w.kernel[d]), loop.size(in[d] + w.padding[d]));
    if (!count_pad) {
      start = max(start, 0.0);
      end = min(end, loop.size(in[d]));
    }
    n = n * (end - start);
  }
  return cast(n, t);
}

/// Whether a Named's divisor, a function of the kernel and padding alone, is PyTorch's: no window hangs over the padding's far edge.
bool is_plain(const Window& w, const int64_t* in, const int64_t* out) {
  for (int d = 0; d < w.n; ++d)
    if (w.dilation[d] != 1 || (out[d] - 1) * w.stride[d] + w.kernel[d] > in[d] + 2 * w.padding[d]) return false;
  return true;
}

ir::NamedAttrs pool_attrs(const Window& w, bool count_pad, int64_t divisor_override) {
  ir::NamedAttrs a;
  a.kernel = w.kernel;
  a.stride = w.stride;
  a.padding = w.padding;
  a.dilation = w.dilation;
  a.count_include_pad = count_pad;
  a.divisor_override = divisor_override;
  return a;
}

void lower_avg_pool(Lowering& l, const calls::AvgPool<Reading>& c) {
  const Window w(c.window);
  const bool count_pad = c.count_include_pad;
  const int64_t override_ = c.divisor;
  const Operand dst = batched(c.dst, w.n), src = batched(c.src, w.n);
  Dims in = slice(src.sizes, 2, w.n), out = slice(dst.sizes, 2, w.n);
  if (is_float(dst.dtype) && is_plain(w, in.data(), out.data())) {
    l.add(ir::Named{NamedKind::AvgPool, {dst, src}, pool_attrs(w, count_pad, override_), {}});
    return;
  }
  const DType t = compute_type(src.dtype);
  Loop loop(l, joined({dst.sizes, w.kernel}), bits(2 + w.n, w.n));
  Taps taps = load_taps(loop, src, w, out.data(), 0);
  std::vector<Val> o;
  for (int d = 0; d < w.n; ++d) o.push_back(loop.index(2 + d));
  loop.store(over_windows(dst, w.n), reduce(ReduceKind::Sum, taps.value) / divisor(loop, w, o, in.data(), count_pad, override_, t));
  loop.done();
}

void lower_avg_pool_grad(Lowering& l, const calls::AvgPoolGrad<Reading>& call) {
  const Window w(call.window);
  const bool count_pad = call.count_include_pad;
  const int64_t override_ = call.divisor;
  const Operand dx = batched(call.dsrc, w.n), dy = batched(call.ddst, w.n);
  Dims in = slice(dx.sizes, 2, w.n), out = slice(dy.sizes, 2, w.n);
  if (product(dy.sizes) == 0) return fill(l, dx, 0);
  if (is_float(dx.dtype) && is_plain(w, in.data(), out.data())) {
    l.add(ir::Named{NamedKind::AvgPoolGrad, {dx, dy}, pool_attrs(w, count_pad, override_), {}});
    return;
  }
  const DType t = compute_type(dx.dtype);
  Loop loop(l, joined({dx.sizes, window_spread(w)}), bits(2 + w.n, w.n));
  Candidates c(loop, w, 2, out.data());
  std::vector<Val> held = {c.there};  // the last window may start before the element and yet end before it
  for (int d = 0; d < w.n; ++d) {
    Val k = loop.index(2 + d) + loop.i64(w.padding[d]) - c.window[d] * loop.i64(w.stride[d]);
    held.push_back(within(k, 0, w.kernel[d]));
  }
  Val g = cast(loop.load_at(dy, c.at), t) / divisor(loop, w, c.window, in.data(), count_pad, override_, t);
  loop.store(over_windows(dx, w.n), reduce(ReduceKind::Sum, select(all_of(loop, held), g, like(g, 0))));
  loop.done();
}

void lower_max_unpool(Lowering& l, const calls::MaxUnpool<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dst = batched(c.dst, n), src = batched(c.src, n), indices = batched(c.indices, n);
  fill(l, dst, 0);
  if (product(src.sizes) == 0) return;
  const int64_t plane = product(slice(dst.sizes, 2, n));
  Loop loop(l, src.sizes);
  Val i = loop.load(indices, DType::I64);
  Val ok = ir::check(within(i, 0, plane), ir::Fault::IndexOutOfRange, i, loop.size(plane));
  std::vector<Val> at(2 + n);
  at[0] = loop.index(0);
  at[1] = loop.index(1);
  Val rest = clamp(i, 0, plane > 0 ? plane - 1 : 0);
  for (int d = n - 1; d >= 0; --d) {
    at[2 + d] = d == 0 ? rest : rest % loop.i64(dst.sizes[2 + d]);
    if (d > 0) rest = rest / loop.i64(dst.sizes[2 + d]);
  }
  loop.store_at(dst, at, loop.load(src), ir::Combine::None, ok);
  loop.may_repeat();
  loop.done();
}

// ---- adaptive: output o takes the input elements from floor(o * I / O) to ceil((o + 1) * I / O) ----

int64_t start_of(int64_t o, int64_t in, int64_t out) {
  return o * in / out;
}
int64_t end_of(int64_t o, int64_t in, int64_t out) {
  return ((o + 1) * in + out - 1) / out;
}
Val start_of(Loop& loop, Val o, int64_t in, int64_t out) {
  return o * loop.size(in) / loop.i64(out);
}
Val end_of(Loop& loop, Val o, int64_t in, int64_t out) {
  return ((o + loop.i64(1)) * loop.size(in) + loop.i64(out - 1)) / loop.i64(out);
}

/// The widest window of each dimension.
Dims widest(const Dims& in, const Dims& out) {
  Dims k;
  for (int d = 0; d < in.size(); ++d) {
    int64_t n = 0;
    for (int64_t o = 0; o < out[d]; ++o) n = std::max(n, end_of(o, in[d], out[d]) - start_of(o, in[d], out[d]));
    k.push_back(n);
  }
  return k;
}

/// The outputs that take input element i run from floor(i * O / I) to ceil((i + 1) * O / I): the same rule with in and out changed over.
struct AdaptiveTaps {
  std::vector<Val> at, spatial;
  Val inside;
  AdaptiveTaps(Loop& loop, int lead, const Dims& from, const Dims& to) {
    const int n = from.size();
    std::vector<Val> conditions;
    for (int d = 0; d < lead; ++d) at.push_back(loop.index(d));
    for (int d = 0; d < n; ++d) {
      Val o = loop.index(lead + d);
      Val i = start_of(loop, o, from[d], to[d]) + loop.index(lead + n + d);
      conditions.push_back(i < end_of(loop, o, from[d], to[d]));
      spatial.push_back(min(i, loop.size(from[d] - 1)));
      at.push_back(spatial.back());
    }
    inside = all_of(loop, conditions);
  }
};

Val window_size(Loop& loop, const std::vector<Val>& o, const Dims& in, const Dims& out, DType t) {
  Val n = loop.i64(1);
  for (int d = 0; d < in.size(); ++d) n = n * (end_of(loop, o[d], in[d], out[d]) - start_of(loop, o[d], in[d], out[d]));
  return cast(n, t);
}

void lower_adaptive_avg_pool(Lowering& l, const calls::AdaptiveAvgPool<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dst = batched(c.dst, n), src = batched(c.src, n);
  const DType t = compute_type(src.dtype);
  Dims in = slice(src.sizes, 2, n), out = slice(dst.sizes, 2, n);
  if (product(out) == 1) {
    Loop loop(l, src.sizes, bits(2, n));
    Val v = loop.load(src, t);
    loop.store(dst, reduce(ReduceKind::Sum, v) / size_like(v, product(in)));
    loop.done();
    return;
  }
  Loop loop(l, joined({dst.sizes, widest(in, out)}), bits(2 + n, n));
  AdaptiveTaps taps(loop, 2, in, out);
  Val v = cast(loop.load_at(src, taps.at), t);
  std::vector<Val> o;
  for (int d = 0; d < n; ++d) o.push_back(loop.index(2 + d));
  loop.store(over_windows(dst, n), reduce(ReduceKind::Sum, select(taps.inside, v, like(v, 0))) / window_size(loop, o, in, out, t));
  loop.done();
}

void lower_adaptive_avg_pool_grad(Lowering& l, const calls::AdaptiveAvgPoolGrad<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dx = batched(c.dsrc, n), dy = batched(c.ddst, n);
  const DType t = compute_type(dx.dtype);
  Dims in = slice(dx.sizes, 2, n), out = slice(dy.sizes, 2, n);
  if (product(dy.sizes) == 0) return fill(l, dx, 0);
  if (product(out) == 1) {
    Loop loop(l, dx.sizes);
    Val g = loop.load(dy, t);
    loop.store(dx, g / size_like(g, product(in)));
    loop.done();
    return;
  }
  Loop loop(l, joined({dx.sizes, widest(out, in)}), bits(2 + n, n));
  AdaptiveTaps taps(loop, 2, out, in);
  Val g = cast(loop.load_at(dy, taps.at), t) / window_size(loop, taps.spatial, in, out, t);
  loop.store(over_windows(dx, n), reduce(ReduceKind::Sum, select(taps.inside, g, like(g, 0))));
  loop.done();
}

void lower_adaptive_max_pool(Lowering& l, const calls::AdaptiveMaxPool<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dst = batched(c.dst, n), indices = batched(c.indices, n), src = batched(c.src, n);
  const DType t = compute_type(src.dtype);
  Dims in = slice(src.sizes, 2, n), out = slice(dst.sizes, 2, n);
  Loop loop(l, joined({dst.sizes, widest(in, out)}), bits(2 + n, n));
  AdaptiveTaps taps(loop, 2, in, out);
  Val v = cast(loop.load_at(src, taps.at), t);
  Val value = select(taps.inside, v, like(v, lowest(t)));
  Val position = select(taps.inside, flat_index(loop, taps.spatial, in.data()), loop.i64(std::numeric_limits<int64_t>::max()));
  loop.store(over_windows(dst, n), reduce(ReduceKind::Max, value));
  loop.store(over_windows(indices, n), reduce_arg(ReduceKind::ArgMax, value, position));
  loop.done();
}

void lower_adaptive_max_pool_grad(Lowering& l, const calls::AdaptiveMaxPoolGrad<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dx = batched(c.dsrc, n), dy = batched(c.ddst, n), indices = batched(c.indices, n);
  const DType t = compute_type(dx.dtype);
  Dims in = slice(dx.sizes, 2, n), out = slice(dy.sizes, 2, n);
  if (product(dy.sizes) == 0) return fill(l, dx, 0);
  Loop loop(l, joined({dx.sizes, widest(out, in)}), bits(2 + n, n));
  AdaptiveTaps taps(loop, 2, out, in);
  std::vector<Val> mine;
  for (int d = 0; d < n; ++d) mine.push_back(loop.index(2 + d));
  Val hit = taps.inside & (loop.load_at(indices, taps.at) == flat_index(loop, mine, in.data()));
  Val g = cast(loop.load_at(dy, taps.at), t);
  loop.store(over_windows(dx, n), reduce(ReduceKind::Sum, select(hit, g, like(g, 0))));
  loop.done();
}

void lower_fractional_max_pool(Lowering& l, const calls::FractionalMaxPool<Reading>& c) {
  const Dims& kernel = c.kernel;
  const int n = kernel.size();
  const Operand dst = batched(c.dst, n), indices = batched(c.indices, n), src = batched(c.src, n), samples = batched(c.samples, 1);
  const DType t = compute_type(src.dtype), real = compute_type(samples.dtype);
  const Dims in = slice(src.sizes, 2, n), out = slice(dst.sizes, 2, n);
  Loop loop(l, joined({dst.sizes, kernel}), bits(2 + n, n));
  std::vector<Val> at = {loop.index(0), loop.index(1)}, spatial;
  for (int d = 0; d < n; ++d) {
    Val o = loop.index(2 + d), start = loop.size(in[d] - kernel[d]);
    if (out[d] > 1) {
      // The CPU computes with the samples' own type, and so do we: another would move the windows.
      Val alpha = ir::size(loop.body(), real, in[d] - kernel[d]) / ir::size(loop.body(), real, out[d] - 1);
      Val sample = cast(loop.load_at(samples, {loop.index(0), loop.index(1), loop.i64(d)}), real);
      Val moved = cast((cast(o, real) + sample) * alpha, DType::I64) - cast(sample * alpha, DType::I64);
      start = select(o == loop.size(out[d] - 1), start, clamp(moved, 0, in[d] - kernel[d]));
    }
    spatial.push_back(start + loop.index(2 + n + d));
    at.push_back(spatial.back());
  }
  Val v = cast(loop.load_at(src, at), t);
  loop.store(over_windows(dst, n), reduce(ReduceKind::Max, v));
  loop.store(over_windows(indices, n), reduce_arg(ReduceKind::ArgMax, v, flat_index(loop, spatial, in.data())));
  loop.done();
}

void lower_scatter_pool_grad(Lowering& l, const calls::ScatterPoolGrad<Reading>& c) {
  const int n = static_cast<int>(c.n);
  const Operand dx = batched(c.dsrc, n), dy = batched(c.ddst, n), indices = batched(c.indices, n);
  fill(l, dx, 0);
  if (product(dy.sizes) == 0) return;
  const int64_t plane = product(slice(dx.sizes, 2, n));
  Loop loop(l, dy.sizes);
  Val i = loop.load(indices, DType::I64);
  Val ok = ir::check(within(i, 0, plane), ir::Fault::IndexOutOfRange, i, loop.size(plane));
  std::vector<Val> at(2 + n);
  at[0] = loop.index(0);
  at[1] = loop.index(1);
  Val rest = clamp(i, 0, plane > 0 ? plane - 1 : 0);
  for (int d = n - 1; d >= 0; --d) {
    at[2 + d] = d == 0 ? rest : rest % loop.i64(dx.sizes[2 + d]);
    if (d > 0) rest = rest / loop.i64(dx.sizes[2 + d]);
  }
  loop.store_at(dx, at, loop.load(dy), ir::Combine::Add, ok);
  loop.done();
}

}  // namespace

OpTable pools() {
  static const Op table[] = {
      entry<calls::MaxPool, lower_max_pool>(),
      entry<calls::MaxPoolGrad, lower_max_pool_grad>(),
      entry<calls::AvgPool, lower_avg_pool>(),
      entry<calls::AvgPoolGrad, lower_avg_pool_grad>(),
      entry<calls::MaxUnpool, lower_max_unpool>(),
      entry<calls::AdaptiveAvgPool, lower_adaptive_avg_pool>(),
      entry<calls::AdaptiveAvgPoolGrad, lower_adaptive_avg_pool_grad>(),
      entry<calls::AdaptiveMaxPool, lower_adaptive_max_pool>(),
      entry<calls::AdaptiveMaxPoolGrad, lower_adaptive_max_pool_grad>(),
      entry<calls::FractionalMaxPool, lower_fractional_max_pool>(),
      entry<calls::ScatterPoolGrad, lower_scatter_pool_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
