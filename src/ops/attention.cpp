// Scaled dot product attention and its gradient.
#include <bit>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::Named;
using ir::NamedKind;
using ir::Operand;

namespace {

/// attrs: the bits of the scale (f64), whether causal
ir::NamedAttrs attrs_of(const Lowering& l) {
  ir::NamedAttrs a;
  a.scale = std::bit_cast<double>(l.attr(0));
  a.causal = l.attr(1) != 0;
  return a;
}

/// The operand itself, or, where it is absent, none.
Operand mask_of(const Lowering& l, int i) {
  return l.views() > i ? l.view(i) : Operand{};
}

/// Empty operands are the caller's to deal with: which outputs must be zeros depends on what is empty.
void check_not_empty(const CallArgs& c) {
  for (const ViewArg& v : c.views) {
    for (int d = 0; d < v.rank; ++d)
      if (v.sizes[d] == 0) throw Error(ErrorKind::Value, "[" + std::string(c.op.name) + "] an operand is empty");
  }
}

/// views: dst[B,H,T,E], logsumexp[B,H,T], q[B,H,T,D], k[B,Hkv,S,D], v[B,Hkv,S,E], mask[B,H,T,S] if given. NamedKind::Attention says more.
void lower_attention(Lowering& l) {
  l.add(Named{NamedKind::Attention, {l.view(0), l.view(1), l.view(2), l.view(3), l.view(4), mask_of(l, 5)}, attrs_of(l), {}});
}

/// views: dq, dk, dv, grad of dst, q, k, v, dst, logsumexp, mask if given
void lower_attention_grad(Lowering& l) {
  Named n{NamedKind::AttentionGrad, {}, attrs_of(l), {}};
  for (int i = 0; i < 9; ++i) n.operands.push_back(l.view(i));
  n.operands.push_back(mask_of(l, 9));
  l.add(std::move(n));
}

}  // namespace

OpTable attentions() {
  static const Op table[] = {
      {"attention", check_not_empty, lower_attention, 2},
      {"attention_grad", check_not_empty, lower_attention_grad, 3},
  };
  return table;
}

}  // namespace anygpu::ops
