// Reductions of every kind, dtype and choice of dimensions; several in a row; and stores of both levels.
#include <cmath>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::ReduceKind;
using ir::Val;

std::string shape_of(const Dims& sizes, uint32_t reduce) {
  std::string s;
  for (int d = 0; d < sizes.size(); ++d) s += "_" + std::to_string(sizes[d]) + (reduce >> d & 1 ? "r" : "");
  return s;
}

int64_t reduced(const Dims& sizes, uint32_t mask) {
  return product(masked(sizes, mask));
}
uint32_t all_of(const Dims& sizes) {
  return (1u << sizes.size()) - 1;
}

bool is_arg(ReduceKind kind) {
  return kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin;
}
bool is_bool(ReduceKind kind) {
  return kind == ReduceKind::Any || kind == ReduceKind::All;
}

/// Position within the reduction space, row-major: what argmax answers with.
Val position(Generic& g) {
  Val p = ir::constant(g.body, DType::I64, int64_t{0});
  for (int d = 0; d < g.rank(); ++d) {
    if (g.reduces(d)) p = p * static_cast<double>(g.sizes[d]) + ir::index(g.body, d);
  }
  return p;
}

Case reduction(Maker& m, ReduceKind kind, DType t, const Dims& sizes, uint32_t mask, Layout layout, Fill fill) {
  Case c;
  c.name = std::string(ir::name_of(kind)) + "_" + name_of(t) + shape_of(sizes, mask) + (layout == Layout::Odd ? "_odd" : "");
  Generic g;
  g.name = c.name;
  g.sizes = sizes;
  g.reduce = mask;
  const uint32_t kept = all_of(sizes) & ~mask;
  const DType out = is_arg(kind) ? DType::I64 : t;
  const auto n = static_cast<double>(reduced(sizes, mask));
  Tolerance tolerance;
  if (is_float(t) && kind == ReduceKind::Sum) tolerance = {1, 2 * n * epsilon(compute_type(t)) * 2};
  if (is_float(t) && kind == ReduceKind::Prod) tolerance = {1 + 2 * n * epsilon(compute_type(t)) / epsilon(t), 0x1p-126};
  const int x = access(g, m.input(c, t, sizes, layout, fill));
  const int to = access(g, m.output(c, out, masked(sizes, kept), layout, tolerance), kept);
  const Val v = load_c(g, x);
  store(g, to, is_arg(kind) ? reduce_arg(kind, v, position(g)) : reduce(kind, v));
  c.steps.push_back(g);
  return c;
}

constexpr ReduceKind kKinds[] = {ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max,    ReduceKind::Min,
                                 ReduceKind::Any, ReduceKind::All,  ReduceKind::ArgMax, ReduceKind::ArgMin};

/// Which fills mean something to a kind: special values break sums by NaN only.
std::vector<Fill> fills_of(ReduceKind kind, DType t) {
  if (kind == ReduceKind::Prod && is_float(t)) return {Fill::Positive};
  if (kind == ReduceKind::Sum && is_float(t)) return {Fill::Plain};
  return {Fill::Special, Fill::Small};
}

TEST_P(Conformance, EveryReductionOverEveryMask) {
  Maker m(101);
  for (ReduceKind kind : kKinds) {
    for (DType t : kAll) {
      if (is_bool(kind) != (t == DType::Bool)) continue;
      for (const Dims& sizes : {Dims{3, 5, 17}, Dims{33}, Dims{9, 70}}) {
        for (uint32_t mask = 1; mask <= all_of(sizes); ++mask) {
          for (Fill fill : fills_of(kind, t)) {
            for (Layout layout : {Layout::Dense, Layout::Odd}) check(reduction(m, kind, t, sizes, mask, layout, fill));
          }
        }
      }
    }
  }
}

