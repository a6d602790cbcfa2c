// What a device offers, what is taken away by switches, and a VkDevice with exactly the rest.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>

#include "anygpu/error.h"
#include "cooperative.h"
#include "core/environment.h"

namespace anygpu::vulkan {
namespace {

/// The feature structures of Vulkan 1.2, chained, and those of extensions that the device has.
struct Features {
  CooperativeMatrixFeatures cooperative;
  VkPhysicalDeviceSubgroupSizeControlFeatures subgroup_size{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_SUBGROUP_SIZE_CONTROL_FEATURES, &cooperative};
  VkPhysicalDeviceVulkan12Features v12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
  VkPhysicalDeviceVulkan11Features v11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES, &v12};
  VkPhysicalDeviceFeatures2 all{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2, &v11};
  std::vector<const char*> extensions;
  explicit Features(bool with_cooperative) {
    if (!with_cooperative) return;
    v12.pNext = &subgroup_size;
    extensions = {kCooperativeMatrixExtension, VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME};
  }
  Features(const Features&) = delete;
};

/// Each optional feature: its name for people and, in capitals, for its switch.
struct Feature {
  const char* name;
  bool Target::*flag;
};
constexpr Feature kFeatures[] = {{"int64", &Target::int64},
                                 {"float64", &Target::float64},
                                 {"int16", &Target::int16},
                                 {"float16", &Target::float16},
                                 {"storage16", &Target::storage16},
                                 {"int8", &Target::int8},
                                 {"storage8", &Target::storage8},
                                 {"float_controls", &Target::float_controls_f32},
                                 {"denormals", &Target::denormals},
                                 {"memory_model", &Target::memory_model},
                                 {"device_addresses", &Target::device_addresses},
                                 {"subgroup_shuffle", &Target::subgroup_shuffle},
                                 {"cooperative_matrix", &Target::cooperative}};
/// Those that are no feature of a device, but what is done with it.
constexpr Feature kWays[] = {{"texel_loads", &Target::texel_loads}};

std::string switch_of(const char* feature) {
  std::string s = "ANYGPU_VULKAN_";
  for (const char* c = feature; *c; ++c) s += static_cast<char>(std::toupper(*c));
  return s;
}

/// What WSL's driver need not have.
void mask_as_dzn(Target& c) {
  c.software = c.texel_loads = false;  // schedules and tiles are a GPU's then, whatever runs them
  c.int16 = c.float16 = c.storage16 = c.int8 = c.storage8 = false;
  c.float_controls_f32 = c.denormals = c.memory_model = c.device_addresses = false;
  c.max_invocations = std::min(c.max_invocations, 1024u);
  c.shared_bytes = std::min(c.shared_bytes, 32768u);
  c.push_bytes = std::min(c.push_bytes, 128u);
  c.max_binding_bytes = std::min<int64_t>(c.max_binding_bytes, 1 << 27);
}

constexpr std::pair<const char*, MatmulTier> kTiers[] = {
    {"plain", MatmulTier::Plain}, {"lanes", MatmulTier::Lanes}, {"shared", MatmulTier::Shared}, {"cooperative", MatmulTier::Cooperative}};

MatmulTier forced_tier() {
  const char* v = setting("ANYGPU_VULKAN_MATMUL");
  if (!v) return MatmulTier::Best;
  std::string all;
  for (const auto& [name, tier] : kTiers) {
    if (std::strcmp(v, name) == 0) return tier;
    all += (all.empty() ? "" : ", ") + std::string(name);
  }
  throw Error(ErrorKind::Value, std::string("[vulkan] ANYGPU_VULKAN_MATMUL is '") + v + "'; there are: " + all);
}

/// For tests: what a descriptor reaches at most.
int64_t binding_limit() {
  const char* v = setting("ANYGPU_VULKAN_BINDING_LIMIT");
  if (!v) return INT64_MAX;
  char* end = nullptr;
  const int64_t bytes = std::strtoll(v, &end, 10);
  if (*end || bytes < 256)
    throw Error(ErrorKind::Value, std::string("[vulkan] ANYGPU_VULKAN_BINDING_LIMIT is '") + v + "'; bytes, 256 or more");
  return bytes;
}

void mask(Target& c) {
  c.matmul = forced_tier();
  c.max_binding_bytes = std::min(c.max_binding_bytes, binding_limit());
  if (const char* profile = setting("ANYGPU_VULKAN_PROFILE")) {
    if (std::strcmp(profile, "dzn") != 0)
      throw Error(ErrorKind::Value, std::string("[vulkan] ANYGPU_VULKAN_PROFILE is '") + profile + "'; the one profile that there is: dzn");
    mask_as_dzn(c);
  }
  for (const std::span<const Feature> all : {std::span<const Feature>(kFeatures), std::span<const Feature>(kWays)})
    for (const Feature& f : all)
      if (switched_off(switch_of(f.name).c_str())) c.*f.flag = false;
  c.cooperative = c.cooperative && c.memory_model && c.float16;
}

bool has_extension(const InstanceApi& vk, VkPhysicalDevice d, const char* name) {
  uint32_t n = 0;
  vk.EnumerateDeviceExtensionProperties(d, nullptr, &n, nullptr);
  std::vector<VkExtensionProperties> all(n);
  if (n) vk.EnumerateDeviceExtensionProperties(d, nullptr, &n, all.data());
  return std::any_of(all.begin(), all.end(), [&](const VkExtensionProperties& e) { return std::strcmp(e.extensionName, name) == 0; });
}

uint32_t clamped(uint32_t v) {
  return std::min(v, static_cast<uint32_t>(INT32_MAX));
}

std::string version_text(uint32_t v) {
  return std::to_string(VK_API_VERSION_MAJOR(v)) + "." + std::to_string(VK_API_VERSION_MINOR(v));
}

/// "0000:03:00.0", as sysfs and NVML name it.
std::string pci_address(const InstanceApi& vk, VkPhysicalDevice d) {
  VkPhysicalDevicePCIBusInfoPropertiesEXT pci{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &pci};
  vk.GetPhysicalDeviceProperties2(d, &properties);
  char text[32];
  std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", pci.pciDomain, pci.pciBus, pci.pciDevice, pci.pciFunction);
  return text;
}

}  // namespace

