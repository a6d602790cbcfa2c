// Where a tensor's storage leads to a Buffer. A storage of this device has as its context a Block, which holds the Buffer, and as its
// pointer the Block's address.
#pragma once

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Storage.h>

#include "anygpu/addresses.h"

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// The allocator registered for PrivateUse1, leaked.
c10::DeviceAllocator& allocator();
/// Memory on a given device whatever the current one is. Throws c10::OutOfMemoryError.
c10::DataPtr allocate_on(c10::DeviceIndex device, size_t bytes);

/// Slow path of place_of(): for storages whose deleter is not ours. Slices of a storage, and memory that came by DLPack, point into a
/// Block, anywhere. Throws for other devices.
Place unusual_place(const c10::Storage&);

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
