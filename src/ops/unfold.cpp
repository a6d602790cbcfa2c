// Windows as columns of a matrix, and back.
#include "anygpu/calls/pool.h"
#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

void lower_im2col(Lowering& l, const calls::Im2Col<Reading>& c) {
  const Window w(c.window);
  const Operand &dst = c.dst, &src = c.src;
  Loop loop(l, dst.sizes);
  std::vector<Val> at = {loop.index(0), loop.index(1)}, conditions;
  for (int d = 0; d < w.n; ++d) {
    Val i = loop.index(2 + w.n + d) * loop.i64(w.stride[d]) + loop.index(2 + d) * loop.i64(w.dilation[d]) - loop.i64(w.padding[d]);
    conditions.push_back(within(i, 0, src.sizes[2 + d]));
    at.push_back(clamp(i, 0, src.sizes[2 + d] - 1));
  }
  Val v = loop.load_at(src, at);
  loop.store(dst, select(all_of(loop, conditions), v, like(v, 0)));
  loop.done();
}

void lower_col2im(Lowering& l, const calls::Col2Im<Reading>& c) {
  const Window w(c.window);
  const Operand &dst = c.dst, &src = c.src;
  const DType t = src.dtype == DType::Bool ? DType::U8 : compute_type(src.dtype);
  Loop loop(l, joined({dst.sizes, w.kernel}), bits(2 + w.n, w.n));
  std::vector<Val> at = {loop.index(0), loop.index(1)}, windows, conditions;
  for (int d = 0; d < w.n; ++d) {
    Val k = loop.index(2 + w.n + d);
    Val from = loop.index(2 + d) + loop.i64(w.padding[d]) - k * loop.i64(w.dilation[d]);
    Val stride = loop.i64(w.stride[d]);
    Val o = from / stride;
    const int64_t out = src.sizes[2 + w.n + d];
    conditions.push_back((from >= 0.0) & ((from % stride) == 0.0) & (o < loop.size(out)));
    at.push_back(k);
    windows.push_back(clamp(o, 0, out - 1));
  }
  at.insert(at.end(), windows.begin(), windows.end());
  Val v = cast(loop.load_at(src, at), t);
  Operand sum = dst;
  for (int d = 0; d < w.n; ++d) sum = unsqueezed(sum, sum.rank());
  loop.store(sum, reduce(ReduceKind::Sum, select(all_of(loop, conditions), v, like(v, 0))));
  loop.done();
}

}  // namespace

OpTable unfolding() {
  static const Op table[] = {
      entry<calls::Im2Col, lower_im2col>(),
      entry<calls::Col2Im, lower_col2im>(),
  };
  return table;
}

}  // namespace anygpu::ops
