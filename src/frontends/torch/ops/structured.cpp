#include "structured.h"

#include "pointwise.h"

namespace anygpu::torch_frontend {

void set_out(const at::Tensor& out, at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options) {
  TORCH_CHECK(options.dtype() == out.dtype(), "Expected out tensor to have dtype ", options.dtype(), ", but got ", out.dtype(), " instead");
  TORCH_CHECK(options.device() == out.device(), "Expected out tensor to have device ", options.device(), ", but got ", out.device(),
              " instead");
  if (out.sizes() == sizes) return;
  resize_out(out, sizes, options.memory_format_opt().value_or(at::MemoryFormat::Contiguous));
  if (!strides.empty()) out.as_strided_(sizes, strides);
}

void set_new_or_out(at::Tensor& out, bool in_place, at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options) {
  if (!out.defined()) {
    const at::ScalarType t = c10::typeMetaToScalarType(options.dtype());
    const c10::DeviceIndex d = index_of(options.device());
    out = strides.empty() ? empty_in(options.memory_format_opt().value_or(at::MemoryFormat::Contiguous), sizes, t, d)
                          : empty_strided(sizes, strides, t, d);
    return;
  }
  if (!in_place) return set_out(out, sizes, strides, options);
  TORCH_CHECK(options.dtype() == out.dtype(), "Bad in-place call: input tensor dtype ", out.dtype(), " and output tensor dtype ",
              options.dtype(), " should match");
  TORCH_CHECK(options.device() == out.device(), "Bad in-place call: input tensor device ", out.device(), " and output tensor device ",
              options.device(), " should match");
  TORCH_CHECK(sizes == out.sizes(), "Bad in-place call: input tensor size ", out.sizes(), " and output tensor size ", sizes,
              " should match");
}

void ask_cpu_or_rethrow(const char* name, const char* overload) {
  // Some operators exist on PrivateUse1 alone; nobody can be asked then.
  const auto cpu_has = [&] {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, overload).hasComputedKernelForDispatchKey(c10::DispatchKey::CPU);
  };
  try {
    throw;
  } catch (const Refused&) {
    if (!cpu_has()) throw;
  } catch (const Error& e) {  // a View of too many dimensions, for one
    if (e.kind() != ErrorKind::NotImplemented || !cpu_has()) rethrow_as_torch(e);
  }
}

}  // namespace anygpu::torch_frontend
