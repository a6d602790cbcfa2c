// Sorts along one axis: stable, NaN greatest, rows in parallel.
//
// An element becomes an unsigned key that sorts as it does (inverted where descending, so that stability holds there too), paired with
// its position. Short rows are sorted by comparison of (key, position), longer ones by radix, a byte at a time. Very long ones are first
// dealt into buckets by their leading digit: buckets fit a core's cache, and threads share them where there are fewer rows than threads.
#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

#include "backends/cpu/library/rows.h"

namespace anygpu::cpu {
namespace {

constexpr int kValues = 0, kIndices = 1, kSrc = 2;
constexpr int64_t kRadixFrom = 512;  // elements; below, comparisons are faster
constexpr int64_t kBucketsFrom = 32768;
constexpr int64_t kSortGrain = 2048;  // elements that are worth waking a thread for

enum class Coding { Unsigned, Signed, Float };

/// The bits of an element as a key of the same width. All NaNs are one key, the greatest; -0 is 0.
template <class Bits, Coding kCoding, int kMantissaBits>
Bits key_of(Bits v) {
  constexpr Bits kSign = static_cast<Bits>(Bits{1} << (8 * sizeof(Bits) - 1));
  if constexpr (kCoding == Coding::Unsigned) return v;
  if constexpr (kCoding == Coding::Signed) return v ^ kSign;
  Bits magnitude = v & static_cast<Bits>(~kSign);
  constexpr Bits kInfinity = static_cast<Bits>(static_cast<Bits>(~kSign) >> kMantissaBits << kMantissaBits);
  if (magnitude > kInfinity) return std::numeric_limits<Bits>::max();
  if (magnitude == 0) return kSign;
  return v & kSign ? static_cast<Bits>(~v) : static_cast<Bits>(v | kSign);
}

template <class Bits>
struct Item {
  Bits key;
  uint32_t position;
  bool operator<(const Item& o) const { return key != o.key ? key < o.key : position < o.position; }
};

/// Sorts items by key, keeping the order of equals; `other` has room for as many. Returns where the result lies.
template <class Bits>
Item<Bits>* radix_sort(Item<Bits>* items, Item<Bits>* other, int64_t n) {
  constexpr int kDigits = sizeof(Bits);
  uint32_t counts[kDigits][256] = {};
  for (int64_t i = 0; i < n; ++i) {
    for (int d = 0; d < kDigits; ++d) ++counts[d][items[i].key >> (8 * d) & 0xff];
  }
  for (int d = 0; d < kDigits; ++d) {
    uint32_t* count = counts[d];
    if (count[items[0].key >> (8 * d) & 0xff] == n) continue;  // one digit for all
    uint32_t at = 0;
    for (int b = 0; b < 256; ++b) {
      uint32_t c = count[b];
      count[b] = at;
      at += c;
    }
    for (int64_t i = 0; i < n; ++i) other[count[items[i].key >> (8 * d) & 0xff]++] = items[i];
    std::swap(items, other);
  }
  return items;
}

/// As radix_sort; the result lies in `other`.
template <class Bits>
void bucket_sort(CpuLibrary& library, Item<Bits>* items, Item<Bits>* other, int64_t n) {
  Bits varying = 0;
  for (int64_t i = 0; i < n; ++i) varying |= static_cast<Bits>(items[i].key ^ items[0].key);
  const int shift = std::max(0, static_cast<int>(std::bit_width(varying)) - 8);
  uint32_t ends[256] = {};
  for (int64_t i = 0; i < n; ++i) ++ends[items[i].key >> shift & 0xff];
  uint32_t at = 0;
  for (uint32_t& end : ends) at += std::exchange(end, at);  // now where the bucket begins; counted up to its end below
  for (int64_t i = 0; i < n; ++i) other[ends[items[i].key >> shift & 0xff]++] = items[i];
  parallel_for(library, 256, 8, [&](int64_t first, int64_t last) {
    for (int64_t b = first; b < last; ++b) {
      const int64_t begin = b ? ends[b - 1] : 0, length = ends[b] - begin;
      if (length < kRadixFrom) {
        std::sort(other + begin, other + begin + length);
      } else if (radix_sort(other + begin, items + begin, length) != other + begin) {
        std::copy_n(items + begin, length, other + begin);
      }
    }
  });
}

template <class Bits, Coding kCoding, int kMantissaBits = 0>
class Sort final : public PreparedNamed {
 public:
  Sort(const ir::Named& named, CpuLibrary& library)
      : library_(library), operands_(named.operands), rows_(operands_, named.attrs.axis, kSrc), descending_(named.attrs.descending) {}

