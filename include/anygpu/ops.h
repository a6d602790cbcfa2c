// The operator catalogue, by name. Contracts (operands, attrs, scalars) are documented where each operator is defined, in src/ops.
#pragma once

#include <string_view>
#include <vector>

#include "anygpu/device.h"

namespace anygpu {

/// Throws Error(NotImplemented) for a name that the catalogue lacks.
ANYGPU_API const Op& op(std::string_view name);
ANYGPU_API std::string_view name_of(const Op&);
/// The entry of a name that is written out, looked up once per place.
#define ANYGPU_OP(name)                                    \
  ([]() -> const ::anygpu::Op& {                           \
    static const ::anygpu::Op& entry = ::anygpu::op(name); \
    return entry;                                          \
  }())
/// All names, sorted.
ANYGPU_API std::vector<std::string_view> op_names();

}  // namespace anygpu
