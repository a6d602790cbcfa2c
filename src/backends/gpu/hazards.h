// Where a barrier is needed: what has been touched since the last one.
#pragma once

#include <cstdint>
#include <vector>

namespace anygpu::gpu {

/// A range of an allocation.
struct Range {
  const void* buffer;
  int64_t begin, end;  // bytes
};

class Hazards {
 public:
  /// Whether to touch this must wait for something touched since clear().
  bool conflict(const Range& r, bool write) const { return meets(writes_, r) || (write && meets(reads_, r)); }
  void add(const Range& r, bool write) { (write ? writes_ : reads_).push_back(r); }
  void clear() {
    reads_.clear();
    writes_.clear();
  }
  /// Past this, looking costs more than a barrier.
  bool full() const { return reads_.size() + writes_.size() > 256; }

 private:
  static bool meets(const std::vector<Range>& all, const Range& r) {
    for (const Range& o : all)
      if (o.buffer == r.buffer && o.begin < r.end && r.begin < o.end) return true;
    return false;
  }
  std::vector<Range> reads_, writes_;
};

}  // namespace anygpu::gpu
