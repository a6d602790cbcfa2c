// Generics as shaders: to come.
#include "launch.h"

namespace anygpu::vulkan {

Compiled compile_generic(const ir::Generic& g, const Capabilities&) {
  throw Error(ErrorKind::NotImplemented, "[" + g.name + "] the vulkan backend has no shaders for Generics yet");
}

}  // namespace anygpu::vulkan
