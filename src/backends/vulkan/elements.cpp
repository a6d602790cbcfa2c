#include "elements.h"

#include "backends/gpu/halves.h"

namespace anygpu::vulkan {

std::optional<std::span<const uint32_t>> module_for(const ir::Named& n, const Modules& modules, const gpu::Capabilities& can) {
  const DType dst = n.operands[0].dtype;
  const bool f64 = dst == DType::F64;
  if (!f64 && dst != DType::F32 && !gpu::kind_of(dst)) return {};
  for (const ir::Operand& o : n.operands) {
    if (o.slot < 0) continue;
    if (f64 ? o.dtype != DType::F64 : o.dtype != DType::F32 && !gpu::kind_of(o.dtype)) return {};
  }
  if (f64 ? !can.float64 : gpu::kind_of(dst) && !can.storage16) return {};
  return f64 ? modules.f64 : gpu::kind_of(dst) ? modules.half : modules.f32;
}

}  // namespace anygpu::vulkan
