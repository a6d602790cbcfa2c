// Operators that make tensors from indices alone, and triangles. Scalars: anygpu/calls/parametric.h.
#include <cmath>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

namespace {

/// From both ends to the middle, as NumPy's and PyTorch's linspace are defined: exact at both.
/// Integers are computed in f64.
Val line(P& p) {
  DType t = is_float(p.type) ? p.type : DType::F64;
  int64_t n = p.lowering.view(0).sizes[0];
  Val i = p.loop.index(0);
  Val up = p.s(0, t) + p.s(2, t) * cast(i, t);
  Val down = p.s(1, t) - p.s(2, t) * cast(size_like(i, n - 1) - i, t);
  const int64_t middle = n / 2;
  return select(i < size_like(i, middle), up, down);
}

template <bool lower>
Val triangle(P& p) {
  int r = p.lowering.view(0).rank();
  Val i = p.loop.index(r - 2), j = p.loop.index(r - 1), k = p.s(0, DType::I64);
  Val x = p.raw(0);
  return select(lower ? j - i <= k : j - i >= k, x, like(x, 0));
}

}  // namespace

OpTable factories() {
  static const Op table[] = {
      ANYGPU_POINTWISE("arange", 1, [](P& p) { return p.s(0) + p.s(1) * cast(p.loop.index(0), p.type); }),
      ANYGPU_POINTWISE("linspace", 1, line),
      ANYGPU_POINTWISE("logspace", 1,
                       [](P& p) {
                         Val x = line(p);
                         return pow(p.s(3, x.type()), x);
                       }),
      /// eye: dst[n,m]
      ANYGPU_POINTWISE("eye", 1, [](P& p) { return p.loop.index(0) == p.loop.index(1); }),
      ANYGPU_POINTWISE("tril", 1, triangle<true>),
      ANYGPU_POINTWISE("triu", 1, triangle<false>),
  };
  return table;
}

}  // namespace anygpu::ops
