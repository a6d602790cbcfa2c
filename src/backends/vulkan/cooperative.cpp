#include "cooperative.h"

namespace anygpu::vulkan {
namespace {

/// VkCooperativeMatrixPropertiesKHR. Types are VkComponentTypeKHR.
struct Properties {
  VkStructureType type = static_cast<VkStructureType>(1000506001);
  void* next = nullptr;
  uint32_t m = 0, n = 0, k = 0;
  uint32_t a = 0, b = 0, c = 0, result = 0;
  VkBool32 saturating = VK_FALSE;
  uint32_t scope = 0;
};
constexpr uint32_t kFloat16 = 0, kFloat32 = 1, kSubgroup = 3;

}  // namespace

void find_cooperative(const InstanceApi& vk, VkPhysicalDevice d, Capabilities& can) {
  if (!vk.GetPhysicalDeviceCooperativeMatrixProperties) return;
  uint32_t n = 0;
  if (vk.GetPhysicalDeviceCooperativeMatrixProperties(d, &n, nullptr) != VK_SUCCESS || n == 0) return;
  std::vector<Properties> all(n);
  if (vk.GetPhysicalDeviceCooperativeMatrixProperties(d, &n, all.data()) != VK_SUCCESS) return;
  for (const Properties& p : all) {
    if (p.a != kFloat16 || p.b != kFloat16 || p.c != kFloat32 || p.result != kFloat32 || p.scope != kSubgroup) continue;
    if (p.m % 8 != 0 || p.n % 8 != 0 || p.k % 8 != 0) continue;  // a line of a matrix is whole 16 bytes
    if (p.m * p.n * p.k <= can.cooperative_m * can.cooperative_n * can.cooperative_k) continue;
    can.cooperative = true;
    can.cooperative_m = p.m, can.cooperative_n = p.n, can.cooperative_k = p.k;
  }
}

}  // namespace anygpu::vulkan
