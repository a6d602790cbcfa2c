// The Vulkan loader's functions, found at run time: a machine without a loader runs everything else.
#pragma once

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <string>

namespace anygpu::vulkan {

#define ANYGPU_VULKAN_GLOBAL_FUNCTIONS(X) X(CreateInstance) X(EnumerateInstanceVersion)
#define ANYGPU_VULKAN_INSTANCE_FUNCTIONS(X) \
  X(DestroyInstance)                        \
  X(EnumeratePhysicalDevices)               \
  X(EnumerateDeviceExtensionProperties)     \
  X(GetPhysicalDeviceProperties2)           \
  X(GetPhysicalDeviceProperties)            \
  X(GetPhysicalDeviceFeatures2)             \
  X(GetPhysicalDeviceMemoryProperties) X(GetPhysicalDeviceQueueFamilyProperties) X(CreateDevice) X(GetDeviceProcAddr)
#define ANYGPU_VULKAN_DEVICE_FUNCTIONS(X) \
  X(DestroyDevice)                        \
  X(DeviceWaitIdle)                       \
  X(GetDeviceQueue)                       \
  X(QueueSubmit)                          \
  X(CreateSemaphore)                      \
  X(DestroySemaphore)                     \
  X(WaitSemaphores)                       \
  X(GetSemaphoreCounterValue)             \
  X(AllocateMemory)                       \
  X(FreeMemory)                           \
  X(MapMemory)                            \
  X(CreateBuffer)                         \
  X(DestroyBuffer)                        \
  X(CreateBufferView)                     \
  X(DestroyBufferView)                    \
  X(GetBufferMemoryRequirements)          \
  X(BindBufferMemory)                     \
  X(CreateCommandPool)                    \
  X(DestroyCommandPool)                   \
  X(ResetCommandPool)                     \
  X(AllocateCommandBuffers)               \
  X(BeginCommandBuffer)                   \
  X(EndCommandBuffer)                     \
  X(CmdBindPipeline)                      \
  X(CmdBindDescriptorSets)                \
  X(CmdPushConstants)                     \
  X(CmdDispatch)                          \
  X(CmdPipelineBarrier)                   \
  X(CmdCopyBuffer)                        \
  X(CmdResetQueryPool)                    \
  X(CmdWriteTimestamp)                    \
  X(CreateQueryPool)                      \
  X(DestroyQueryPool)                     \
  X(GetQueryPoolResults)                  \
  X(CreateShaderModule)                   \
  X(DestroyShaderModule)                  \
  X(CreateDescriptorSetLayout)            \
  X(DestroyDescriptorSetLayout)           \
  X(CreatePipelineLayout)                 \
  X(DestroyPipelineLayout)                \
  X(CreateComputePipelines)               \
  X(DestroyPipeline)                      \
  X(CreatePipelineCache)                  \
  X(DestroyPipelineCache)                 \
  X(GetPipelineCacheData)                 \
  X(CreateDescriptorPool) X(DestroyDescriptorPool) X(AllocateDescriptorSets) X(UpdateDescriptorSets)

#define ANYGPU_VULKAN_MEMBER(name) PFN_vk##name name = nullptr;

/// libvulkan.so.1, or the file that ANYGPU_VULKAN_LOADER names. Opened once, never closed.
struct LoaderApi {
  PFN_vkGetInstanceProcAddr GetInstanceProcAddr = nullptr;
  ANYGPU_VULKAN_GLOBAL_FUNCTIONS(ANYGPU_VULKAN_MEMBER)
  /// Throws Error(Value) where there is no loader, or one older than Vulkan 1.2.
  static const LoaderApi& get();
};

struct InstanceApi {
  ANYGPU_VULKAN_INSTANCE_FUNCTIONS(ANYGPU_VULKAN_MEMBER)
  /// Null where no driver knows of VK_KHR_cooperative_matrix; the array is of what cooperative.cpp declares.
  VkResult(VKAPI_PTR* GetPhysicalDeviceCooperativeMatrixProperties)(VkPhysicalDevice, uint32_t*, void*) = nullptr;
  void load(const LoaderApi&, VkInstance);
};

struct DeviceApi {
  ANYGPU_VULKAN_DEVICE_FUNCTIONS(ANYGPU_VULKAN_MEMBER)
  ANYGPU_VULKAN_MEMBER(GetBufferDeviceAddress)  // null where the driver has no device addresses
  void load(const InstanceApi&, VkDevice);
};

#undef ANYGPU_VULKAN_MEMBER

/// "VK_ERROR_DEVICE_LOST", or the number.
std::string name_of(VkResult);

}  // namespace anygpu::vulkan
