// What the arrays of a product hold, and which of a shader's modules computes with that: see shaders/elements.glsl.
#pragma once

#include <optional>
#include <span>

#include "launch.h"

namespace anygpu::vulkan {

/// A shader as glslc made it for each kind of dst. Other operands are f32 or halves, in any mixture; with an f64 dst all are f64.
struct Modules {
  std::span<const uint32_t> f32, half, f64;
};

/// Nothing where the device has no module for these operands as they are.
std::optional<std::span<const uint32_t>> module_for(const ir::Named&, const Modules&, const Capabilities&);

/// The specialisation constant that says what an operand holds.
uint32_t kind_of(DType);

/// The product with a dst of f32 in scratch, rounded to halves in the end: where the device cannot store them, or a later part of a long
/// sum adds to what an earlier one left. Nothing where dst is of something else.
using CompileProduct = std::optional<Compiled>(const ir::Named&, const Capabilities&);
std::optional<Compiled> rounded_after(const ir::Named&, const Capabilities&, CompileProduct);

/// The product with all halves widened beforehand, in scratch: f32 has ways that halves have not, and elements are loaded many times.
std::optional<Compiled> widened_before(const ir::Named&, const Capabilities&, CompileProduct);
bool has_halves(const ir::Named&);

/// dst = cast(src), over equal sizes.
ir::Generic cast_copy(const std::string& name, const ir::Operand& dst, const ir::Operand& src);

}  // namespace anygpu::vulkan