  void run(const Memory* slots) override {
    if (rows_.count() == 0 || rows_.length() == 0) return;
    Bits* values = data_of<Bits>(operands_[kValues], slots);
    int64_t* indices = data_of<int64_t>(operands_[kIndices], slots);
    const Bits* src = data_of<Bits>(operands_[kSrc], slots);
    std::atomic<bool> out_of_memory{false};
    parallel_for(library_, rows_.count(), std::max<int64_t>(1, kSortGrain / rows_.length()), [&](int64_t begin, int64_t end) {
      try {
        Work work(rows_.length());
        for (int64_t r = begin; r < end; ++r) run_row(work, values, indices, src, r);
      } catch (const std::bad_alloc&) {
        out_of_memory = true;
      }
    });
    if (out_of_memory)
      throw Error(ErrorKind::OutOfMemory, "[sort] no memory to sort rows of " + std::to_string(rows_.length()) + " elements");
  }

 private:
  struct Work {
    explicit Work(int64_t n) : row(new Bits[n]), items(new Item<Bits>[n]), other(n < kRadixFrom ? nullptr : new Item<Bits>[n]) {}
    std::unique_ptr<Bits[]> row;
    std::unique_ptr<Item<Bits>[]> items, other;
  };

  void run_row(Work& work, Bits* values, int64_t* indices, const Bits* src, int64_t r) const {
    const int64_t n = rows_.length();
    src += rows_.start(kSrc, r);
    for (int64_t i = 0; i < n; ++i) {
      Bits v = src[i * rows_.step(kSrc)];
      Bits key = key_of<Bits, kCoding, kMantissaBits>(v);
      work.row[i] = v;
      work.items[i] = {descending_ ? static_cast<Bits>(~key) : key, static_cast<uint32_t>(i)};
    }
    const Item<Bits>* sorted = work.items.get();
    if (n < kRadixFrom)
      std::sort(work.items.get(), work.items.get() + n);
    else if (n >= kBucketsFrom)
      bucket_sort(library_, work.items.get(), work.other.get(), n), sorted = work.other.get();
    else
      sorted = radix_sort(work.items.get(), work.other.get(), n);
    if (values) {
      values += rows_.start(kValues, r);
      for (int64_t i = 0; i < n; ++i) values[i * rows_.step(kValues)] = work.row[sorted[i].position];
    }
    if (indices) {
      indices += rows_.start(kIndices, r);
      for (int64_t i = 0; i < n; ++i) indices[i * rows_.step(kIndices)] = sorted[i].position;
    }
  }

  CpuLibrary& library_;
  std::vector<ir::Operand> operands_;
  Rows rows_;
  bool descending_;
};

}  // namespace

bool supports_sort(const ir::Named& named) {
  const ir::Operand& src = named.operands[kSrc];
  return !is_complex(src.dtype) && (src.rank() == 0 || src.sizes[named.attrs.axis] <= std::numeric_limits<uint32_t>::max());
}

std::unique_ptr<PreparedNamed> prepare_sort(const ir::Named& named, CpuLibrary& library) {
  switch (named.operands[kSrc].dtype) {
    case DType::Bool:
    case DType::U8:
      return std::make_unique<Sort<uint8_t, Coding::Unsigned>>(named, library);
    case DType::I8:
      return std::make_unique<Sort<uint8_t, Coding::Signed>>(named, library);
    case DType::I16:
      return std::make_unique<Sort<uint16_t, Coding::Signed>>(named, library);
    case DType::I32:
      return std::make_unique<Sort<uint32_t, Coding::Signed>>(named, library);
    case DType::I64:
      return std::make_unique<Sort<uint64_t, Coding::Signed>>(named, library);
    case DType::F16:
      return std::make_unique<Sort<uint16_t, Coding::Float, 10>>(named, library);
    case DType::BF16:
      return std::make_unique<Sort<uint16_t, Coding::Float, 7>>(named, library);
    case DType::F32:
      return std::make_unique<Sort<uint32_t, Coding::Float, 23>>(named, library);
    case DType::F64:
      return std::make_unique<Sort<uint64_t, Coding::Float, 52>>(named, library);
    default:
      throw Error(ErrorKind::Internal, std::string("[sort] does not order ") + name_of(named.operands[kSrc].dtype));
  }
}

}  // namespace anygpu::cpu
