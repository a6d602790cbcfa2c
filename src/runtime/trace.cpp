#include "runtime/trace.h"

#include <atomic>

namespace anygpu {

uint64_t Trace::next_id() {
  static std::atomic<uint64_t> counter{1};
  return counter.fetch_add(1, std::memory_order_relaxed);
}

int32_t Trace::number_of(Buffer& b) {
  if (b.trace_id == id_) return b.trace_index;
  b.trace_id = id_;
  b.trace_index = static_cast<int32_t>(buffers_.size());
  buffers_.emplace_back(&b);
  if (!b.has_bytes) new_bytes_ += b.bytes;
  return b.trace_index;
}

void Trace::record(const Op& op, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs,
                   bool in_order) {
  size_t need = 2 + attrs.size();
  for (const ViewArg& v : views) need += 2 + 2 * static_cast<size_t>(v.rank);
  size_t at = words_.size();
  words_.resize(at + need);
  int64_t* w = words_.data() + at;
  *w++ = reinterpret_cast<int64_t>(&op);
  *w++ = static_cast<int64_t>(views.size() | scalars.size() << 16 | attrs.size() << 32 | uint64_t{in_order} << 48);
  for (const ViewArg& v : views) {
    *w++ = static_cast<int64_t>(number_of(*v.buffer)) << 32 | static_cast<int64_t>(v.dtype) << 8 | v.rank;
    *w++ = v.offset;
    for (int d = 0; d < v.rank; ++d) *w++ = v.sizes[d];
    for (int d = 0; d < v.rank; ++d) *w++ = v.strides[d];
  }
  for (int64_t a : attrs) *w++ = a;
  scalars_.insert(scalars_.end(), scalars.begin(), scalars.end());
  ++calls_;
}

void Trace::seal() {
  for (const BufferPin& b : buffers_) words_.push_back((b->has_bytes ? 1 : 0) | (b.get()->dead() ? 2 : 0));
}

void Trace::clear() {
  words_.clear();
  buffers_.clear();
  scalars_.clear();
  calls_ = 0;
  new_bytes_ = 0;
  id_ = next_id();
}

std::vector<Trace::Call> Trace::decode() const {
  std::vector<Call> calls;
  calls.reserve(static_cast<size_t>(calls_));
  const int64_t* w = words_.data();
  int first_scalar = 0;
  for (int c = 0; c < calls_; ++c) {
    Call call;
    call.op = reinterpret_cast<const Op*>(*w++);
    int64_t counts = *w++;
    int views = static_cast<int>(counts & 0xffff), scalars = static_cast<int>(counts >> 16 & 0xffff),
        attrs = static_cast<int>(counts >> 32 & 0xffff);
    for (int i = 0; i < views; ++i) {
      ir::Operand o;
      o.slot = static_cast<int32_t>(*w >> 32);
      o.dtype = static_cast<DType>(*w >> 8 & 0xff);
      int rank = static_cast<int>(*w++ & 0xff);
      o.offset = *w++;
      o.sizes = Dims(w, rank);
      o.strides = Dims(w + rank, rank);
      w += 2 * rank;
      call.views.push_back(o);
    }
    call.attrs.assign(w, w + attrs);
    w += attrs;
    call.first_scalar = first_scalar;
    call.scalars = scalars;
    call.in_order = counts >> 48 & 1;
    first_scalar += scalars;
    calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace anygpu
