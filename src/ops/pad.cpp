// Padding by reflection and by repeating the border. (By a constant: fill and copy.)
#include "anygpu/calls/resample.h"
#include "ops/call.h"
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

void lower_pad(Lowering& l, const calls::Pad<Reading>& p) {
  const Operand &dst = p.dst, &src = p.src;
  const int n = p.before.size();
  const int lead = dst.rank() - n;
  Loop loop(l, dst.sizes);
  std::vector<Val> at;
  for (int d = 0; d < lead; ++d) at.push_back(loop.index(d));
  for (int d = 0; d < n; ++d) {
    const int64_t size = src.sizes[lead + d];
    Val i = loop.index(lead + d) - loop.size(p.before[d]);
    if (p.reflect) {
      i = abs(i);
      i = select(i < loop.size(size), i, loop.size(2 * (size - 1)) - i);
    }
    at.push_back(clamp(i, 0, size - 1));
  }
  loop.store(dst, loop.load_at(src, at));
  loop.done();
}

/// Each input element gathers from the outputs that hold it: itself, and its images.
void lower_pad_grad(Lowering& l, const calls::PadGrad<Reading>& p) {
  const Operand &dx = p.dsrc, &dy = p.ddst;
  const int n = p.before.size();
  const int lead = dx.rank() - n;
  const DType t = compute_type(dx.dtype);
  Dims images;
  for (int d = 0; d < n; ++d) {
    const int64_t after = dy.sizes[lead + d] - dx.sizes[lead + d] - p.before[d];
    images.push_back(p.reflect ? 3 : 1 + std::max<int64_t>(p.before[d], 0) + std::max<int64_t>(after, 0));
  }
  Loop loop(l, joined({dx.sizes, images}), bits(dx.rank(), n));
  std::vector<Val> at, conditions;
  for (int d = 0; d < lead; ++d) at.push_back(loop.index(d));
  for (int d = 0; d < n; ++d) {
    const int64_t size = dx.sizes[lead + d], out = dy.sizes[lead + d], before = p.before[d];
    Val i = loop.index(lead + d), k = loop.index(lead + n + d), last = loop.size(size - 1);
    Val o = i + loop.size(before);
    if (p.reflect) {
      Val left = loop.size(before) - i, right = loop.size(before + 2 * (size - 1)) - i;
      conditions.push_back((k == 0.0) | ((k == 1.0) & (i > 0.0)) | ((k == 2.0) & (i < last)));
      o = select(k == 0.0, o, select(k == 1.0, left, right));
    } else {
      Val step = k - loop.size(std::max<int64_t>(before, 0));
      conditions.push_back((step == 0.0) | ((step < 0.0) & (i == 0.0)) | ((step > 0.0) & (i == last)));
      o = o + step;
    }
    conditions.push_back(within(o, 0, out));
    at.push_back(clamp(o, 0, out - 1));
  }
  Val g = cast(loop.load_at(dy, at), t);
  Operand dst = dx;
  for (int d = 0; d < n; ++d) dst = unsqueezed(dst, dst.rank());
  loop.store(dst, reduce(ReduceKind::Sum, select(all_of(loop, conditions), g, like(g, 0))));
  loop.done();
}

}  // namespace

OpTable paddings() {
  static const Op table[] = {
      entry<calls::Pad, lower_pad>(),
      entry<calls::PadGrad, lower_pad_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
