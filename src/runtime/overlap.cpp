#include "runtime/overlap.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

namespace anygpu {

namespace {

struct Stretch {
  int64_t stride, size;
};

/// Extent in elements: [low, high].
void range_of(const ir::Access& a, const Dims& sizes, int64_t& low, int64_t& high) {
  low = high = a.offset;
  for (int d = 0; d < sizes.size(); ++d) {
    int64_t span = a.strides[d] * (sizes[d] - 1);
    (span < 0 ? low : high) += span;
  }
}

/// Walked dimensions by falling stride, neighbours that form one run joined.
std::vector<Stretch> runs_of(const ir::Access& a, const Dims& sizes) {
  std::vector<Stretch> r;
  for (int d = 0; d < sizes.size(); ++d)
    if (a.strides[d] != 0 && sizes[d] > 1) r.push_back({std::abs(a.strides[d]), sizes[d]});
  std::sort(r.begin(), r.end(), [](const Stretch& x, const Stretch& y) { return x.stride > y.stride; });
  for (size_t i = r.size(); i-- > 1;)
    if (r[i - 1].stride == r[i].stride * r[i].size) {
      r[i - 1] = {r[i].stride, r[i - 1].size * r[i].size};
      r.erase(r.begin() + static_cast<int64_t>(i));
    }
  return r;
}

/// Boxes in one grid: rows of the same strides, such as two column blocks of one matrix.
bool disjoint_boxes(const std::vector<Stretch>& a, const std::vector<Stretch>& b, int64_t a_low, int64_t b_low) {
  if (a_low > b_low) return disjoint_boxes(b, a, b_low, a_low);
  // Strides of either side, falling, each the multiple of the next: a mixed-radix system in which a start has digits.
  std::vector<int64_t> strides;
  for (const Stretch& r : a) strides.push_back(r.stride);
  for (const Stretch& r : b) strides.push_back(r.stride);
  std::sort(strides.rbegin(), strides.rend());
  strides.erase(std::unique(strides.begin(), strides.end()), strides.end());
  for (size_t i = 1; i < strides.size(); ++i)
    if (strides[i - 1] % strides[i]) return false;
  auto size_in = [](const std::vector<Stretch>& runs, int64_t stride) {
    for (const Stretch& r : runs)
      if (r.stride == stride) return r.size;
    return int64_t{1};
  };
  int64_t diff = b_low - a_low;
  std::vector<int64_t> digit(strides.size());
  for (size_t i = 0; i < strides.size(); ++i) {
    digit[i] = diff / strides[i];
    diff %= strides[i];
  }
  // No carries: from the common base, either box must stay inside its digit's radix everywhere but at the top.
  for (size_t i = 1; i < strides.size(); ++i) {
    int64_t radix = strides[i - 1] / strides[i];
    if (size_in(a, strides[i]) > radix || digit[i] + size_in(b, strides[i]) > radix) return false;
  }
  if (diff != 0) return true;
  for (size_t i = 0; i < strides.size(); ++i)
    if (digit[i] >= size_in(a, strides[i])) return true;
  return false;
}

}  // namespace

bool may_overlap(const ir::Access& a, const Dims& a_sizes, const ir::Access& b, const Dims& b_sizes) {
  if (a.slot != b.slot) return false;
  if (product(a_sizes) == 0 || product(b_sizes) == 0) return false;
  int64_t al, ah, bl, bh;
  range_of(a, a_sizes, al, ah);
  range_of(b, b_sizes, bl, bh);
  int64_t as = size_of(a.dtype), bs = size_of(b.dtype);
  if ((ah + 1) * as <= bl * bs || (bh + 1) * bs <= al * as) return false;
  if (as != bs) return true;
  return !disjoint_boxes(runs_of(a, a_sizes), runs_of(b, b_sizes), al, bl);
}

}  // namespace anygpu
