#include "narrow.h"

#include <algorithm>
#include <limits>

namespace anygpu::gpu {
namespace {

using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

/// Values that a node may take; a double holds the bounds that matter here exactly.
struct Range {
  double lo, hi;
  bool fits() const { return lo >= -0x1p31 && hi < 0x1p31; }
};

constexpr double kAll = 0x1p63;
constexpr Range kAny = {-kAll, kAll};

Range of_type(DType t) {
  switch (t) {
    case DType::Bool:
      return {0, 1};
    case DType::U8:
      return {0, 255};
    case DType::I8:
      return {-128, 127};
    case DType::I16:
      return {-32768, 32767};
    case DType::I32:
      return {-0x1p31, 0x1p31 - 1};
    default:
      return kAny;
  }
}

class Ranges {
 public:
  Ranges(const KernelSpec& spec, const std::vector<int64_t>& sizes) : spec_(spec), sizes_(sizes) {
    for (const Node& n : spec.nodes) {
      Range r = n.type == DType::I64 ? of(n) : of_type(n.type);
      // Beyond 2^52 doubles round, and i64 may wrap.
      if (!(r.lo > -0x1p52 && r.hi < 0x1p52)) r = n.type == DType::I64 ? kAny : r;
      all_.push_back(r);
    }
  }
  const Range& operator[](int i) const { return all_[i]; }

 private:
  Range of(const Node& n) const {
    auto at = [&](int id) { return all_[id]; };
    auto corners = [](double a, double b, double c, double d) { return Range{std::min({a, b, c, d}), std::max({a, b, c, d})}; };
    switch (n.op) {
      case ExprOp::Const:
      case ExprOp::Size:
        return {static_cast<double>(n.imm.i), static_cast<double>(n.imm.i)};
      case ExprOp::Index:
        return {0, static_cast<double>(sizes_[n.imm.i] - 1)};
      case ExprOp::Add:
        return {at(n.a).lo + at(n.b).lo, at(n.a).hi + at(n.b).hi};
      case ExprOp::Sub:
        return {at(n.a).lo - at(n.b).hi, at(n.a).hi - at(n.b).lo};
      case ExprOp::Mul: {
        const Range x = at(n.a), y = at(n.b);
        return corners(x.lo * y.lo, x.lo * y.hi, x.hi * y.lo, x.hi * y.hi);
      }
      case ExprOp::Div: {
        const Range x = at(n.a);
        const double most = std::max(-x.lo, x.hi);  // no quotient is larger; x / 0 is 0
        return x.lo >= 0 && at(n.b).lo >= 0 ? Range{0, x.hi} : Range{-most, most};
      }
      case ExprOp::Rem: {
        const Range x = at(n.a), y = at(n.b);
        const double most = std::min(std::max(-x.lo, x.hi), std::max(-y.lo, y.hi));
        return {x.lo >= 0 ? 0 : -most, x.hi <= 0 ? 0 : most};
      }
      case ExprOp::Min:
        return {std::min(at(n.a).lo, at(n.b).lo), std::min(at(n.a).hi, at(n.b).hi)};
      case ExprOp::Max:
        return {std::max(at(n.a).lo, at(n.b).lo), std::max(at(n.a).hi, at(n.b).hi)};
      case ExprOp::Neg:
        return {-at(n.a).hi, -at(n.a).lo};
      case ExprOp::Abs: {
        const Range x = at(n.a);
        return {std::max({x.lo, -x.hi, 0.0}), std::max(-x.lo, x.hi)};
      }
      case ExprOp::Select:
        return {std::min(at(n.b).lo, at(n.c).lo), std::max(at(n.b).hi, at(n.c).hi)};
      case ExprOp::Cast:
        return is_float(spec_.nodes[n.a].type) ? kAny : at(n.a);
      case ExprOp::Philox:
        return {0, 0x1p32 - 1};
      case ExprOp::Shr: {
        const Range x = at(n.a);
        return x.lo >= 0 ? Range{0, constant_shift(n) > 0 ? x.hi / static_cast<double>(int64_t{1} << constant_shift(n)) : x.hi}
                         : Range{x.lo, std::max(x.hi, -1.0)};  // towards -1
      }
      case ExprOp::And:
        return at(n.a).lo >= 0 && at(n.b).lo >= 0 ? Range{0, std::min(at(n.a).hi, at(n.b).hi)} : kAny;
      case ExprOp::Reduce:
        return of_reduce(n);
      default:
        return kAny;
    }
  }

  int constant_shift(const Node& n) const {
    const Node& by = spec_.nodes[n.b];
    return by.op == ExprOp::Const && by.imm.i > 0 && by.imm.i < 52 ? static_cast<int>(by.imm.i) : 0;
  }

  Range of_reduce(const Node& n) const {
    double count = 1;
    for (int d = spec_.first_reduction(); d < spec_.rank(); ++d) count *= static_cast<double>(sizes_[d]);
    switch (static_cast<ReduceKind>(n.imm.i)) {
      case ReduceKind::Sum:
        return {std::min(0.0, all_[n.a].lo * count), std::max(0.0, all_[n.a].hi * count)};
      case ReduceKind::Max:
      case ReduceKind::Min:
        return all_[n.a];
      case ReduceKind::ArgMax:
      case ReduceKind::ArgMin:
        return all_[n.b];
      default:
        return kAny;
    }
  }

  const KernelSpec& spec_;
  const std::vector<int64_t>& sizes_;
  std::vector<Range> all_;
};

}  // namespace

std::vector<bool> narrow_nodes(const KernelSpec& spec, const std::vector<int64_t>& sizes) {
  const auto& nodes = spec.nodes;
  const Ranges ranges(spec, sizes);
  // Whose high bits are asked for. Users come after what they use, so one pass from the end does.
  std::vector<bool> whole(nodes.size(), false);
  for (const KernelStore& s : spec.stores) whole[s.store.value] = true;
  for (int i = static_cast<int>(nodes.size()) - 1; i >= 0; --i) {
    const Node& n = nodes[i];
    if (n.op == ExprOp::Load) continue;  // of the address, no more than the low half
    const bool passes = n.op == ExprOp::Add || n.op == ExprOp::Sub || n.op == ExprOp::Mul || n.op == ExprOp::Neg || n.op == ExprOp::And ||
                        n.op == ExprOp::Or || n.op == ExprOp::Xor || n.op == ExprOp::Not || n.op == ExprOp::Select;
    const bool narrows = n.op == ExprOp::Cast && is_int(n.type) && n.type != DType::I64;  // bool asks for all
    if (narrows || (passes && n.type == DType::I64 && !whole[i])) continue;
    if (n.op == ExprOp::Cast && n.type == DType::I64 && !whole[i] && !is_float(nodes[n.a].type)) continue;
    ir::for_each_operand(n, [&](int id) { whole[id] = true; });
  }
  std::vector<bool> narrow(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) narrow[i] = nodes[i].type == DType::I64 && (ranges[static_cast<int>(i)].fits() || !whole[i]);
  return narrow;
}

}  // namespace anygpu::gpu
