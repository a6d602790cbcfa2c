// Shaders of Generics: SPIR-V, emitted.
#include "shaders.h"

#include "spirv/builder.h"

namespace anygpu::vulkan {
namespace {

/// Where the shader finds the rest of each binding, and what it fetches as texels.
std::vector<BindingForm> forms_of(const gpu::KernelSpec& spec, const std::vector<gpu::Param>& params) {
  std::vector<BindingForm> forms(static_cast<size_t>(spec.bindings));
  for (const gpu::KernelAccess& a : spec.accesses)
    if (a.texels >= 0) forms[static_cast<size_t>(a.texels)] = {kTold, 4, a.four ? Texel::Float4 : Texel::Float};
  for (size_t w = 0; w < params.size(); ++w) {
    const gpu::Param& p = params[w];
    const auto word = static_cast<int32_t>(w);
    if (p.kind == gpu::Param::Rest) forms[static_cast<size_t>(p.i)] = {word, 1};
    if (p.kind != gpu::Param::Offset) continue;
    const gpu::KernelAccess& a = spec.accesses[static_cast<size_t>(p.i)];
    if (a.alone) forms[static_cast<size_t>(a.binding)] = {word, static_cast<int32_t>(size_of(a.dtype))};
  }
  return forms;
}

/// With params in push constants; nothing where they pass what the device has of them, unless in a buffer.
gpu::Emitted made_of(const gpu::KernelSpec& spec, const Capabilities& can, const std::string& name, bool push) {
  const int words = static_cast<int>(can.push_bytes / 4);
  spirv::Builder b(spec.local, push ? spirv::Params{words} : spirv::Params{0, spec.bindings});
  if (can.float_controls_f32) b.preserve_specials(32);
  if (can.denormals) b.preserve_denormals(32);
  std::vector<gpu::Param> params = emit(b, spec, can);
  if (push && static_cast<int>(params.size()) > words) return {};
  auto shader = std::make_shared<Shader>();
  shader->name = name;
  shader->words = b.finish();
  shader->bindings = spec.bindings + (push ? 0 : 1);
  shader->texels = spec.texels;
  shader->forms = forms_of(spec, params);
  shader->push_words = push ? words : 0;
  return {std::move(shader), std::move(params)};
}

}  // namespace

gpu::Emitted Shaders::emit(const gpu::KernelSpec& spec, const Capabilities& can, const std::string& name) const {
  gpu::Emitted made = made_of(spec, can, name, true);
  return made.kernel ? made : made_of(spec, can, name, false);
}

Target::Target() {
  static const Shaders& shaders = *new Shaders;
  api = &shaders;
}

}  // namespace anygpu::vulkan
