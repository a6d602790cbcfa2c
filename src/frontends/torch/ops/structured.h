// Structured operators: shapes, dtypes and checks from PyTorch's own meta functions; and the way to the CPU for what is not done here.
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
  at::native::resize_output(out, sizes);
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

/// For kernels that would do more than PyTorch's CPU does: other dtypes are put to the CPU, which says what it thinks of them.
inline void want_float(at::ScalarType t) {
  if (C10_UNLIKELY(!at::isFloatingType(t))) throw Refused(c10::str("anygpu does this of floats only, not of ", t));
}
inline void want_float(const at::TensorBase& t) {
  want_float(t.scalar_type());
}
inline void want_numbers(at::ScalarType t) {
  if (C10_UNLIKELY(t == at::kBool)) throw Refused("anygpu does not do this of truth values");
}
inline void want_numbers(const at::TensorBase& t) {
  want_numbers(t.scalar_type());
}
/// Floats, and the one type of integers that PyTorch's CPU pools and convolves.
inline void want_float_or_long(const at::TensorBase& t) {
  if (t.scalar_type() != at::kLong) want_float(t);
}

/// Whether the CPU has a kernel of this name to ask.
template <class Op>
bool cpu_has() {
  return c10::Dispatcher::singleton().findSchemaOrThrow(Op::name, Op::overload_name).hasComputedKernelForDispatchKey(c10::DispatchKey::CPU);
}

/// `F`, and the CPU where F throws Refused: it refuses in PyTorch's words, or does it as a fallback. `complex`: whether F knows complex
/// numbers; if not, they go to the CPU at once.
template <class Op, auto F, bool complex, class Signature = decltype(F)>
struct OrCpu;
template <class Op, auto F, bool complex, class R, class... Args>
struct OrCpu<Op, F, complex, R (*)(Args...)> {
  static R call(Args... args) {
    if (complex || !(any_complex(args) || ...)) {
      try {
        return F(args...);
      } catch (const Refused&) {
        if (!cpu_has<Op>()) throw;
      } catch (const Error& e) {  // a View of too many dimensions, for one
        if (e.kind() != ErrorKind::NotImplemented || !cpu_has<Op>()) rethrow_as_torch(e);
      }
    }
    return at::native::call_fallback_fn<&refused_to_cpu, Op>::call(std::forward<Args>(args)...);
  }
};
/// For kernels that know only reals: m.impl("sum.IntList_out", real<at::_ops::sum_IntList_out, sum_out>);
template <class Op, auto F>
inline constexpr auto* real = &OrCpu<Op, F, false>::call;
template <class Op, auto F>
inline constexpr auto* or_cpu = &OrCpu<Op, F, true>::call;

/// The registered name of an operator: "add.out".
template <class Op>
std::string name_of_op() {
  std::string name = Op::name, overload = Op::overload_name;
  return overload.empty() ? name : name + "." + overload;
}

/// Registers F for Op; what F does not do, complex numbers among it, is put to the CPU.
template <class Op, auto F>
void on(torch::Library& m) {
  m.impl(name_of_op<Op>().c_str(), real<Op, F>);
}

}  // namespace anygpu::torch_frontend
