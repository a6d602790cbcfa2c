// Nameds by plain loops. Floats accumulate in f64, integers wrap in 64 bits.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "backends/reference/interpreter.h"

namespace anygpu::reference {
namespace {

using ir::Named;
using ir::NamedKind;
using ir::ScanKind;

/// An operand bound to memory.
class Array {
 public:
  Array() = default;
  Array(const ir::Operand& o, const Bindings& b) : o_(&o), base_(static_cast<char*>(b.slots[o.slot].handle) + b.slots[o.slot].offset) {
    int64_t last = o.offset, first = o.offset;
    for (int d = 0; d < o.rank(); ++d) {
      if (o.sizes[d] == 0) return;
      (o.strides[d] < 0 ? first : last) += (o.sizes[d] - 1) * o.strides[d];
    }
    if (first < 0 || (last + 1) * size_of(o.dtype) > b.slots[o.slot].bytes) {
      throw Error(ErrorKind::Internal, "[reference] an operand reaches element " + std::to_string(last) + " of slot " +
                                           std::to_string(o.slot) + ", which has " + std::to_string(b.slots[o.slot].bytes) + " bytes");
    }
  }
  explicit operator bool() const { return o_ != nullptr; }
  DType dtype() const { return o_->dtype; }
  int rank() const { return o_->rank(); }
  int64_t size(int d) const { return o_->sizes[d]; }
  const Dims& sizes() const { return o_->sizes; }

  Value value(const Dims& at) const { return load(o_->dtype, address(at)); }
  void set(const Dims& at, Value v) const { store(o_->dtype, address(at), v); }
  /// As what T accumulates: double or int64_t.
  template <class T>
  T get(const Dims& at) const {
    if constexpr (std::is_same_v<T, double>) return to_double(value(at), o_->dtype);
    return is_float(o_->dtype) ? static_cast<T>(truncate(to_double(value(at), o_->dtype))) : static_cast<T>(value(at).i);
  }
  void put(const Dims& at, double v) const { set(at, from_double(v, o_->dtype)); }
  void put(const Dims& at, int64_t v) const { set(at, cast({.i = v}, DType::I64, o_->dtype)); }