void describe(const InstanceApi& vk, PhysicalDevice& d) {
  VkPhysicalDeviceProperties old{};
  vk.GetPhysicalDeviceProperties(d.handle, &old);
  d.name = old.deviceName;
  d.type = old.deviceType;
  if (old.apiVersion < VK_API_VERSION_1_2) {
    d.driver = "Vulkan " + version_text(old.apiVersion);
    d.missing = "its driver offers Vulkan " + version_text(old.apiVersion) + "; 1.2 or newer is needed: update the driver";
    return;
  }
  VkPhysicalDeviceVulkan12Properties p12{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES};
  VkPhysicalDeviceVulkan11Properties p11{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES, &p12};
  VkPhysicalDeviceProperties2 properties{VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, &p11};
  vk.GetPhysicalDeviceProperties2(d.handle, &properties);
  const VkPhysicalDeviceLimits& limits = properties.properties.limits;
  d.driver = std::string(p12.driverName) + " " + p12.driverInfo + ", Vulkan " + version_text(old.apiVersion);
  d.max_allocation = static_cast<int64_t>(std::min<VkDeviceSize>(p11.maxMemoryAllocationSize, INT64_MAX));
  d.tick_ns = limits.timestampPeriod;
  d.identity.assign(reinterpret_cast<const char*>(p11.deviceUUID), VK_UUID_SIZE);
  d.identity.append(reinterpret_cast<const char*>(p11.driverUUID), VK_UUID_SIZE);
  d.identity.append(reinterpret_cast<const char*>(old.pipelineCacheUUID), VK_UUID_SIZE);
  d.identity +=
      std::to_string(old.vendorID) + " " + std::to_string(old.deviceID) + " " + std::to_string(old.driverVersion) + " " + d.driver;

  auto offers = [&](const char* extension) { return has_extension(vk, d.handle, extension); };
  if (offers(VK_EXT_PCI_BUS_INFO_EXTENSION_NAME)) d.pci_address = pci_address(vk, d.handle);
  Features f(offers(kCooperativeMatrixExtension) && offers(VK_EXT_SUBGROUP_SIZE_CONTROL_EXTENSION_NAME));
  vk.GetPhysicalDeviceFeatures2(d.handle, &f.all);
  Target& c = d.can;
  c.int64 = f.all.features.shaderInt64;
  c.float64 = f.all.features.shaderFloat64;
  c.int16 = f.all.features.shaderInt16;
  c.float16 = f.v12.shaderFloat16;
  c.storage16 = f.v11.storageBuffer16BitAccess;
  c.int8 = f.v12.shaderInt8;
  c.storage8 = f.v12.storageBuffer8BitAccess;
  c.float_controls_f32 = p12.shaderSignedZeroInfNanPreserveFloat32;
  c.denormals = p12.shaderDenormPreserveFloat32;
  c.memory_model = f.v12.vulkanMemoryModel && f.v12.vulkanMemoryModelDeviceScope;
  c.device_addresses = f.v12.bufferDeviceAddress;
  const bool subgroups = p11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT;
  c.subgroup_shuffle = subgroups && p11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
  c.subgroup_size = subgroups ? p11.subgroupSize : 1;
  if (f.cooperative.matrices && f.subgroup_size.computeFullSubgroups && subgroups) find_cooperative(vk, d.handle, c);
  c.max_invocations = limits.maxComputeWorkGroupInvocations;
  for (int i = 0; i < 3; ++i) {
    c.max_group_size[i] = limits.maxComputeWorkGroupSize[i];
    c.max_groups[i] = clamped(limits.maxComputeWorkGroupCount[i]);
  }
  c.shared_bytes = limits.maxComputeSharedMemorySize;
  c.push_bytes = limits.maxPushConstantsSize;
  c.max_bindings =
      std::min({limits.maxPerStageDescriptorStorageBuffers, limits.maxDescriptorSetStorageBuffers, limits.maxPerStageResources});
  c.max_binding_bytes = limits.maxStorageBufferRange;
  c.binding_alignment = std::max<int64_t>(16, static_cast<int64_t>(limits.minStorageBufferOffsetAlignment));
  c.software = d.software();
  if (!c.software) c.max_iterations = 1 << 18;
  c.texel_loads = c.software && limits.minTexelBufferOffsetAlignment <= static_cast<VkDeviceSize>(c.binding_alignment) &&
                  limits.maxTexelBufferElements >= static_cast<uint64_t>(c.max_binding_bytes / 4);
  mask(c);
  for (const bool has : {true, false}) {
    std::string list;
    for (const Feature& feature : kFeatures)
      if (c.*feature.flag == has) list += (list.empty() ? "" : " ") + std::string(feature.name);
    if (!list.empty()) d.features += (d.features.empty() ? "" : "; ") + std::string(has ? "has " : "lacks ") + list;
  }

  uint32_t n = 0;
  vk.GetPhysicalDeviceQueueFamilyProperties(d.handle, &n, nullptr);
  std::vector<VkQueueFamilyProperties> families(n);
  vk.GetPhysicalDeviceQueueFamilyProperties(d.handle, &n, families.data());
  const auto found = std::find_if(families.begin(), families.end(),
                                  [](const VkQueueFamilyProperties& q) { return q.queueCount > 0 && q.queueFlags & VK_QUEUE_COMPUTE_BIT; });
  if (found == families.end()) {
    d.missing = "it has no queue for compute shaders";
    return;
  }
  d.family = static_cast<uint32_t>(found - families.begin());
  d.timestamp_bits = switched_off("ANYGPU_VULKAN_TIMESTAMPS") ? 0 : found->timestampValidBits;
  if (!f.v12.timelineSemaphore) d.missing = "its driver has no timeline semaphores: update the driver";
}

