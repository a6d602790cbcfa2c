// Nameds that shaders of their own do better than their lowering.
#include "launch.h"

namespace anygpu::vulkan {

bool supports_named(const ir::Named&, const Capabilities&) {
  return false;
}

Compiled compile_named(const ir::Named& n, const Capabilities&) {
  throw Error(ErrorKind::Internal, std::string("[vulkan] no shader for ") + name_of(n.kind));
}

}  // namespace anygpu::vulkan
