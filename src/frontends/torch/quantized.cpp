#include "quantized.h"

#include <ATen/native/Copy.h>
#include <ATen/native/DispatchStub.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/clone_native.h>
#include <ATen/ops/empty_like_native.h>
#include <ATen/ops/empty_quantized_native.h>
#include <ATen/ops/q_per_channel_axis_native.h>
#include <ATen/ops/q_per_channel_scales_native.h>
#include <ATen/ops/q_per_channel_zero_points_native.h>
#include <ATen/ops/q_scale_native.h>
#include <ATen/ops/q_zero_point_native.h>
#include <ATen/ops/qscheme_native.h>
#include <ATen/ops/view_native.h>
#include <ATen/quantized/QTensorImpl.h>
#include <ATen/quantized/Quantizer.h>

#include "copy.h"
#include "fallback.h"

namespace anygpu::torch_frontend {

namespace {

/// A view of `t`'s storage, with its sizes.
template <class Impl, class... More>
at::Tensor over_storage_of(const at::Tensor& t, c10::DispatchKey key, at::ScalarType type, More... more) {
  at::Tensor r = at::detail::make_tensor<Impl>(c10::Storage(t.storage()), c10::DispatchKeySet(key), c10::scalarTypeToTypeMeta(type),
                                               std::move(more)...);
  r.unsafeGetTensorImpl()->set_storage_offset(t.storage_offset());
  r.unsafeGetTensorImpl()->set_sizes_and_strides(t.sizes(), t.strides());
  return r;
}

}  // namespace

at::Tensor integers_of(const at::Tensor& quantised) {
  const at::ScalarType type = quantised.scalar_type();
  TORCH_CHECK_NOT_IMPLEMENTED(type != at::kQUInt4x2 && type != at::kQUInt2x4, "anygpu has no ", type, " tensors");
  const auto key = is_anygpu(quantised) ? c10::DispatchKey::PrivateUse1 : c10::DispatchKey::CPU;
  return over_storage_of<c10::TensorImpl>(quantised, key, c10::toUnderlying(type));
}

at::Tensor quantised_as(const at::Tensor& integers, const at::Tensor& like) {
  const auto key = is_anygpu(integers) ? c10::DispatchKey::QuantizedPrivateUse1 : c10::DispatchKey::QuantizedCPU;
  return over_storage_of<at::QTensorImpl>(integers, key, like.scalar_type(), at::get_qtensorimpl(like)->quantizer());
}

namespace {

at::Tensor int_repr(const at::Tensor& self) {
  return integers_of(self).clone();
}

/// PyTorch's own would take the CPU's memory.
at::Tensor new_quantised(at::IntArrayRef sizes, at::ScalarType type, std::optional<at::Device> device,
                         std::optional<at::MemoryFormat> format, at::QuantizerPtr quantizer) {
  TORCH_CHECK(c10::isQIntType(type), "ScalarType ", type, " is not supported in new_qtensor.");
  const at::Tensor integers = empty_in(format.value_or(at::MemoryFormat::Contiguous), sizes, c10::toUnderlying(type), index_of(device));
  return over_storage_of<at::QTensorImpl>(integers, c10::DispatchKey::QuantizedPrivateUse1, type, std::move(quantizer));
}
at::Tensor empty_per_tensor(at::IntArrayRef sizes, std::optional<at::ScalarType> type, std::optional<at::Layout>,
                            std::optional<at::Device> device, std::optional<bool>, double scale, int64_t zero_point,
                            std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(type, "Must provide data type for Tensor creation functions.");
  return new_quantised(sizes, *type, device, format, at::make_per_tensor_affine_quantizer(scale, zero_point, *type));
}
at::Tensor empty_per_channel(at::IntArrayRef sizes, const at::Tensor& scales, const at::Tensor& zero_points, int64_t axis,
                             std::optional<at::ScalarType> type, std::optional<at::Layout>, std::optional<at::Device> device,
                             std::optional<bool>, std::optional<at::MemoryFormat> format) {
  TORCH_CHECK(type, "Must provide data type for Tensor creation functions.");
  // Read by the CPU, which computes with them.
  return new_quantised(sizes, *type, device, format, at::make_per_channel_affine_quantizer(scales.cpu(), zero_points.cpu(), axis, *type));
}

// What only stores, views or describes. All else that a quantised tensor meets is the CPU's.
TORCH_LIBRARY_IMPL(aten, QuantizedPrivateUse1, m) {
  m.impl("_empty_affine_quantized", empty_per_tensor);
  m.impl("_empty_per_channel_affine_quantized", empty_per_channel);
  m.impl("empty_quantized", at::native::empty_quantized);
  m.impl("empty_like", at::native::empty_like_quantized);
  m.impl("clone", at::native::quantized_clone);
  m.impl("as_strided", at::native::as_strided_qtensorimpl);
  m.impl("view", at::native::view);
  m.impl("qscheme", at::native::qscheme_quant);
  m.impl("q_scale", at::native::q_scale_quant);
  m.impl("q_zero_point", at::native::q_zero_point_quant);
  // Those of a channel stay on the CPU, which computes with them.
  m.impl("q_per_channel_scales", at::native::q_per_channel_scales);
  m.impl("q_per_channel_zero_points", at::native::q_per_channel_zero_points);
  m.impl("q_per_channel_axis", at::native::q_per_channel_axis);
  m.impl("int_repr", int_repr);
  m.impl(
      "copy_", +[](at::Tensor& self, const at::Tensor& src, bool) -> at::Tensor& {
        copy_tensor(self, src);
        return self;
      });
  m.impl(
      "_copy_from", +[](const at::Tensor& self, const at::Tensor& dst, bool) {
        copy_tensor(dst, self);
        return dst;
      });
}

TORCH_LIBRARY_IMPL(_, QuantizedPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&cpu_fallback>());
}

}  // namespace
}  // namespace anygpu::torch_frontend

namespace at::native {
namespace {
// PyTorch's own copy_ of quantised tensors, which moving one calls, comes here.
REGISTER_PRIVATEUSE1_DISPATCH(
    copy_stub, +[](TensorIterator& iter, bool) { anygpu::torch_frontend::copy_tensor(iter.tensor(0), iter.tensor(1)); })
}  // namespace
}  // namespace at::native
