#include "api.h"

#include <dlfcn.h>

#include "anygpu/error.h"
#include "core/environment.h"

namespace anygpu::vulkan {
namespace {

const char* const kNoLoader =
    "; install it (Debian, Ubuntu: `sudo apt install libvulkan1 mesa-vulkan-drivers`), or choose another device, as in ANYGPU_DEVICES=cpu";

/// All of them are Vulkan 1.2's own: a library that lacks one is not what it says it is.
template <class F>
void require(F& to, PFN_vkVoidFunction found, const char* name) {
  if (!found) throw Error(ErrorKind::Value, std::string("[vulkan] the Vulkan loader or driver lacks vk") + name);
  to = reinterpret_cast<F>(found);
}

LoaderApi open() {
  const char* set = setting("ANYGPU_VULKAN_LOADER");
  const std::string file = set ? set : "libvulkan.so.1";
  void* library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw Error(ErrorKind::Value, "[vulkan] the Vulkan loader " + file + " cannot be opened" + kNoLoader);
  LoaderApi api;
  api.GetInstanceProcAddr = reinterpret_cast<PFN_vkGetInstanceProcAddr>(dlsym(library, "vkGetInstanceProcAddr"));
  if (!api.GetInstanceProcAddr) throw Error(ErrorKind::Value, "[vulkan] " + file + " is no Vulkan loader" + kNoLoader);
#define ANYGPU_GET(name) require(api.name, api.GetInstanceProcAddr(nullptr, "vk" #name), #name);
  ANYGPU_VULKAN_GLOBAL_FUNCTIONS(ANYGPU_GET)
#undef ANYGPU_GET
  uint32_t version = 0;
  api.EnumerateInstanceVersion(&version);
  if (version < VK_API_VERSION_1_2)
    throw Error(ErrorKind::Value, "[vulkan] the Vulkan loader is of version " + std::to_string(VK_API_VERSION_MAJOR(version)) + "." +
                                      std::to_string(VK_API_VERSION_MINOR(version)) + "; 1.2 or newer is needed");
  return api;
}

}  // namespace

const LoaderApi& LoaderApi::get() {
  static const LoaderApi* api = new LoaderApi(open());  // leaked: drivers stay loaded until the process ends
  return *api;
}

void InstanceApi::load(const LoaderApi& loader, VkInstance instance) {
#define ANYGPU_GET(name) require(name, loader.GetInstanceProcAddr(instance, "vk" #name), #name);
  ANYGPU_VULKAN_INSTANCE_FUNCTIONS(ANYGPU_GET)
#undef ANYGPU_GET
  GetPhysicalDeviceCooperativeMatrixProperties = reinterpret_cast<decltype(GetPhysicalDeviceCooperativeMatrixProperties)>(
      loader.GetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
}

void DeviceApi::load(const InstanceApi& api, VkDevice device) {
#define ANYGPU_GET(name) require(name, api.GetDeviceProcAddr(device, "vk" #name), #name);
  ANYGPU_VULKAN_DEVICE_FUNCTIONS(ANYGPU_GET)
#undef ANYGPU_GET
  GetBufferDeviceAddress = reinterpret_cast<PFN_vkGetBufferDeviceAddress>(api.GetDeviceProcAddr(device, "vkGetBufferDeviceAddress"));
}

std::string name_of(VkResult r) {
  switch (r) {
    case VK_ERROR_OUT_OF_HOST_MEMORY:
      return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
      return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED:
      return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST:
      return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_INCOMPATIBLE_DRIVER:
      return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_FEATURE_NOT_PRESENT:
      return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT:
      return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_LAYER_NOT_PRESENT:
      return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_TOO_MANY_OBJECTS:
      return "VK_ERROR_TOO_MANY_OBJECTS";
    default:
      return "VkResult " + std::to_string(static_cast<int>(r));
  }
}

}  // namespace anygpu::vulkan
