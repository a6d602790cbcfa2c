#include "halves.h"

#include <algorithm>

#include "core/numbers.h"
#include "steps.h"

namespace anygpu::gpu {
uint32_t kind_of(DType t) {
  return t == DType::F16 ? 1 : t == DType::BF16 ? 2 : 0;
}

ir::Generic cast_copy(const std::string& name, const ir::Operand& dst, const ir::Operand& src) {
  ir::Generic g;
  g.name = name;
  g.sizes = dst.sizes;
  g.accesses = {{dst.slot, dst.dtype, dst.offset, dst.strides}, {src.slot, src.dtype, src.offset, src.strides}};
  g.stores.push_back({0, ir::cast(ir::load(g.body, src.dtype, 1), dst.dtype).id});
  return g;
}

bool has_halves(const ir::Named& n) {
  return std::any_of(n.operands.begin(), n.operands.end(), [](const ir::Operand& o) { return o.slot >= 0 && is_half(o.dtype); });
}

std::optional<Compiled> widened_before(const ir::Named& n, const Target& can, const CompileProduct& compile) {
  Sequence parts(slots_of(n));
  ir::Named wide = n;
  for (size_t i = 1; i < n.operands.size(); ++i) {
    ir::Operand halves = n.operands[i];
    if (halves.slot < 0 || !is_half(halves.dtype)) continue;
    for (int d = 0; d < halves.rank(); ++d)
      if (halves.strides[d] == 0) halves.sizes[d] = 1;  // what repeats is widened once
    ir::Operand& to = wide.operands[i] = parts.temp(DType::F32, halves.sizes);
    if (product(halves.sizes) > 0) parts.add(compile_generic(cast_copy(n.name, to, halves), can));
    for (int d = 0; d < to.rank(); ++d)
      if (halves.strides[d] == 0) to.strides[d] = 0;
    to.sizes = n.operands[i].sizes;
  }
  const ir::Operand& dst = n.operands[0];
  if (is_half(dst.dtype)) wide.operands[0] = parts.temp(DType::F32, dst.sizes);
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  auto made = compile(wide, can);
  if (!made) return {};
  parts.add(std::move(*made));
  if (is_half(dst.dtype)) parts.add(compile_generic(cast_copy(n.name, dst, wide.operands[0]), can));
  return parts.finish();
}

std::optional<Compiled> rounded_after(const ir::Named& n, const Target& can, const CompileProduct& compile) {
  const ir::Operand& dst = n.operands[0];
  if (!is_half(dst.dtype)) return {};
  Sequence parts(slots_of(n));
  ir::Named wide = n;
  wide.operands[0] = parts.temp(DType::F32, dst.sizes);
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  auto made = compile(wide, can);
  if (!made) return {};
  parts.add(std::move(*made));
  parts.add(compile_generic(cast_copy(n.name, dst, wide.operands[0]), can));
  return parts.finish();
}

}  // namespace anygpu::gpu
