// Matrix products.
#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::Val;

namespace {

Operand expanded(const Operand& o, const Dims& sizes) {
  Operand r = o;
  while (r.rank() < sizes.size()) r = unsqueezed(r, 0);
  for (int d = 0; d < r.rank(); ++d)
    if (r.sizes[d] != sizes[d]) {
      r.sizes[d] = sizes[d];
      r.strides[d] = 0;
    }
  return r;
}

/// dst = lhs @ rhs + bias, where bias may be absent. dst must not be one of the inputs.
void add_matmul(Lowering& l, const Operand& dst, const Operand& lhs, const Operand& rhs, const Operand& bias) {
  if (product(dst.sizes) == 0) return;
  if (lhs.sizes.back() == 0) return bias.slot < 0 ? fill(l, dst, 0) : copy(l, dst, bias);
  l.add(ir::Named{ir::NamedKind::Matmul, {dst, lhs, rhs, bias}, {}, {}});
}

/// views: dst[..,m,n], lhs[..,m,k], rhs[..,k,n], and bias if given, broadcast to dst: dst = lhs @ rhs + bias. dst may be any of them.
void lower_matmul(Lowering& l) {
  const Operand& dst = l.view(0);
  const Operand bias = l.views() > 3 ? expanded(l.view(3), dst.sizes) : Operand{};
  bool aliased = false;
  for (int i = 1; i < l.views(); ++i) aliased |= l.view(i).slot == dst.slot;
  const Operand to = aliased ? l.temp(dst.dtype, dst.sizes) : dst;
  add_matmul(l, to, l.view(1), l.view(2), bias);
  if (aliased) copy(l, dst, to);
}

/// views: dst, lhs, rhs, and self if given, broadcast to dst: dst = beta * self + alpha * (lhs @ rhs). scalars: alpha, and beta if self is
/// given
void lower_matmul_scaled(Lowering& l) {
  const Operand& dst = l.view(0);
  if (product(dst.sizes) == 0) return;
  const Operand plain = l.temp(dst.dtype, dst.sizes);
  add_matmul(l, plain, l.view(1), l.view(2), {});
  const DType t = compute_type(dst.dtype);
  Loop loop(l, dst.sizes);
  Val v = loop.scalar(0, t) * loop.load(plain, t);
  if (l.views() > 3) v = loop.scalar(1, t) * loop.load(expanded(l.view(3), dst.sizes), t) + v;
  loop.store(dst, v);
  loop.done();
}

/// views: dst (scalar), lhs[n], rhs[n]
void lower_dot(Lowering& l) {
  const DType t = compute_type(l.view(1).dtype);
  Loop loop(l, l.view(1).sizes, 1);
  loop.store(l.view(0), reduce(ir::ReduceKind::Sum, loop.load(l.view(1), t) * loop.load(l.view(2), t)));
  loop.done();
}

}  // namespace

OpTable matmuls() {
  static const Op table[] = {
      {"matmul", nullptr, lower_matmul},
      {"matmul_scaled", nullptr, lower_matmul_scaled},
      {"dot", nullptr, lower_dot},
  };
  return table;
}

}  // namespace anygpu::ops
