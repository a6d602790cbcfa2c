#include "tensor.h"

#include <ATen/ExpandUtils.h>
#include <ATen/native/Resize.h>
#include <c10/core/DeviceGuard.h>
#include <torch/csrc/autograd/anomaly_mode.h>

#include <bit>

#include "anygpu/calls/pointwise.h"

namespace anygpu::torch_frontend {

void rethrow_as_torch(const Error& e) {
  const std::string message = e.what();
  const c10::SourceLocation here{__func__, __FILE__, static_cast<uint32_t>(__LINE__)};
  switch (e.kind()) {
    case ErrorKind::Index:
      throw c10::IndexError(here, message);
    case ErrorKind::Type:
      throw c10::TypeError(here, message);
    case ErrorKind::NotImplemented:
      throw Refused(message);
    case ErrorKind::OutOfMemory:
      throw c10::OutOfMemoryError(here, message);
    case ErrorKind::Value:
    case ErrorKind::Internal:
      break;
  }
  throw c10::Error(here, message);
}

// ---- dtypes ----

namespace {

constexpr int8_t kNoDType = -1;

struct DTypeTable {
  int8_t of[static_cast<int>(at::ScalarType::NumOptions)];
  constexpr DTypeTable() : of() {
    for (int8_t& x : of) x = kNoDType;
    set(at::ScalarType::Bool, DType::Bool);
    set(at::ScalarType::Byte, DType::U8);
    set(at::ScalarType::Char, DType::I8);
    set(at::ScalarType::Short, DType::I16);
    set(at::ScalarType::Int, DType::I32);
    set(at::ScalarType::Long, DType::I64);
    set(at::ScalarType::Half, DType::F16);
    set(at::ScalarType::BFloat16, DType::BF16);
    set(at::ScalarType::Float, DType::F32);
    set(at::ScalarType::Double, DType::F64);
    set(at::ScalarType::ComplexFloat, DType::C64);
    set(at::ScalarType::ComplexDouble, DType::C128);
  }
  constexpr void set(at::ScalarType t, DType d) { of[static_cast<int>(t)] = static_cast<int8_t>(d); }
};
constexpr DTypeTable kDTypeTable;

}  // namespace

std::optional<DType> find_dtype(at::ScalarType t) noexcept {
  const int i = static_cast<int>(t);
  if (i < 0 || i >= static_cast<int>(at::ScalarType::NumOptions) || kDTypeTable.of[i] == kNoDType) return std::nullopt;
  return static_cast<DType>(kDTypeTable.of[i]);
}

DType dtype_of(at::ScalarType t) {
  if (const auto d = find_dtype(t)) return *d;
  throw Refused(c10::str("anygpu has no operators on ", t, "; convert the tensor to another dtype first"));
}

at::ScalarType scalar_type_of(DType t) {
  constexpr at::ScalarType types[kDTypes] = {at::ScalarType::Bool,   at::ScalarType::Byte,         at::ScalarType::Char,
                                             at::ScalarType::Short,  at::ScalarType::Int,          at::ScalarType::Long,
                                             at::ScalarType::Half,   at::ScalarType::BFloat16,     at::ScalarType::Float,
                                             at::ScalarType::Double, at::ScalarType::ComplexFloat, at::ScalarType::ComplexDouble};
  return types[static_cast<int>(t)];
}

at::ScalarType integers_as_wide(at::ScalarType t) {
  constexpr at::ScalarType by_width[] = {at::kByte, at::kShort, at::kInt, at::kLong};
  const int width = std::countr_zero(c10::elementSize(t));
  TORCH_CHECK_NOT_IMPLEMENTED(width < 4, "anygpu: no integers are as wide as ", t);
  return by_width[width];
}

at::Tensor bits_of(const at::Tensor& t) {
  const at::ScalarType type = t.scalar_type();
  return C10_LIKELY(find_dtype(type)) || c10::isQIntType(type) ? t : t.view(integers_as_wide(type));
}

// ---- views ----

int64_t elements_before(const Place& p, const at::TensorBase& t) {
  const int64_t item = static_cast<int64_t>(t.itemsize());
  TORCH_CHECK_NOT_IMPLEMENTED(p.offset % item == 0, "anygpu: elements of ", t.scalar_type(), " at byte ", p.offset,
                              " of a storage: operators want them at multiples of ", item, " bytes; clone the bytes first");
  return p.offset / item;
}

View own_view_of(const at::TensorBase& t) {
  return restrided(t, t.sizes(), t.strides());
}

View restrided(const at::TensorBase& t, at::IntArrayRef sizes, at::IntArrayRef strides, int64_t offset) {
  const Place p = place_of(t);
  return translated([&] {
    return View{BufferRef(p.buffer), dtype_of(t.scalar_type()), offset_of(t, p) + offset,
                Dims(sizes.data(), static_cast<int>(sizes.size())), Dims(strides.data(), static_cast<int>(strides.size()))};
  });
}

View expand_to(const at::TensorBase& t, at::IntArrayRef sizes) {
  if (t.sizes() == sizes) return own_view_of(t);
  TORCH_CHECK(t.dim() <= static_cast<int64_t>(sizes.size()), "expand(", t.toString(), "{", t.sizes(), "}, size=", sizes,
              "): the number of sizes provided (", sizes.size(), ") must be greater or equal to the number of dimensions in the tensor (",
              t.dim(), ")");
  const auto geometry = at::inferExpandGeometry_dimvector(t.sizes(), t.strides(), sizes);
  return restrided(t, geometry.sizes, geometry.strides);
}

// ---- recording ----

namespace {

/// In PyTorch's words, for callers that do not ask the CPU for them.
[[noreturn]] void refuse(const Op& op, c10::ArrayRef<Operand> operands, const Error& why) {
  const Operand* named = operands.begin() + (operands.size() > 1 ? 1 : 0);
  while (!*named) ++named;
  const DType type = named->dtype;
  throw Refused(c10::str("\"", name_of(op), "\" not implemented for '", scalar_type_of(type), "'\n", why.what()));
}

}  // namespace

void record(const Op& op, c10::ArrayRef<Operand> operands, c10::ArrayRef<Scalar> scalars, c10::ArrayRef<int64_t> attrs) {
  const Operand* first = operands.begin();
  while (C10_UNLIKELY(!*first)) ++first;  // an output may be absent
  Device& device = first->buffer->device;
  for (const Operand& o : operands) {
    if (C10_UNLIKELY(o.rank > kMaxRank))
      throw Refused(c10::str("anygpu: tensors of more than ", kMaxRank, " dimensions are not supported by operators"));
    TORCH_CHECK(!o.buffer || &o.buffer->device == &device,
                "Expected all tensors to be on the same device, but found at least two devices, anygpu:", device.index(),
                " and anygpu:", o.buffer->device.index(), "!");
  }
  if (C10_UNLIKELY(in_bad_fork())) device_at(static_cast<c10::DeviceIndex>(device.index()));  // throws
  try {
    device.record(op, {operands.data(), operands.size()}, {scalars.data(), scalars.size()}, {attrs.data(), attrs.size()},
                  at::globalContext().deterministicAlgorithms());
    if (C10_UNLIKELY(torch::autograd::AnomalyMode::is_enabled())) device.synchronize();  // who looks for a mistake wants it raised here
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::NotImplemented) refuse(op, operands, e);
    rethrow_as_torch(e);
  }
}

