// Shader: a kernel as Vulkan takes it, and a Launch of one with all that only Vulkan needs.
#pragma once

#include <span>

#include "backends/gpu/target.h"

namespace anygpu::vulkan {

using gpu::AddressUse;
using gpu::Capabilities;
using gpu::Compiled;
using gpu::kFaults;
using gpu::kScratch;
using gpu::Launch;
using gpu::MatmulTier;
using gpu::ScalarUse;

inline constexpr int32_t kParams = -3;  ///< binding.slot: the launch's params, where they pass the push constants

/// How a shader reads a buffer: as a storage buffer, or as a uniform texel buffer of one or four floats a texel.
enum class Texel : uint8_t { None, Float, Float4 };

inline constexpr int32_t kTold = -2;  ///< form.word: another binding of that begin tells the shader

/// How a shader takes a binding. It may begin at any byte: the program rounds that down to binding_alignment, and tells the shader by
/// adding the rest, in units of `unit` bytes, to params[word].
struct BindingForm {
  int32_t word = -1;  ///< of params; -1: begin is already aligned; or kTold
  int32_t unit = 4;
  Texel texel = Texel::None;
  friend auto operator<=>(const BindingForm&, const BindingForm&) = default;
};

/// A compute shader. Equal words and constants are one pipeline, in memory and on disk.
struct Shader : gpu::Kernel {
  std::vector<uint32_t> words;      ///< SPIR-V, entry point "main"; buffers: set 0, bindings 0..bindings-1
  std::vector<uint32_t> constants;  ///< specialisation constants 0, 1, ...
  std::vector<BindingForm> forms;   ///< per binding of a Launch; the last buffer is params where there is one more
  int push_words = 0;               ///< push constants, in 32-bit words
  bool full_subgroups = false;      ///< of the device's size, which cooperative matrices want
  uint32_t texels = 0;              ///< a bit for each binding that is a uniform texel buffer; else it is a storage buffer
};

/// Of `forms`, a bit for each texel buffer.
uint32_t texels_of(const std::vector<BindingForm>&);

struct Binding : gpu::Binding, BindingForm {};

/// One vkCmdDispatch.
struct Dispatch {
  std::shared_ptr<const Shader> shader;
  std::vector<Binding> bindings;
  std::vector<uint32_t> params;  ///< push constants where shader->push_words says so, else through a kParams binding
  std::vector<ScalarUse> scalars;
  std::vector<AddressUse> addresses;
  uint32_t groups[3] = {1, 1, 1};
  double work = 0;
};

/// The Launch of a Shader.
Dispatch placed(Launch);

/// What shaders are made for. Its api is Vulkan's.
struct Target : gpu::Target {
  Target();
};

/// A shader from words that glslc made. One more binding than forms: for params.
std::shared_ptr<const Shader> glsl_shader(const char* name, std::span<const uint32_t> words, std::vector<uint32_t> constants,
                                          std::vector<BindingForm> forms, int bindings, int push_words);

/// Whether the shaders that spread a product's first factor over a subgroup's lanes run here, and take these operands:
/// shaders/*_lanes.comp.
bool on_lanes(const ir::Named&, const gpu::Target&);

}  // namespace anygpu::vulkan
