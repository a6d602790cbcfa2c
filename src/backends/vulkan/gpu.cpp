#include "gpu.h"

namespace anygpu::vulkan {

Gpu::Gpu(const PhysicalDevice& d) : physical(d), can(d.can) {
  const Instance& instance = Instance::get();
  device = create_device(instance.vk, d);
  vk.load(instance.vk, device);
  vk.GetDeviceQueue(device, d.family, 0, &queue_);
  const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr, VK_SEMAPHORE_TYPE_TIMELINE, 0};
  const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
  check(vk.CreateSemaphore(device, &info, nullptr, &timeline_), "vkCreateSemaphore");
}

Gpu::~Gpu() {
  vk.DeviceWaitIdle(device);
  vk.DestroySemaphore(device, timeline_, nullptr);
  vk.DestroyDevice(device, nullptr);
}

void Gpu::throw_lost() const {
  throw Error(ErrorKind::Value,
              "[vulkan] " + physical.name +
                  " was lost: its driver was reset, or a kernel took longer than the driver allows. What was on it is gone; "
                  "this process cannot use it any more");
}

void Gpu::check(VkResult r, const char* what) {
  if (r == VK_SUCCESS) return;
  if (r == VK_ERROR_DEVICE_LOST) {
    lost_ = true;
    throw_lost();
  }
  const bool memory = r == VK_ERROR_OUT_OF_DEVICE_MEMORY || r == VK_ERROR_OUT_OF_HOST_MEMORY;
  throw Error(memory ? ErrorKind::OutOfMemory : ErrorKind::Value, "[vulkan] " + physical.name + ": " + what + " failed: " + name_of(r));
}

uint64_t Gpu::submit(VkCommandBuffer commands) {
  check_alive();
  std::lock_guard lock(mutex_);
  const uint64_t value = last_ + 1;
  VkTimelineSemaphoreSubmitInfo timeline{VK_STRUCTURE_TYPE_TIMELINE_SEMAPHORE_SUBMIT_INFO};
  timeline.signalSemaphoreValueCount = 1;
  timeline.pSignalSemaphoreValues = &value;
  VkSubmitInfo info{VK_STRUCTURE_TYPE_SUBMIT_INFO, &timeline};
  info.commandBufferCount = 1;
  info.pCommandBuffers = &commands;
  info.signalSemaphoreCount = 1;
  info.pSignalSemaphores = &timeline_;
  check(vk.QueueSubmit(queue_, 1, &info, VK_NULL_HANDLE), "vkQueueSubmit");
  return last_ = value;
}

uint64_t Gpu::submitted() {
  std::lock_guard lock(mutex_);
  return last_;
}

bool Gpu::reached(uint64_t value) const {
  uint64_t now = 0;
  return lost_ || vk.GetSemaphoreCounterValue(device, timeline_, &now) != VK_SUCCESS || now >= value;
}

void Gpu::wait(uint64_t value) {
  check_alive();
  VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  info.semaphoreCount = 1;
  info.pSemaphores = &timeline_;
  info.pValues = &value;
  check(vk.WaitSemaphores(device, &info, UINT64_MAX), "vkWaitSemaphores");
}

void Gpu::settle(uint64_t value) noexcept {
  if (lost_) return;
  VkSemaphoreWaitInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO};
  info.semaphoreCount = 1;
  info.pSemaphores = &timeline_;
  info.pValues = &value;
  if (vk.WaitSemaphores(device, &info, UINT64_MAX) == VK_SUCCESS) return;
  std::lock_guard lock(mutex_);
  if (vk.DeviceWaitIdle(device) != VK_SUCCESS) lost_ = true;
}

Commands::Commands(Gpu& gpu) : gpu_(gpu) {
  const VkCommandPoolCreateInfo info{VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, nullptr, VK_COMMAND_POOL_CREATE_TRANSIENT_BIT,
                                     gpu.physical.family};
  gpu.check(gpu.vk.CreateCommandPool(gpu.device, &info, nullptr, &pool_), "vkCreateCommandPool");
}

Commands::~Commands() {
  gpu_.vk.DestroyCommandPool(gpu_.device, pool_, nullptr);
}

VkCommandBuffer Commands::begin() {
  if (used_ == buffers_.size()) {
    VkCommandBuffer made = nullptr;
    const VkCommandBufferAllocateInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO, nullptr, pool_, VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           1};
    gpu_.check(gpu_.vk.AllocateCommandBuffers(gpu_.device, &info, &made), "vkAllocateCommandBuffers");
    buffers_.push_back(made);
  }
  VkCommandBuffer commands = buffers_[used_++];
  const VkCommandBufferBeginInfo info{VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO, nullptr, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
  gpu_.check(gpu_.vk.BeginCommandBuffer(commands, &info), "vkBeginCommandBuffer");
  full_barrier(gpu_.vk, commands);
  return commands;
}

uint64_t Commands::submit(VkCommandBuffer commands) {
  gpu_.check(gpu_.vk.EndCommandBuffer(commands), "vkEndCommandBuffer");
  return gpu_.submit(commands);
}

void Commands::reset() {
  used_ = 0;
  gpu_.check(gpu_.vk.ResetCommandPool(gpu_.device, pool_, 0), "vkResetCommandPool");
}

void full_barrier(const DeviceApi& vk, VkCommandBuffer commands) {
  const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_MEMORY_WRITE_BIT,
                                VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT | VK_ACCESS_HOST_READ_BIT};
  const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
  vk.CmdPipelineBarrier(commands, all, all | VK_PIPELINE_STAGE_HOST_BIT, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

}  // namespace anygpu::vulkan
