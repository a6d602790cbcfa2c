// The other side of anygpu/calls: how entries of the catalogue read a call. A row of a table is
//
//   entry<calls::LayerNorm, lower_layer_norm>()
//
// where `void lower_layer_norm(Lowering&, const calls::LayerNorm<Reading>&)` finds operands as ir::Operands under their names, and scalars
// as their positions, for Loop::scalar. The number of operands, and that those are there which must be, has been checked.
#pragma once

#include <optional>
#include <vector>

#include "anygpu/calls/call.h"
#include "ops/op.h"

namespace anygpu::ops {

/// The side of who lowers a call.
struct Reading {
  using View = ir::Operand;
  using Maybe = std::optional<ir::Operand>;
  using Views = std::vector<ir::Operand>;
  using Real = int;  ///< i of Loop::scalar(i, type)
  using Whole = int;
  using Number = int;
  using Wholes = int;  ///< the first of them; the last scalars of a call
};

/// Throws Error(Value) where a call has not the operands, attrs and scalars that its layout wants.
void check_layout(const CallArgs&, const calls::Layout&);

namespace detail {

/// Which of an operator's names a call has.
template <class C>
void read_kind(C& call, const Op& op) {
  if constexpr (requires { C::names; })
    for (size_t i = 0; i < std::size(C::names); ++i)
      if (op.name == C::names[i]) call.kind = static_cast<decltype(call.kind)>(i);
}

/// What describe() calls: hands out attrs in order.
class AttrReader {
 public:
  explicit AttrReader(std::span<const int64_t> attrs) : attrs_(attrs) {}
  void attrs(auto&... v) { (attr(v), ...); }

 private:
  int64_t next() {
    if (at_ == attrs_.size()) throw Error(ErrorKind::Internal, "[call] more attrs are read than were passed");
    return attrs_[at_++];
  }
  template <class T>
  void attr(T& v) {
    if constexpr (std::same_as<T, Dims>) {
      v.clear();
      for (int64_t n = next(); n > 0; --n) v.push_back(next());
    } else if constexpr (std::same_as<T, double>) {
      v = std::bit_cast<double>(next());
    } else {
      v = static_cast<T>(next());
    }
  }
  std::span<const int64_t> attrs_;
  size_t at_ = 0;
};

class LoweringReader : public AttrReader {
 public:
  explicit LoweringReader(const Lowering& l) : AttrReader(l.all_attrs()), l_(l) {}
  void outputs(auto&... v) { (operand(v), ...); }
  void inputs(auto&... v) { (operand(v), ...); }
  void scalars(auto&... v) { (scalar(v), ...); }

 private:
  void scalar(int& v) { v = scalar_++; }
  template <size_t N>
  void scalar(std::array<int, N>& list) {
    for (int& v : list) scalar(v);
  }
  void operand(ir::Operand& v) { v = l_.view(view_++); }
  void operand(std::optional<ir::Operand>& v) {
    if (const ir::Operand& o = l_.view(view_++); o.slot >= 0) v = o;
  }
  void operand(std::vector<ir::Operand>& v) {
    while (view_ < l_.views()) v.push_back(l_.view(view_++));
  }
  const Lowering& l_;
  int view_ = 0, scalar_ = 0;
};

class CallReader : public AttrReader {
 public:
  explicit CallReader(const CallArgs& c) : AttrReader(c.attrs), c_(c) {}
  void outputs(auto&... v) { (operand(v), ...); }
  void inputs(auto&... v) { (operand(v), ...); }
  void scalars(auto&... v) { (scalar(v), ...); }

 private:
  void operand(ViewArg& v) { v = c_.views[view_++]; }
  void operand(calls::MaybeView& v) { v = c_.views[view_++]; }
  void operand(std::span<const ViewArg>& v) { v = c_.views.subspan(view_); }
  void scalar(double& v) { v = c_.scalars[scalar_++].f; }
  void scalar(int64_t& v) { v = c_.scalars[scalar_++].i; }
  void scalar(Scalar& v) { v = c_.scalars[scalar_++]; }
  void scalar(Dims& list) {
    while (scalar_ < c_.scalars.size()) list.push_back(c_.scalars[scalar_++].i);
  }
  template <size_t N>
  void scalar(std::array<double, N>& list) {
    for (double& v : list) scalar(v);
  }
  const CallArgs& c_;
  size_t view_ = 0, scalar_ = 0;
};

}  // namespace detail

/// The call being lowered.
template <template <class> class C>
C<Reading> read(const Lowering& l) {
  C<Reading> call{};
  detail::read_kind(call, l.op);
  detail::LoweringReader reader(l);
  C<Reading>::describe(reader, call);
  return call;
}

/// The call being recorded, of a layout that has been checked.
template <template <class> class C>
C<calls::Making> read(const CallArgs& args) {
  C<calls::Making> call{};
  detail::read_kind(call, args.op);
  detail::CallReader reader(args);
  C<calls::Making>::describe(reader, call);
  return call;
}

/// The row of a call of one name. `lower`: void(Lowering&, const C<Reading>&). `check`, if any: void(const CallArgs&, const C<Making>&),
/// throws where a call breaks the operator's contract.
template <template <class> class C, auto lower, auto check = nullptr>
constexpr Op entry_named(std::string_view name) {
  return {name,
          [](const CallArgs& args) {
            check_layout(args, calls::layout_of<C>);
            if constexpr (!std::same_as<decltype(check), std::nullptr_t>) check(args, read<C>(args));
          },
          [](Lowering& l) { lower(l, read<C>(l)); }, calls::layout_of<C>.outputs};
}
template <template <class> class C, auto lower, auto check = nullptr>
constexpr Op entry() {
  return entry_named<C, lower, check>(C<Reading>::name);
}
/// The row of one of its names.
template <template <class> class C, auto lower, auto check = nullptr, class Kind>
constexpr Op entry(Kind kind) {
  return entry_named<C, lower, check>(C<Reading>::names[static_cast<size_t>(kind)]);
}

}  // namespace anygpu::ops
