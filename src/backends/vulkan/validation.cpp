#include "validation.h"

#include <fcntl.h>
#include <unistd.h>

#include "anygpu/error.h"
#include "core/environment.h"

namespace anygpu::vulkan {
namespace {

constexpr const char* kVariable = "ANYGPU_VULKAN_VALIDATE";
constexpr const char* kLayers[] = {"VK_LAYER_KHRONOS_validation"};
constexpr const char* kExtensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
constexpr VkValidationFeatureEnableEXT kEnabled[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};

/// One write a report: processes that share the file do not mix their lines.
VkBool32 VKAPI_PTR report(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT,
                          const VkDebugUtilsMessengerCallbackDataEXT* data, void* file) {
  const bool error = severity >= VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  std::string line = error ? "Validation Error: " : "Validation Warning: ";
  if (data->pMessageIdName) line += std::string("[ ") + data->pMessageIdName + " ] ";
  line += std::string(data->pMessage) + "\n";
  [[maybe_unused]] const ssize_t written = write(static_cast<int>(reinterpret_cast<intptr_t>(file)), line.data(), line.size());
  return VK_FALSE;
}

}  // namespace

bool Validation::wanted() {
  return setting(kVariable) != nullptr;
}

void Validation::request(VkInstanceCreateInfo& info) {
  features_.enabledValidationFeatureCount = 1;
  features_.pEnabledValidationFeatures = kEnabled;
  features_.pNext = info.pNext;
  info.pNext = &features_;
  info.enabledLayerCount = 1;
  info.ppEnabledLayerNames = kLayers;
  info.enabledExtensionCount = 2;
  info.ppEnabledExtensionNames = kExtensions;
}

void Validation::listen(const LoaderApi& loader, VkInstance instance) {
  const char* name = setting(kVariable);
  const int file = open(name, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);  // open as long as the process lives
  if (file < 0) throw Error(ErrorKind::Value, std::string("[vulkan] ") + kVariable + " is '" + name + "', which cannot be written to");
  const auto create =
      reinterpret_cast<PFN_vkCreateDebugUtilsMessengerEXT>(loader.GetInstanceProcAddr(instance, "vkCreateDebugUtilsMessengerEXT"));
  VkDebugUtilsMessengerCreateInfoEXT info{VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT};
  info.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT;
  info.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_GENERAL_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT |
                     VK_DEBUG_UTILS_MESSAGE_TYPE_PERFORMANCE_BIT_EXT;
  info.pfnUserCallback = report;
  info.pUserData = reinterpret_cast<void*>(static_cast<intptr_t>(file));
  VkDebugUtilsMessengerEXT messenger = nullptr;
  if (!create || create(instance, &info, nullptr, &messenger) != VK_SUCCESS)
    throw Error(ErrorKind::Value, std::string("[vulkan] ") + kVariable + " is set, and the loader takes no messenger");
}

}  // namespace anygpu::vulkan
