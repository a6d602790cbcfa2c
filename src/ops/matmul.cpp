// Matrix products.
#include "ops/tables.h"

namespace anygpu::ops {

namespace {

/// views: dst[..,m,n], lhs[..,m,k], rhs[..,k,n], and bias if given, broadcast to dst: dst = lhs @ rhs + bias
void lower_matmul(Lowering& l) {
  ir::Named n{ir::NamedKind::Matmul, {l.view(0), l.view(1), l.view(2), {}}, {}, {}};
  if (l.views() > 3) {
    ir::Operand bias = l.view(3);
    while (bias.rank() < l.view(0).rank()) bias = unsqueezed(bias, 0);
    for (int d = 0; d < bias.rank(); ++d)
      if (bias.sizes[d] != l.view(0).sizes[d]) {
        bias.sizes[d] = l.view(0).sizes[d];
        bias.strides[d] = 0;
      }
    n.operands[3] = bias;
  }
  l.add(std::move(n));
}

}  // namespace

OpTable matmuls() {
  static const Op table[] = {{"matmul", nullptr, lower_matmul}};
  return table;
}

}  // namespace anygpu::ops
