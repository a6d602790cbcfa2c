// The Trace being recorded: a flat list of words that is at once the record and the Plan cache's key.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anygpu/buffer.h"
#include "anygpu/ops.h"
#include "anygpu/profile.h"
#include "ir/named.h"

namespace anygpu {

class Backend;

/// Where a call was recorded, for people.
struct Origin {
  int32_t call;
  std::string where;
};

/// Words of one call: the Op's address; how many views and attrs (32 bits each); how many scalars, and below whether it runs in order; per
/// view {buffer number (32 bits; -1: absent), dtype (8), rank (8)}, offset, sizes, strides; attrs. Buffers are numbered by first appearance, and once
/// sealed, offsets count from the first byte that a Trace sees of a Buffer: so two rounds of a training loop give equal words though their
/// Buffers differ, and so do x[3] += 1 and x[5] += 1.
class Trace {
 public:
  /// Throws, and records nothing, where a count does not fit its place. `where`: empty, or kept beside the words.
  void record(const Op&, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs, bool in_order,
              std::string where = {});

  /// Says who recorded the last call.
  void note_caller(profile::Caller);

  bool empty() const { return calls_ == 0; }
  int calls() const { return calls_; }
  /// Bytes of the Buffers that appear for the first time in this Trace without having any bytes yet.
  int64_t new_bytes() const { return new_bytes_; }
  bool mentions(const Buffer& b) const { return b.trace_id == id_; }
  /// How often some View has been written again. A loop over one that nobody reads makes equal Traces if they end at a number of these.
  int rewrites() const { return rewrites_; }
  /// Whether some call writes Buffer i.
  bool writes(int i) const { return seen_[static_cast<size_t>(i)].times > 0; }
  /// Of a sealed Trace: the byte of Buffer i from which offsets count, and how many from there on are seen.
  int64_t base(int i) const { return seen_[static_cast<size_t>(i)].begin; }
  int64_t extent(int i) const { return seen_[static_cast<size_t>(i)].end - base(i); }

  /// Appends to the words what the Plan depends on beyond the calls: which Buffers have bytes, and which are dead by now.
  void seal(const Backend&);
  /// Starts the next Trace; keeps the vectors' capacity.
  void clear();

  const std::vector<int64_t>& words() const { return words_; }
  const std::vector<BufferPin>& buffers() const { return buffers_; }
  const std::vector<Scalar>& scalars() const { return scalars_; }
  std::vector<BufferPin> take_buffers() { return std::move(buffers_); }
  /// Of these, what some call writes.
  std::vector<BufferPin> take_written();
  std::vector<Scalar> take_scalars() { return std::move(scalars_); }
  /// By call; shorter than the calls where the last ones are not known.
  std::vector<profile::Caller> take_callers() { return std::move(callers_); }
  std::vector<Origin> take_origins() { return std::move(origins_); }

  /// Walks sealed words.
  struct Call {
    const Op* op;
    std::vector<ir::Operand> views;  // slot = buffer number, -1 where absent
    std::vector<int64_t> attrs;
    int first_scalar, scalars;
    bool in_order;
  };
  std::vector<Call> decode() const;
  bool buffer_has_bytes(int i) const { return words_[words_.size() - buffers_.size() + static_cast<size_t>(i)] & 1; }
  bool buffer_dies(int i) const { return words_[words_.size() - buffers_.size() + static_cast<size_t>(i)] & 2; }

 private:
  int32_t number_of(Buffer&);
  void note_view(int32_t buffer, const ViewArg&);
  void note_write(int32_t buffer, const ViewArg&);

  /// What the calls see of a Buffer.
  struct Seen {
    int64_t begin = INT64_MAX, end = 0;  // bytes
    int64_t item = 1;                    // the largest element's bytes
    uint64_t first_write = 0;            // a hash of where and how it is first written
    int32_t times = 0;                   // how often so
  };
  std::vector<int64_t> words_;
  std::vector<BufferPin> buffers_;
  std::vector<Seen> seen_;        // by Buffer
  std::vector<size_t> offsets_;   // words that are offsets other than 0
  std::vector<Scalar> scalars_;
  std::vector<profile::Caller> callers_;  // empty where no profiler is on
  std::vector<Origin> origins_;   // of the calls that have one, in order
  int calls_ = 0, rewrites_ = 0;
  int64_t new_bytes_ = 0;
  uint64_t id_ = next_id();
  static uint64_t next_id();
};

}  // namespace anygpu
