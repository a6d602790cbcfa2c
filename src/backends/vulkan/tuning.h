// The tuner of products on this device.
#pragma once

#include <memory>

#include "backends/gpu/tuner.h"
#include "instance.h"

namespace anygpu::vulkan {

struct Resources;

/// Whether this device's ways are to be chosen so: a GPU's, unless ANYGPU_VULKAN_TUNE=0; a software device's only with
/// ANYGPU_VULKAN_TUNE=1.
bool tuning_wanted(const PhysicalDevice&);

/// Null where nothing is to be chosen by measuring. ANYGPU_VULKAN_TILES: the file of winners.
std::unique_ptr<gpu::Tuner> make_tuner(Resources&);

}  // namespace anygpu::vulkan