VkDevice create_device(const InstanceApi& vk, const PhysicalDevice& d) {
  const Capabilities& c = d.can;
  Features f(c.cooperative);
  f.cooperative.matrices = f.subgroup_size.computeFullSubgroups = c.cooperative;
  f.all.features.shaderInt64 = c.int64;
  f.all.features.shaderFloat64 = c.float64;
  f.all.features.shaderInt16 = c.int16;
  f.v12.shaderFloat16 = c.float16;
  f.v11.storageBuffer16BitAccess = c.storage16;
  f.v12.shaderInt8 = c.int8;
  f.v12.storageBuffer8BitAccess = c.storage8;
  f.v12.vulkanMemoryModel = f.v12.vulkanMemoryModelDeviceScope = c.memory_model;
  f.v12.bufferDeviceAddress = c.device_addresses;
  f.v12.timelineSemaphore = VK_TRUE;
  const float priority = 1;
  const VkDeviceQueueCreateInfo queue{VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO, nullptr, 0, d.family, 1, &priority};
  VkDeviceCreateInfo info{VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, &f.all};
  info.queueCreateInfoCount = 1;
  info.pQueueCreateInfos = &queue;
  info.enabledExtensionCount = static_cast<uint32_t>(f.extensions.size());
  info.ppEnabledExtensionNames = f.extensions.data();
  VkDevice device = nullptr;
  const VkResult r = vk.CreateDevice(d.handle, &info, nullptr, &device);
  if (r != VK_SUCCESS) throw Error(ErrorKind::Value, "[vulkan] the driver of " + d.name + " made no device: " + name_of(r));
  return device;
}

}  // namespace anygpu::vulkan
