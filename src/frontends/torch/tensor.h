// Tensors as the runtime sees them, and how an operator is recorded. Every file of ops/ builds on this header alone.
//
// Adding an operator, in a file of ops/:
//
//   #include "tensor.h"
//   namespace anygpu::torch_frontend { namespace {
//
//   at::Tensor& add_out(const at::Tensor& a, const at::Tensor& b, const at::Scalar& alpha, at::Tensor& out) {
//     auto iter = at::TensorIterator::binary_op(out, a, b);   // or our own shape rule; promotes, broadcasts, resizes `out`
//     record(pointwise(ANYGPU_OP("add"), iter.common_dtype()).out(iter.tensor(0)).in(iter.tensor(1)).in(iter.tensor(2)));
//     return out;
//   }
//   TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) { m.impl("add.out", add_out); }
//   }}
//
// - Of a structured operator register `.out`: the functional and in-place variants follow (PyTorch makes the output by the meta
//   function, then calls `.out`). Also register the functional overload, by hand, where host time matters.
// - What a call of an operator is (operands, attrs, scalars), include/anygpu/calls says. Pointwise operators of the catalogue broadcast by
//   themselves, others want expand_to().
// - An operator that is not registered runs on the CPU (fallback.h).
// - TORCH_CHECK for what PyTorch itself would refuse, with PyTorch's words. Dtypes that the catalogue's operator is not defined on need
//   no check: registered by on<> or real<> (structured.h), such a call is put to the CPU, which refuses it or does it.
// - Conjugate and negative bits never arrive here: PyTorch's fallbacks resolve them before PrivateUse1, except in copies.
#pragma once

#include <ATen/ATen.h>
#include <ATen/EmptyTensor.h>
#include <torch/library.h>

#include "allocator.h"
#include "anygpu/calls/call.h"
#include "anygpu/ops.h"

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

// ---- errors ----

/// Thrown where this device does not do a call that may be right in itself (its dtypes, its rank). What is registered by real<> or
/// or_cpu<> (structured.h) then asks the CPU, which refuses in PyTorch's words, or does it, warned of and counted.
class Refused : public c10::NotImplementedError {
 public:
  explicit Refused(const std::string& what) : c10::NotImplementedError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, what) {}
};

/// Throws the c10 class that becomes the right Python exception: IndexError, NotImplementedError, TypeError, OutOfMemoryError.
[[noreturn]] void rethrow_as_torch(const Error&);

/// Runs f(), translating anygpu::Error.
template <class F>
decltype(auto) translated(F&& f) {
  try {
    return f();
  } catch (const Error& e) {
    rethrow_as_torch(e);
  }
}

// ---- devices ----

inline constexpr auto kType = c10::DeviceType::PrivateUse1;
/// More are not counted.
inline constexpr int kMaxDevices = 64;

/// How many devices there are; 0 where the list cannot be read. Never throws.
c10::DeviceIndex device_count() noexcept;
c10::DeviceIndex current_device() noexcept;
/// Of the calling thread; unchecked.
void set_current_device(c10::DeviceIndex) noexcept;
/// The Device of an index; -1 means the current one. Throws in a forked child that inherited it.
Device& device_at(c10::DeviceIndex);
/// The index that a torch.device means: its own, or the current one.
c10::DeviceIndex index_of(std::optional<c10::Device>);
/// Whether this process is a forked child of one that had used the device: nothing may touch it here.
bool in_bad_fork() noexcept;
/// Whether any device has been used in this process.
bool initialized() noexcept;
/// Flushes every device that has been used.
void flush_all();

inline bool is_anygpu(const at::TensorBase& t) {
  return t.device().type() == c10::DeviceType::PrivateUse1;
}

/// Whether an optional argument is there: PyTorch passes absent ones as nullopt or as an undefined tensor.
inline bool given(const std::optional<at::Tensor>& t) {
  return t && t->defined();
}

// ---- dtypes ----

