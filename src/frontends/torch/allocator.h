// Where a tensor's storage leads to a Buffer. A storage of this device has as its context a Block, which holds the Buffer,
// and as its pointer an address in a range that is reserved but unreadable: pointer arithmetic, aliasing checks and hashing
// work as PyTorch expects, and whoever dereferences it faults at once.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Storage.h>

#include "anygpu/device.h"

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// One storage's memory: its Buffer, and the addresses that stand for it. Blocks are pooled with their addresses.
struct Block {
  BufferRef buffer;  ///< empty while the Block is pooled
  char* address;     ///< 512-byte aligned; null for no bytes
  int32_t size_class;
  Block* next;  ///< in the pool
};

/// The deleter of every DataPtr of this device. Safe on any thread, in a forked child, and while the process exits.
void release_block(void* block) noexcept;

/// The allocator registered for PrivateUse1, leaked.
c10::DeviceAllocator& allocator();
/// Memory on a given device whatever the current one is. Throws c10::OutOfMemoryError.
c10::DataPtr allocate_on(c10::DeviceIndex device, size_t bytes);

/// The Block that an address belongs to, however far inside; null for a stranger's address or a freed one.
Block* find_block(const void* address);

/// Where a storage's bytes are.
struct Place {
  Buffer* buffer;
  int64_t offset;  ///< of the storage's first byte in the Buffer
};

/// Slow path of place_of(): for storages whose deleter is not ours. Slices of a storage, and memory that came by DLPack, point into a
/// Block, anywhere. Throws for other devices.
Place unusual_place(const c10::Storage&);

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
