// The shaders of Nameds, a file a kind. Each says what it takes; the rest is lowered.
#pragma once

#include <optional>
#include <span>

#include "launch.h"

namespace anygpu::vulkan {

/// Nothing where the shader does not take it: other dtypes, too many batch dimensions, offsets that pass 31 bits.
std::optional<Compiled> compile_matmul(const ir::Named&, const Capabilities&);
std::optional<Compiled> compile_convolution(const ir::Named&, const Capabilities&);
std::optional<Compiled> compile_attention(const ir::Named&, const Capabilities&);

/// Most iterations of all loops of one invocation: Mesa's software device ends them silently after 65,535. Longer sums take several
/// Launches.
inline constexpr int64_t kMostIterations = 60000;

/// Work of one Launch at most, so that no driver takes the device for hung. On real GPUs work is counted as if in f32.
double most_work(const Capabilities&);
double work_of(DType, const Capabilities&);  ///< of an operation

/// The bytes that an operand touches within its slot.
struct Extent {
  int64_t begin, end;
};
Extent extent_of(const ir::Operand&);
/// Binding `index` of a Launch: all that the operand touches. `word`: where the shader finds the element at which the operand begins.
Binding bind(const ir::Operand&, bool write, int32_t word);
/// A shader from words that glslc made.
/// texels: as in Shader.
std::shared_ptr<const Shader> glsl_shader(const char* name, std::span<const uint32_t> words, std::vector<uint32_t> constants, int bindings,
                                          int push_words, uint32_t texels = 0);

/// Whether the shaders that spread a product's first factor over a subgroup's lanes run here, and take these operands:
/// shaders/*_lanes.comp.
bool on_lanes(const ir::Named&, const Capabilities&);

}  // namespace anygpu::vulkan
