// The cpu backend's line in the table.
#pragma once

#include "backends/interface/backend.h"

namespace anygpu::cpu {

extern const BackendEntry entry;

}  // namespace anygpu::cpu
