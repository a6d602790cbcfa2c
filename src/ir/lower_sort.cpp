// Sorting as Generics: short lines by counting, long ones by merging.
#include <limits>

#include "ir/nest.h"

namespace anygpu::ir {
namespace {

constexpr int64_t kRun = 32;      // elements of the runs that merging begins with
constexpr int64_t kDirect = 128;  // a line of no more is sorted by counting alone

/// Whether a has to go before b, in a strict sense: equal ones keep their order. NaN is the greatest.
Val goes_before(const Named& n, Val a, Val b) {
  if (n.attrs.descending) std::swap(a, b);
  return is_float(a.type()) ? (a < b) | (isnan(b) & !isnan(a)) : a < b;
}

/// An element's place is the number of elements that go before it.
Generic direct(const Named& n) {
  const Operand &values = n.operands[0], &indices = n.operands[1], &src = n.operands[2];
  const int axis = n.attrs.axis;
  Nest nest(n);
  for (int d = 0; d < src.rank(); ++d) nest.parallel(src.sizes[d]);
  const int j = nest.reduction(src.sizes[axis]);
  const int to_values = nest.access(values), to_indices = nest.access(indices), own = nest.access(src), other = nest.access(src);
  for (int d = 0; d < src.rank(); ++d) {
    nest.stride(own, d, src.strides[d]);
    if (d == axis) continue;
    nest.stride(to_values, d, values.strides[d]);
    nest.stride(to_indices, d, indices.strides[d]);
    nest.stride(other, d, src.strides[d]);
  }
  nest.stride(other, j, src.strides[axis]);
  const DType c = arithmetic_type(src.dtype);
  const Val element = nest.load(own);
  const Val x = cast(element, c), y = cast(nest.load(other), c);
  const Val before = goes_before(n, y, x) | ((!goes_before(n, x, y)) & (nest.index(j) < nest.index(axis)));
  const Val place = reduce(ReduceKind::Sum, cast(before, DType::I64));
  nest.g.stores.push_back({to_values, element.id, (place * nest.size(values.strides[axis])).id});
  nest.g.stores.push_back({to_indices, nest.index(axis).id, (place * nest.size(indices.strides[axis])).id});
  return nest.g;
}

/// Elements and where they came from.
struct Line {
  Operand values, places;
};

/// A pass over lines: each element finds its place, and is stored there.
struct Pass : Nest {
  const Named& n;
  const Line &from, &to;
  int axis, other;
  Val i, element, x;

  Pass(const Named& named, const Line& from_, const Line& to_) : Nest(named), n(named), from(from_), to(to_), axis(named.attrs.axis) {
    for (int d = 0; d < to.values.rank(); ++d) parallel(to.values.sizes[d]);
  }
  /// When all dimensions are there.
  void begin() {
    const int own = at(from.values, true);
    other = at(from.values, false);
    i = index(axis);
    element = load(own);
    x = cast(element, arithmetic_type(element.type()));
  }
  /// The element at another position of the line.
  Val get(Val position) { return cast(load(other, position * size(from.values.strides[axis])), x.type()); }
  void put(Val place) {
    const int values = at(to.values, false), places = at(to.places, false);
    const Val came_from = from.places.slot < 0 ? i : load(at(from.places, true));
    g.stores.push_back({values, element.id, (place * size(to.values.strides[axis])).id});
    g.stores.push_back({places, cast(came_from, to.places.dtype).id, (place * size(to.places.strides[axis])).id});
  }

 private:
  int at(const Operand& o, bool along_axis) {
    const int a = access(o);
    for (int d = 0; d < o.rank(); ++d)
      if (d != axis || along_axis) stride(a, d, o.strides[d]);
    return a;
  }
};

/// Runs of kRun elements, each sorted by counting.
Generic runs(const Named& n, const Line& from, const Line& to, int64_t length) {
  Pass p(n, from, to);
  const int j = p.reduction(kRun);
  p.begin();
  const Val start = p.i & p.i64(~(kRun - 1)), position = start + p.index(j);
  const Val y = p.get(min(position, p.size(length - 1)));
  const Val before = goes_before(n, y, p.x) | ((!goes_before(n, p.x, y)) & (position < p.i));
  p.put(start + reduce(ReduceKind::Sum, cast((position < p.size(length)) & before, DType::I64)));
  return p.g;
}

/// Two sorted runs become one: before an element go those of its own run, and those of the other that a binary search counts.
Generic merge(const Named& n, const Line& from, const Line& to, int64_t length, int64_t run) {
  Pass p(n, from, to);
  p.begin();
  const Val within = p.i & p.i64(2 * run - 1), start = p.i - within;
  const Val second = p.i64(run) <= within;
  const Val others = start + select(second, p.i64(0), p.i64(run));
  const Val count = max(min(p.size(length) - others, p.i64(run)), p.i64(0));
  Val found = p.i64(0);
  for (int64_t step = run; step > 0; step /= 2) {
    const Val further = found + p.i64(step);
    const Val y = p.get(min(others + further - p.i64(1), p.size(length - 1)));
    // Of equal ones those of the first run go first.
    const Val before = select(second, !goes_before(n, p.x, y), goes_before(n, y, p.x));
    found = select((further <= count) & before, further, found);
  }
  p.put(start + select(second, within - p.i64(run), within) + found);
  return p.g;
}

}  // namespace

std::vector<Step> lower_sort(const Named& n, const MakeTemp& temp) {
  const Operand& src = n.operands[2];
  const int64_t length = src.rank() ? src.sizes[n.attrs.axis] : 1;
  if (length <= kDirect) return {direct(n)};
  // Passes write to the results and to a spare line in turn, to the results in the end.
  const Line results{n.operands[0], n.operands[1]};
  const DType of_places = length > std::numeric_limits<int32_t>::max() ? DType::I64 : DType::I32;
  const Line spare{temp(src.dtype, src.sizes), temp(of_places, src.sizes)};
  int left = 0;  // passes after this one
  for (int64_t run = kRun; run < length; run *= 2) ++left;
  auto to = [&] { return left % 2 ? spare : results; };
  std::vector<Step> all{runs(n, {src, {}}, to(), length)};
  for (int64_t run = kRun; run < length; run *= 2) {
    const Line from = to();
    --left;
    all.push_back(merge(n, from, to(), length, run));
  }
  return all;
}

}  // namespace anygpu::ir
