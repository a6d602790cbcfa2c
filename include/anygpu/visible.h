// A device's memory as the host sees it.
#pragma once

#include "anygpu/buffer.h"

namespace anygpu {

/// The bytes of a Buffer, where the device's memory is the host's: all that was recorded on them has run, and they stay there as long as
/// the Buffer does. Operators that are recorded later find what the host writes, and write when they run: who looks then synchronises
/// first. Null where the device has memory of its own. Throws as Device::download.
ANYGPU_API void* host_bytes(Buffer&);

}  // namespace anygpu
