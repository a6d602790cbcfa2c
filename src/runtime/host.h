// The host's hooks, as the runtime calls them.
#pragma once

#include "anygpu/host.h"

namespace anygpu {

HostHooks host_hooks();
/// Of an operator that is being recorded.
std::string origin_of_call(bool may_fail);

}  // namespace anygpu
