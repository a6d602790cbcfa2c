// Inclusive scans along one dimension, and sorting.
#include "anygpu/calls/scan.h"
#include "ops/call.h"
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

template <ScanKind kind>
void lower_scan(Lowering& l, const calls::Scan<Reading>& c) {
  const DType t = compute_type(c.compute);
  const Operand src = as(l, c.src, t);
  const bool direct = c.dst.dtype == t;
  const Operand dst = direct ? c.dst : l.temp(t, src.sizes);
  ir::Named n{ir::NamedKind::Scan, {dst, src, {}}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(c.axis);
  n.attrs.scan = kind;
  l.add(std::move(n));
  if (!direct) copy(l, c.dst, dst, t);
}

template <ScanKind kind>
void lower_extremum_scan(Lowering& l, const calls::ScanWithIndex<Reading>& c) {
  const DType t = c.src.dtype == DType::Bool ? DType::U8 : compute_type(c.src.dtype);
  const Operand src = as(l, c.src, t);
  const bool direct = c.values.dtype == t;
  const Operand dst = direct ? c.values : l.temp(t, src.sizes);
  ir::Named n{ir::NamedKind::Scan, {dst, src, c.indices}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(c.axis);
  n.attrs.scan = kind;
  l.add(std::move(n));
  if (!direct) copy(l, c.values, dst, t);
}

ir::Named sort_of(const Operand& values, const Operand& indices, const Operand& src, int64_t axis, bool descending) {
  ir::Named n{ir::NamedKind::Sort, {values, indices, src}, {}, {}};
  n.attrs.axis = static_cast<int32_t>(axis);
  n.attrs.descending = descending;
  return n;
}

void lower_sort(Lowering& l, const calls::Sort<Reading>& c) {
  l.add(sort_of(c.values, c.indices, c.src, c.axis, c.descending));
}

void lower_topk(Lowering& l, const calls::TopK<Reading>& c) {
  const Operand& src = c.src;
  const int axis = static_cast<int>(c.axis);
  const Operand values = l.temp(src.dtype, src.sizes), indices = l.temp(DType::I64, src.sizes);
  l.add(sort_of(values, indices, src, axis, c.largest));
  const int64_t k = c.values.sizes[axis];
  Loop loop(l, c.values.sizes);
  loop.store(c.values, loop.load(narrowed(values, axis, 0, k)));
  loop.store(c.indices, loop.load(narrowed(indices, axis, 0, k)));
  loop.done();
}

/// Binary search, unrolled: log2(n) steps.
void lower_searchsorted(Lowering& l, const calls::SearchSorted<Reading>& c) {
  const Operand &dst = c.dst, &bounds = c.boundaries, &values = c.values;
  const DType t = compute_type(c.compute);
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
    if (c.sorter) {
      Val sorted = loop.load_at(*c.sorter, at);
      at.back() = max(min(sorted, loop.size(n - 1)), 0.0);
    }
    Val b = cast(loop.load_at(bounds, at), t);
    Val go = open & !(c.right ? b > v : b >= v);
    low = select(go, middle + 1.0, low);
    high = select(open & !go, middle, high);
  }
  loop.store(dst, low);
  loop.done();
}

}  // namespace

OpTable scans() {
  static const Op table[] = {
      entry<calls::Scan, lower_scan<ScanKind::Sum>>(calls::Scanned::Sum),
      entry<calls::Scan, lower_scan<ScanKind::Prod>>(calls::Scanned::Prod),
      entry<calls::Scan, lower_scan<ScanKind::LogAddExp>>(calls::Scanned::LogSumExp),
      entry<calls::ScanWithIndex, lower_extremum_scan<ScanKind::Max>>(calls::Extremum::Max),
      entry<calls::ScanWithIndex, lower_extremum_scan<ScanKind::Min>>(calls::Extremum::Min),
      entry<calls::Sort, lower_sort>(),
      entry<calls::TopK, lower_topk>(),
      entry<calls::SearchSorted, lower_searchsorted>(),
  };
  return table;
}

}  // namespace anygpu::ops
