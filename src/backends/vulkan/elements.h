// What the arrays of a product hold, and which of a shader's modules computes with that: see shaders/elements.glsl.
#pragma once

#include <optional>
#include <span>

#include "backends/gpu/capabilities.h"
#include "ir/named.h"

namespace anygpu::vulkan {

/// A shader as glslc made it for each kind of dst. Other operands are f32 or halves, in any mixture; with an f64 dst all are f64.
struct Modules {
  std::span<const uint32_t> f32, half, f64;
};

/// Nothing where the device has no module for these operands as they are.
std::optional<std::span<const uint32_t>> module_for(const ir::Named&, const Modules&, const gpu::Capabilities&);

}  // namespace anygpu::vulkan
