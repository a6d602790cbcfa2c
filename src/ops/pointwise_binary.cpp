// Pointwise operators of two or three inputs.
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

OpTable pointwise_binary() {
  static const Op table[] = {
      /// add, sub: scalar 0 is alpha: a + alpha * b
      ANYGPU_POINTWISE("add", 1, [](P& p) { return p.in(0) + p.in(1); }),
      ANYGPU_POINTWISE("add_scaled", 1, [](P& p) { return p.in(0) + p.s(0) * p.in(1); }),
      ANYGPU_POINTWISE("mul", 1, [](P& p) { return p.in(0) * p.in(1); }),
  };
  return table;
}

}  // namespace anygpu::ops
