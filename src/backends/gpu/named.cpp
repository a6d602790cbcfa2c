// Nameds that are done better than by their lowering.
#include <algorithm>

#include "steps.h"

namespace anygpu::gpu {
namespace {

std::optional<Compiled> compiled(const ir::Named& n, const Target& can) {
  switch (n.kind) {
    case ir::NamedKind::Matmul:
      return can.api->matmul(n, can);
    case ir::NamedKind::Conv:
    case ir::NamedKind::ConvSrcGrad:
    case ir::NamedKind::ConvWeightGrad:
      return can.api->convolution(n, can);
    case ir::NamedKind::Attention:
    case ir::NamedKind::AttentionGrad:
      return compile_attention(n, can);
    default:
      return {};
  }
}

}  // namespace

bool supports_named(const ir::Named& n, const Target& can) {
  try {
    return compiled(n, can).has_value();
  } catch (const Error&) {
    return false;  // its lowering says why, where it cannot be run either
  }
}

Compiled compile_named(const ir::Named& n, const Target& can) {
  if (auto made = compiled(n, can)) return std::move(*made);
  throw Error(ErrorKind::Internal, std::string("[gpu] no kernel for ") + name_of(n.kind));
}

double most_work(const Capabilities& can) {
  return can.software ? 2e9 : 3e10;
}

double work_of(DType t, const Capabilities& can) {
  return t == DType::F64 && !can.software ? 16 : 1;  // most GPUs have a few units of 64 bits, or none
}

Extent extent_of(const ir::Operand& o) {
  int64_t first = o.offset, last = o.offset;
  for (int d = 0; d < o.rank(); ++d) {
    if (o.sizes[d] == 0) return {0, 0};
    (o.strides[d] < 0 ? first : last) += (o.sizes[d] - 1) * o.strides[d];
  }
  return {first * size_of(o.dtype), (last + 1) * size_of(o.dtype)};
}

Binding bind(const ir::Operand& o, bool write) {
  const Extent e = extent_of(o);
  return {o.slot, e.begin, e.end, write};
}

int32_t slots_of(const ir::Named& n) {
  int32_t slots = 0;
  for (const ir::Operand& o : n.operands) slots = std::max(slots, o.slot + 1);
  return slots;
}

}  // namespace anygpu::gpu
