// What needs no code of its own: filling and copying rows. Each spares a first step the milliseconds that a kernel takes to compile.
#pragma once

#include <optional>

#include "kernel.h"

namespace anygpu::cpu {

/// The function for a Spec that stores an argument or zeros everywhere, or copies a tensor to another of its dtype, where both are dense
/// along the vector dimension and have at most one other; none for others.
std::optional<Kernel::Entry> plain_function(const KernelSpec&);

}  // namespace anygpu::cpu
