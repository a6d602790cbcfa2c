#include "resources.h"

#include <algorithm>
#include <utility>

namespace anygpu::vulkan {

void Frame::grow_queries(uint32_t stamps) {
  if (count_ >= stamps) return;
  gpu_.vk.DestroyQueryPool(gpu_.device, queries, nullptr);
  queries = nullptr;
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = std::max(stamps, 2 * std::exchange(count_, 0));
  gpu_.check(gpu_.vk.CreateQueryPool(gpu_.device, &info, nullptr, &queries), "vkCreateQueryPool");
  count_ = info.queryCount;
}

void Resources::need_scratch(int64_t bytes) {
  if (scratch.bytes >= bytes) return;
  gpu.wait(gpu.submitted());  // runs that are under way use it
  heap.release(scratch);
  scratch = {};
  scratch = heap.allocate(bytes);
}

std::unique_ptr<Frame> Resources::take_frame() {
  if (frames.empty()) return std::make_unique<Frame>(gpu);
  std::unique_ptr<Frame> taken = std::move(frames.back());
  frames.pop_back();
  taken->commands.reset();
  return taken;
}

}  // namespace anygpu::vulkan
