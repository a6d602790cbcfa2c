// The operators that make, view and copy tensors: those that no other operator can do without.
#include <ATen/Context.h>
#include <ATen/native/Resize.h>
#include <ATen/native/ResizeCommon.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/is_set_to_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>

#include "copy.h"
#include "fallback.h"

namespace anygpu::torch_frontend {
namespace {

// ---- new tensors ----

void check_factory(std::optional<at::Layout> layout, std::optional<bool> pin_memory) {
  TORCH_CHECK_NOT_IMPLEMENTED(!layout || *layout == at::kStrided, "anygpu has no ", *layout, " tensors");
  TORCH_CHECK(!pin_memory.value_or(false), "Only dense CPU tensors can be pinned");
}

/// torch.use_deterministic_algorithms(True) asks that uninitialised memory is the same each time.
bool fills_new_memory() {
  return C10_UNLIKELY(at::globalContext().deterministicAlgorithms() && at::globalContext().deterministicFillUninitializedMemory());
}
at::Tensor filled_if_deterministic(at::Tensor t) {
  if (fills_new_memory()) at::native::fill_empty_deterministic_(t);
  return t;
}

at::ScalarType type_or_default(std::optional<at::ScalarType> type) {
  return type ? *type : at::get_default_dtype_as_scalartype();
}

at::Tensor empty_memory_format(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout> layout,
                               std::optional<at::Device> device, std::optional<bool> pin_memory, std::optional<at::MemoryFormat> format) {
  check_factory(layout, pin_memory);
  at::Tensor t = empty(sizes, type_or_default(type), index_of(device));
  if (format && *format != at::MemoryFormat::Contiguous) t.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  return filled_if_deterministic(std::move(t));
}

at::Tensor empty_strided_(at::IntArrayRef sizes, at::IntArrayRef strides, std::optional<at::ScalarType> type,
                          std::optional<at::Layout> layout, std::optional<at::Device> device, std::optional<bool> pin_memory) {
  check_factory(layout, pin_memory);
  return filled_if_deterministic(empty_strided(sizes, strides, type_or_default(type), index_of(device)));
}

// ---- copies ----

at::Tensor& copy_(at::Tensor& self, const at::Tensor& src, bool) {
  if (!self.is_same(src)) copy_tensor(self, src);
  return self;
}

at::Tensor _copy_from(const at::Tensor& self, const at::Tensor& dst, bool) {
  copy_tensor(dst, self);
  return dst;
}

at::Tensor _copy_from_and_resize(const at::Tensor& self, const at::Tensor& dst) {
  if (dst.sizes() != self.sizes()) dst.resize_(self.sizes());
  copy_tensor(dst, self);
  return dst;
}

at::Scalar _local_scalar_dense(const at::Tensor& self) {
  TORCH_CHECK(self.numel() == 1, "a Tensor with ", self.numel(), " elements cannot be converted to Scalar");
  return to_cpu(self).item();
}

// ---- sizes and storages ----

const at::Tensor& resize_(const at::Tensor& self, at::IntArrayRef sizes, std::optional<at::MemoryFormat> format) {
  const size_t before = self.unsafeGetTensorImpl()->unsafe_storage().nbytes();
  resize_tensor(self.unsafeGetTensorImpl(), sizes, std::nullopt);
  if (fills_new_memory()) at::native::fill_resize_deterministic_(self, static_cast<int64_t>(before));
  if (format) {
    TORCH_CHECK(*format != at::MemoryFormat::Preserve, "Unsupported memory format", *format);
    self.unsafeGetTensorImpl()->empty_tensor_restride(*format);
  }
  return self;
}

const at::Tensor& _resize_output_(const at::Tensor& self, at::IntArrayRef sizes, at::Device device) {
  TORCH_CHECK(self.device() == device, "out Tensor doesn't have the correct device set");
  at::native::resize_output(self, sizes);
  return self;
}

at::Tensor& set_source_storage_offset(at::Tensor& self, at::Storage source, int64_t offset, at::IntArrayRef sizes,
                                      at::IntArrayRef strides) {
  at::native::checkSetStorage(self, source, offset, sizes, strides);
  self.unsafeGetTensorImpl()->set_storage_offset(offset);
  resize_tensor(self.unsafeGetTensorImpl(), sizes, strides.data() ? at::OptionalIntArrayRef(strides) : std::nullopt);
  return self;
}

at::Tensor& set_source_storage(at::Tensor& self, at::Storage source) {
  const int64_t n = static_cast<int64_t>(source.nbytes() / self.itemsize());
  return set_source_storage_offset(self, std::move(source), 0, {n}, {});
}

at::Tensor& set_source_tensor(at::Tensor& self, const at::Tensor& source) {
  if (self.is_same(source)) return self;
  return set_source_storage_offset(self, source.storage(), source.storage_offset(), source.sizes(), source.strides());
}

at::Tensor& set_(at::Tensor& self) {
  c10::Storage none(c10::Storage::use_byte_size_t(), 0, allocate_on(self.get_device(), 0), &allocator(), /*resizable=*/true);
  return set_source_storage_offset(self, std::move(none), 0, {0}, {});
}

// ---- others ----

/// PyTorch's copy-on-write storages want pointer and context to be one, which ours are not: the copy is made now.
at::Tensor _lazy_clone(const at::Tensor& self) {
  return self.clone();
}

void record_stream(at::Tensor& self, at::Stream stream) {
  // All streams are one queue in order, so memory is never reused before its last use.
  TORCH_CHECK(stream.device_type() == c10::DeviceType::PrivateUse1, "record_stream: a tensor on ", self.device(),
              " cannot be used on a stream of ", stream.device());
}

/// Lets Module.to() keep its Parameters: tensors of the CPU and of this device have one implementation.
bool has_compatible_shallow_copy_type(const at::Tensor& self, const at::Tensor& from) {
  const auto dense = [](const at::Tensor& t) { return t.layout() == at::kStrided && (t.device().is_cpu() || is_anygpu(t)); };
  return dense(self) && dense(from);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", empty_memory_format);
  m.impl("empty_strided", empty_strided_);
  m.impl("copy_", copy_);
  m.impl("_copy_from", _copy_from);
  m.impl("_copy_from_and_resize", _copy_from_and_resize);
  m.impl("_local_scalar_dense", _local_scalar_dense);
  m.impl("resize_", resize_);
  m.impl("_resize_output_", _resize_output_);
  m.impl("set_.source_Storage_storage_offset", set_source_storage_offset);
  m.impl("set_.source_Storage", set_source_storage);
  m.impl("set_.source_Tensor", set_source_tensor);
  m.impl("set_", set_);
  m.impl("is_set_to", at::native::is_set_to);
  m.impl("view", at::native::view);
  m.impl("as_strided", at::native::as_strided_tensorimpl);
  m.impl("_reshape_alias", at::native::_reshape_alias);
  m.impl("unfold", at::native::unfold);
  m.impl("view_as_real", at::native::view_as_real);
  m.impl("view_as_complex", at::native::view_as_complex);
  m.impl("_lazy_clone", _lazy_clone);
  m.impl("record_stream", record_stream);
  m.impl("_has_compatible_shallow_copy_type", has_compatible_shallow_copy_type);
}

TORCH_LIBRARY_IMPL(aten, QuantizedPrivateUse1, m) {
  m.impl("set_.source_Storage_storage_offset", set_source_storage_offset);
  m.impl("set_.source_Storage", set_source_storage);
  m.impl("set_.source_Tensor", set_source_tensor);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&cpu_fallback>());
}

}  // namespace
}  // namespace anygpu::torch_frontend
