// The vulkan backend's line in the table.
#pragma once

#include "backends/interface/backend.h"

namespace anygpu::vulkan {

extern const BackendEntry entry;

}  // namespace anygpu::vulkan
