#include "arrays.h"

#include <ATen/native/Resize.h>

namespace anygpu::torch_frontend {

common::Array array_of(const at::TensorBase& t) {
  return t.defined() ? common::Array(own_view_of(t)) : common::Array();
}
common::Array array_of(const std::optional<at::Tensor>& t) {
  return t ? array_of(*t) : common::Array();
}

at::Tensor tensor_of(const common::Array& a) {
  if (!a) return {};
  const c10::Device device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(a.device().index()));
  Block* block = translated([&] { return block_of(a.buffer); });
  auto storage = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), c10::SymInt(a.buffer->bytes),
                                                       c10::DataPtr(block->address, block, &release_block, device), &allocator(),
                                                       /*resizable=*/true);
  at::Tensor t = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                                          c10::scalarTypeToTypeMeta(scalar_type_of(a.dtype)));
  const at::IntArrayRef sizes(a.sizes.data(), static_cast<size_t>(a.rank())), strides(a.strides.data(), static_cast<size_t>(a.rank()));
  t.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides, a.offset);
  return t;
}

void deliver(const common::Array& a, const at::Tensor& out) {
  at::native::resize_output(out, {a.sizes.data(), static_cast<size_t>(a.rank())});
  out.copy_(tensor_of(a));
}

}  // namespace anygpu::torch_frontend
