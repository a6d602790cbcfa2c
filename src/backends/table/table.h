// The ways to reach hardware that this build has.
#pragma once

#include <span>
#include <string_view>

#include "backends/interface/backend.h"

namespace anygpu {

/// The first is the one that every machine has; then as GPUs are looked for.
std::span<const BackendEntry* const> backends();
/// Null where there is none of that name.
const BackendEntry* find_backend(std::string_view name);

}  // namespace anygpu
