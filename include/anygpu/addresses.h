// Addresses that stand for Buffers, for frameworks whose tensors are pointers. They lie in a range that is reserved but unreadable: pointer
// arithmetic, aliasing checks and hashing work as the framework expects, and whoever dereferences one faults at once.
#pragma once

#include "anygpu/device.h"

namespace anygpu {

/// A Buffer, and the addresses that stand for it. Blocks are pooled with their addresses, which are used again and again.
struct Block {
  BufferRef buffer;  ///< empty while the Block is pooled
  char* address;     ///< 512-byte aligned; null for a Buffer without bytes
  int32_t size_class;
  Block* next;  ///< in the pool
};

/// Where some bytes are.
struct Place {
  Buffer* buffer;
  int64_t offset;  ///< of the first byte in the Buffer
};

/// A new Buffer with addresses. Throws Error(OutOfMemory) as Device::allocate does, and where no address space is left.
ANYGPU_API Block* allocate_block(Device&, int64_t bytes);
/// Gives a Buffer addresses that has none yet. Throws Error(OutOfMemory) where no address space is left.
ANYGPU_API Block* block_of(BufferRef);
/// Lets go of the Buffer and its addresses. Safe on any thread, in a forked child, and while the process exits. It takes a Block, as what a
/// framework's deleter is given.
ANYGPU_API void release_block(void* block) noexcept;

/// The Block that an address belongs to, however far inside; null for a stranger's address or a freed one.
ANYGPU_API Block* find_block(const void* address);
/// The same as a place in the Block's Buffer; without a Buffer for a stranger's address.
ANYGPU_API Place find_place(const void* address);

}  // namespace anygpu
