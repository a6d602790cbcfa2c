// Structured operators: shapes, dtypes and checks from PyTorch's own meta functions; and the way to the CPU for what is not done here.
#pragma once

#include <ATen/TensorMeta.h>
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
void set_out(const at::Tensor& out, at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options);
/// The same for a functional call, whose `out` is undefined until it is made here, and for an in-place one, which cannot be reshaped.
void set_new_or_out(at::Tensor& out, bool in_place, at::IntArrayRef sizes, at::IntArrayRef strides, const at::TensorOptions& options);

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

/// Within a catch block: returns where the CPU shall be asked, since this device does not do the call, and the CPU has a kernel of that
/// name; else throws on, an Error as what PyTorch calls it.
void ask_cpu_or_rethrow(const char* name, const char* overload);

/// A call that is put to the CPU. One function a signature, not one an operator: it is large, and seldom used.
template <class Signature>
struct Asked;
template <class R, class... Args>
struct Asked<R(Args...)> {
  [[gnu::cold, gnu::noinline]] static R call(const char* name, const char* overload, Args... args) {
    static const auto kernel = c10::BoxedKernel::makeFromFunction<&refused_to_cpu>();
    const auto op = c10::Dispatcher::singleton().findSchemaOrThrow(name, overload);
    return c10::impl::BoxedKernelWrapper<R(Args...)>::call(kernel, op, c10::DispatchKeySet(), std::forward<Args>(args)...);
  }
};

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
      } catch (...) {
        ask_cpu_or_rethrow(Op::name, Op::overload_name);
      }
    }
    return Asked<R(Args...)>::call(Op::name, Op::overload_name, std::forward<Args>(args)...);
  }
};
/// For kernels that know only reals: m.impl("sum.IntList_out", real<at::_ops::sum_IntList_out, sum_out>);
template <class Op, auto F>
inline constexpr auto* real = &OrCpu<Op, F, false>::call;
template <class Op, auto F>
inline constexpr auto* or_cpu = &OrCpu<Op, F, true>::call;

/// Registers `f` for Op. One function a signature does it, not one an operator: what PyTorch's templates make of a signature is large.
template <class F>
[[gnu::noinline]] void implement(torch::Library& m, const char* name, const char* overload, F* f) {
  m.impl((*overload ? std::string(name) + "." + overload : name).c_str(), f);
}
template <class Op, class F>
void implement(torch::Library& m, F* f) {
  implement(m, Op::name, Op::overload_name, f);
}

/// Registers F for Op; what F does not do, complex numbers among it, is put to the CPU.
template <class Op, auto F>
void on(torch::Library& m) {
  implement<Op>(m, real<Op, F>);
}

}  // namespace anygpu::torch_frontend
