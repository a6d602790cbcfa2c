#pragma once

#include "anygpu/error.h"

namespace anygpu {

/// "major.minor.patch" of the library that is loaded.
ANYGPU_API const char* version();

}  // namespace anygpu
