#include "frontends/common/array.h"

#include <algorithm>

#include "anygpu/calls/index.h"
#include "anygpu/calls/pointwise.h"

namespace anygpu::common {

namespace {

int wrap(const Array& a, int dim) {
  return dim < 0 ? dim + a.rank() : dim;
}

}  // namespace

// ---- recording ----

thread_local bool detail::in_order = false;

InOrder::InOrder(bool order) : before_(detail::in_order) {
  detail::in_order = order;
}
InOrder::~InOrder() {
  detail::in_order = before_;
}

void detail::check_device(std::span<const ViewArg> operands) {
  const Device& device = operands[0].buffer->device;
  for (const ViewArg& o : operands)
    if (o && &o.buffer->device != &device)
      throw Error(ErrorKind::Value, "Expected all tensors to be on the same device, but found at least two devices, anygpu:" +
                                        std::to_string(device.index()) + " and anygpu:" + std::to_string(o.buffer->device.index()) + "!");
}

// ---- new arrays ----

Array make(Device& device, DType dtype, const Dims& sizes) {
  return View{device.allocate(product(sizes) * size_of(dtype)), dtype, 0, sizes, contiguous_strides(sizes)};
}
Array make_like(const Array& like) {
  return make(like.device(), like.dtype, like.sizes);
}

Array full(Device& device, DType dtype, const Dims& sizes, Number value) {
  Array a = make(device, dtype, sizes);
  if (a.elements()) record(calls::fill(a, value.as(dtype)));
  return a;
}

Array arange(Device& device, int64_t n) {
  Array a = make(device, DType::I64, {n});
  if (n) record(calls::Pointwise(ANYGPU_OP("arange"), DType::I64).out(a).scalar(int64_t{0}).scalar(int64_t{1}));
  return a;
}

Array from_host(Device& device, std::span<const int64_t> values) {
  Array a = make(device, DType::I64, {static_cast<int64_t>(values.size())});
  device.upload(*a.buffer.get(), 0, values.data(), a.buffer->bytes);
  return a;
}

// ---- views ----

bool is_contiguous(const View& v) {
  int64_t stride = 1;
  for (int d = v.rank() - 1; d >= 0; --d) {
    if (v.sizes[d] != 1 && v.strides[d] != stride) return v.elements() == 0;
    stride *= v.sizes[d];
  }
  return true;
}

Array narrow(const Array& a, int dim, int64_t start, int64_t length) {
  dim = wrap(a, dim);
  Array r = a;
  r.offset += start * a.strides[dim];
  r.sizes[dim] = length;
  return r;
}

Array select(const Array& a, int dim, int64_t index) {
  dim = wrap(a, dim);
  Array r = a;
  r.offset += index * a.strides[dim];
  r.sizes.erase(dim);
  r.strides.erase(dim);
  return r;
}

Array unsqueeze(const Array& a, int dim) {
  dim = dim < 0 ? dim + a.rank() + 1 : dim;
  Array r = a;
  r.strides.insert(dim, dim < a.rank() ? a.sizes[dim] * a.strides[dim] : 1);
  r.sizes.insert(dim, 1);
  return r;
}

Array squeeze(const Array& a, int dim) {
  return select(a, dim, 0);
}

Array transpose(const Array& a, int first, int second) {
  first = wrap(a, first);
  second = wrap(a, second);
  Array r = a;
  std::swap(r.sizes[first], r.sizes[second]);
  std::swap(r.strides[first], r.strides[second]);
  return r;
}

Array move_dim(const Array& a, int from, int to) {
  from = wrap(a, from);
  to = wrap(a, to);
  Array r = a;
  r.sizes.erase(from);
  r.strides.erase(from);
  r.sizes.insert(to, a.sizes[from]);
  r.strides.insert(to, a.strides[from]);
  return r;
}

Array expand(const Array& a, const Dims& sizes) {
  Array r = a;
  r.sizes = sizes;
  r.strides = Dims::filled(sizes.size(), 0);
  const int before = sizes.size() - a.rank();
  for (int d = 0; d < a.rank(); ++d) {
    if (before < 0 || (a.sizes[d] != sizes[before + d] && a.sizes[d] != 1))
      throw Error(ErrorKind::Value, "[expand] an array does not broadcast to the sizes asked for");
    if (a.sizes[d] == sizes[before + d]) r.strides[before + d] = a.strides[d];
  }
  return r;
}

Array along(const Array& vector, int dim, const Dims& sizes) {
  Array r = vector;
  r.sizes = sizes;
  r.strides = Dims::filled(sizes.size(), 0);
  r.strides[dim < 0 ? dim + sizes.size() : dim] = vector.strides[0];
  return r;
}

Array some_dims(const Array& a) {
  return a.rank() ? a : unsqueeze(a, 0);
}

// ---- copies ----

void copy_to(const Array& dst, const Array& src) {
  if (dst.elements()) record(calls::copy(dst, src));
}
Array copy(const Array& a) {
  Array r = make_like(a);
  copy_to(r, a);
  return r;
}
Array cast(const Array& a, DType dtype) {
  if (a.dtype == dtype) return a;
  Array r = make(a.device(), dtype, a.sizes);
  copy_to(r, a);
  return r;
}
Array contiguous(const Array& a) {
  return is_contiguous(a) ? a : copy(a);
}

Array reshape(const Array& a, const Dims& sizes) {
  Array r = contiguous(a);
  if (product(sizes) != a.elements()) throw Error(ErrorKind::Internal, "[reshape] an array of another number of elements");
  r.sizes = sizes;
  r.strides = contiguous_strides(sizes);
  return r;
}
Array flatten(const Array& a) {
  return reshape(a, {a.elements()});
}

Array concatenate(std::initializer_list<Array> parts, int dim) {
  const Array& first = *parts.begin();
  dim = wrap(first, dim);
  Dims sizes = first.sizes;
  sizes[dim] = 0;
  for (const Array& part : parts) sizes[dim] += part.sizes[dim];
  Array r = make(first.device(), first.dtype, sizes);
  std::vector<ViewArg> full;
  for (const Array& part : parts)
    if (part.elements()) full.emplace_back(part);
  if (r.elements()) record(calls::Cat{.dst = r, .parts = full, .dim = dim});
  return r;
}

// ---- reading ----

namespace {

template <class T>
T read_one(const Array& a) {
  T v;
  a.device().download(*a.buffer.get(), a.offset * size_of(a.dtype), &v, sizeof(T));
  return v;
}

template <class R>
R read_as(const Array& a) {
  switch (a.dtype) {
    case DType::Bool:
      return static_cast<R>(read_one<uint8_t>(a) != 0);
    case DType::U8:
      return static_cast<R>(read_one<uint8_t>(a));
    case DType::I8:
      return static_cast<R>(read_one<int8_t>(a));
    case DType::I16:
      return static_cast<R>(read_one<int16_t>(a));
    case DType::I32:
      return static_cast<R>(read_one<int32_t>(a));
    case DType::I64:
      return static_cast<R>(read_one<int64_t>(a));
    case DType::F64:
      return static_cast<R>(read_one<double>(a));
    default:
      return static_cast<R>(read_one<float>(cast(a, DType::F32)));
  }
}

}  // namespace

double read_double(const Array& a) {
  return read_as<double>(a);
}
int64_t read_int(const Array& a) {
  return read_as<int64_t>(a);
}

}  // namespace anygpu::common
