#define VK_NO_PROTOTYPES
#include <dlfcn.h>
#include <vulkan/vulkan_core.h>

#include <iostream>
#include <nlohmann/json.hpp>

#include "cli/probe.h"

namespace anygpu::cli {

namespace {

using nlohmann::json;

std::string version_text(uint32_t v) {
  return std::to_string(VK_API_VERSION_MAJOR(v)) + "." + std::to_string(VK_API_VERSION_MINOR(v)) + "." +
         std::to_string(VK_API_VERSION_PATCH(v));
}

const char* type_text(VkPhysicalDeviceType type) {
  switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
      return "cpu";
    default:
      return "other";
  }
}

struct Vk {
  PFN_vkGetInstanceProcAddr get;
  VkInstance instance = VK_NULL_HANDLE;
  template <class F>
  F load(const char* name) const {
    return reinterpret_cast<F>(get(instance, name));
  }
};

json describe(const Vk& vk, VkPhysicalDevice device) {
  VkPhysicalDeviceProperties base{};
  vk.load<PFN_vkGetPhysicalDeviceProperties>("vkGetPhysicalDeviceProperties")(device, &base);
  json out{
      {"name", base.deviceName}, {"type", type_text(base.deviceType)}, {"vendor", base.vendorID}, {"api", version_text(base.apiVersion)}};
  VkPhysicalDeviceMemoryProperties memory{};
  vk.load<PFN_vkGetPhysicalDeviceMemoryProperties>("vkGetPhysicalDeviceMemoryProperties")(device, &memory);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < memory.memoryHeapCount && i < VK_MAX_MEMORY_HEAPS; ++i)
    if (memory.memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) bytes = std::max<uint64_t>(bytes, memory.memoryHeaps[i].size);
  out["memory_bytes"] = bytes;
  const auto properties2 = vk.load<PFN_vkGetPhysicalDeviceProperties2>("vkGetPhysicalDeviceProperties2");
  const auto features2 = vk.load<PFN_vkGetPhysicalDeviceFeatures2>("vkGetPhysicalDeviceFeatures2");
  if (base.apiVersion < VK_API_VERSION_1_2 || !properties2 || !features2) return out;
  VkPhysicalDeviceDriverProperties driver{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_DRIVER_PROPERTIES};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &driver};
  properties2(device, &properties);
  out["driver"] = std::string(driver.driverName) + (driver.driverInfo[0] ? std::string(" ") + driver.driverInfo : "");
  VkPhysicalDeviceVulkan12Features features12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceVulkan11Features features11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, &features12};
  VkPhysicalDeviceFeatures2 features{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &features11};
  features2(device, &features);
  json names = json::array();
  const auto add = [&](const char* name, VkBool32 on) {
    if (on) names.push_back(name);
  };
  add("f16", features12.shaderFloat16);
  add("f64", features.features.shaderFloat64);
  add("i64", features.features.shaderInt64);
  add("i16", features.features.shaderInt16);
  add("i8", features12.shaderInt8);
  add("storage16", features11.storageBuffer16BitAccess);
  add("storage8", features12.storageBuffer8BitAccess);
  add("addresses", features12.bufferDeviceAddress);
  out["features"] = names;
  return out;
}

int failed(const char* what, VkResult result) {
  const std::string code = std::to_string(result);
  const char* meaning = result == VK_ERROR_INCOMPATIBLE_DRIVER     ? " (no driver that it can use)"
                        : result == VK_ERROR_INITIALIZATION_FAILED ? " (initialisation failed)"
                        : result == VK_ERROR_OUT_OF_HOST_MEMORY    ? " (out of memory)"
                                                                   : "";
  return answer({{"error", std::string(what) + " gave " + code + meaning}});
}

}  // namespace

int probe_vulkan() {
  void* library = ::dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return answer({{"error", ::dlerror()}});
  Vk vk{reinterpret_cast<PFN_vkGetInstanceProcAddr>(::dlsym(library, "vkGetInstanceProcAddr"))};
  if (!vk.get) return answer({{"error", "libvulkan.so.1 has no vkGetInstanceProcAddr"}});
  const VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "anygpu", 1, "anygpu", 1, VK_API_VERSION_1_2};
  VkInstanceCreateInfo create{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
  create.pApplicationInfo = &application;
  if (const VkResult result = vk.load<PFN_vkCreateInstance>("vkCreateInstance")(&create, nullptr, &vk.instance); result != VK_SUCCESS)
    return failed("vkCreateInstance", result);
  const auto enumerate = vk.load<PFN_vkEnumeratePhysicalDevices>("vkEnumeratePhysicalDevices");
  uint32_t count = 0;
  VkResult result = enumerate(vk.instance, &count, nullptr);
  if (result != VK_SUCCESS) return failed("vkEnumeratePhysicalDevices", result);
  std::vector<VkPhysicalDevice> devices(count);
  result = enumerate(vk.instance, &count, devices.data());
  if (result != VK_SUCCESS && result != VK_INCOMPLETE) return failed("vkEnumeratePhysicalDevices", result);
  devices.resize(count);
  json list = json::array();
  for (VkPhysicalDevice device : devices) list.push_back(describe(vk, device));
  return answer({{"devices", list}});
}

}  // namespace anygpu::cli