// ---- numbers ----

Scalar to_scalar(const at::Scalar& s, DType type) {
  if (C10_UNLIKELY(is_complex(type) || s.isComplex())) throw Refused("anygpu kernels take no complex numbers");
  switch (type) {  // to<T>() throws PyTorch's error where T does not hold the number
    case DType::Bool:
      return Scalar(static_cast<int64_t>(s.to<bool>()));
    case DType::U8:
      return Scalar(static_cast<int64_t>(s.to<uint8_t>()));
    case DType::I8:
      return Scalar(static_cast<int64_t>(s.to<int8_t>()));
    case DType::I16:
      return Scalar(static_cast<int64_t>(s.to<int16_t>()));
    case DType::I32:
      return Scalar(static_cast<int64_t>(s.to<int32_t>()));
    case DType::I64:
      return Scalar(s.to<int64_t>());
    case DType::F16:
      (void)s.to<at::Half>();
      break;
    case DType::BF16:
      (void)s.to<at::BFloat16>();
      break;
    case DType::F32:
      (void)s.to<float>();
      break;
    default:
      break;
  }
  return Scalar(s.toDouble());
}

namespace {

/// As a tensor is cast: what the type does not hold wraps, or becomes infinite.
template <class T>
Scalar cast_number(T v, DType type) {
  if (C10_UNLIKELY(is_complex(type))) throw Refused("anygpu kernels take no complex numbers");
  if (is_float(type)) return Scalar(static_cast<double>(v));
  if (type == DType::Bool) return Scalar(static_cast<int64_t>(v != 0));
  return Scalar(static_cast<int64_t>(v));
}

}  // namespace

