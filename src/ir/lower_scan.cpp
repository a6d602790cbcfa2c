// Scans as Generics: short ones directly, long ones in passes over growing distances.
#include <limits>

#include "ir/nest.h"

namespace anygpu::ir {
namespace {

constexpr int64_t kDirect = 24;  // positions that a direct scan may look at, each of them at all
constexpr int64_t kRadix = 4;    // positions that a pass combines

Val lowest(Body& body, DType t) {
  if (is_float(t)) return constant(body, t, -std::numeric_limits<double>::infinity());
  if (t == DType::U8) return constant(body, t, int64_t{0});
  return constant(body, t, std::numeric_limits<int64_t>::min() >> (64 - 8 * size_of(t)));
}

Val highest(Body& body, DType t) {
  if (is_float(t)) return constant(body, t, std::numeric_limits<double>::infinity());
  if (t == DType::U8) return constant(body, t, int64_t{255});
  return constant(body, t, std::numeric_limits<int64_t>::max() >> (64 - 8 * size_of(t)));
}

/// Position i along the axis sees every j <= i: n^2 work, no order between positions.
Generic direct(const Named& n) {
  const Operand &dst = n.operands[0], &src = n.operands[1];
  const int axis = n.attrs.axis;
  Nest nest(n);
  for (int d = 0; d < dst.rank(); ++d) nest.parallel(dst.sizes[d]);
  const int j = nest.reduction(dst.sizes[axis]);
  const int out = nest.access(dst), in = nest.access(src);
  for (int d = 0; d < dst.rank(); ++d) {
    nest.stride(out, d, dst.strides[d]);
    if (d != axis) nest.stride(in, d, src.strides[d]);
  }
  nest.stride(in, j, src.strides[axis]);
  const DType c = arithmetic_type(dst.dtype);
  Body& body = nest.g.body;
  const Val x = cast(nest.load(in), c);
  const Val seen = nest.index(j) <= nest.index(axis);
  auto over_seen = [&](ReduceKind kind, Val v, Val identity) { return reduce(kind, select(seen, v, identity)); };
  switch (n.attrs.scan) {
    case ScanKind::Sum:
      nest.store(out, over_seen(ReduceKind::Sum, x, constant(body, c, int64_t{0})));
      return nest.g;
    case ScanKind::Prod:
      nest.store(out, over_seen(ReduceKind::Prod, x, constant(body, c, int64_t{1})));
      return nest.g;
    case ScanKind::LogAddExp: {
      const Val m = over_seen(ReduceKind::Max, x, lowest(body, c));
      // An infinite maximum would make inf - inf; exp and log carry it by themselves.
      const Val shift = select(abs(m) < highest(body, c), m, constant(body, c, int64_t{0}));
      const Val sum = over_seen(ReduceKind::Sum, exp(x - shift), constant(body, c, int64_t{0}));
      nest.store(out, shift + log(sum));
      return nest.g;
    }
    case ScanKind::Max:
    case ScanKind::Min:
      break;
  }
  const bool is_max = n.attrs.scan == ScanKind::Max;
  const Val m = over_seen(is_max ? ReduceKind::Max : ReduceKind::Min, x, is_max ? lowest(body, c) : highest(body, c));
  nest.store(out, m);
  if (n.operands.size() > 2 && n.operands[2].slot >= 0) {
    const Operand& indices = n.operands[2];
    const int at = nest.access(indices);
    for (int d = 0; d < dst.rank(); ++d) nest.stride(at, d, indices.strides[d]);
    Val attains = x == m;
    if (is_float(c)) attains = attains | (isnan(x) & isnan(m));
    nest.store(at, reduce(ReduceKind::Max, select(seen & attains, nest.index(j), nest.i64(-1))));
  }
  return nest.g;
}

/// What a position holds between passes, in the compute type, and where it came from.
struct State {
  Operand value, place;
};

/// One pass (Hillis and Steele, "Data parallel algorithms"): a position, which holds what `distance` positions up to itself come to, takes
/// in what those hold that lie one, two and three distances back.
Generic pass(const Named& n, const State& from, const State& to, int64_t distance) {
  const int axis = n.attrs.axis;
  Nest nest(n);
  for (int d = 0; d < to.value.rank(); ++d) nest.parallel(to.value.sizes[d]);
  auto access = [&](const Operand& o, bool along_axis) {
    const int a = nest.access(o);
    for (int d = 0; d < o.rank(); ++d)
      if (d != axis || along_axis) nest.stride(a, d, o.strides[d]);
    return a;
  };
  const DType c = arithmetic_type(n.operands[0].dtype);
  Body& body = nest.g.body;
  const int value = access(from.value, false), place = from.place.slot >= 0 ? access(from.place, false) : -1;
  const Val i = nest.index(axis);
  Val at[kRadix], x[kRadix], there[kRadix];
  for (int64_t k = 0; k < kRadix; ++k) {
    const Val back = i - nest.size(k * distance);
    there[k] = nest.i64(0) <= back;
    at[k] = max(back, nest.i64(0));
    x[k] = cast(nest.load(value, at[k] * nest.size(from.value.strides[axis])), c);
  }
  const ScanKind kind = n.attrs.scan;
  auto folded = [&](Val identity, auto&& combine) {
    Val v = x[0];
    for (int k = 1; k < kRadix; ++k) v = combine(v, select(there[k], x[k], identity));
    return v;
  };
  Val v = x[0];
  if (kind == ScanKind::Sum) {
    v = folded(constant(body, c, int64_t{0}), [](Val a, Val b) { return a + b; });
  } else if (kind == ScanKind::Prod) {
    v = folded(constant(body, c, int64_t{1}), [](Val a, Val b) { return a * b; });
  } else if (kind == ScanKind::LogAddExp) {
    const Val m = folded(lowest(body, c), [](Val a, Val b) { return max(a, b); });
    const Val shift = select(abs(m) < highest(body, c), m, constant(body, c, int64_t{0}));
    Val sum = exp(x[0] - shift);
    for (int k = 1; k < kRadix; ++k) sum = sum + select(there[k], exp(x[k] - shift), constant(body, c, int64_t{0}));
    v = shift + log(sum);
  } else {
    // From the newest to the oldest: an older one counts only where it is greater, or the first NaN.
    Val from_place = at[0];
    auto place_of = [&](int64_t k) {
      return place < 0 ? at[k] : cast(nest.load(place, at[k] * nest.size(from.place.strides[axis])), DType::I64);
    };
    const bool tracks = to.place.slot >= 0;
    if (tracks) from_place = place_of(0);
    for (int k = 1; k < kRadix; ++k) {
      Val wins = kind == ScanKind::Max ? v < x[k] : x[k] < v;
      if (is_float(c)) wins = (wins | isnan(x[k])) & !isnan(v);
      wins = wins & there[k];
      v = select(wins, x[k], v);
      if (tracks) from_place = select(wins, place_of(k), from_place);
    }
    if (tracks) nest.store(access(to.place, true), from_place);
  }
  nest.store(access(to.value, true), v);
  return nest.g;
}

}  // namespace

std::vector<Step> lower_scan(const Named& n, const MakeTemp& temp) {
  const Operand& dst = n.operands[0];
  const int64_t length = dst.rank() ? dst.sizes[n.attrs.axis] : 1;
  if (length <= kDirect) return {direct(n)};
  const bool tracks = n.operands.size() > 2 && n.operands[2].slot >= 0;
  const State out{dst, tracks ? n.operands[2] : Operand{}};
  const DType c = arithmetic_type(dst.dtype);
  auto spare = [&] {
    const DType of_places = length > std::numeric_limits<int32_t>::max() ? DType::I64 : DType::I32;
    return State{temp(c, dst.sizes), tracks ? temp(of_places, dst.sizes) : Operand{}};
  };
  int left = 0;  // passes after this one
  for (int64_t distance = kRadix; distance < length; distance *= kRadix) ++left;
  // Passes write to two places in turn, to dst in the end: dst is one of them where it holds the compute type.
  const bool in_dst = dst.dtype == c;
  State between[2] = {in_dst ? out : left > 1 ? spare() : State{}, left > 0 ? spare() : State{}};
  std::vector<Step> all;
  State from{n.operands[1], {}};
  for (int64_t distance = 1; distance < length; distance *= kRadix, --left) {
    const State to = left ? between[left % 2] : out;
    all.push_back(pass(n, from, to, distance));
    from = to;
  }
  return all;
}

}  // namespace anygpu::ir
