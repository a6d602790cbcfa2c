// Gpu: one VkDevice with its queue, and the timeline on which what is submitted finishes.
#pragma once

#include <atomic>
#include <mutex>
#include <utility>

#include "instance.h"

namespace anygpu::vulkan {

class Gpu {
 public:
  /// Throws Error(Value) where the driver makes no device.
  explicit Gpu(const PhysicalDevice&);
  ~Gpu();
  Gpu(const Gpu&) = delete;

  const PhysicalDevice& physical;
  const Target& can;
  DeviceApi vk;
  VkDevice device = nullptr;

  /// VK_SUCCESS, or throws: Error(OutOfMemory) for want of memory, else Error(Value). A lost device stays lost.
  void check(VkResult, const char* what);
  /// Throws where the device has been lost.
  void check_alive() const {
    if (lost_.load(std::memory_order_relaxed)) throw_lost();
  }

  /// Queues a command buffer. Returns the value that the timeline has when it is done. From any thread.
  uint64_t submit(VkCommandBuffer);
  /// The value of the last submission.
  uint64_t submitted();
  /// Whether the timeline has this value, or the device is lost. Never throws.
  bool reached(uint64_t value) const;
  /// Blocks until the timeline has this value.
  void wait(uint64_t value);
  /// The same, whatever happens. Where it cannot be waited for, the device is lost.
  void settle(uint64_t value) noexcept;

 private:
  [[noreturn]] void throw_lost() const;

  std::atomic<bool> lost_{false};
  std::mutex mutex_;  // of the queue
  VkQueue queue_ = nullptr;
  VkSemaphore timeline_ = nullptr;
  uint64_t last_ = 0;
};

/// What one caller has submitted. It is done before this goes, so that an exception gives nothing back which the device still uses.
class Unfinished {
 public:
  explicit Unfinished(Gpu& gpu) : gpu_(gpu) {}
  ~Unfinished() {
    if (last_) gpu_.settle(last_);
  }
  Unfinished(const Unfinished&) = delete;

  void until(uint64_t value) { last_ = value; }
  void wait() {
    gpu_.wait(last_);
    last_ = 0;
  }
  /// Somebody else will wait for it.
  uint64_t keep() { return std::exchange(last_, 0); }

 private:
  Gpu& gpu_;
  uint64_t last_ = 0;
};

/// Command buffers of one thread at a time: begun one after another, used again after reset().
class Commands {
 public:
  explicit Commands(Gpu&);
  ~Commands();
  Commands(const Commands&) = delete;

  /// A command buffer that is being recorded. What it does comes after all that was submitted before it.
  VkCommandBuffer begin();
  /// Ends it, and submits it. Returns its value on the timeline.
  uint64_t submit(VkCommandBuffer);
  /// All that was submitted must be done.
  void reset();

 private:
  Gpu& gpu_;
  VkCommandPool pool_ = nullptr;
  std::vector<VkCommandBuffer> buffers_;
  size_t used_ = 0;
};

/// Everything written so far, by shaders, copies or the host, is seen by what follows, the host included.
void full_barrier(const DeviceApi&, VkCommandBuffer);

}  // namespace anygpu::vulkan
