// Scaled dot product attention and its gradient.
#include "anygpu/calls/matmul.h"
#include "ops/call.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Named;
using ir::NamedKind;
using ir::Operand;

namespace {

ir::NamedAttrs attrs_of(const auto& call) {
  ir::NamedAttrs a;
  a.scale = call.scale;
  a.causal = call.causal;
  return a;
}

/// Empty operands are the caller's to deal with: which outputs must be zeros depends on what is empty.
void check_not_empty(const CallArgs& call, const auto&) {
  for (const ViewArg& v : call.views) {
    for (int d = 0; d < v.rank; ++d)
      if (v.sizes[d] == 0) throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] an operand is empty");
  }
}

/// NamedKind::Attention says more.
void lower_attention(Lowering& l, const calls::Attention<Reading>& c) {
  l.add(Named{NamedKind::Attention, {c.dst, c.logsumexp, c.q, c.k, c.v, c.mask.value_or(Operand{})}, attrs_of(c), {}});
}

void lower_attention_grad(Lowering& l, const calls::AttentionGrad<Reading>& c) {
  l.add(Named{NamedKind::AttentionGrad,
              {c.dq, c.dk, c.dv, c.ddst, c.q, c.k, c.v, c.dst, c.logsumexp, c.mask.value_or(Operand{})},
              attrs_of(c),
              {}});
}

}  // namespace

OpTable attentions() {
  static const Op table[] = {
      entry<calls::Attention, lower_attention, check_not_empty<calls::Attention<>>>(),
      entry<calls::AttentionGrad, lower_attention_grad, check_not_empty<calls::AttentionGrad<>>>(),
  };
  return table;
}

}  // namespace anygpu::ops
