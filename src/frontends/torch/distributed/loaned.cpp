#include "loaned.h"

#include <ATen/EmptyTensor.h>

#include "tensor.h"

namespace anygpu::torch_frontend::distributed {

namespace {

/// A dtype that Gloo moves, of the same width; elements of 16 bytes become two.
at::ScalarType moved_as(int64_t width) {
  switch (width) {
    case 1:
      return at::kByte;
    case 2:
      return at::kHalf;
    case 4:
      return at::kInt;
    default:
      return at::kLong;
  }
}

at::Tensor over(char* bytes, at::IntArrayRef sizes, at::IntArrayRef strides, at::ScalarType dtype) {
  return at::from_blob(bytes, sizes, strides, at::TensorOptions().dtype(dtype));
}

}  // namespace

Loaned::Loaned(const at::Tensor& t, Access access, Elements elements)
    : access_(access), sizes_(t.sizes().vec()), strides_(t.strides().vec()), dtype_(t.scalar_type()) {
  TORCH_CHECK(is_anygpu(t) && !t.is_sparse() && !t.is_conj() && !t.is_neg(),
              "a collective of anygpu takes dense tensors of anygpu, as they lie in memory, but got one on ", t.device());
  dense_ = t.is_non_overlapping_and_dense();
  const int64_t width = static_cast<int64_t>(t.itemsize());
  if (elements == Elements::Bits) {
    dtype_ = moved_as(width);
    if (width == 16) {
      for (int64_t& s : strides_) s *= 2;
      sizes_.push_back(2);
      strides_.push_back(1);
    }
  }
  if (t.numel() == 0) return;
  const Place p = place_of(t);
  begin_ = p.offset + t.storage_offset() * width;
  bytes_ = static_cast<int64_t>(at::detail::computeStorageNbytes(t.sizes(), t.strides(), t.itemsize()));
  buffer_bytes_ = p.buffer->bytes;
  translated([&] { loan_ = lend(*p.buffer, access != Access::Read); });
}

bool Loaned::covers_buffer() const {
  return dense_ && begin_ == 0 && bytes_ == buffer_bytes_;
}

const at::Tensor& Loaned::open() {
  const bool only_written = access_ == Access::Write;
  if (!loan_) return host_ = at::empty(sizes_, at::TensorOptions().dtype(dtype_));
  translated([&] { loan_->wait(only_written && covers_buffer()); });
  char* bytes = loan_->address();
  if (bytes) {
    bytes += begin_;
  } else {
    staging_ = at::empty({bytes_}, at::TensorOptions().dtype(at::kByte));
    bytes = static_cast<char*>(staging_.mutable_data_ptr());
    if (!only_written || !dense_) translated([&] { loan_->read(begin_, bytes, bytes_); });
  }
  span_ = over(bytes, sizes_, strides_, dtype_);
  if (span_.is_contiguous()) return host_ = span_;
  return host_ = only_written ? at::empty(sizes_, span_.options()) : span_.contiguous();
}

void Loaned::close() {
  if (loan_ && access_ != Access::Read) {
    if (!host_.is_same(span_)) span_.copy_(host_);
    if (staging_.defined()) translated([&] { loan_->write(begin_, staging_.data_ptr(), bytes_); });
  }
  let_go();
}

void Loaned::fail(const std::string& why) noexcept {
  if (loan_ && access_ != Access::Read) loan_->spoil(Error(ErrorKind::Value, why));
  let_go();
}

void Loaned::let_go() {
  loan_.reset();
  staging_ = span_ = host_ = at::Tensor();
}

}  // namespace anygpu::torch_frontend::distributed
