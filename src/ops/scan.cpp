// Inclusive scans along one dimension, and sorting.
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ScanKind;
using ir::Val;

namespace {

/// dst = src, cast by way of `compute`.
void copy(Lowering& l, const Operand& dst, const Operand& src, DType compute) {
  Loop loop(l, dst.sizes);
  loop.store(dst, loop.load(src, compute));
  loop.done();
}

/// `src` in the type that the scan runs in: itself, or a temporary.
Operand as(Lowering& l, const Operand& src, DType type) {
  if (src.dtype == type) return src;
  Operand t = l.temp(type, src.sizes);
  copy(l, t, src, type);
  return t;
}

/// views: dst, src. attrs: compute dtype, axis.
template <ScanKind kind>
void lower_scan(Lowering& l) {
  const DType t = compute_type(static_cast<DType>(l.attr(0)));
  const Operand src = as(l, l.view(1), t);
  const bool direct = l.view(0).dtype == t;
  const Operand dst = direct ? l.view(0) : l.temp(t, src.sizes);
  ir::Named n{ir::NamedKind::Scan, {dst, src, {}}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(l.attr(1));
  n.attrs.scan = kind;
  l.add(std::move(n));
  if (!direct) copy(l, l.view(0), dst, t);
}

/// views: values, indices (i64), src (of the values' dtype). attrs: unused, axis.
template <ScanKind kind>
void lower_extremum_scan(Lowering& l) {
  const DType t = l.view(2).dtype == DType::Bool ? DType::U8 : compute_type(l.view(2).dtype);
  const Operand src = as(l, l.view(2), t);
  const bool direct = l.view(0).dtype == t;
  const Operand dst = direct ? l.view(0) : l.temp(t, src.sizes);
  ir::Named n{ir::NamedKind::Scan, {dst, src, l.view(1)}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(l.attr(1));
  n.attrs.scan = kind;
  l.add(std::move(n));
  if (!direct) copy(l, l.view(0), dst, t);
}

ir::Named sort_of(const Operand& values, const Operand& indices, const Operand& src, int64_t axis, bool descending) {
  ir::Named n{ir::NamedKind::Sort, {values, indices, src}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(axis);
  n.attrs.descending = descending;
  return n;
}

/// views: values, indices (i64), src. attrs: axis, descending. Stable; NaN is greatest.
void lower_sort(Lowering& l) {
  l.add(sort_of(l.view(0), l.view(1), l.view(2), l.attr(0), l.attr(1) != 0));
}

/// views: values, indices (i64), src. attrs: axis, largest. The first k of the sorted, k being the values' size along axis.
void lower_topk(Lowering& l) {
  const Operand& src = l.view(2);
  const int axis = static_cast<int>(l.attr(0));
  const Operand values = l.temp(src.dtype, src.sizes), indices = l.temp(DType::I64, src.sizes);
  l.add(sort_of(values, indices, src, axis, l.attr(1) != 0));
  const int64_t k = l.view(0).sizes[axis];
  Loop loop(l, l.view(0).sizes);
  loop.store(l.view(0), loop.load(narrowed(values, axis, 0, k)));
  loop.store(l.view(1), loop.load(narrowed(indices, axis, 0, k)));
  loop.done();
}

/// views: dst (i32 or i64), boundaries [n] or [.., n], values, and, if given, sorter (i64, the boundaries' sizes).
/// attrs: compute dtype, right. Binary search, unrolled: log2(n) steps.
void lower_searchsorted(Lowering& l) {
  const Operand &dst = l.view(0), &bounds = l.view(1), &values = l.view(2);
  const DType t = compute_type(static_cast<DType>(l.attr(0)));
  const bool right = l.attr(1) != 0;
  Loop loop(l, dst.sizes);
  const int64_t n = bounds.sizes.back();
  Val v = loop.load(values, t);
  Val low = loop.i64(0), high = loop.size(n);
  // The boundaries' leading dimensions are the values'.
  std::vector<Val> at;
  for (int d = 0; d + 1 < bounds.rank(); ++d) at.push_back(loop.index(d));
  at.push_back(low);
  for (int64_t left = n; left > 0; left /= 2) {
    Val open = low < high;
    Val middle = shr(low + high, loop.i64(1));
    at.back() = min(middle, loop.size(n - 1));
    if (l.views() > 3) {
      Val sorted = loop.load_at(l.view(3), at);
      at.back() = max(min(sorted, loop.size(n - 1)), 0.0);
    }
    Val b = cast(loop.load_at(bounds, at), t);
    Val go = open & !(right ? b > v : b >= v);
    low = select(go, middle + 1.0, low);
    high = select(open & !go, middle, high);
  }
  loop.store(dst, low);
  loop.done();
}

}  // namespace

OpTable scans() {
  static const Op table[] = {
      {"cumsum", nullptr, lower_scan<ScanKind::Sum>},
      {"cumprod", nullptr, lower_scan<ScanKind::Prod>},
      {"logcumsumexp", nullptr, lower_scan<ScanKind::LogAddExp>},
      {"cummax", nullptr, lower_extremum_scan<ScanKind::Max>, 2},
      {"cummin", nullptr, lower_extremum_scan<ScanKind::Min>, 2},
      {"sort", nullptr, lower_sort, 2},
      {"topk", nullptr, lower_topk, 2},
      {"searchsorted", nullptr, lower_searchsorted},
  };
  return table;
}

}  // namespace anygpu::ops