TEST_P(Conformance, LongReductions) {
  Maker m(102);
  const std::pair<Dims, uint32_t> spaces[] = {{{1000}, 1},     {{100003}, 1},   {{3, 4097}, 2},        {{4097, 3}, 1},
                                              {{1000, 65}, 1}, {{65, 1000}, 2}, {{17, 31, 64}, 0b101}, {{17, 31, 64}, 0b011}};
  for (ReduceKind kind : kKinds) {
    for (DType t : {DType::F32, DType::F64, DType::BF16, DType::I64, DType::U8, DType::Bool}) {
      if (is_bool(kind) != (t == DType::Bool) || (kind == ReduceKind::Prod && is_float(t))) continue;
      for (const auto& [sizes, mask] : spaces)
        check(reduction(m, kind, t, sizes, mask, Layout::Dense, kind == ReduceKind::Sum ? Fill::Plain : Fill::Small));
    }
  }
}

/// Nothing reduced is the identity; nothing to write is nothing.
TEST_P(Conformance, EmptyReductions) {
  Maker m(103);
  for (ReduceKind kind : kKinds) {
    if (is_arg(kind)) continue;  // has none: operators refuse before they come here
    for (DType t : kAll) {
      if (is_bool(kind) != (t == DType::Bool)) continue;
      for (const auto& [sizes, mask] :
           {std::pair<Dims, uint32_t>{{4, 0}, 0b10}, {{0, 4}, 0b01}, {{4, 0}, 0b01}, {{0}, 1}, {{3, 0, 2}, 0b110}, {{3, 0, 2}, 0b111}}) {
        check(reduction(m, kind, t, sizes, mask, Layout::Dense, Fill::Plain));
      }
    }
  }
}

/// Dimensions of size 1, reduced or not; and a Reduce in a space that reduces nothing, which is its operand.
TEST_P(Conformance, DegenerateReductions) {
  Maker m(104);
  for (ReduceKind kind : kKinds) {
    const DType t = is_bool(kind) ? DType::Bool : DType::F32;
    for (const auto& [sizes, mask] : {std::pair<Dims, uint32_t>{{1, 9}, 0b01},
                                      {{9, 1}, 0b10},
                                      {{1}, 1},
                                      {{1, 1, 1}, 0b010},
                                      {{5, 1, 6, 1}, 0b1100},
                                      {{7}, 0},
                                      {{}, 0},
                                      {{2, 3}, 0}}) {
      for (Layout layout : {Layout::Dense, Layout::Odd})
        check(reduction(m, kind, t, sizes, mask, layout, is_bool(kind) ? Fill::Plain : Fill::Positive));
    }
  }
}

