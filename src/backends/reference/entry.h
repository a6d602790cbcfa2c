// The reference backend's line in the table.
#pragma once

#include "backends/interface/backend.h"

namespace anygpu::reference {

extern const BackendEntry entry;

}  // namespace anygpu::reference
