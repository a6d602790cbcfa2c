// Scans: running sums, products, extrema and log-sum-exps along one axis, rows in parallel.
//
// A stretch of elements is converted to what they are accumulated in (double for floats, i64 for the rest), scanned, and converted
// to dst's type. Along a dense axis the stretch is part of a row; along any other it is a line of neighbouring rows, all one step
// further, so that memory is met in its order.
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/library/rows.h"
#include "backends/cpu/library/small_floats.h"

namespace anygpu::cpu {
namespace {

using ir::ScanKind;

constexpr int64_t kStretch = 256;
constexpr int64_t kScanGrain = 8192;  // elements that are worth waking a thread for

template <class A>
using Load = void (*)(const char* at, int64_t step, int64_t n, A* out);
template <class A>
using Store = void (*)(char* at, int64_t step, int64_t n, const A* in);

// How an element of each dtype is kept.
struct F16 {
  uint16_t bits;
};
struct BF16 {
  uint16_t bits;
};

inline double widen(F16 v) {
  return f16_to_float(v.bits);
}
inline double widen(BF16 v) {
  return bf16_to_float(v.bits);
}
inline double widen(float v) {
  return v;
}
inline double widen(double v) {
  return v;
}
template <class T>
int64_t widen(T v) {
  return static_cast<int64_t>(v);
}

/// ir::ExprOp::Cast to i64: truncates, saturates, NaN is 0.
inline int64_t to_integer(double v) {
  if (v != v) return 0;
  if (v >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (v < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}
inline int64_t to_integer(int64_t v) {
  return v;
}

/// The elements of type T as A. With kThroughFloat they become f32 first: what dst computes in.
template <class A, class T, bool kThroughFloat>
void load(const char* at, int64_t step, int64_t n, A* out) {
  const T* p = reinterpret_cast<const T*>(at);
  for (int64_t i = 0; i < n; ++i) {
    auto v = widen(p[i * step]);
    if constexpr (std::is_same_v<A, int64_t>)
      out[i] = to_integer(v);
    else
      out[i] = kThroughFloat ? static_cast<float>(v) : static_cast<double>(v);
  }
}

template <class A, class T>
void store(char* at, int64_t step, int64_t n, const A* in) {
  T* p = reinterpret_cast<T*>(at);
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (std::is_same_v<T, F16>)
      p[i * step] = {float_to_f16(static_cast<float>(in[i]))};
    else if constexpr (std::is_same_v<T, BF16>)
      p[i * step] = {float_to_bf16(static_cast<float>(in[i]))};
    else if constexpr (std::is_same_v<T, bool>)
      p[i * step] = static_cast<uint8_t>(in[i]) != 0;
    else
      p[i * step] = static_cast<T>(in[i]);
  }
}

template <class A>
Load<A> load_of(DType t, bool through_float) {
#define ANYGPU_LOAD(type, T) \
  case DType::type:          \
    return through_float ? load<A, T, true> : load<A, T, false>;
  switch (t) {
    ANYGPU_LOAD(Bool, uint8_t)
    ANYGPU_LOAD(U8, uint8_t)
    ANYGPU_LOAD(I8, int8_t)
    ANYGPU_LOAD(I16, int16_t)
    ANYGPU_LOAD(I32, int32_t)
    ANYGPU_LOAD(I64, int64_t)
    ANYGPU_LOAD(F16, F16)
    ANYGPU_LOAD(BF16, BF16)
    ANYGPU_LOAD(F32, float)
    ANYGPU_LOAD(F64, double)
    default:
      return nullptr;
  }
#undef ANYGPU_LOAD
}

Store<double> store_float(DType t) {
  switch (t) {
    case DType::F16:
      return store<double, F16>;
    case DType::BF16:
      return store<double, BF16>;
    case DType::F32:
      return store<double, float>;
    default:
      return store<double, double>;
  }
}

Store<int64_t> store_integer(DType t) {
  switch (t) {
    case DType::Bool:
      return store<int64_t, bool>;
    case DType::U8:
      return store<int64_t, uint8_t>;
    case DType::I8:
      return store<int64_t, int8_t>;
    case DType::I16:
      return store<int64_t, int16_t>;
    case DType::I32:
      return store<int64_t, int32_t>;
    default:
      return store<int64_t, int64_t>;
  }
}

inline double log_add_exp(double a, double b) {
  double low = std::min(a, b), high = std::max(a, b);
  if (a != a || b != b) return a + b;
  if (low == high && std::isinf(low)) return low;
  return high + std::log1p(std::exp(low - high));
}

template <class A>
A accumulate(ScanKind kind, A a, A x) {
  if constexpr (std::is_same_v<A, int64_t>) {
    auto u = [](int64_t v) { return static_cast<uint64_t>(v); };  // integers wrap
    return static_cast<A>(kind == ScanKind::Sum ? u(a) + u(x) : u(a) * u(x));
  } else {
    return kind == ScanKind::Sum ? a + x : kind == ScanKind::Prod ? a * x : log_add_exp(a, x);
  }
}

/// Whether x takes the place of the extremum so far: the later of equals does, a NaN does, and none but a NaN follows a NaN.
template <ScanKind kKind, class A>
bool displaces(A x, A so_far) {
  return (kKind == ScanKind::Max ? x >= so_far : x <= so_far) || x != x;
}

/// One stretch in place along a row. `j` is the first element's position; `carry` and `from` lead from stretch to stretch.
template <ScanKind kKind, class A>
void scan_row(A* v, int64_t* indices, int64_t n, int64_t j, A& carry, int64_t& from) {
  A a = carry;
  int64_t i = 0, f = from;
  if (j == 0) a = v[0], f = 0, i = 1;
  if constexpr (kKind == ScanKind::Max || kKind == ScanKind::Min) {
    if (i == 1) indices[0] = 0;
    for (; i < n; ++i) {
      if (displaces<kKind>(v[i], a)) a = v[i], f = j + i;
      v[i] = a;
      indices[i] = f;
    }
  } else {
    for (; i < n; ++i) v[i] = a = accumulate(kKind, a, v[i]);
  }
  carry = a;
  from = f;
}

/// One stretch across rows, all at position j.
template <ScanKind kKind, class A>
void scan_across(const A* v, A* carry, int64_t* from, int64_t n, int64_t j) {
  if (j == 0) {
    std::copy_n(v, n, carry);
    std::fill_n(from, n, 0);
    return;
  }
  for (int64_t i = 0; i < n; ++i) {
    if constexpr (kKind == ScanKind::Max || kKind == ScanKind::Min) {
      bool take = displaces<kKind>(v[i], carry[i]);
      carry[i] = take ? v[i] : carry[i];
      from[i] = take ? j : from[i];
    } else {
      carry[i] = accumulate(kKind, carry[i], v[i]);
    }
  }
}

template <class A>
class Scan final : public PreparedNamed {
 public:
  Scan(const ir::Named& named, CpuLibrary& library, Load<A> load, Store<A> store)
      : library_(library), operands_(named.operands), rows_(operands_, named.attrs.axis, kSrc), load_(load), store_(store) {
    operands_.resize(3);
    switch (named.attrs.scan) {
      case ScanKind::Sum:
        use<ScanKind::Sum>();
        break;
      case ScanKind::Prod:
        use<ScanKind::Prod>();
        break;
      case ScanKind::Max:
        use<ScanKind::Max>();
        break;
      case ScanKind::Min:
        use<ScanKind::Min>();
        break;
      case ScanKind::LogAddExp:
        use<ScanKind::LogAddExp>();
        break;
    }
  }

  void run(const Memory* slots) override {
    if (rows_.count() == 0 || rows_.length() == 0) return;
    Bound b{data_of<char>(operands_[kDst], slots), data_of<char>(operands_[kSrc], slots), data_of<int64_t>(operands_[kIndices], slots)};
    bool across = rows_.line() > 1 && rows_.line_step(kSrc) < rows_.step(kSrc);
    if (!across) {
      parallel_for(library_, rows_.count(), std::max<int64_t>(1, kScanGrain / rows_.length()), [&](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; ++r) run_row(b, r);
      });
      return;
    }
    int64_t strips = (rows_.line() + kStretch - 1) / kStretch, width = std::min(rows_.line(), kStretch);
    parallel_for(library_, rows_.count() / rows_.line() * strips, std::max<int64_t>(1, kScanGrain / (rows_.length() * width)),
                 [&](int64_t begin, int64_t end) {
                   for (int64_t s = begin; s < end; ++s) {
                     int64_t first = s % strips * kStretch;
                     run_strip(b, s / strips * rows_.line() + first, std::min(kStretch, rows_.line() - first));
                   }
                 });
  }

 private:
  static constexpr int kDst = 0, kSrc = 1, kIndices = 2;

  struct Bound {
    char* dst;
    const char* src;
    int64_t* indices;
  };

  template <ScanKind kKind>
  void use() {
    scan_row_ = scan_row<kKind, A>;
    scan_across_ = scan_across<kKind, A>;
  }

  int64_t bytes(int operand) const { return size_of(operands_[operand].dtype); }

  void run_row(const Bound& b, int64_t r) const {
    A values[kStretch], carry{};
    int64_t indices[kStretch], from = 0;
    const int64_t dst = rows_.start(kDst, r), src = rows_.start(kSrc, r), index = rows_.start(kIndices, r);
    for (int64_t j = 0; j < rows_.length(); j += kStretch) {
      int64_t n = std::min(kStretch, rows_.length() - j);
      load_(b.src + (src + j * rows_.step(kSrc)) * bytes(kSrc), rows_.step(kSrc), n, values);
      scan_row_(values, indices, n, j, carry, from);
      store_(b.dst + (dst + j * rows_.step(kDst)) * bytes(kDst), rows_.step(kDst), n, values);
      if (!b.indices) continue;
      for (int64_t i = 0; i < n; ++i) b.indices[index + (j + i) * rows_.step(kIndices)] = indices[i];
    }
  }

  void run_strip(const Bound& b, int64_t r, int64_t n) const {
    A values[kStretch], carry[kStretch];
    int64_t from[kStretch];
    const int64_t dst = rows_.start(kDst, r), src = rows_.start(kSrc, r), index = rows_.start(kIndices, r);
    for (int64_t j = 0; j < rows_.length(); ++j) {
      load_(b.src + (src + j * rows_.step(kSrc)) * bytes(kSrc), rows_.line_step(kSrc), n, values);
      scan_across_(values, carry, from, n, j);
      store_(b.dst + (dst + j * rows_.step(kDst)) * bytes(kDst), rows_.line_step(kDst), n, carry);
      if (!b.indices) continue;
      for (int64_t i = 0; i < n; ++i) b.indices[index + j * rows_.step(kIndices) + i * rows_.line_step(kIndices)] = from[i];
    }
  }

  CpuLibrary& library_;
  std::vector<ir::Operand> operands_;
  Rows rows_;
  Load<A> load_;
  Store<A> store_;
  void (*scan_row_)(A*, int64_t*, int64_t, int64_t, A&, int64_t&) = nullptr;
  void (*scan_across_)(const A*, A*, int64_t*, int64_t, int64_t) = nullptr;
};

}  // namespace

bool supports_scan(const ir::Named& named) {
  for (const ir::Operand& o : named.operands) {
    if (o.slot >= 0 && is_complex(o.dtype)) return false;
  }
  return true;
}

std::unique_ptr<PreparedNamed> prepare_scan(const ir::Named& named, CpuLibrary& library) {
  DType dst = named.operands[0].dtype, src = named.operands[1].dtype;
  if (is_float(dst)) return std::make_unique<Scan<double>>(named, library, load_of<double>(src, dst != DType::F64), store_float(dst));
  return std::make_unique<Scan<int64_t>>(named, library, load_of<int64_t>(src, false), store_integer(dst));
}

}  // namespace anygpu::cpu
