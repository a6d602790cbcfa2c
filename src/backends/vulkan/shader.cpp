#include "shader.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

namespace anygpu::vulkan {

uint32_t texels_of(const std::vector<BindingForm>& forms) {
  uint32_t bits = 0;
  for (size_t i = 0; i < forms.size(); ++i) bits |= static_cast<uint32_t>(forms[i].texel != Texel::None) << i;
  return bits;
}

Dispatch placed(Launch l) {
  Dispatch d;
  d.shader = std::static_pointer_cast<const Shader>(std::move(l.kernel));
  for (size_t i = 0; i < l.bindings.size(); ++i) d.bindings.push_back({l.bindings[i], d.shader->forms.at(i)});
  if (static_cast<int>(d.bindings.size()) < d.shader->bindings)
    d.bindings.push_back({gpu::Binding{kParams, 0, 4 * static_cast<int64_t>(l.params.size())}, {}});
  d.params = std::move(l.params);
  d.scalars = std::move(l.scalars);
  d.addresses = std::move(l.addresses);
  std::copy_n(l.groups, 3, d.groups);
  d.work = l.work;
  return d;
}

bool on_lanes(const ir::Named& n, const gpu::Target& can) {
  return can.texel_loads && can.subgroup_shuffle && can.subgroup_size >= 4 &&
         std::all_of(n.operands.begin(), n.operands.end(), [](const ir::Operand& o) { return o.slot < 0 || o.dtype == DType::F32; });
}

std::shared_ptr<const Shader> glsl_shader(const char* name, std::span<const uint32_t> words, std::vector<uint32_t> constants,
                                          std::vector<BindingForm> forms, int bindings, int push_words) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made =
      *new std::map<std::tuple<const uint32_t*, std::vector<uint32_t>, std::vector<BindingForm>, int>, std::shared_ptr<const Shader>>;
  std::lock_guard lock(mutex);
  auto& shader = made[{words.data(), constants, forms, bindings}];
  if (shader) return shader;
  auto s = std::make_shared<Shader>();
  s->name = name;
  s->bindings = bindings;
  s->words.assign(words.begin(), words.end());
  s->constants = std::move(constants);
  s->texels = texels_of(forms);
  s->forms = std::move(forms);
  s->push_words = push_words;
  return shader = std::move(s);
}

}  // namespace anygpu::vulkan
