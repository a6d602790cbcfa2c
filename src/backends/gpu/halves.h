// Halves around a product whose kernels have none: widened before it, rounded after.
#pragma once

#include <functional>

#include "target.h"

namespace anygpu::gpu {

/// What kernels of products are told of an operand: 1: f16; 2: bf16; else 0.
uint32_t kind_of(DType);
bool has_halves(const ir::Named&);

/// The product with a dst of f32 in scratch, rounded to halves in the end: where the device cannot store them, or a later part of a long
/// sum adds to what an earlier one left. Nothing where dst is of something else.
using CompileProduct = std::function<std::optional<Compiled>(const ir::Named&, const Target&)>;
std::optional<Compiled> rounded_after(const ir::Named&, const Target&, const CompileProduct&);

/// The product with all halves widened beforehand, in scratch: f32 has ways that halves have not, and elements are loaded many times.
std::optional<Compiled> widened_before(const ir::Named&, const Target&, const CompileProduct&);

/// dst = cast(src), over equal sizes.
ir::Generic cast_copy(const std::string& name, const ir::Operand& dst, const ir::Operand& src);

}  // namespace anygpu::gpu
