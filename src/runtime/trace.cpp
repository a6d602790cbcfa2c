#include "runtime/trace.h"

#include <algorithm>
#include <atomic>
#include <string>

#include "backends/interface/backend.h"
#include "core/hash.h"
#include "ops/op.h"

namespace anygpu {

namespace {

// Views, attrs, scalars and Buffers are counted in 32 bits, in the words and in Generics.
constexpr size_t kMostOfAKind = INT32_MAX;

void check_fits(const Op& op, const char* what, size_t n, size_t most = kMostOfAKind) {
  if (n <= most) return;
  throw Error(ErrorKind::NotImplemented,
              "[" + std::string(op.name) + "] more than " + std::to_string(most) + " " + what + " are not supported: " + std::to_string(n));
}

}  // namespace

uint64_t Trace::next_id() {
  static std::atomic<uint64_t> counter{1};
  return counter.fetch_add(1, std::memory_order_relaxed);
}

int32_t Trace::number_of(Buffer& b) {
  if (b.trace_id == id_) return b.trace_index;
  b.trace_id = id_;
  b.trace_index = static_cast<int32_t>(buffers_.size());
  buffers_.emplace_back(&b);
  seen_.emplace_back();
  if (!b.has_bytes) new_bytes_ += b.bytes;
  return b.trace_index;
}

void Trace::note_write(int32_t buffer, const ViewArg& v) {
  uint64_t view = static_cast<uint64_t>(v.offset) + (static_cast<uint64_t>(v.dtype) << 56);
  for (int d = 0; d < v.rank; ++d) view = hashed(view, static_cast<uint64_t>(v.sizes[d]));
  Seen& s = seen_[static_cast<size_t>(buffer)];
  if (s.times == 0) s.first_write = view;
  if (s.first_write == view) rewrites_ = std::max(rewrites_, s.times++);
}

void Trace::note_view(int32_t buffer, const ViewArg& v) {
  Seen& s = seen_[static_cast<size_t>(buffer)];
  const int64_t item = size_of(v.dtype);
  int64_t last = v.offset;
  bool empty = false;
  for (int d = 0; d < v.rank; ++d) {
    last += (v.sizes[d] - 1) * v.strides[d];
    empty |= v.sizes[d] == 0;
  }
  s.begin = std::min(s.begin, v.offset * item);
  s.end = std::max(s.end, empty ? v.offset * item : (last + 1) * item);
  s.item = std::max(s.item, item);
}

void Trace::record(const Op& op, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs,
                   bool in_order, std::string where) {
  check_fits(op, "operands and buffers", views.size() + buffers_.size());
  check_fits(op, "attributes", attrs.size());
  check_fits(op, "scalars", scalars.size() + scalars_.size());
  size_t need = 3 + attrs.size();
  for (const ViewArg& v : views) {
    check_fits(op, "dimensions", static_cast<size_t>(v.rank), kMaxRank);
    need += 2 + 2 * static_cast<size_t>(v.rank);
  }
  size_t at = words_.size();
  words_.resize(at + need);
  int64_t* w = words_.data() + at;
  *w++ = reinterpret_cast<int64_t>(&op);
  *w++ = static_cast<int64_t>(views.size() | attrs.size() << 32);
  *w++ = static_cast<int64_t>(scalars.size() << 1 | uint64_t{in_order});
  int outputs = op.outputs;
  for (const ViewArg& v : views) {
    const bool output = outputs-- > 0;
    int32_t number = -1;
    if (v) {
      number = number_of(*v.buffer);
      note_view(number, v);
      if (output) note_write(number, v);
    }
    *w++ = static_cast<int64_t>(number) << 32 | static_cast<int64_t>(v.dtype) << 8 | v.rank;
    if (v.offset != 0) offsets_.push_back(static_cast<size_t>(w - words_.data()));
    *w++ = v.offset;
    for (int d = 0; d < v.rank; ++d) *w++ = v.sizes[d];
    for (int d = 0; d < v.rank; ++d) *w++ = v.strides[d];
  }
  for (int64_t a : attrs) *w++ = a;
  scalars_.insert(scalars_.end(), scalars.begin(), scalars.end());
  if (!where.empty()) origins_.push_back({calls_, std::move(where)});
  ++calls_;
}

void Trace::note_caller(profile::Caller c) {
  callers_.resize(static_cast<size_t>(calls_));  // what was recorded before the profiler came is nobody's
  callers_.back() = c;
}

void Trace::seal(const Backend& backend) {
  for (size_t i = 0; i < seen_.size(); ++i) seen_[i].begin &= -std::max(seen_[i].item, backend.moves_by(buffers_[i]->bytes));
  for (size_t at : offsets_) {
    const int64_t view = words_[at - 1];
    words_[at] -= base(static_cast<int>(view >> 32)) / size_of(static_cast<DType>(view >> 8 & 0xff));
  }
  for (const BufferPin& b : buffers_) words_.push_back((b->has_bytes ? 1 : 0) | (b.get()->dead() ? 2 : 0));
}

std::vector<BufferPin> Trace::take_written() {
  std::vector<BufferPin> all = take_buffers();
  size_t n = 0;
  for (size_t i = 0; i < all.size(); ++i)
    if (writes(static_cast<int>(i))) std::swap(all[n++], all[i]);
  all.erase(all.begin() + static_cast<int64_t>(n), all.end());
  return all;
}

void Trace::clear() {
  words_.clear();
  buffers_.clear();
  seen_.clear();
  offsets_.clear();
  scalars_.clear();
  callers_.clear();
  origins_.clear();
  calls_ = rewrites_ = 0;
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
    const int views = static_cast<int>(*w & INT32_MAX), attrs = static_cast<int>(*w >> 32);
    const int scalars = static_cast<int>(w[1] >> 1);
    call.in_order = w[1] & 1;
    w += 2;
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
    first_scalar += scalars;
    calls.push_back(std::move(call));
  }
  return calls;
}

}  // namespace anygpu