/// Throws Refused for types that operators cannot compute in (quantised, f8, u16 ...; they can be stored and copied).
DType dtype_of(at::ScalarType);
std::optional<DType> find_dtype(at::ScalarType) noexcept;
at::ScalarType scalar_type_of(DType);
/// The integers as wide as this type.
at::ScalarType integers_as_wide(at::ScalarType);
/// For what moves elements without looking at them: a tensor of a type that operators cannot compute in as integers of its width; any
/// other as it is.
at::Tensor bits_of(const at::Tensor&);
/// A dtype as an attr.
inline int64_t attr(at::ScalarType t) {
  return static_cast<int64_t>(dtype_of(t));
}
inline int64_t attr(DType t) {
  return static_cast<int64_t>(t);
}

// ---- views ----

/// Where the bytes of a tensor's storage are. Throws where the tensor is not on this device.
inline Place place_of(const at::TensorBase& t) {
  const c10::Storage& s = t.unsafeGetTensorImpl()->unsafe_storage();
  if (C10_LIKELY(s.unsafeGetStorageImpl() != nullptr)) {
    const c10::DataPtr& p = s.unsafeGetStorageImpl()->data_ptr();
    if (C10_LIKELY(p.get_deleter() == &release_block)) return {static_cast<Block*>(p.get_context())->buffer.get(), 0};
  }
  return unusual_place(s);
}
/// The Buffer behind a tensor.
inline Buffer* buffer_of(const at::TensorBase& t) {
  return place_of(t).buffer;
}
/// As elements of `t`. Throws where elements do not begin at multiples of their size in the Buffer: no operator can reach those.
int64_t elements_before(const Place&, const at::TensorBase& t);
/// Elements from the start of the Buffer to the tensor's first.
inline int64_t offset_of(const at::TensorBase& t, const Place& p) {
  const int64_t offset = t.unsafeGetTensorImpl()->storage_offset();
  return C10_LIKELY(p.offset == 0) ? offset : offset + elements_before(p, t);
}
/// (An object, not a function, for the reason given at `empty`.)
inline constexpr struct DeviceOf {
  Device& operator()(const at::TensorBase& t) const { return buffer_of(t)->device; }
} device_of;

/// The tensor as a View that owns nothing: valid as long as the tensor lives and its sizes do not change.
inline ViewArg view_of(const at::TensorBase& t) {
  const c10::TensorImpl* impl = t.unsafeGetTensorImpl();
  const Place p = place_of(t);
  return ViewArg(p.buffer, dtype_of(t.scalar_type()), offset_of(t, p), static_cast<int>(impl->dim()), impl->sizes().data(),
                 impl->strides().data());
}
/// A View with sizes, strides of its own (and the Buffer held).
View own_view_of(const at::TensorBase&);
/// Broadcast to `sizes` as NumPy does: repeated dimensions have stride 0. Throws PyTorch's error where they do not fit.
View expand_to(const at::TensorBase&, at::IntArrayRef sizes);
/// Other sizes and strides over the same Buffer, in elements; `offset` is added to the tensor's own.
View restrided(const at::TensorBase&, at::IntArrayRef sizes, at::IntArrayRef strides, int64_t offset = 0);

}  // namespace anygpu::torch_frontend

/// Tensors may stand wherever an operand of a call is wanted; where it may be absent, undefined ones too.
template <std::derived_from<at::TensorBase> T>
struct anygpu::Viewable<T> {
  static ViewArg of(const at::TensorBase& t) { return torch_frontend::view_of(t); }
  static bool there(const at::TensorBase& t) { return t.defined(); }
};

