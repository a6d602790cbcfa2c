// Attention and its gradient as matrix products and Generics, over scores in the step's scratch. Fused by the planner, their sums would be
// out of the matrix product's reach.
#include "steps.h"

namespace anygpu::gpu {

std::optional<Compiled> compile_attention(const ir::Named& n, const Target& can) {
  Sequence parts(slots_of(n));
  const std::vector<ir::Step> lowered = ir::lower_unclaimed(
      n, [&](DType t, const Dims& sizes) { return parts.temp(t, sizes); },
      [&](const ir::Named& product) { return can.api->matmul(product, can).has_value(); });
  if (parts.largest_bytes() > can.max_binding_bytes) return {};
  for (const ir::Step& s : lowered) parts.add(compile_step(s, can));
  return parts.finish();
}

}  // namespace anygpu::gpu
