#include "heap.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>

#include "core/environment.h"
#include "core/numbers.h"

namespace anygpu::vulkan {
namespace {

constexpr int64_t kAlign = 256;  // no device wants more of a storage buffer's offset
constexpr int64_t kFirstBlock = int64_t{4} << 20, kLargestBlock = int64_t{64} << 20;
constexpr int64_t kHugePage = 2 << 20;

VkBufferCreateInfo buffer_info(const Gpu& gpu, int64_t bytes) {
  VkBufferCreateInfo info{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
  info.size = static_cast<VkDeviceSize>(bytes);
  info.usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
  if (gpu.can.texel_loads) info.usage |= VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT;
  if (gpu.can.device_addresses) info.usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
  info.sharingMode = VK_SHARING_MODE_EXCLUSIVE;
  return info;
}

/// The memory types that buffers such as ours may have.
uint32_t usable_types(Gpu& gpu) {
  const VkBufferCreateInfo info = buffer_info(gpu, kFirstBlock);
  VkBuffer probe = nullptr;
  gpu.check(gpu.vk.CreateBuffer(gpu.device, &info, nullptr, &probe), "vkCreateBuffer");
  VkMemoryRequirements need{};
  gpu.vk.GetBufferMemoryRequirements(gpu.device, probe, &need);
  gpu.vk.DestroyBuffer(gpu.device, probe, nullptr);
  return need.memoryTypeBits;
}

}  // namespace

Heap::Heap(Gpu& gpu, Kind kind) : gpu_(gpu) {
  VkPhysicalDeviceMemoryProperties memory{};
  Instance::get().vk.GetPhysicalDeviceMemoryProperties(gpu.physical.handle, &memory);
  const uint32_t usable = usable_types(gpu);
  constexpr VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
  constexpr VkMemoryPropertyFlags host = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
  // Device memory that the host reads through no cache is slower for the host than a copy: there, it stays unmapped.
  const bool direct = !switched_off("ANYGPU_VULKAN_MAPPED");
  double best = -1;
  for (uint32_t i = 0; i < memory.memoryTypeCount; ++i) {
    const VkMemoryPropertyFlags flags = memory.memoryTypes[i].propertyFlags;
    if (!(usable >> i & 1) || flags & (VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT | VK_MEMORY_PROPERTY_PROTECTED_BIT)) continue;
    const bool mappable = (flags & host) == host;
    if (kind == Kind::Host && !mappable) continue;
    const auto size = static_cast<double>(memory.memoryHeaps[memory.memoryTypes[i].heapIndex].size);
    double score = 0;
    if (kind == Kind::Device) {
      score = (flags & local ? 8 : 0) + (direct && mappable && flags & cached ? 2 : 0) + size * 0x1p-50;
      // A small window onto the device's memory is no home for all of it.
      for (uint32_t h = 0; h < memory.memoryHeapCount; ++h)
        if (memory.memoryHeaps[h].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT && static_cast<double>(memory.memoryHeaps[h].size) > 2 * size)
          score -= 4;
    } else {
      score = (flags & cached ? 4 : 0) + (flags & local ? 0 : 1);
    }
    if (score <= best) continue;
    best = score;
    type_ = i;
    capacity_ = static_cast<int64_t>(size);
    mapped_ = mappable && (kind == Kind::Host || (direct && flags & cached));
  }
  if (best < 0) throw Error(ErrorKind::Value, "[vulkan] " + gpu.physical.name + " has no memory for storage buffers");
}

Heap::~Heap() {
  while (!blocks_.empty()) destroy(blocks_.back().get());
}

Block* Heap::new_block(int64_t bytes) {
  auto fail = [&](const std::string& why) {
    throw Error(ErrorKind::OutOfMemory, "[allocate] " + gpu_.physical.name + " has no " + std::to_string(bytes) + " bytes: " + why);
  };
  if (bytes > gpu_.physical.max_allocation) fail("its largest allocation is " + std::to_string(gpu_.physical.max_allocation));
  if (taken_ + bytes > capacity_) fail(std::to_string(taken_) + " of " + std::to_string(capacity_) + " are taken");
  static std::atomic<uint64_t> serials{0};
  auto block = std::make_unique<Block>();
  block->bytes = bytes;
  block->serial = ++serials;
  const VkBufferCreateInfo info = buffer_info(gpu_, bytes);
  try {
    gpu_.check(gpu_.vk.CreateBuffer(gpu_.device, &info, nullptr, &block->buffer), "vkCreateBuffer");
    VkMemoryRequirements need{};
    gpu_.vk.GetBufferMemoryRequirements(gpu_.device, block->buffer, &need);
    VkMemoryAllocateFlagsInfo flags{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO};
    flags.flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT;
    const VkMemoryAllocateInfo allocate{VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, gpu_.can.device_addresses ? &flags : nullptr, need.size,
                                        type_};
    gpu_.check(gpu_.vk.AllocateMemory(gpu_.device, &allocate, nullptr, &block->memory), "vkAllocateMemory");
    gpu_.check(gpu_.vk.BindBufferMemory(gpu_.device, block->buffer, block->memory, 0), "vkBindBufferMemory");
    if (gpu_.can.device_addresses) {
      const VkBufferDeviceAddressInfo of{VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO, nullptr, block->buffer};
      block->address = gpu_.vk.GetBufferDeviceAddress(gpu_.device, &of);
    }
    if (mapped_) {
      void* at = nullptr;
      gpu_.check(gpu_.vk.MapMemory(gpu_.device, block->memory, 0, VK_WHOLE_SIZE, 0, &at), "vkMapMemory");
      block->mapped = static_cast<char*>(at);
      if (gpu_.can.software) {
        // The processor is the device: large pages spare it most of its page faults.
        const auto begin = round_up(reinterpret_cast<int64_t>(at), kHugePage);
        const int64_t end = (reinterpret_cast<int64_t>(at) + bytes) / kHugePage * kHugePage;
        if (end > begin) madvise(reinterpret_cast<void*>(begin), static_cast<size_t>(end - begin), MADV_HUGEPAGE);
      }
    }
  } catch (...) {
    gpu_.vk.DestroyBuffer(gpu_.device, block->buffer, nullptr);
    gpu_.vk.FreeMemory(gpu_.device, block->memory, nullptr);
    throw;
  }
  block->free[0] = bytes;
  taken_ += bytes;
  blocks_.push_back(std::move(block));
  return blocks_.back().get();
}

void Heap::destroy(Block* block) {
  taken_ -= block->bytes;
  gpu_.vk.DestroyBuffer(gpu_.device, block->buffer, nullptr);
  gpu_.vk.FreeMemory(gpu_.device, block->memory, nullptr);
  std::erase_if(blocks_, [&](const std::unique_ptr<Block>& b) { return b.get() == block; });
}

Memory Heap::allocate(int64_t bytes) {
  gpu_.check_alive();
  if (bytes < 0 || bytes > capacity_)
    throw Error(ErrorKind::OutOfMemory,
                "[allocate] " + gpu_.physical.name + " has no " + std::to_string(bytes) + " bytes: it has " + std::to_string(capacity_));
  const int64_t want = round_up(std::max<int64_t>(bytes, 1), kAlign);
  std::lock_guard lock(mutex_);
  // The tightest hole: large ones stay whole.
  Block* found = nullptr;
  int64_t offset = 0, length = INT64_MAX;
  for (const auto& block : blocks_)
    for (const auto& [at, free] : block->free)
      if (free >= want && free < length) {
        found = block.get();
        offset = at;
        length = free;
      }
  if (!found) {
    const int64_t usual = std::clamp(round_up(taken_ / 2, kHugePage), kFirstBlock, kLargestBlock);
    if (want > usual / 4) {
      found = new_block(want);
    } else {
      try {
        found = new_block(usual);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::OutOfMemory) throw;
        found = new_block(want);
      }
    }
    offset = 0;
    length = found->bytes;
  }
  found->free.erase(offset);
  if (length > want) found->free[offset + want] = length - want;
  return {found, offset, bytes};
}

void Heap::release(Memory m) {
  if (!m.handle) return;
  std::lock_guard lock(mutex_);
  auto* block = static_cast<Block*>(m.handle);
  int64_t begin = m.offset, length = round_up(std::max<int64_t>(m.bytes, 1), kAlign);
  auto next = block->free.lower_bound(begin);
  if (next != block->free.end() && next->first == begin + length) {
    length += next->second;
    next = block->free.erase(next);
  }
  if (next != block->free.begin()) {
    auto before = std::prev(next);
    if (before->first + before->second == begin) {
      begin = before->first;
      length += before->second;
      block->free.erase(before);
    }
  }
  block->free[begin] = length;
  if (length == block->bytes) destroy(block);
}

}  // namespace anygpu::vulkan
