#include "copy.h"

#include <ATen/ExpandUtils.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/quantized/Quantizer.h>

#include "anygpu/calls/pointwise.h"
#include "quantized.h"

namespace anygpu::torch_frontend {

ByteRange bytes_of(const at::TensorBase& t) {
  const int64_t item = static_cast<int64_t>(t.itemsize());
  const int64_t begin = t.storage_offset() * item;
  if (t.numel() == 0) return {begin, begin};
  int64_t last = 0;
  for (int64_t d = 0; d < t.dim(); ++d) last += (t.size(d) - 1) * t.stride(d);
  return {begin, begin + (last + 1) * item};
}

namespace {

bool same_bits(const at::Tensor& a, const at::Tensor& b) {
  return a.is_conj() == b.is_conj() && a.is_neg() == b.is_neg();
}

void set_bits(const at::Tensor& to, const at::Tensor& from) {
  to._set_conj(from.is_conj());
  to._set_neg(from.is_neg());
}

Device& device_for(const at::TensorBase& t) {
  return device_at(t.get_device());
}

/// The bytes from a tensor's first element to its last, sent to its Buffer or read from there.
void upload_bytes(const at::TensorBase& t, const void* from) {
  const ByteRange r = bytes_of(t);
  const Place p = place_of(t);
  translated([&] { device_for(t).upload(*p.buffer, p.offset + r.begin, from, r.end - r.begin); });
}
void download_bytes(const at::TensorBase& t, void* to) {
  const ByteRange r = bytes_of(t);
  const Place p = place_of(t);
  translated([&] { device_for(t).download(*p.buffer, p.offset + r.begin, to, r.end - r.begin); });
}

// ---- within one device ----

/// The tensor as integers of its width, for copies that must not care what the bits mean; 16-byte elements as pairs.
View raw_view(const at::TensorBase& t, at::IntArrayRef sizes) {
  const auto geometry = at::inferExpandGeometry_dimvector(t.sizes(), t.strides(), sizes);
  const Place p = place_of(t);
  View v{BufferRef(p.buffer), DType::U8, offset_of(t, p), Dims(geometry.sizes.data(), static_cast<int>(geometry.sizes.size())),
         Dims(geometry.strides.data(), static_cast<int>(geometry.strides.size()))};
  switch (t.itemsize()) {
    case 1:
      v.dtype = DType::U8;
      break;
    case 2:
      v.dtype = DType::I16;
      break;
    case 4:
      v.dtype = DType::I32;
      break;
    case 8:
      v.dtype = DType::I64;
      break;
    case 16:
      v.dtype = DType::I64;
      v.offset *= 2;
      for (int d = 0; d < v.rank(); ++d) v.strides[d] *= 2;
      v.sizes.push_back(2);
      v.strides.push_back(1);
      break;
    default:
      TORCH_CHECK_NOT_IMPLEMENTED(false, "anygpu: elements of ", t.itemsize(), " bytes");
  }
  return v;
}

/// The real (part 0) or imaginary (part 1) parts of a complex tensor; a real tensor itself for part 0.
View part_of(const at::TensorBase& t, at::IntArrayRef sizes, int part) {
  View v = expand_to(t, sizes);
  if (!is_complex(v.dtype)) return v;
  v.dtype = v.dtype == DType::C64 ? DType::F32 : DType::F64;
  v.offset = 2 * v.offset + part;
  for (int d = 0; d < v.rank(); ++d) v.strides[d] *= 2;
  return v;
}

void record_cast(const View& dst, const View& src, bool negate) {
  record(calls::Pointwise(negate ? ANYGPU_OP("neg") : ANYGPU_OP("copy"), src.dtype).out(dst).in(src));
}

void copy_here(const at::Tensor& dst, const at::Tensor& src) {
  const at::IntArrayRef sizes = dst.sizes();
  const auto to = find_dtype(dst.scalar_type()), from = find_dtype(src.scalar_type());
  const bool same_type = dst.scalar_type() == src.scalar_type();
  if (C10_UNLIKELY(dst.dim() > kMaxRank) && dst.is_non_overlapping_and_dense()) {  // more dimensions than a View has
    copy_tensor(dst, to_cpu(src));
    return;
  }
  if (same_type && same_bits(dst, src)) {
    if (to && !is_complex(*to) && C10_LIKELY(src.sizes() == sizes)) {
      record(calls::copy(dst, src));
    } else if (to && !is_complex(*to)) {
      record(calls::copy(dst, expand_to(src, sizes)));
    } else {
      record(calls::copy(raw_view(dst, sizes), raw_view(src, sizes)));
    }
    return;
  }
  if (!to || !from) {  // a type that can only be stored: converted where PyTorch can
    copy_tensor(dst, to_cpu(src).to(dst.scalar_type()));
    return;
  }
  const bool negate = dst.is_neg() != src.is_neg();
  if (!is_complex(*to) && !is_complex(*from)) {
    record_cast(expand_to(dst, sizes), expand_to(src, sizes), negate);
    return;
  }
  record_cast(part_of(dst, sizes, 0), part_of(src, sizes, 0), negate);
  if (!is_complex(*to)) return;
  if (is_complex(*from)) {
    record_cast(part_of(dst, sizes, 1), part_of(src, sizes, 1), negate != (dst.is_conj() != src.is_conj()));
  } else {
    const View imaginary = part_of(dst, sizes, 1);
    record(calls::fill(imaginary, 0.0));
  }
}

// ---- host to device ----

void upload(const at::Tensor& dst, const at::Tensor& cpu) {
  if (!dst.is_non_overlapping_and_dense() || dst.is_conj() || dst.is_neg()) {
    const at::Tensor dense = empty(dst.sizes(), dst.scalar_type(), dst);
    upload(dense, cpu);
    copy_here(dst, dense);
    return;
  }
  at::Tensor staged = cpu;
  if (cpu.scalar_type() != dst.scalar_type() || cpu.sizes() != dst.sizes() || cpu.strides() != dst.strides() || cpu.is_conj() ||
      cpu.is_neg()) {
    staged = at::empty_strided(dst.sizes(), dst.strides(), cpu.options().dtype(dst.scalar_type()).pinned_memory(false));
    staged.copy_(cpu);
  }
  upload_bytes(dst, staged.const_data_ptr());
}

// ---- device to host ----

constexpr int64_t kSmall = 64 << 10;  // bytes: below, reading gaps is cheaper than a kernel that packs

/// The tensor's bytes in a CPU tensor of the same strides (dense tensors), or as close as is cheap.
at::Tensor download(const at::Tensor& src) {
  const int64_t item = static_cast<int64_t>(src.itemsize());
  const ByteRange range = bytes_of(src);
  const int64_t bytes = range.end - range.begin;
  const auto options = at::TensorOptions().dtype(src.scalar_type()).device(at::kCPU);
  if (bytes > kSmall && bytes > 2 * src.numel() * item) {
    const at::Tensor dense = empty(src.sizes(), src.scalar_type(), src);
    set_bits(dense, src);
    copy_here(dense, src);
    return download(dense);
  }
  at::Tensor span = at::empty({bytes / item}, options);
  download_bytes(src, span.mutable_data_ptr());
  at::Tensor result = span.as_strided(src.sizes(), src.strides());
  set_bits(result, src);
  return result;
}

bool is_plain_host(const at::Tensor& t) {
  return t.device().is_cpu() && t.layout() == at::kStrided;
}

/// As PyTorch's copy_: the quantiser comes along; plain numbers are quantised, which the CPU does.
void copy_quantised(const at::Tensor& dst, const at::Tensor& src) {
  TORCH_CHECK(dst.is_quantized(),
              "Copying from quantized Tensor to non-quantized Tensor is not allowed, please use dequantize to get a "
              "float Tensor from a quantized Tensor");
  if (!src.is_quantized()) {
    const at::Tensor cpu = is_anygpu(dst) ? to_cpu(dst) : dst;
    cpu.copy_(is_anygpu(src) ? to_cpu(src) : src);
    if (is_anygpu(dst)) copy_tensor(integers_of(dst), integers_of(cpu));
    return;
  }
  TORCH_CHECK(dst.qscheme() == src.qscheme(), "Quantized Copy only works with same qscheme");
  TORCH_CHECK(dst.scalar_type() == src.scalar_type());
  at::set_quantizer_(dst, src.quantizer());
  copy_tensor(integers_of(dst), integers_of(src));
}

}  // namespace

void check_broadcasts(const at::TensorBase& dst, const at::TensorBase& src) {
  if (C10_LIKELY(dst.sizes() == src.sizes())) return;
  const at::DimVector shape = at::infer_size_dimvector(dst.sizes(), src.sizes());
  TORCH_CHECK(dst.sizes() == shape, "output with shape ", dst.sizes(), " doesn't match the broadcast shape ", at::IntArrayRef(shape));
}

void copy_tensor(const at::Tensor& dst, const at::Tensor& src) {
  TORCH_CHECK_NOT_IMPLEMENTED(!src.is_meta(), "Cannot copy out of meta tensor; no data!");
  const bool here = is_anygpu(dst), from_here = is_anygpu(src);
  TORCH_CHECK_NOT_IMPLEMENTED((here || is_plain_host(dst)) && (from_here || is_plain_host(src)), "anygpu: cannot copy from ", src.device(),
                              " (", src.layout(), ") to ", dst.device(), " (", dst.layout(), ")");
  check_broadcasts(dst, src);
  if (C10_UNLIKELY(dst.is_quantized() || src.is_quantized())) return copy_quantised(dst, src);
  if (dst.numel() == 0) return;
  if (here && from_here && dst.get_device() == src.get_device()) {
    const bool onto_itself = dst.is_alias_of(src) && dst.storage_offset() == src.storage_offset() && dst.sizes() == src.sizes() &&
                             dst.strides() == src.strides() && dst.scalar_type() == src.scalar_type() && same_bits(dst, src);
    if (onto_itself) return;
    at::assert_no_internal_overlap(dst);
    at::assert_no_partial_overlap(dst, src);
    copy_here(dst, src);
  } else if (here) {
    at::assert_no_internal_overlap(dst);
    const at::Tensor cpu = from_here ? download(src) : src;
    upload(dst, cpu.sizes() == dst.sizes() ? cpu : cpu.expand(dst.sizes()));
  } else {
    const bool straight = dst.scalar_type() == src.scalar_type() && dst.sizes() == src.sizes() && dst.strides() == src.strides() &&
                          dst.is_non_overlapping_and_dense() && same_bits(dst, src);
    if (straight) {
      download_bytes(src, dst.mutable_data_ptr());
    } else {
      dst.copy_(download(src));
    }
  }
}

at::Tensor to_cpu(const at::Tensor& t) {
  if (C10_UNLIKELY(t.is_quantized())) return quantised_as(to_cpu(integers_of(t)), t);
  if (t.numel() == 0) return at::empty_strided(t.sizes(), t.strides(), at::TensorOptions().dtype(t.scalar_type()));
  at::Tensor cpu = download(t);
  return t.is_non_overlapping_and_dense() ? cpu : cpu.clone();
}

at::Tensor to_device(const at::Tensor& cpu, c10::DeviceIndex index) {
  TORCH_CHECK_NOT_IMPLEMENTED(cpu.layout() == at::kStrided, "anygpu has no ", cpu.layout(), " tensors");
  if (C10_UNLIKELY(cpu.is_quantized())) return quantised_as(to_device(integers_of(cpu), index), cpu);
  const at::Tensor t = cpu.is_non_overlapping_and_dense() ? empty_strided(cpu.sizes(), cpu.strides(), cpu.scalar_type(), index)
                                                          : empty(cpu.sizes(), cpu.scalar_type(), index);
  if (cpu.numel()) upload(t, cpu);
  return t;
}

// ---- storages ----

void copy_bytes(Buffer& dst, int64_t dst_at, Buffer& src, int64_t src_at, int64_t bytes) {
  if (bytes == 0) return;
  const int64_t any = dst_at | src_at | bytes;
  const DType unit = any % 8 == 0 ? DType::I64 : any % 4 == 0 ? DType::I32 : DType::U8;
  const int64_t item = size_of(unit), n = bytes / item, one = 1;
  record(calls::copy(ViewArg(&dst, unit, dst_at / item, 1, &n, &one), ViewArg(&src, unit, src_at / item, 1, &n, &one)));
}

void resize_storage(c10::StorageImpl* storage, size_t bytes) {
  TORCH_CHECK(storage->resizable(), "Trying to resize storage that is not resizable");
  const size_t kept = std::min(bytes, storage->nbytes());
  c10::DataPtr fresh = allocate_on(storage->device().index(), bytes);
  if (kept) {
    const Place old = unusual_place(c10::Storage(c10::intrusive_ptr<c10::StorageImpl>::reclaim_copy(storage)));
    copy_bytes(*static_cast<Block*>(fresh.get_context())->buffer.get(), 0, *old.buffer, old.offset, static_cast<int64_t>(kept));
  }
  storage->set_data_ptr_noswap(std::move(fresh));
  storage->set_nbytes(bytes);
}

void resize_tensor(c10::TensorImpl* t, at::IntArrayRef sizes, at::OptionalIntArrayRef strides) {
  if (t->sizes() == sizes && (!strides || t->strides() == *strides)) return;
  const size_t item = t->dtype().itemsize();
  at::detail::check_size_nonnegative(sizes);
  const size_t needed = strides ? at::detail::computeStorageNbytes(sizes, *strides, item, static_cast<size_t>(t->storage_offset()))
                                : at::detail::computeStorageNbytesContiguous(sizes, item, static_cast<size_t>(t->storage_offset()));
  // The storage first: where memory runs out the tensor stays as it was.
  const bool empty = c10::multiply_integers(sizes) == 0;
  if (!empty && needed > t->unsafe_storage().nbytes()) resize_storage(t->unsafe_storage().unsafeGetStorageImpl(), needed);
  if (strides) {
    t->set_sizes_and_strides(sizes, *strides);
  } else {
    t->set_sizes_contiguous(sizes);
  }
}

}  // namespace anygpu::torch_frontend
