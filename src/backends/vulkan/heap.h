// Heap: device memory in blocks, and ranges of them. A Memory's handle is its Block.
#pragma once

#include <map>
#include <memory>
#include <mutex>

#include "anygpu/buffer.h"
#include "gpu.h"

namespace anygpu::vulkan {

/// One allocation of the driver's, with one buffer over all of it.
struct Block {
  VkDeviceMemory memory = nullptr;
  VkBuffer buffer = nullptr;
  char* mapped = nullptr;       ///< where the host sees it, or null
  VkDeviceAddress address = 0;  ///< where shaders find it, where the device has addresses
  uint64_t serial = 0;          ///< no other's, ever: a Block's address and a buffer's handle come again
  int64_t bytes = 0;
  std::map<int64_t, int64_t> free;  ///< offset to length, neighbours joined
};

/// The first byte of m for the host, or null where it is not mapped.
inline char* host_pointer(const Memory& m) {
  const auto* block = static_cast<const Block*>(m.handle);
  return block->mapped ? block->mapped + m.offset : nullptr;
}

class Heap {
 public:
  enum class Kind {
    Device,  ///< where kernels are fastest; mapped where the device has such memory (integrated, software)
    Host,    ///< always mapped, coherent and, where there is such, cached
  };
  Heap(Gpu&, Kind);
  ~Heap();
  Heap(const Heap&) = delete;

  /// A range at a multiple of 256 bytes. Throws Error(OutOfMemory). From any thread.
  Memory allocate(int64_t bytes);
  void release(Memory);

  int64_t capacity() const { return capacity_; }  ///< bytes of the driver's heap
  bool mapped() const { return mapped_; }

 private:
  Block* new_block(int64_t bytes);
  void destroy(Block*);

  Gpu& gpu_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Block>> blocks_;
  uint32_t type_ = 0;
  bool mapped_ = false;
  int64_t capacity_ = 0, taken_ = 0;
};

}  // namespace anygpu::vulkan
