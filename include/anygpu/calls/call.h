// What a call of a catalogue operator is: its operands in order, which of them are there, its attrs and its scalars. Each operator's call is
// a struct of named fields, with one description of how they are laid out; frontends make calls by it, src/ops reads them by it.
//
//   calls::record(calls::LayerNorm{.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = weight, .dims = 1, .eps = 1e-5});
//
// The headers beside this one hold a family each. Adding a call:
//
//   template <class S = Making>
//   struct LayerNorm {
//     static constexpr std::string_view name = "layer_norm";  // or `names` and a field `kind`, an enum that counts them
//     View<S> y, mean, rstd, x;     // operands that must be there
//     Maybe<S> weight, bias;        // those that may be absent: std::nullopt, an empty std::optional, a View without a Buffer
//     int64_t dims;                 // an attr: an integer, enum, bool, double, or a Dims. What shapes the kernel, and is part of its key
//     Real<S> eps;                  // a scalar (or Whole, or Number, which is either), an array or a list of them: bound at run time
//
//     static constexpr void describe(auto& f, auto& c) {
//       f.outputs(c.y, c.mean, c.rstd);   // what is written comes first
//       f.inputs(c.x, c.weight, c.bias);  // a Views<S>, if any, comes last
//       f.attrs(c.dims);
//       f.scalars(c.eps);
//     }
//   };
//
// Operands hold no Buffer and point to their View's sizes: make a call and record it in one expression, or keep the Views alive.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "anygpu/ops.h"

namespace anygpu::calls {

/// An operand that may be absent.
struct MaybeView : ViewArg {
  MaybeView() = default;
  MaybeView(std::nullopt_t) {}
  MaybeView(const ViewArg& v) : ViewArg(v) {}
  MaybeView(const anygpu::View& v) {
    if (v.buffer) ViewArg::operator=(v);
  }
  template <Seen T>
  MaybeView(const T& t) {
    if (Viewable<T>::there(t)) ViewArg::operator=(Viewable<T>::of(t));
  }
  template <class T>
  MaybeView(const std::optional<T>& t) {
    if (t) ViewArg::operator=(MaybeView(*t));
  }
};

/// The side of who makes a call. Another side holds the same fields as other types: src/ops/call.h.
struct Making {
  using View = ViewArg;
  using Maybe = MaybeView;
  using Views = std::span<const ViewArg>;
  using Real = double;
  using Whole = int64_t;
  using Number = Scalar;
  using Wholes = Dims;
};

template <class S>
using View = typename S::View;
template <class S>
using Maybe = typename S::Maybe;
template <class S>
using Views = typename S::Views;
template <class S>
using Real = typename S::Real;
template <class S>
using Whole = typename S::Whole;
template <class S>
using Number = typename S::Number;
template <class S>
using Wholes = typename S::Wholes;

/// Integers, enums, bools, doubles (as their bits) and Dims (as their number, then themselves).
template <class T>
concept Attr = std::integral<T> || std::is_enum_v<T> || std::same_as<T, double> || std::same_as<T, Dims>;

// ---- what a description says of itself ----

/// How many operands, attrs and scalars a kind of call has.
struct Layout {
  int outputs = 0, operands = 0, attrs = 0, scalars = 0;
  uint64_t optional = 0;  ///< bit i: operand i may be absent
  bool list = false;      ///< a Views follows the operands
  bool dims = false;      ///< some attrs or scalars are lists: their numbers are the most there can be
};

/// The side that only counts.
struct Counting {
  struct View {};
  struct Maybe {};
  struct Views {};
  struct Real {};
  using Whole = Real;
  using Number = Real;
  struct Wholes {};
};

namespace detail {

struct Counter {
  Layout layout;
  constexpr void operand(const Counting::View&) { ++layout.operands; }
  constexpr void operand(const Counting::Maybe&) { layout.optional |= uint64_t{1} << layout.operands++; }
  constexpr void operand(const Counting::Views&) { layout.list = true; }
  template <Attr T>
  constexpr void attr(const T&) {
    layout.attrs += std::same_as<T, Dims> ? 1 + kMaxRank : 1;
    layout.dims |= std::same_as<T, Dims>;
  }
  constexpr void outputs(const auto&... v) {
    (operand(v), ...);
    layout.outputs = layout.operands;
  }
  constexpr void inputs(const auto&... v) { (operand(v), ...); }
  constexpr void attrs(const auto&... v) { (attr(v), ...); }
  constexpr void scalar(const Counting::Real&) { ++layout.scalars; }
  constexpr void scalar(const Counting::Wholes&) {
    layout.scalars += kMaxRank;
    layout.dims = true;
  }
  template <size_t N>
  constexpr void scalar(const std::array<Counting::Real, N>&) {
    layout.scalars += static_cast<int>(N);
  }
  constexpr void scalars(const auto&... v) { (scalar(v), ...); }
};

template <template <class> class C>
constexpr Layout count() {
  Counter counter;
  C<Counting> call{};
  C<Counting>::describe(counter, call);
  return counter.layout;
}

template <class Call>
struct Parts;
template <template <class> class C>
struct Parts<C<Making>> {
  using Counted = C<Counting>;
  static constexpr Layout layout = count<C>();
};

}  // namespace detail

template <template <class> class C>
inline constexpr Layout layout_of = detail::count<C>();

template <class T>
concept Call = requires(detail::Counter& f, typename detail::Parts<T>::Counted& c) { detail::Parts<T>::Counted::describe(f, c); };

/// The catalogue's entry for a call, looked up once.
template <class C>
const Op& entry_of([[maybe_unused]] const C& call) {
  if constexpr (requires { C::names; }) {
    static const auto entries = [] {
      std::array<const Op*, std::size(C::names)> all{};
      for (size_t i = 0; i < all.size(); ++i) all[i] = &op(C::names[i]);
      return all;
    }();
    return *entries[static_cast<size_t>(call.kind)];
  } else {
    static const Op& entry = op(C::name);
    return entry;
  }
}

// ---- a call as Device::record takes it ----

/// Room for at most N; nothing is written before it is used.
template <class T, size_t N>
union Room {
  Room() {}
  T at[N > 0 ? N : 1];
};

template <class C>
class Encoded {
 public:
  explicit Encoded(const C& call) : entry(entry_of(call)) {
    Writer writer{*this};
    C::describe(writer, call);
  }
  Encoded(const Encoded&) = delete;