 private:
  char* address(const Dims& at) const {
    int64_t element = o_->offset;
    for (int d = 0; d < at.size(); ++d) element += at[d] * o_->strides[d];
    if (o_->block > 1) {  // [b][plane] to [plane][b]
      const int64_t plane = o_->strides[1], in_block = element % (o_->block * plane);
      element += in_block % plane * o_->block + in_block / plane - in_block;
    }
    return base_ + element * size_of(o_->dtype);
  }
  const ir::Operand* o_ = nullptr;
  char* base_ = nullptr;
};

/// Calls f(index) for each index below sizes, in row-major order.
template <class F>
void for_each(const Dims& sizes, F f) {
  if (product(sizes) == 0) return;
  Dims at = Dims::filled(sizes.size(), 0);
  for (;;) {
    f(at);
    int d = sizes.size() - 1;
    while (d >= 0 && ++at[d] == sizes[d]) at[d--] = 0;
    if (d < 0) return;
  }
}

// Integer sums wrap: done unsigned, where overflow is defined.
double add(double a, double b) {
  return a + b;
}
int64_t add(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
}
double mul(double a, double b) {
  return a * b;
}
double divide(double a, int64_t b) {
  return a / static_cast<double>(b);
}
int64_t divide(int64_t a, int64_t b) {
  return b == 0 ? 0 : a / b;
}  // as ExprOp::Div
int64_t mul(int64_t a, int64_t b) {
  return static_cast<int64_t>(static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
}

template <class T>
void matmul(const Array& dst, const Array& lhs, const Array& rhs, const Array& bias) {
  const int r = dst.rank();
  for_each(dst.sizes(), [&](const Dims& at) {
    T sum = 0;
    Dims l = at, m = at;
    for (int64_t k = 0; k < lhs.size(r - 1); ++k) {
      l[r - 1] = m[r - 2] = k;
      sum = add(sum, mul(lhs.get<T>(l), rhs.get<T>(m)));
    }
    if (bias) sum = add(sum, bias.get<T>(at));
    dst.put(at, sum);
  });
}

Dims spatial_of(const Dims& sizes) {
  return Dims(sizes.data() + 2, sizes.size() - 2);
}

Dims join(int64_t a, int64_t b, const Dims& rest) {
  Dims d{a, b};
  for (int64_t x : rest) d.push_back(x);
  return d;
}

/// Calls f(o, k, i) for each output position, window position and the source position that they meet at.
template <class F>
void for_each_window(const ir::NamedAttrs& attrs, const Dims& outputs, const Dims& kernel, const Dims& sources, bool dilated, F f) {
  for_each(outputs, [&](const Dims& o) {
    for_each(kernel, [&](const Dims& k) {
      Dims i = o;
      for (int d = 0; d < o.size(); ++d) {
        i[d] = o[d] * attrs.stride[d] - attrs.padding[d] + k[d] * (dilated ? attrs.dilation[d] : 1);
        if (i[d] < 0 || i[d] >= sources[d]) return;
      }
      f(o, k, i);
    });
  });
}

/// Sums into a dense array of T, then rounds into dst once.
template <class T>
class Sums {
 public:
  explicit Sums(const Array& dst) : dst_(dst), strides_(contiguous_strides(dst.sizes())), sums_(product(dst.sizes()), T{0}) {}
  T& operator[](const Dims& at) {
    int64_t i = 0;
    for (int d = 0; d < at.size(); ++d) i += at[d] * strides_[d];
    return sums_[i];
  }
  void round_into_dst() {
    for_each(dst_.sizes(), [&](const Dims& at) { dst_.put(at, (*this)[at]); });
  }

 private:
  const Array& dst_;
  Dims strides_;
  std::vector<T> sums_;
};

/// The forward convolution and its two gradients are one sum of products; they differ in which of the three is summed into.
template <class T>
void conv(const Named& n, const Array& dst, const Array& src, const Array& weight, const Array& bias, NamedKind into) {
  const int64_t groups = n.attrs.groups;
  const Array& target = into == NamedKind::Conv ? dst : into == NamedKind::ConvSrcGrad ? src : weight;
  Sums<T> sums(target);
  const int64_t oc_of_group = dst.size(1) / groups, ic_of_group = src.size(1) / groups;
  for (int64_t b = 0; b < dst.size(0); ++b) {
    for (int64_t oc = 0; oc < dst.size(1); ++oc) {
      for (int64_t ic = 0; ic < ic_of_group; ++ic) {
        const int64_t source_channel = oc / oc_of_group * ic_of_group + ic;
        for_each_window(n.attrs, spatial_of(dst.sizes()), spatial_of(weight.sizes()), spatial_of(src.sizes()), true,
                        [&](const Dims& o, const Dims& k, const Dims& i) {
                          const Dims y = join(b, oc, o), x = join(b, source_channel, i), w = join(oc, ic, k);
                          if (into == NamedKind::Conv) sums[y] = add(sums[y], mul(src.get<T>(x), weight.get<T>(w)));
                          if (into == NamedKind::ConvSrcGrad) sums[x] = add(sums[x], mul(dst.get<T>(y), weight.get<T>(w)));
                          if (into == NamedKind::ConvWeightGrad) sums[w] = add(sums[w], mul(dst.get<T>(y), src.get<T>(x)));
                        });
      }
    }
  }
  if (bias) for_each(dst.sizes(), [&](const Dims& y) { sums[y] = add(sums[y], bias.get<T>({y[1]})); });
  sums.round_into_dst();
}

/// By how much the window at o divides. It is cut where the padding ends, as PyTorch's ceil_mode needs.
int64_t divisor(const ir::NamedAttrs& attrs, const Dims& o, const Dims& sources) {
  if (attrs.divisor_override) return attrs.divisor_override;
  int64_t count = 1;
  for (int d = 0; d < o.size(); ++d) {
    int64_t begin = o[d] * attrs.stride[d] - attrs.padding[d];
    int64_t end = std::min(begin + attrs.kernel[d], sources[d] + attrs.padding[d]);
    if (!attrs.count_include_pad) {
      begin = std::max<int64_t>(begin, 0);
      end = std::min(end, sources[d]);
    }
    count *= std::max<int64_t>(end - begin, 0);
  }
  return std::max<int64_t>(count, 1);  // an empty window averages to 0
}

template <class T>
void avg_pool(const Named& n, const Array& dst, const Array& src, bool gradient) {
  const Dims sources = spatial_of(src.sizes());
  Sums<T> sums(gradient ? src : dst);
  for (int64_t b = 0; b < dst.size(0); ++b) {
    for (int64_t c = 0; c < dst.size(1); ++c) {
      for_each_window(n.attrs, spatial_of(dst.sizes()), n.attrs.kernel, sources, false, [&](const Dims& o, const Dims&, const Dims& i) {
        const Dims y = join(b, c, o), x = join(b, c, i);
        if (gradient) {
          sums[x] = add(sums[x], divide(dst.get<T>(y), divisor(n.attrs, o, sources)));
        } else {
          sums[y] = add(sums[y], src.get<T>(x));
        }
      });
    }
  }
  if (!gradient) {
    for_each(dst.sizes(), [&](const Dims& y) {
      int64_t by = divisor(n.attrs, spatial_of(y), sources);
      if constexpr (std::is_same_v<T, int64_t>) {  // integers wrap at their own width before they divide
        sums[y] = wrap(dst.dtype(), sums[y]);
        by = wrap(dst.dtype(), by);
      }
      sums[y] = divide(sums[y], by);
    });
  }
  sums.round_into_dst();
}

double log_add_exp(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return a + b;
  const double m = std::max(a, b), l = std::min(a, b);
  return std::isinf(m) ? m : m + std::log1p(std::exp(l - m));
}

template <class T>
void scan(const Named& n, const Array& dst, const Array& src, const Array& indices) {
  const ScanKind kind = n.attrs.scan;
  const int axis = n.attrs.axis;
  Dims lines = src.sizes();
  const int64_t length = src.size(axis);
  lines[axis] = std::min<int64_t>(length, 1);
  for_each(lines, [&](Dims at) {
    T so_far = 0;
    int64_t from = 0;
    for (int64_t j = 0; j < length; ++j) {
      at[axis] = j;
      // Bool counts as 0 and 1; other types convert to dst's before they are added, as the lowering does.
      const Value own = cast(src.value(at), src.dtype(), compute_type(dst.dtype() == DType::Bool ? DType::U8 : dst.dtype()));
      const DType c = compute_type(dst.dtype() == DType::Bool ? DType::U8 : dst.dtype());
      T x;
      if constexpr (std::is_same_v<T, double>) {
        x = to_double(own, c);
      } else {
        x = own.i;
      }
      bool take = j == 0;
      if constexpr (std::is_same_v<T, double>) {
        if (kind == ScanKind::Max) take |= std::isnan(x) || x >= so_far;  // a NaN so far is not passed: the comparison is false
        if (kind == ScanKind::Min) take |= std::isnan(x) || x <= so_far;
        if (kind == ScanKind::LogAddExp) so_far = j == 0 ? x : log_add_exp(so_far, x);
      } else {
        if (kind == ScanKind::Max) take |= x >= so_far;
        if (kind == ScanKind::Min) take |= x <= so_far;
      }
      if (kind == ScanKind::Sum) so_far = j == 0 ? x : add(so_far, x);
      if (kind == ScanKind::Prod) so_far = j == 0 ? x : mul(so_far, x);
      if ((kind == ScanKind::Max || kind == ScanKind::Min) && take) so_far = x, from = j;
      if constexpr (std::is_same_v<T, double>) {
        dst.put(at, so_far);
      } else {
        dst.set(at, cast({.i = wrap(c, so_far)}, c, dst.dtype()));
      }
      if (indices) indices.put(at, from);
    }
  });
}

void sort(const Named& n, const Array& values, const Array& indices, const Array& src) {
  const int axis = n.attrs.axis;
  Dims lines = src.sizes();
  const int64_t length = src.size(axis);
  lines[axis] = std::min<int64_t>(length, 1);
  std::vector<Value> line(length);
  std::vector<int64_t> order(length);
  const DType t = src.dtype();
  auto less = [&](int64_t i, int64_t j) {
    if (!is_float(t)) return line[i].i < line[j].i;
    const double a = to_double(line[i], t), b = to_double(line[j], t);
    return a < b || (std::isnan(b) && !std::isnan(a));
  };
  for_each(lines, [&](Dims at) {
    for (int64_t j = 0; j < length; ++j) {
      at[axis] = j;
      line[j] = src.value(at);
    }
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) { return n.attrs.descending ? less(j, i) : less(i, j); });
    for (int64_t j = 0; j < length; ++j) {
      at[axis] = j;
      values.set(at, line[order[j]]);
      indices.put(at, order[j]);
    }
  });
}

/// The scores of one query, as probabilities; all 0 where nothing is seen. Returns their log-sum-exp.
double attention_row(const Named& n, const Array& q, const Array& k, const Array& mask, int64_t b, int64_t h, int64_t t,
                     std::vector<double>& p) {
  const int64_t kv = h / (q.size(1) / k.size(1));
  double top = -std::numeric_limits<double>::infinity();
  for (int64_t s = 0; s < k.size(2); ++s) {
    double x = 0;
    for (int64_t d = 0; d < q.size(3); ++d) x += q.get<double>({b, h, t, d}) * k.get<double>({b, kv, s, d});
    x *= n.attrs.scale;
    if (mask && mask.dtype() == DType::Bool && !mask.value({b, h, t, s}).i) x = -std::numeric_limits<double>::infinity();
    if (mask && mask.dtype() != DType::Bool) x += mask.get<double>({b, h, t, s});
    if (n.attrs.causal && s > t) x = -std::numeric_limits<double>::infinity();
    p[s] = x;
    if (!(x <= top)) top = x;  // a NaN stays
    if (std::isnan(top)) break;
  }
  if (std::isinf(top) && top < 0) {
    std::fill(p.begin(), p.end(), 0.0);
    return top;
  }
  double sum = 0;
  for (double& x : p) sum += x = std::isnan(top) ? top : std::exp(x - top);
  for (double& x : p) x /= sum;
  return top + std::log(sum);
}

void attention(const Named& n, const Array& dst, const Array& logsumexp, const Array& q, const Array& k, const Array& v,
               const Array& mask) {
  std::vector<double> p(k.size(2));
  for_each({dst.size(0), dst.size(1), dst.size(2)}, [&](const Dims& at) {
    const double lse = attention_row(n, q, k, mask, at[0], at[1], at[2], p);
    if (logsumexp) logsumexp.put(at, lse);
    const int64_t kv = at[1] / (q.size(1) / k.size(1));
    for (int64_t e = 0; e < dst.size(3); ++e) {
      double sum = 0;
      for (int64_t s = 0; s < k.size(2); ++s) sum += p[s] * v.get<double>({at[0], kv, s, e});
      dst.put({at[0], at[1], at[2], e}, sum);
    }
  });
}

/// Computes the probabilities again; dst and logsumexp, which spare that, are not needed.
void attention_grad(const Named& n, const Array& dq, const Array& dk, const Array& dv, const Array& grad, const Array& q, const Array& k,
                    const Array& v, const Array& mask) {
  Sums<double> sq(dq), sk(dk), sv(dv);
  const int64_t keys = k.size(2);
  std::vector<double> p(keys), dp(keys);
  for_each({q.size(0), q.size(1), q.size(2)}, [&](const Dims& at) {
    const int64_t b = at[0], h = at[1], t = at[2], kv = h / (q.size(1) / k.size(1));
    attention_row(n, q, k, mask, b, h, t, p);
    double mean = 0;
    for (int64_t s = 0; s < keys; ++s) {
      dp[s] = 0;
      for (int64_t e = 0; e < v.size(3); ++e) dp[s] += grad.get<double>({b, h, t, e}) * v.get<double>({b, kv, s, e});
      mean += p[s] * dp[s];
    }
    for (int64_t s = 0; s < keys; ++s) {
      const double ds = p[s] * (dp[s] - mean) * n.attrs.scale;
      for (int64_t e = 0; e < v.size(3); ++e) sv[{b, kv, s, e}] += p[s] * grad.get<double>({b, h, t, e});
      for (int64_t d = 0; d < q.size(3); ++d) {
        sq[{b, h, t, d}] += ds * k.get<double>({b, kv, s, d});
        sk[{b, kv, s, d}] += ds * q.get<double>({b, h, t, d});
      }
    }
  });
  sq.round_into_dst();
  sk.round_into_dst();
  sv.round_into_dst();
}

template <class T>
void run(const Named& n, const Array (&a)[ir::kMaxOperands]) {
  switch (n.kind) {
    case NamedKind::Matmul:
      return matmul<T>(a[0], a[1], a[2], a[3]);
    case NamedKind::Conv:
      return conv<T>(n, a[0], a[1], a[2], a[3], n.kind);
    case NamedKind::ConvSrcGrad:
      return conv<T>(n, a[1], a[0], a[2], {}, n.kind);
    case NamedKind::ConvWeightGrad:
      return conv<T>(n, a[1], a[2], a[0], {}, n.kind);
    case NamedKind::AvgPool:
      return avg_pool<T>(n, a[0], a[1], false);
    case NamedKind::AvgPoolGrad:
      return avg_pool<T>(n, a[1], a[0], true);
    case NamedKind::Scan:
      return scan<T>(n, a[0], a[1], a[2]);
    case NamedKind::Sort:
      return sort(n, a[0], a[1], a[2]);
    case NamedKind::Attention:
      return attention(n, a[0], a[1], a[2], a[3], a[4], a[5]);
    case NamedKind::AttentionGrad:
      return attention_grad(n, a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[9]);
  }
}

}  // namespace

void run_named(const Named& n, const Bindings& bindings) {
  Array arrays[ir::kMaxOperands];
  for (size_t i = 0; i < n.operands.size(); ++i) {
    if (n.operands[i].slot >= 0) arrays[i] = Array(n.operands[i], bindings);
  }
  if (is_float(n.operands[0].dtype)) {
    run<double>(n, arrays);
  } else {
    run<int64_t>(n, arrays);
  }
}

}  // namespace anygpu::reference
