// Nameds that shaders of their own do better than their lowering.
#include "named.h"

#include <algorithm>
#include <map>
#include <mutex>
#include <tuple>

namespace anygpu::vulkan {
namespace {

std::optional<Compiled> compiled(const ir::Named& n, const Capabilities& can) {
  switch (n.kind) {
    case ir::NamedKind::Matmul:
      return compile_matmul(n, can);
    case ir::NamedKind::Conv:
    case ir::NamedKind::ConvSrcGrad:
    case ir::NamedKind::ConvWeightGrad:
      return compile_convolution(n, can);
    case ir::NamedKind::Attention:
    case ir::NamedKind::AttentionGrad:
      return compile_attention(n, can);
    default:
      return {};
  }
}

}  // namespace

bool supports_named(const ir::Named& n, const Capabilities& can) {
  try {
    return compiled(n, can).has_value();
  } catch (const Error&) {
    return false;  // its lowering says why, where it cannot be run either
  }
}

Compiled compile_named(const ir::Named& n, const Capabilities& can) {
  if (auto made = compiled(n, can)) return std::move(*made);
  throw Error(ErrorKind::Internal, std::string("[vulkan] no shader for ") + name_of(n.kind));
}

double most_work(const Capabilities& can) {
  return can.software ? 2e9 : 3e10;
}

double work_of(DType t, const Capabilities& can) {
  return t == DType::F64 && !can.software ? 16 : 1;  // most GPUs have a few units of 64 bits, or none
}

Extent extent_of(const ir::Operand& o) {
  int64_t first = o.offset, last = o.offset;
  for (int d = 0; d < o.rank(); ++d) {
    if (o.sizes[d] == 0) return {0, 0};
    (o.strides[d] < 0 ? first : last) += (o.sizes[d] - 1) * o.strides[d];
  }
  return {first * size_of(o.dtype), (last + 1) * size_of(o.dtype)};
}

Binding bind(const ir::Operand& o, bool write, int32_t word) {
  const Extent e = extent_of(o);
  return {o.slot, e.begin, e.end, write, word, static_cast<int32_t>(size_of(o.dtype))};
}

bool on_lanes(const ir::Named& n, const Capabilities& can) {
  return can.texel_loads && can.subgroup_shuffle && can.subgroup_size >= 4 &&
         std::all_of(n.operands.begin(), n.operands.end(), [](const ir::Operand& o) { return o.slot < 0 || o.dtype == DType::F32; });
}

std::shared_ptr<const Shader> glsl_shader(const char* name, std::span<const uint32_t> words, std::vector<uint32_t> constants, int bindings,
                                          int push_words, uint32_t texels) {
  static std::mutex& mutex = *new std::mutex;
  static auto& made = *new std::map<std::tuple<const uint32_t*, std::vector<uint32_t>, int>, std::shared_ptr<const Shader>>;
  std::lock_guard lock(mutex);
  auto& shader = made[{words.data(), constants, bindings}];
  if (!shader)
    shader = std::make_shared<Shader>(
        Shader{name, std::vector<uint32_t>(words.begin(), words.end()), std::move(constants), bindings, texels, push_words});
  return shader;
}

}  // namespace anygpu::vulkan
