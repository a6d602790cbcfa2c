// Which Vulkan devices there are, best first, and what shaders may use on each.
#pragma once

#include <vector>

#include "api.h"
#include "shader.h"

namespace anygpu::vulkan {

/// What a device's own functions are asked for, all of it found or masked when it was listed.
struct PhysicalDevice {
  VkPhysicalDevice handle = nullptr;
  std::string name, driver;  ///< "NVIDIA H100", "NVIDIA 575.1, Vulkan 1.4"
  std::string missing;       ///< why no Device can be made of it, or ""
  VkPhysicalDeviceType type = VK_PHYSICAL_DEVICE_TYPE_OTHER;
  Target can;
  std::string features;     ///< for people: those that it has, then those that it lacks
  std::string pci_address;  ///< "0000:03:00.0", empty where the driver does not tell
  uint32_t family = 0;   ///< of the queue
  uint32_t timestamp_bits = 0;
  double tick_ns = 1;  ///< of a timestamp
  int64_t max_allocation = 0;
  std::string identity;  ///< device, driver and their versions: what a pipeline cache belongs to
  bool software() const { return type == VK_PHYSICAL_DEVICE_TYPE_CPU; }
};

struct Instance {
  VkInstance handle = nullptr;
  InstanceApi vk;
  std::vector<PhysicalDevice> devices;
  /// One a process: a forked child makes its own. Throws Error(Value) where there is no loader or no driver.
  static const Instance& get();
};

/// Asks the device, less what ANYGPU_VULKAN_PROFILE=dzn or ANYGPU_VULKAN_<FEATURE>=0 takes away. Fills all but `handle`.
void describe(const InstanceApi&, PhysicalDevice&);
/// The VkDevice with exactly the features that `can` names. Throws Error(Value).
VkDevice create_device(const InstanceApi&, const PhysicalDevice&);

}  // namespace anygpu::vulkan
