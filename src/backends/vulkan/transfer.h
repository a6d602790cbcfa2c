// Host bytes to the device and back: straight into mapped memory, else through parts of staging memory, one filled while others are copied.
#pragma once

#include "heap.h"

namespace anygpu::vulkan {

class Transfer {
 public:
  Transfer(Gpu&, Heap& host);
  ~Transfer();
  Transfer(const Transfer&) = delete;

  // From any thread; the caller has seen to it that no kernel touches these bytes.
  /// Returns when src may be used again: all that is submitted or copied from now on sees the bytes.
  void write(Memory dst, int64_t at, const void* src, int64_t bytes);
  /// Returns when done.
  void read(Memory src, int64_t at, void* dst, int64_t bytes);
  /// Blocks until all copies are done, so that memory may be given back.
  void settle();

 private:
  struct Part {
    Memory staging;
    std::unique_ptr<Commands> commands;
    uint64_t done = 0;  // on the timeline
    int64_t at = 0, bytes = 0;
    bool unread = false;  // holds what a reader wants
  };
  /// One whose copy is done, and that nobody wants to read.
  Part& next();
  void copy(Part&, VkBuffer src, int64_t from, VkBuffer dst, int64_t to, int64_t bytes);

  Gpu& gpu_;
  Heap& host_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Part>> parts_;  // taken in turn from next_ on: the oldest copy is there
  size_t next_ = 0;
  uint64_t last_ = 0;  // of all copies
};

}  // namespace anygpu::vulkan
