// Moving tensors: between host and device, between devices, between dtypes and layouts.
#pragma once

#include "tensor.h"

namespace anygpu::torch_frontend {

/// Throws what PyTorch does where `src` does not broadcast to the sizes of `dst`.
void check_broadcasts(const at::TensorBase& dst, const at::TensorBase& src);

/// dst.copy_(src): broadcasts, converts, resolves conjugate and negative bits. At least one of them is on this device.
/// Host sources may be changed as soon as this returns; host destinations are complete when it returns.
void copy_tensor(const at::Tensor& dst, const at::Tensor& src);

/// A CPU tensor of the same sizes, dtype and bits; the same strides where `t` is dense. Waits.
at::Tensor to_cpu(const at::Tensor& t);
/// A tensor on the device with the CPU tensor's sizes, dtype and bits; the same strides where it is dense.
at::Tensor to_device(const at::Tensor& cpu, c10::DeviceIndex);

/// Records a copy of bytes within one device. Ranges do not overlap.
void copy_bytes(Buffer& dst, int64_t dst_at, Buffer& src, int64_t src_at, int64_t bytes);

/// Gives a storage a new size; what fits of its contents stays.
void resize_storage(c10::StorageImpl*, size_t bytes);
/// As Tensor.resize_: sets sizes (and strides; row-major if null), growing the storage if need be. Contents stay.
void resize_tensor(c10::TensorImpl*, at::IntArrayRef sizes, at::OptionalIntArrayRef strides);

/// Bytes from the start of the storage to the tensor's first element, and past its last.
struct ByteRange {
  int64_t begin, end;
};
ByteRange bytes_of(const at::TensorBase&);

}  // namespace anygpu::torch_frontend