namespace anygpu::torch_frontend {

/// What record() takes as an operand: a tensor or a View.
using Operand = ViewArg;

/// A list of numbers, at most kMaxRank of them, as the runtime has it.
inline Dims dims_of(at::IntArrayRef list) {
  return Dims(list.data(), static_cast<int>(list.size()));
}

// ---- recording ----

/// Outputs, then inputs; all on one device. Throws PyTorch's exceptions; Refused where the operator is not defined on these dtypes.
void record(const Op&, c10::ArrayRef<Operand> operands, c10::ArrayRef<Scalar> scalars = {}, c10::ArrayRef<int64_t> attrs = {});
inline void record(const Op& op, std::initializer_list<Operand> operands, std::initializer_list<Scalar> scalars = {},
                   std::initializer_list<int64_t> attrs = {}) {
  record(op, c10::ArrayRef<Operand>(operands), c10::ArrayRef<Scalar>(scalars), c10::ArrayRef<int64_t>(attrs));
}
/// A call of anygpu/calls:
///   record(calls::LayerNorm{.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = weight, .bias = bias, .dims = 1, .eps = eps});
template <calls::Ready C>
void record(C&& call) {
  const auto list = []<class T>(std::span<const T> s) { return c10::ArrayRef<T>(s.data(), s.size()); };
  record(call.entry, list(call.views()), list(call.scalars()), list(call.attrs()));
}
template <calls::Call C>
void record(const C& call) {
  translated([&] { record(calls::Encoded<C>(call)); });
}

// ---- numbers ----

/// A 0-dimensional CPU tensor: what Python numbers become, and what may be mixed with tensors of any device.
inline bool is_cpu_number(const at::TensorBase& t) {
  return t.unsafeGetTensorImpl()->dim() == 0 && t.device().type() == c10::DeviceType::CPU;
}
/// A number for a kernel that takes it as `type`: in .f for floats, in .i for the others. Throws Refused for complex ones, and PyTorch's
/// "value cannot be converted to type int8_t without overflow".
Scalar to_scalar(const at::Scalar&, DType type);
/// The same from a 0-dimensional CPU tensor, which is cast as tensors are: what does not fit wraps.
Scalar to_scalar(const at::TensorBase& number, DType type);
/// `t` itself if on this device; a CPU number becomes a 0-dimensional tensor on the device of `like`, filled at run time.
/// Throws "Expected all tensors to be on the same device" for other tensors.
at::Tensor on_device(const at::Tensor& t, const at::TensorBase& like);

// ---- new tensors: uninitialised, and cheaper than at::empty, which goes through the dispatcher ----
// Objects, not functions: a function of this name would lose to at::'s, which argument-dependent lookup also finds.

struct Empty {
  at::Tensor operator()(at::IntArrayRef sizes, at::ScalarType, c10::DeviceIndex device) const;
  at::Tensor operator()(at::IntArrayRef sizes, const at::TensorBase& like) const {
    return (*this)(sizes, like.scalar_type(), like.get_device());
  }
  at::Tensor operator()(at::IntArrayRef sizes, at::ScalarType t, const at::TensorBase& like) const {
    return (*this)(sizes, t, like.get_device());
  }
};
inline constexpr Empty empty;

struct EmptyStrided {
  at::Tensor operator()(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType, c10::DeviceIndex device) const;
};
inline constexpr EmptyStrided empty_strided;

/// Dense, in the order that a memory format asks for.
struct EmptyIn {
  at::Tensor operator()(at::MemoryFormat, at::IntArrayRef sizes, at::ScalarType, c10::DeviceIndex device) const;
  at::Tensor operator()(at::MemoryFormat f, at::IntArrayRef sizes, const at::TensorBase& like) const {
    return (*this)(f, sizes, like.scalar_type(), like.get_device());
  }
};
inline constexpr EmptyIn empty_in;

/// What torch.empty_like makes by default: sizes of `like` and its strides; where those leave gaps or overlap, dense ones in their order.
/// Which of the three an operator's result is, is PyTorch's choice for each operator: tests/torch/test_strides.py compares them all.
struct EmptyLike {
  at::Tensor operator()(const at::TensorBase& like, at::ScalarType) const;
  at::Tensor operator()(const at::TensorBase& like) const { return (*this)(like, like.scalar_type()); }
};
inline constexpr EmptyLike empty_like;

/// Gives `out` these sizes as an out= argument: no work where it has them, a warning where it holds elements of other sizes.
void resize_out(const at::Tensor& out, at::IntArrayRef sizes, at::MemoryFormat = at::MemoryFormat::Contiguous);

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