Scalar to_scalar(const at::TensorBase& number, DType type) {
  const void* p = number.const_data_ptr();
  switch (number.scalar_type()) {
    case at::ScalarType::Double:
      return cast_number(*static_cast<const double*>(p), type);
    case at::ScalarType::Long:
      return cast_number(*static_cast<const int64_t*>(p), type);
    case at::ScalarType::Float:
      return cast_number(*static_cast<const float*>(p), type);
    case at::ScalarType::Bool:
      return cast_number(static_cast<int64_t>(*static_cast<const bool*>(p)), type);
    default: {
      const at::Scalar s = at::Tensor(number).item();
      if (s.isComplex()) throw Refused("anygpu kernels take no complex numbers");
      return s.isFloatingPoint() ? cast_number(s.toDouble(), type) : cast_number(s.toLong(), type);
    }
  }
}

at::Tensor on_device(const at::Tensor& t, const at::TensorBase& like) {
  if (C10_LIKELY(is_anygpu(t))) return t;
  TORCH_CHECK(is_cpu_number(t), "Expected all tensors to be on the same device, but found at least two devices, ", like.device(), " and ",
              t.device(), "!");
  const DType type = dtype_of(t.scalar_type());
  if (is_complex(type)) return t.to(like.device());
  at::Tensor result = empty({}, t.scalar_type(), like);
  record(calls::fill(result, to_scalar(static_cast<const at::TensorBase&>(t), type)));
  return result;
}

// ---- new tensors ----

namespace {

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::PrivateUse1);

at::Tensor make_tensor(size_t bytes, at::ScalarType type, c10::DeviceIndex device) {
  if (C10_UNLIKELY(type == at::ScalarType::ComplexHalf)) {
    TORCH_WARN_ONCE("ComplexHalf support is experimental and many operators don't support it yet.");
  }
  auto storage = c10::make_intrusive<c10::StorageImpl>(c10::StorageImpl::use_byte_size_t(), c10::SymInt(static_cast<int64_t>(bytes)),
                                                       allocate_on(device, bytes), &allocator(), /*resizable=*/true);
  return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), kKeys, c10::scalarTypeToTypeMeta(type));
}

}  // namespace

at::Tensor Empty::operator()(at::IntArrayRef sizes, at::ScalarType type, c10::DeviceIndex device) const {
  at::detail::check_size_nonnegative(sizes);
  at::Tensor t = make_tensor(at::detail::computeStorageNbytesContiguous(sizes, c10::elementSize(type)), type, device);
  if (sizes.size() != 1 || sizes[0] != 0) t.unsafeGetTensorImpl()->set_sizes_contiguous(sizes);
  return t;
}

at::Tensor EmptyStrided::operator()(at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType type, c10::DeviceIndex device) const {
  at::detail::check_size_nonnegative(sizes);
  at::Tensor t = make_tensor(at::detail::computeStorageNbytes(sizes, strides, c10::elementSize(type)), type, device);
  t.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides);
  return t;
}

at::Tensor EmptyIn::operator()(at::MemoryFormat format, at::IntArrayRef sizes, at::ScalarType type, c10::DeviceIndex device) const {
  at::Tensor t = empty(sizes, type, device);
  if (format != at::MemoryFormat::Contiguous) t.unsafeGetTensorImpl()->empty_tensor_restride(format);
  return t;
}

at::Tensor EmptyLike::operator()(const at::TensorBase& like, at::ScalarType type) const {
  if (like.is_non_overlapping_and_dense()) return empty_strided(like.sizes(), like.strides(), type, like.get_device());
  return empty_strided(like.sizes(), at::infer_dense_strides(like.sizes(), like.strides()), type, like.get_device());
}

void resize_out(const at::Tensor& out, at::IntArrayRef sizes, at::MemoryFormat format) {
  if (out.sizes() == sizes) return;
  at::native::resize_output(out, sizes);
  if (format != at::MemoryFormat::Contiguous) out.unsafeGetTensorImpl()->empty_tensor_restride(format);
}

}  // namespace anygpu::torch_frontend
