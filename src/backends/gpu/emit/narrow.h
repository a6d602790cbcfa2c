// Which i64 nodes 32 bits can stand for: on GPUs, 64-bit integers take several instructions each.
#pragma once

#include "kernel.h"

namespace anygpu::gpu {

/// Per node: i64, and its value is known to be within i32 for these sizes, or no more than its low 32 bits is asked for (addresses).
std::vector<bool> narrow_nodes(const KernelSpec&, const std::vector<int64_t>& sizes);

}  // namespace anygpu::gpu
