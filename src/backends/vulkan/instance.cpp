#include "instance.h"

#include <unistd.h>

#include <algorithm>
#include <mutex>

#include "validation.h"

namespace anygpu::vulkan {
namespace {

int rank_of(VkPhysicalDeviceType t) {
  switch (t) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
      return 0;
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
      return 1;
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
      return 2;
    case VK_PHYSICAL_DEVICE_TYPE_OTHER:
      return 3;
    default:
      return 4;
  }
}

Instance* create() {
  const LoaderApi& loader = LoaderApi::get();
  VkApplicationInfo application{VK_STRUCTURE_TYPE_APPLICATION_INFO, nullptr, "anygpu", 1, "anygpu", 1, VK_API_VERSION_1_2};
  VkInstanceCreateInfo info{VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO, nullptr, 0, &application};
  Validation validation;
  if (Validation::wanted()) validation.request(info);
  auto* made = new Instance;  // leaked: Devices live as long as the process
  const VkResult r = loader.CreateInstance(&info, nullptr, &made->handle);
  if (r == VK_ERROR_LAYER_NOT_PRESENT || r == VK_ERROR_EXTENSION_NOT_PRESENT)
    throw Error(ErrorKind::Value, "[vulkan] ANYGPU_VULKAN_VALIDATE is set, and the validation layers were not found (" + name_of(r) +
                                      "): `sudo apt install vulkan-validationlayers`");
  if (r != VK_SUCCESS)
    throw Error(ErrorKind::Value,
                "[vulkan] no Vulkan driver was found (" + name_of(r) +
                    "); install your GPU's, or Mesa's: `sudo apt install mesa-vulkan-drivers`; `vulkaninfo --summary` lists what is there");
  made->vk.load(loader, made->handle);
  if (Validation::wanted()) Validation::listen(loader, made->handle);
  uint32_t n = 0;
  made->vk.EnumeratePhysicalDevices(made->handle, &n, nullptr);
  std::vector<VkPhysicalDevice> handles(n);
  if (n) made->vk.EnumeratePhysicalDevices(made->handle, &n, handles.data());
  handles.resize(n);
  for (VkPhysicalDevice handle : handles) {
    PhysicalDevice d;
    d.handle = handle;
    describe(made->vk, d);
    made->devices.push_back(std::move(d));
  }
  std::stable_sort(made->devices.begin(), made->devices.end(),
                   [](const PhysicalDevice& a, const PhysicalDevice& b) { return rank_of(a.type) < rank_of(b.type); });
  return made;
}

}  // namespace

const Instance& Instance::get() {
  static std::mutex& mutex = *new std::mutex;
  static const Instance* made = nullptr;
  static pid_t owner = 0;
  std::lock_guard lock(mutex);
  if (!made || owner != getpid()) {
    made = create();
    owner = getpid();
  }
  return *made;
}

}  // namespace anygpu::vulkan
