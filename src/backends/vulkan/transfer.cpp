#include "transfer.h"

#include <algorithm>
#include <cstring>

namespace anygpu::vulkan {
namespace {
constexpr int64_t kPart = int64_t{4} << 20;
constexpr size_t kParts = 16;  // at most: a write waits no sooner than that much is under way
}  // namespace

Transfer::Transfer(Gpu& gpu, Heap& host) : gpu_(gpu), host_(host) {}

Transfer::~Transfer() {
  settle();
  for (const auto& p : parts_) host_.release(p->staging);
}

void Transfer::settle() {
  std::lock_guard lock(mutex_);
  if (!gpu_.reached(last_)) gpu_.settle(last_);
}

Transfer::Part& Transfer::next() {
  const bool free = !parts_.empty() && !parts_[next_]->unread && gpu_.reached(parts_[next_]->done);
  if (!free && parts_.size() < kParts) {
    auto made = std::make_unique<Part>();
    made->commands = std::make_unique<Commands>(gpu_);
    made->staging = host_.allocate(kPart);
    parts_.insert(parts_.begin() + static_cast<int64_t>(next_), std::move(made));
  } else if (!free) {
    if (parts_[next_]->unread) next_ = (next_ + 1) % kParts;  // one at most is
    gpu_.wait(parts_[next_]->done);
  }
  Part& p = *parts_[next_];
  next_ = (next_ + 1) % parts_.size();
  return p;
}

void Transfer::copy(Part& p, VkBuffer src, int64_t from, VkBuffer dst, int64_t to, int64_t bytes) {
  p.commands->reset();
  VkCommandBuffer commands = p.commands->begin();
  const VkBufferCopy region{static_cast<VkDeviceSize>(from), static_cast<VkDeviceSize>(to), static_cast<VkDeviceSize>(bytes)};
  gpu_.vk.CmdCopyBuffer(commands, src, dst, 1, &region);
  full_barrier(gpu_.vk, commands);
  last_ = p.done = p.commands->submit(commands);
}

void Transfer::write(Memory dst, int64_t at, const void* src, int64_t bytes) {
  if (bytes == 0) return;
  gpu_.check_alive();
  if (char* to = host_pointer(dst)) {
    std::memcpy(to + at, src, static_cast<size_t>(bytes));
    return;
  }
  std::lock_guard lock(mutex_);
  Unfinished submitted(gpu_);
  const auto& block = *static_cast<const Block*>(dst.handle);
  const auto* from = static_cast<const char*>(src);
  for (int64_t i = 0; i < bytes; i += kPart) {
    Part& p = next();
    const int64_t n = std::min(kPart, bytes - i);
    std::memcpy(host_pointer(p.staging), from + i, static_cast<size_t>(n));
    copy(p, static_cast<const Block*>(p.staging.handle)->buffer, p.staging.offset, block.buffer, dst.offset + at + i, n);
    submitted.until(p.done);
  }
  submitted.keep();
}

void Transfer::read(Memory src, int64_t at, void* dst, int64_t bytes) {
  if (bytes == 0) return;
  gpu_.check_alive();
  if (const char* from = host_pointer(src)) {
    std::memcpy(dst, from + at, static_cast<size_t>(bytes));
    return;
  }
  std::lock_guard lock(mutex_);
  for (const auto& p : parts_) p->unread = false;  // of a reader who met an exception
  Unfinished submitted(gpu_);
  const auto& block = *static_cast<const Block*>(src.handle);
  Part* before = nullptr;
  for (int64_t i = 0; i < bytes || before; i += kPart) {
    Part* p = nullptr;
    if (i < bytes) {
      p = &next();
      p->at = i;
      p->bytes = std::min(kPart, bytes - i);
      p->unread = true;
      copy(*p, block.buffer, src.offset + at + i, static_cast<const Block*>(p->staging.handle)->buffer, p->staging.offset, p->bytes);
      submitted.until(p->done);
    }
    if (before) {
      gpu_.wait(before->done);
      std::memcpy(static_cast<char*>(dst) + before->at, host_pointer(before->staging), static_cast<size_t>(before->bytes));
      before->unread = false;
    }
    before = p;
  }
}

}  // namespace anygpu::vulkan
