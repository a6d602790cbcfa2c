// Pointwise operators of one input. Scalars of each are named in its comment; formulas follow PyTorch's documentation.
#include <cmath>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Val;
using P = Pointwise;

OpTable pointwise_unary() {
  static const Op table[] = {
      ANYGPU_POINTWISE("copy", 1, [](P& p) { return p.in(0); }),
      ANYGPU_POINTWISE("relu", 1, [](P& p) { return max(p.in(0), 0.0); }),
      ANYGPU_POINTWISE("exp", 1, [](P& p) { return exp(p.in(0)); }),
      ANYGPU_POINTWISE("neg", 1, [](P& p) { return -p.in(0); }),
      /// gelu, exact form. Hendrycks and Gimpel, arXiv:1606.08415
      ANYGPU_POINTWISE("gelu", 1, [](P& p) {
        Val x = p.in(0);
        return x * 0.5 * (1.0 + erf(x * M_SQRT1_2));
      }),
      /// fill: no input, scalar 0 is the value
      ANYGPU_POINTWISE("fill", 1, [](P& p) { return p.s(0); }),
  };
  return table;
}

}  // namespace anygpu::ops
