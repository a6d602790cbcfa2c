#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::Val;

bool windows_inside(const Window& w, const int64_t* in, const int64_t* out) {
  for (int d = 0; d < w.n; ++d)
    if (w.padding[d] != 0 || (out[d] - 1) * w.stride[d] + w.reach(d) > in[d]) return false;
  return true;
}

Operand windowed(const Operand& o, const Window& w, const int64_t* out) {
  Operand r = o;
  const int lead = o.rank() - w.n;
  r.sizes = slice(o.sizes, 0, lead);
  r.strides = slice(o.strides, 0, lead);
  for (int d = 0; d < w.n; ++d) {
    r.sizes.push_back(out[d]);
    r.strides.push_back(o.strides[lead + d] * w.stride[d]);
  }
  for (int d = 0; d < w.n; ++d) {
    r.sizes.push_back(w.kernel[d]);
    r.strides.push_back(o.strides[lead + d] * w.dilation[d]);
  }
  return r;
}

Operand batched(const Operand& o, int n) {
  return o.rank() == n + 1 ? unsqueezed(o, 0) : o;
}

Dims joined(std::initializer_list<Dims> parts) {
  Dims all;
  for (const Dims& part : parts)
    for (int64_t size : part) all.push_back(size);
  return all;
}

Dims slice(const Dims& sizes, int from, int n) {
  return Dims(sizes.data() + from, n);
}

Val all_of(Loop& loop, const std::vector<Val>& conditions) {
  if (conditions.empty()) return ir::constant(loop.body(), DType::Bool, int64_t{1});
  Val all = conditions[0];
  for (size_t i = 1; i < conditions.size(); ++i) all = all & conditions[i];
  return all;
}

Val flat_index(Loop& loop, const std::vector<Val>& index, const int64_t* sizes) {
  Val at = index.empty() ? loop.i64(0) : index[0];
  for (size_t d = 1; d < index.size(); ++d) at = at * loop.size(sizes[d]) + index[d];
  return at;
}

void fill(Lowering& l, const Operand& o, double value) {
  Loop loop(l, o.sizes);
  const DType t = compute_type(o.dtype);
  loop.store(o, is_float(t) ? loop.f(t, value) : ir::constant(loop.body(), t, static_cast<int64_t>(value)));
  loop.done();
}

void copy(Lowering& l, const Operand& dst, const Operand& src) {
  Loop loop(l, dst.sizes);
  loop.store(dst, loop.load(src));
  loop.done();
}

}  // namespace anygpu::ops
