// What a device's matrix units take: VK_KHR_cooperative_matrix, which Vulkan's headers of 2023 do not have.
#pragma once

#include "instance.h"

namespace anygpu::vulkan {

inline constexpr const char* kCooperativeMatrixExtension = "VK_KHR_cooperative_matrix";

/// VkPhysicalDeviceCooperativeMatrixFeaturesKHR.
struct CooperativeMatrixFeatures {
  VkStructureType type = static_cast<VkStructureType>(1000506000);
  void* next = nullptr;
  VkBool32 matrices = VK_FALSE, robust = VK_FALSE;
};

/// Fills what Capabilities say of cooperative matrices: the largest that are of f16, summed in f32, and held by a subgroup.
void find_cooperative(const InstanceApi&, VkPhysicalDevice, Capabilities&);

}  // namespace anygpu::vulkan
