// Matrix products.
#include "anygpu/calls/matmul.h"
#include "ops/call.h"
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

void lower_matmul(Lowering& l, const calls::Matmul<Reading>& c) {
  const Operand& dst = c.dst;
  const Operand bias = c.bias ? expanded(*c.bias, dst.sizes) : Operand{};
  const bool aliased = c.lhs.slot == dst.slot || c.rhs.slot == dst.slot || bias.slot == dst.slot;
  const Operand to = aliased ? l.temp(dst.dtype, dst.sizes) : dst;
  add_matmul(l, to, c.lhs, c.rhs, bias);
  if (aliased) copy(l, dst, to);
}

void lower_matmul_scaled(Lowering& l, const calls::MatmulScaled<Reading>& c) {
  const Operand& dst = c.dst;
  if (product(dst.sizes) == 0) return;
  const Operand plain = l.temp(dst.dtype, dst.sizes);
  add_matmul(l, plain, c.lhs, c.rhs, {});
  const DType t = compute_type(dst.dtype);
  Loop loop(l, dst.sizes);
  Val v = loop.scalar(c.alpha, t) * loop.load(plain, t);
  if (c.self) v = loop.scalar(c.beta, t) * loop.load(expanded(*c.self, dst.sizes), t) + v;
  loop.store(dst, v);
  loop.done();
}

void lower_dot(Lowering& l, const calls::Dot<Reading>& c) {
  const DType t = compute_type(c.lhs.dtype);
  Loop loop(l, c.lhs.sizes, 1);
  loop.store(c.dst, reduce(ir::ReduceKind::Sum, loop.load(c.lhs, t) * loop.load(c.rhs, t)));
  loop.done();
}

}  // namespace

OpTable matmuls() {
  static const Op table[] = {
      entry<calls::Matmul, lower_matmul>(),
      entry<calls::MatmulScaled, lower_matmul_scaled>(),
      entry<calls::Dot, lower_dot>(),
  };
  return table;
}

}  // namespace anygpu::ops
