// Page-locked host memory.
#pragma once

#include <ATen/core/CachingHostAllocator.h>

namespace anygpu::torch_frontend {

/// The host allocator registered for this device, leaked. What it hands out is "pinned": isPinnedPtr knows it.
at::HostAllocator& host_allocator();
bool is_pinned(const void* address);

}  // namespace anygpu::torch_frontend