/// The value does not vary: a sum is it times the extent, all else itself.
TEST_P(Conformance, ReductionsOfWhatDoesNotVary) {
  Maker m(105);
  for (ReduceKind kind : {ReduceKind::Sum, ReduceKind::Prod, ReduceKind::Max, ReduceKind::Min}) {
    for (DType t : {DType::F32, DType::I32, DType::I64}) {
      for (const auto& [sizes, mask] :
           {std::pair<Dims, uint32_t>{{5, 6}, 0b10}, {{6, 5}, 0b01}, {{4, 3, 2}, 0b101}, {{9}, 1}, {{3, 0}, 0b10}}) {
        Case c;
        c.name = std::string("invariant_") + ir::name_of(kind) + "_" + name_of(t) + shape_of(sizes, mask);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        g.reduce = mask;
        const uint32_t kept = all_of(sizes) & ~mask;
        const int x = access(g, m.input(c, t, masked(sizes, kept), Layout::Odd, Fill::Small), kept);
        const int to = access(g, m.output(c, t, masked(sizes, kept), Layout::Dense), kept);
        store(g, to, reduce(kind, load_c(g, x)));
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// argmax by an index that is not the position: ties go to the smallest b, wherever it is.
TEST_P(Conformance, ArgumentsByAnotherIndex) {
  Maker m(106);
  for (ReduceKind kind : {ReduceKind::ArgMax, ReduceKind::ArgMin}) {
    for (DType t : {DType::F32, DType::I32, DType::U8, DType::F64}) {
      for (const Dims& sizes : {Dims{4, 40}, Dims{40, 4}}) {
        for (uint32_t mask = 1; mask < 4; ++mask) {
          Case c;
          c.name = std::string("by_index_") + ir::name_of(kind) + "_" + name_of(t) + shape_of(sizes, mask);
          Generic g;
          g.name = c.name;
          g.sizes = sizes;
          g.reduce = mask;
          const uint32_t kept = all_of(sizes) & ~mask;
          std::vector<double> labels(product(sizes));
          for (size_t i = 0; i < labels.size(); ++i) labels[i] = static_cast<double>((i * 7919 + 13) % 1009) - 500;
          const int x = access(g, m.input(c, t, sizes, Layout::Odd, Fill::Small)),
                    b = access(g, m.input(c, DType::I64, sizes, Layout::Odd, labels));
          const int to = access(g, m.output(c, DType::I64, masked(sizes, kept), Layout::Dense), kept);
          store(g, to, reduce_arg(kind, load_c(g, x), load(g, b)));
          c.steps.push_back(g);
          check(c);
        }
      }
    }
  }
}

struct Space {
  Dims sizes;
  uint32_t mask;
};

const Space kRows[] = {{{4, 65}, 0b10}, {{65, 4}, 0b01}, {{3, 17, 5}, 0b010}, {{3, 17, 5}, 0b101}, {{3, 5, 33}, 0b110}, {{1000}, 1},
                       {{2, 1}, 0b10},  {{1, 7}, 0b10},  {{2, 0}, 0b10},      {{0, 5}, 0b10},      {{5, 9}, 0b11}};

TEST_P(Conformance, Softmax) {
  Maker m(107);
  for (DType t : kFloats) {
    for (const Space& s : kRows) {
      for (bool logarithm : {false, true}) {
        for (Layout layout : {Layout::Dense, Layout::Odd}) {
          Case c;
          c.name = std::string(logarithm ? "log_softmax_" : "softmax_") + name_of(t) + shape_of(s.sizes, s.mask);
          Generic g;
          g.name = c.name;
          g.sizes = s.sizes;
          g.reduce = s.mask;
          const auto n = static_cast<double>(reduced(s.sizes, s.mask));
          const int x = access(g, m.input(c, t, s.sizes, layout, Fill::Plain));
          const int to = access(g, m.output(c, t, s.sizes, layout, {1, (16 + n) * epsilon(compute_type(t)) * (logarithm ? 8 : 1)}));
          const Val v = load_c(g, x), shifted = v - reduce(ReduceKind::Max, v), e = exp(shifted), sum = reduce(ReduceKind::Sum, e);
          store(g, to, logarithm ? shifted - log(sum) : e / sum);
          c.steps.push_back(g);
          check(c);
        }
      }
    }
  }
}

/// Mean and variance of each row, stored, and the normalised row, scaled by weights that vary along the row: both levels at once.
TEST_P(Conformance, LayerNorm) {
  Maker m(108);
  for (DType t : kFloats) {
    for (const Space& s : kRows) {
      if (reduced(s.sizes, s.mask) < 2) continue;
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        Case c;
        c.name = std::string("layer_norm_") + name_of(t) + shape_of(s.sizes, s.mask);
        Generic g;
        g.name = c.name;
        g.sizes = s.sizes;
        g.reduce = s.mask;
        g.args = {0, 1};
        const uint32_t kept = all_of(s.sizes) & ~s.mask;
        const DType k = compute_type(t);
        const auto n = static_cast<double>(reduced(s.sizes, s.mask));
        c.scalars = {Scalar(1 / n), Scalar(1e-3)};
        const double slack = (32 + 8 * n) * epsilon(k);
        const int x = access(g, m.input(c, t, s.sizes, layout, Fill::Plain));
        const int w = access(g, m.input(c, t, masked(s.sizes, s.mask), layout, Fill::Plain), s.mask),
                  b = access(g, m.input(c, t, masked(s.sizes, s.mask), layout, Fill::Plain), s.mask);
        const int to = access(g, m.output(c, t, s.sizes, layout, {2, 16 * slack}));
        const int to_mean = access(g, m.output(c, k, masked(s.sizes, kept), layout, {2, slack}), kept);
        const int to_rstd = access(g, m.output(c, k, masked(s.sizes, kept), layout, {2, 32 * slack}), kept);
        const Val v = load_c(g, x), scale = ir::arg(g.body, k, 0);
        const Val mean = reduce(ReduceKind::Sum, v) * scale, d = v - mean;
        const Val rstd = 1.0 / sqrt(reduce(ReduceKind::Sum, d * d) * scale + ir::arg(g.body, k, 1));
        store(g, to, d * rstd * load_c(g, w) + load_c(g, b));
        store(g, to_mean, mean);
        store(g, to_rstd, rstd);
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Softmax written over its own input: every pass must read what was there before.
TEST_P(Conformance, ReductionsInPlace) {
  Maker m(109);
  for (DType t : {DType::F32, DType::F16}) {
    for (const Space& s : kRows) {
      Case c;
      c.name = std::string("softmax_in_place_") + name_of(t) + shape_of(s.sizes, s.mask);
      Generic g;
      g.name = c.name;
      g.sizes = s.sizes;
      g.reduce = s.mask;
      const auto n = static_cast<double>(reduced(s.sizes, s.mask));
      const int x = access(g, m.both(c, t, s.sizes, Layout::Odd, Fill::Plain, {1, (16 + n) * epsilon(compute_type(t))}));
      const Val v = load_c(g, x), e = exp(v - reduce(ReduceKind::Max, v));
      store(g, x, e / reduce(ReduceKind::Sum, e));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Several Reduces of one stage, of several dtypes, and arithmetic on their results.
TEST_P(Conformance, ReductionsSideBySide) {
  Maker m(110);
  for (const Space& s : kRows) {
    if (reduced(s.sizes, s.mask) == 0) continue;
    Case c;
    c.name = "side_by_side" + shape_of(s.sizes, s.mask);
    Generic g;
    g.name = c.name;
    g.sizes = s.sizes;
    g.reduce = s.mask;
    const uint32_t kept = all_of(s.sizes) & ~s.mask;
    const int x = access(g, m.input(c, DType::F32, s.sizes, Layout::Odd, Fill::Small)),
              y = access(g, m.input(c, DType::I32, s.sizes, Layout::Dense, Fill::Small));
    const int p = access(g, m.input(c, DType::F32, masked(s.sizes, kept), Layout::Odd, Fill::Plain), kept);
    auto out = [&](DType t) { return access(g, m.output(c, t, masked(s.sizes, kept), Layout::Odd), kept); };
    const Val a = load(g, x), b = load(g, y);
    const Val sum = reduce(ReduceKind::Sum, a), most = reduce(ReduceKind::Max, b), all = reduce(ReduceKind::All, b < 3.0);
    const Val best = reduce_arg(ReduceKind::ArgMin, a, position(g)), counted = reduce(ReduceKind::Sum, cast(a > 0.0, DType::I64));
    store(g, out(DType::F32), sum + load(g, p));
    store(g, out(DType::I32), select(all, most, -most));
    store(g, out(DType::I64), best * 1000.0 + counted);
    store(g, out(DType::F16), sum);
    const int full = access(g, m.output(c, DType::I64, s.sizes, Layout::Odd));
    store(g, full, cast(b, DType::I64) - cast(most, DType::I64) + cast(a == sum, DType::I64));
    c.steps.push_back(g);
    check(c);
  }
}

/// Three stages in which a later one uses two earlier ones.
TEST_P(Conformance, StagesOfReductions) {
  Maker m(111);
  for (DType t : {DType::I64, DType::I32, DType::F64}) {
    for (const Space& s : kRows) {
      Case c;
      c.name = std::string("stages_") + name_of(t) + shape_of(s.sizes, s.mask);
      Generic g;
      g.name = c.name;
      g.sizes = s.sizes;
      g.reduce = s.mask;
      const uint32_t kept = all_of(s.sizes) & ~s.mask;
      const int x = access(g, m.input(c, t, s.sizes, Layout::Odd, Fill::Small));
      const int full = access(g, m.output(c, t, s.sizes, Layout::Dense)),
                row = access(g, m.output(c, t, masked(s.sizes, kept), Layout::Odd), kept);
      const Val v = load(g, x);
      const Val first = reduce(ReduceKind::Max, v);
      const Val second = reduce(ReduceKind::Sum, select(v == first, like(v, 1), like(v, 0)));
      const Val third = reduce(ReduceKind::Min, v * second - first);
      // An empty Min is an infinity or the greatest integer: arithmetic on it is still exact, and wraps.
      store(g, row, third + second);
      store(g, full, v * third + first);
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Values that are the same all along the reduction, and are stored all along it: what an expanded tensor's softmax is made of.
TEST_P(Conformance, RowConstantsStoredAlongTheRow) {
  Maker m(113);
  std::vector<Space> spaces(std::begin(kRows), std::end(kRows));
  spaces.insert(spaces.end(), {{{2, 40000}, 0b10}, {{4097, 3}, 0b01}, {{600, 200}, 0b01}, {{70, 3, 9}, 0b001}, {{2, 1, 9}, 0b110}});
  enum What { Softmax, Reduced, Loaded, Constant, Guarded, Placed, All };
  for (DType t : {DType::F32, DType::I64, DType::U8, DType::BF16}) {
    for (const Space& s : spaces) {
      for (int what = Softmax; what <= All; ++what) {
        if (what == Softmax && !is_float(t)) continue;
        Case c;
        c.name = "row_constant_" + std::to_string(what) + "_" + name_of(t) + shape_of(s.sizes, s.mask);
        Generic g;
        g.name = c.name;
        g.sizes = s.sizes;
        g.reduce = s.mask;
        const uint32_t kept = all_of(s.sizes) & ~s.mask;
        const auto n = static_cast<double>(reduced(s.sizes, s.mask));
        const int x = access(g, m.input(c, t, s.sizes, Layout::Dense, Fill::Small)),
                  p = access(g, m.input(c, t, masked(s.sizes, kept), Layout::Odd, Fill::Small), kept);
        auto out = [&](Tolerance tolerance = {}) { return m.output(c, t, s.sizes, Layout::Odd, tolerance); };
        const auto is = [&](What w) { return what == w || (what == All && w != Softmax); };
        const Val same = load_c(g, p);
        if (is(Softmax)) {
          const Val e = exp(same - reduce(ReduceKind::Max, same));
          store(g, access(g, out({1, (16 + n) * epsilon(compute_type(t))})), e / reduce(ReduceKind::Sum, e));
        }
        if (is(Reduced)) store(g, access(g, out()), reduce(ReduceKind::Max, load_c(g, x)));
        if (is(Loaded)) store(g, access(g, out()), same);
        if (is(Constant)) store(g, access(g, out()), ir::constant(g.body, compute_type(t), 3.0));
        if (is(Guarded)) {
          store(g, access(g, out()), same);
          g.stores.back().guard = (load_c(g, x) < 1.0).id;
        }
        if (is(Placed)) {  // the place alone says where in the row
          const ir::Operand o = out();
          int at = 0;
          Val place = ir::constant(g.body, DType::I64, int64_t{0});
          ir::Access row{o.slot, o.dtype, o.offset, Dims::filled(g.rank(), 0)};
          for (int d = 0; d < g.rank(); ++d, ++at) {
            if (!g.reduces(d)) row.strides[d] = o.strides[at];
            if (g.reduces(d)) place = place + ir::index(g.body, d) * static_cast<double>(o.strides[at]);
          }
          g.accesses.push_back(row);
          store(g, static_cast<int>(g.accesses.size()) - 1, same);
          g.stores.back().index = place.id;
        }
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// A value varies along a reduction dimension of size 1 alone: it is of the inner level all the same, and is applied at every index
/// of the other reduction dimension. Whoever drops dimensions of size 1 must decide the levels first.
TEST_P(Conformance, LevelsDoNotDependOnSizes) {
  Maker m(112);
  for (DType t : {DType::I32, DType::F32}) {
    for (bool guarded : {false, true}) {
      for (int64_t extent : {1, 3, 17}) {
        Case c;
        c.name = std::string("levels_") + name_of(t) + "_" + std::to_string(extent) + (guarded ? "_guarded" : "");
        Generic g;
        g.name = c.name;
        g.sizes = {5, 1, extent};
        g.reduce = 0b110;
        const int x = access(g, m.input(c, t, {5, 1}, Layout::Dense, Fill::Small), 0b011),
                  mask = access(g, m.input(c, DType::Bool, {extent}, Layout::Dense, Fill::Plain), 0b100);
        const int to = access(g, m.both(c, t, {5}, Layout::Odd, Fill::Small), 0b001);
        g.stores.push_back({to, load(g, x).id, -1, guarded ? load(g, mask).id : -1, ir::Combine::Add});
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

}  // namespace
}  // namespace anygpu::conformance