  const Op& entry;
  std::span<const ViewArg> views() const { return {list_ ? list_.get() : views_.at, static_cast<size_t>(n_views_)}; }
  std::span<const int64_t> attrs() const { return {attrs_.at, static_cast<size_t>(n_attrs_)}; }
  std::span<const Scalar> scalars() const { return {scalars_.at, static_cast<size_t>(n_scalars_)}; }

 private:
  struct Writer {
    Encoded& e;
    void outputs(const auto&... v) { (e.operand(v), ...); }
    void inputs(const auto&... v) { (e.operand(v), ...); }
    void attrs(const auto&... v) { (e.attr(v), ...); }
    void scalars(const auto&... v) { (e.scalar(v), ...); }
  };
  static constexpr Layout kLayout = detail::Parts<C>::layout;
  static constexpr int kListed = kLayout.list ? 16 : 0;  ///< operands of a list that need no allocation

  void operand(const ViewArg& v) { views_.at[n_views_++] = v; }
  void operand(std::span<const ViewArg> all) {
    ViewArg* to = views_.at;
    if (all.size() > kListed) {
      list_ = std::make_unique<ViewArg[]>(static_cast<size_t>(n_views_) + all.size());
      to = std::copy(views_.at, views_.at + n_views_, list_.get()) - n_views_;
    }
    std::copy(all.begin(), all.end(), to + n_views_);
    n_views_ += static_cast<int>(all.size());
  }
  template <Attr T>
  void attr(const T& v) {
    if constexpr (std::same_as<T, Dims>) {
      attrs_.at[n_attrs_++] = v.size();
      for (int64_t x : v) attrs_.at[n_attrs_++] = x;
    } else if constexpr (std::same_as<T, double>) {
      attrs_.at[n_attrs_++] = std::bit_cast<int64_t>(v);
    } else {
      attrs_.at[n_attrs_++] = static_cast<int64_t>(v);
    }
  }

  void scalar(Scalar v) { scalars_.at[n_scalars_++] = v; }
  void scalar(const Dims& list) {
    for (int64_t v : list) scalar(Scalar(v));
  }
  template <size_t N>
  void scalar(const std::array<double, N>& list) {
    for (double v : list) scalar(Scalar(v));
  }

  Room<ViewArg, static_cast<size_t>(kLayout.operands + kListed)> views_;
  Room<int64_t, static_cast<size_t>(kLayout.attrs)> attrs_;
  Room<Scalar, static_cast<size_t>(kLayout.scalars)> scalars_;
  std::unique_ptr<ViewArg[]> list_;
  int n_views_ = 0, n_attrs_ = 0, n_scalars_ = 0;
};

/// A call as Device::record takes it: an Encoded, or what builds one operand by operand (pointwise.h).
template <class T>
concept Ready = requires(T& t) {
  { t.entry } -> std::convertible_to<const Op&>;
  { t.views() } -> std::convertible_to<std::span<const ViewArg>>;
  { t.scalars() } -> std::convertible_to<std::span<const Scalar>>;
  { t.attrs() } -> std::convertible_to<std::span<const int64_t>>;
};

/// Records a call on the device of its operands; `in_order` as Device::record's. Throws what that throws.
/// (An object, not a function: argument-dependent lookup would find it beside a frontend's own.)
inline constexpr struct Record {
  template <Ready C>
  void operator()(C&& call, bool in_order = false) const {
    for (const ViewArg& v : call.views())
      if (v) return v.buffer->device.record(call.entry, call.views(), call.scalars(), call.attrs(), in_order);
    throw Error(ErrorKind::Internal, "[" + std::string(name_of(call.entry)) + "] a call without operands");
  }
  template <Call C>
  void operator()(const C& call, bool in_order = false) const {
    (*this)(Encoded<C>(call), in_order);
  }
} record;

}  // namespace anygpu::calls
