// Host bytes to the device and back: straight into mapped memory, else through a pair of staging buffers, one filled while the other is
// copied.
#pragma once

#include "heap.h"

namespace anygpu::vulkan {

class Transfer {
 public:
  Transfer(Gpu&, Heap& host);
  ~Transfer();
  Transfer(const Transfer&) = delete;

  /// Return when done. From any thread; the caller has seen to it that no kernel touches these bytes.
  void write(Memory dst, int64_t at, const void* src, int64_t bytes);
  void read(Memory src, int64_t at, void* dst, int64_t bytes);

 private:
  struct Half {
    Memory staging;
    std::unique_ptr<Commands> commands;
    uint64_t done = 0;  // on the timeline
    int64_t at = 0, bytes = 0;
  };
  void prepare();
  void copy(Half&, VkBuffer src, int64_t from, VkBuffer dst, int64_t to, int64_t bytes);

  Gpu& gpu_;
  Heap& host_;
  std::mutex mutex_;
  Half halves_[2];
};

}  // namespace anygpu::vulkan
