// Structured operators: shapes, dtypes and checks from PyTorch's own meta functions; and the way out for complex numbers.
#pragma once

#include <ATen/TensorMeta.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <torch/headeronly/version.h>

#include <array>

#include "fallback.h"
#include "tensor.h"

// Until 2.12 the functions that a structured kernel overrides end with the names of dimensions.
#if TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR < 13
#define ANYGPU_NAMES , at::DimnameList names
#define ANYGPU_PASS_NAMES , names
#else
#define ANYGPU_NAMES
#define ANYGPU_PASS_NAMES
#endif

namespace anygpu::torch_frontend {

/// Gives `out` what a meta function decided for it, as PyTorch's own structured kernels do.
inline void set_out(const at::Tensor& out, at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options) {
  TORCH_CHECK(options.dtype() == out.dtype(), "Expected out tensor to have dtype ", options.dtype(), ", but got ", out.dtype(), " instead");
  TORCH_CHECK(options.device() == out.device(), "Expected out tensor to have device ", options.device(), ", but got ", out.device(),
              " instead");
  if (out.sizes() == sizes) return;
  resize_out(out, sizes, options.memory_format_opt().value_or(at::MemoryFormat::Contiguous));
  if (!strides.empty()) out.as_strided_(sizes, strides);
}

/// A meta function (at::meta::structured_<name>) run on outputs that exist.
template <class Meta, size_t N>
class OutShapes final : public Meta {
 public:
  explicit OutShapes(const std::array<const at::Tensor*, N>& outs) : outs_(outs) {}
  const at::Tensor& maybe_get_output(int64_t i) override { return *outs_[static_cast<size_t>(i)]; }
  void set_output_strided(int64_t i, at::IntArrayRef sizes, at::IntArrayRef strides, at::TensorOptions options ANYGPU_NAMES) override {
    set_out(maybe_get_output(i), sizes, strides, options);
  }
  void set_output_raw_strided(int64_t i, at::IntArrayRef sizes, at::IntArrayRef strides, at::TensorOptions options ANYGPU_NAMES) override {
    set_out(maybe_get_output(i), sizes, strides, options);
  }

 private:
  std::array<const at::Tensor*, N> outs_;
};

/// Checks the arguments and shapes the outputs. Returns what the meta function precomputes, if it does. Not for metas that
/// derive from TensorIterator.
///   meta_out<at::meta::structured_max_dim>({&max, &indices}, self, dim, keepdim)
template <class Meta, size_t N, class... Args>
decltype(auto) meta_out(const at::Tensor* const (&outs)[N], Args&&... args) {
  OutShapes<Meta, N> meta(std::to_array(outs));
  return meta.meta(std::forward<Args>(args)...);
}

inline bool any_complex(const at::Tensor& t) {
  return t.defined() && t.is_complex();
}
inline bool any_complex(const std::optional<at::Tensor>& t) {
  return t && any_complex(*t);
}
inline bool any_complex(const at::Scalar& s) {
  return s.isComplex();
}
inline bool any_complex(const at::ITensorListRef& list) {
  for (const at::Tensor& t : list)
    if (any_complex(t)) return true;
  return false;
}
inline bool any_complex(const std::optional<at::ScalarType>& t) {
  return t && c10::isComplexType(*t);
}
inline bool any_complex(const c10::List<std::optional<at::Tensor>>&) {
  return false;
}
inline bool any_complex(const at::OptionalIntArrayRef&) {
  return false;
}
template <class T>
bool any_complex(const T&) {
  return false;
}

inline void on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  cpu_fallback(op, c10::DispatchKeySet(c10::DispatchKey::PrivateUse1), stack);
}

/// `F`, but calls with complex numbers go to the CPU (counted as fallbacks), for kernels that know only reals:
///   m.impl("sum.IntList_out", real<at::_ops::sum_IntList_out, sum_out>);
template <class Op, auto F, class Signature = decltype(F)>
struct RealOnly;
template <class Op, auto F, class R, class... Args>
struct RealOnly<Op, F, R (*)(Args...)> {
  static R call(Args... args) {
    if ((any_complex(args) || ...)) return at::native::call_fallback_fn<&on_cpu, Op>::call(std::forward<Args>(args)...);
    return F(std::forward<Args>(args)...);
  }
};
template <class Op, auto F>
inline constexpr auto* real = &RealOnly<Op, F>::call;

}  // namespace anygpu::torch_frontend
