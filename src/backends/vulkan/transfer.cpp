#include "transfer.h"

#include <algorithm>
#include <cstring>

namespace anygpu::vulkan {
namespace {
constexpr int64_t kHalf = int64_t{4} << 20;
}

Transfer::Transfer(Gpu& gpu, Heap& host) : gpu_(gpu), host_(host) {}

Transfer::~Transfer() {
  for (Half& h : halves_) host_.release(h.staging);
}

void Transfer::prepare() {
  for (Half& h : halves_) {
    if (!h.staging.handle) h.staging = host_.allocate(kHalf);
    if (!h.commands) h.commands = std::make_unique<Commands>(gpu_);
  }
}

void Transfer::copy(Half& h, VkBuffer src, int64_t from, VkBuffer dst, int64_t to, int64_t bytes) {
  h.commands->reset();
  VkCommandBuffer commands = h.commands->begin();
  const VkBufferCopy region{static_cast<VkDeviceSize>(from), static_cast<VkDeviceSize>(to), static_cast<VkDeviceSize>(bytes)};
  gpu_.vk.CmdCopyBuffer(commands, src, dst, 1, &region);
  full_barrier(gpu_.vk, commands);
  h.done = h.commands->submit(commands);
}

void Transfer::write(Memory dst, int64_t at, const void* src, int64_t bytes) {
  if (bytes == 0) return;
  gpu_.check_alive();
  if (char* to = host_pointer(dst)) {
    std::memcpy(to + at, src, static_cast<size_t>(bytes));
    return;
  }
  std::lock_guard lock(mutex_);
  prepare();
  Unfinished submitted(gpu_);
  const auto& block = *static_cast<const Block*>(dst.handle);
  const auto* from = static_cast<const char*>(src);
  for (int64_t i = 0, turn = 0; i < bytes; i += kHalf, ++turn) {
    Half& h = halves_[turn % 2];
    if (turn > 1) gpu_.wait(h.done);
    const int64_t n = std::min(kHalf, bytes - i);
    std::memcpy(host_pointer(h.staging), from + i, static_cast<size_t>(n));
    copy(h, static_cast<const Block*>(h.staging.handle)->buffer, h.staging.offset, block.buffer, dst.offset + at + i, n);
    submitted.until(h.done);
  }
  submitted.wait();
}

void Transfer::read(Memory src, int64_t at, void* dst, int64_t bytes) {
  if (bytes == 0) return;
  gpu_.check_alive();
  if (const char* from = host_pointer(src)) {
    std::memcpy(dst, from + at, static_cast<size_t>(bytes));
    return;
  }
  std::lock_guard lock(mutex_);
  prepare();
  Unfinished submitted(gpu_);
  const auto& block = *static_cast<const Block*>(src.handle);
  const int64_t parts = (bytes + kHalf - 1) / kHalf;
  for (int64_t part = 0; part <= parts; ++part) {
    if (part < parts) {
      Half& h = halves_[part % 2];
      h.at = part * kHalf;
      h.bytes = std::min(kHalf, bytes - h.at);
      copy(h, block.buffer, src.offset + at + h.at, static_cast<const Block*>(h.staging.handle)->buffer, h.staging.offset, h.bytes);
      submitted.until(h.done);
    }
    if (part == 0) continue;
    const Half& h = halves_[(part - 1) % 2];
    gpu_.wait(h.done);
    std::memcpy(static_cast<char*>(dst) + h.at, host_pointer(h.staging), static_cast<size_t>(h.bytes));
  }
}

}  // namespace anygpu::vulkan
