#include <spirv/unified1/GLSL.std.450.h>

#include <spirv/unified1/spirv.hpp>

#include "anygpu/error.h"
#include "emitter.h"

namespace anygpu::vulkan {

Value real_function(Builder&, ir::ExprOp op, Value, Value) {
  throw Error(ErrorKind::NotImplemented, std::string("[vulkan] no ") + ir::name_of(op) + " of floats yet");
}

}  // namespace anygpu::vulkan
