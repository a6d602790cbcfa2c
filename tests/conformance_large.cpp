// Spaces large enough that a backend splits them over threads, workgroups or blocks: where the seams are.
#include <cmath>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Combine;
using ir::Generic;
using ir::ReduceKind;
using ir::Val;

std::string shape_of(const Dims& sizes) {
  std::string s;
  for (int64_t x : sizes) s += "_" + std::to_string(x);
  return s;
}

uint32_t all_of(const Dims& sizes) {
  return (1u << sizes.size()) - 1;
}

// The cpu backend wakes a second thread from 2^16 element operations on, and splits a long reduction into chunks of 2^14.
const std::vector<Dims> kSpaces =
    kSanitized
        ? std::vector<Dims>{{70001}, {1201, 61}, {61, 1201}, {3, 7, 3307}, {3307, 7, 3}, {2, 35001}, {35001, 2}, {17, 19, 43, 5}}
        : std::vector<Dims>{{300007}, {5003, 61}, {61, 5003}, {3, 7, 14009}, {14009, 7, 3}, {2, 150001}, {150001, 2}, {37, 41, 43, 5}};

TEST_P(LargeConformance, LargePointwise) {
  Maker m(401);
  for (const Dims& sizes : kSpaces) {
    for (DType t : {DType::F32, DType::BF16, DType::I64, DType::U8}) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        Case c;
        c.name = std::string("large_") + name_of(t) + shape_of(sizes);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        const uint32_t last = 1u << (sizes.size() - 1);
        const int x = access(g, m.input(c, t, sizes, layout, Fill::Plain)),
                  row = access(g, m.input(c, t, masked(sizes, last), layout, Fill::Plain), last);
        const int to = access(g, m.output(c, t, sizes, layout)), flag = access(g, m.output(c, DType::Bool, sizes, layout));
        const Val a = load_c(g, x), b = load_c(g, row);
        store(g, to, a + b);
        store(g, flag, (a < b) & (ir::index(g.body, 0) % 3 == 1));
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

// A backend may have functions of its own for these. Rows lie apart: each array is wider than the space.
TEST_P(LargeConformance, FillsAndCopies) {
  Maker m(433);
  for (const Dims& sizes : {Dims{1}, Dims{300007}, Dims{5003, 61}, Dims{61, 5003}, Dims{3, 70001}, Dims{7, 3, 3307}}) {
    for (DType t : {DType::F32, DType::F64, DType::BF16, DType::I64, DType::I32, DType::U8, DType::Bool}) {
      Dims wide = sizes;
      wide[wide.size() - 1] += 3;
      const bool half = t == DType::BF16;
      auto make = [&](const char* what, auto value) {
        Case c;
        c.name = std::string(what) + "_" + name_of(t) + shape_of(sizes);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        g.args = {1};
        c.scalars = {Scalar(int64_t{9}), Scalar::of(t, 1.7)};
        const int from = access(g, m.input(c, t, wide, Layout::Dense, Fill::Plain)), to = access(g, m.output(c, t, wide, Layout::Dense));
        g.stores.push_back({to, value(g, from).id});
        if (g.body.size() == 1 && g.body[0].op != ir::ExprOp::Load) g.accesses.erase(g.accesses.begin()), g.stores[0].access = 0;
        c.steps.push_back(g);
        check(c);
      };
      make("copy", [&](Generic& g, int from) { return ir::load(g.body, t, from); });
      if (half) continue;  // a body has no constants of this type
      make("zeros", [&](Generic& g, int) { return ir::constant(g.body, t, int64_t{0}); });
      make("argument", [&](Generic& g, int) { return ir::arg(g.body, t, 0); });
    }
  }
}

// Results larger than the last cache: they may be written past it, from the reduction's own loop too.
TEST_P(LargeConformance, LargeStores) {
  Maker m(409);
  for (const Dims& sizes : {Dims{4194341}, Dims{1025, 4104}, Dims{2051, 2051}}) {
    Case c;
    c.name = "large_stores" + shape_of(sizes);
    const uint32_t last = 1u << (sizes.size() - 1);
    const ir::Operand src = m.input(c, DType::F64, sizes, Layout::Dense, Fill::Plain);
    Generic g;
    g.name = c.name;
    g.sizes = sizes;
    const int x = access(g, src), row = access(g, m.input(c, DType::F64, masked(sizes, last), Layout::Dense, Fill::Plain), last);
    store(g, access(g, m.output(c, DType::F64, sizes, Layout::Dense)), load_c(g, x) + load_c(g, row) * 2.0);
    c.steps.push_back(g);
    if (sizes.size() > 1) {
      Generic r;
      r.name = c.name + "_reduced";
      r.sizes = sizes;
      r.reduce = last;
      const Val v = load_c(r, access(r, src)), twice = v + v;
      store(r, access(r, m.output(c, DType::F64, sizes, Layout::Dense)), twice);
      store(r, access(r, m.output(c, DType::F64, masked(sizes, ~last), Layout::Dense), ~last), ir::reduce(ReduceKind::Max, twice));
      c.steps.push_back(r);
    }
    check(c);
  }
}

// One operand lies the other way round: read across its rows, or in squares that are turned. Sizes around multiples of a vector.
TEST_P(LargeConformance, LargeTransposes) {
  Maker m(410);
  for (const Dims& sizes :
       {Dims{130, 257}, Dims{1040, 16}, Dims{16, 1040}, Dims{17, 1101}, Dims{1101, 17}, Dims{512, 48}, Dims{3, 90, 131}}) {
    for (DType t : {DType::F32, DType::F16, DType::F64, DType::U8, DType::Bool}) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        Case c;
        c.name = std::string("large_transpose_") + name_of(t) + shape_of(sizes);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        const int last = static_cast<int>(sizes.size()) - 1;
        Dims turned = sizes;
        std::swap(turned[last], turned[last - 1]);
        ir::Operand across = m.input(c, t, turned, layout, Fill::Plain);
        std::swap(across.sizes[last], across.sizes[last - 1]), std::swap(across.strides[last], across.strides[last - 1]);
        const int x = access(g, m.input(c, t, sizes, layout, Fill::Plain)), y = access(g, across);
        const int to = access(g, m.output(c, t, sizes, layout)), copied = access(g, m.output(c, t, sizes, layout));
        const Val b = load_c(g, y), where = ir::index(g.body, last) + ir::index(g.body, last - 1) * 3;
        store(g, to, ir::select(where % 5 == 1, load_c(g, x), b));
        store(g, copied, b);
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

TEST_P(LargeConformance, LargeReductions) {
  Maker m(402);
  for (const Dims& sizes : kSpaces) {
    for (uint32_t mask = 1; mask <= all_of(sizes); ++mask) {
      for (DType t : {DType::F32, DType::I64}) {
        if (kSanitized && (t == DType::F32) != (mask % 2 == 1)) continue;  // a type a mask: threads do not care for types
        Case c;
        c.name = std::string("large_reduction_") + name_of(t) + shape_of(sizes) + "_" + std::to_string(mask);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        g.reduce = mask;
        const uint32_t kept = all_of(sizes) & ~mask;
        const auto n = static_cast<double>(product(masked(sizes, mask)));
        // Rounding walks: partial sums of n values within 2 grow as sqrt(n), and each addition rounds once.
        const Tolerance of_sum{1, is_float(t) ? 2 * n * epsilon(t) : 0};
        const int x = access(g, m.input(c, t, sizes, Layout::Dense, is_float(t) ? Fill::Plain : Fill::Special));
        const int sum = access(g, m.output(c, t, masked(sizes, kept), Layout::Odd, of_sum), kept),
                  most = access(g, m.output(c, t, masked(sizes, kept), Layout::Dense), kept);
        const int where = access(g, m.output(c, DType::I64, masked(sizes, kept), Layout::Odd), kept);
        Val position = ir::constant(g.body, DType::I64, int64_t{0});
        for (int d = 0; d < g.rank(); ++d) {
          if (g.reduces(d)) position = position * static_cast<double>(sizes[d]) + ir::index(g.body, d);
        }
        const Val v = load(g, x);
        store(g, sum, reduce(ReduceKind::Sum, v));
        store(g, most, reduce(ReduceKind::Max, v));
        store(g, where, reduce_arg(ReduceKind::ArgMin, v, position));
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

TEST_P(LargeConformance, LargeSoftmax) {
  Maker m(403);
  const int64_t less = kSanitized ? 4 : 1;
  for (const auto& [sizes, mask] : {std::pair<Dims, uint32_t>{{64, 5003 / less}, 0b10},
                                    {{5003 / less, 64}, 0b01},
                                    {{300007 / less}, 1},
                                    {{3000 / less, 100}, 0b10},
                                    {{30 / less, 100, 97}, 0b010},
                                    {{30 / less, 100, 97}, 0b101}}) {
    for (bool in_place : {false, true}) {
      Case c;
      c.name = "large_softmax" + shape_of(sizes) + (in_place ? "_in_place" : "");
      Generic g;
      g.name = c.name;
      g.sizes = sizes;
      g.reduce = mask;
      const Tolerance tolerance{16, 1e-6};
      const int x = access(g, in_place ? m.both(c, DType::F32, sizes, Layout::Odd, Fill::Plain, tolerance)
                                       : m.input(c, DType::F32, sizes, Layout::Odd, Fill::Plain));
      const int to = in_place ? x : access(g, m.output(c, DType::F32, sizes, Layout::Dense, tolerance));
      const Val v = load(g, x), e = exp(v - reduce(ReduceKind::Max, v));
      store(g, to, e / reduce(ReduceKind::Sum, e));
      c.steps.push_back(g);
      check(c);
    }
  }
}

constexpr int64_t kMany = kSanitized ? 40009 : 100003;

/// Many threads meet the same few elements.
TEST_P(LargeConformance, LargeScatters) {
  Maker m(404);
  for (Combine how : {Combine::Add, Combine::Max, Combine::Min}) {
    for (DType t : {DType::F32, DType::F64, DType::F16, DType::BF16, DType::I8, DType::I32, DType::I64, DType::U8, DType::Bool}) {
      for (int64_t buckets : {1, 3, 1000}) {
        Case c;
        c.name = std::string("large_scatter_") + std::to_string(static_cast<int>(how)) + "_" + name_of(t) + "_" + std::to_string(buckets);
        Generic g;
        g.name = c.name;
        g.sizes = {kMany};
        std::vector<double> at(kMany), values(kMany);
        for (double& i : at) i = static_cast<double>(m.below(buckets));
        const bool half = t == DType::F16 || t == DType::BF16;
        // Halves count exactly to 256 at the least, so few of their terms are not 0.
        for (double& v : values)
          v = half ? (m.chance(0.001) ? 1 : 0) : t == DType::Bool ? static_cast<double>(m.chance(0.0001)) : m.value(t, Fill::Small);
        const int i = access(g, m.input(c, DType::I64, g.sizes, Layout::Dense, at)),
                  x = access(g, m.input(c, t, g.sizes, Layout::Dense, values));
        const ir::Operand dst = m.both(c, t, {buckets}, Layout::Odd, Fill::Small);
        g.accesses.push_back({dst.slot, t, dst.offset, {0}});
        const Val v = load(g, x), where = load(g, i) * ir::constant(g.body, DType::I64, dst.strides[0]);
        g.stores.push_back({2, v.id, where.id, -1, how});
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// What must be added in order, over dimensions that do not collapse: more steps of one loop, and of nested loops, than some devices allow.
TEST_P(LargeConformance, LargeOrderedScatters) {
  Maker m(408);
  for (const Dims& sizes : {Dims{400, 300}, Dims{300, 400, 1}, Dims{70001, 2}}) {
    for (Combine how : {Combine::Add, Combine::Max}) {
      Case c;
      c.name = "large_ordered_" + std::to_string(static_cast<int>(how)) + shape_of(sizes);
      Generic g;
      g.name = c.name;
      g.sizes = sizes;
      std::vector<double> at(sizes[0]);
      for (double& i : at) i = static_cast<double>(m.below(5));
      const int i = access(g, m.input(c, DType::I64, {sizes[0]}, Layout::Dense, at), 1),
                x = access(g, m.input(c, DType::F64, sizes, Layout::Odd, Fill::Small));
      const ir::Operand dst = m.both(c, DType::F64, {5}, Layout::Dense, Fill::Small);
      g.accesses.push_back({dst.slot, DType::F64, dst.offset, Dims::filled(g.rank(), 0)});
      const Val v = load(g, x), where = load(g, i);
      g.stores.push_back({2, v.id, where.id, -1, how});
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// The same without a computed index: parallel indices that meet because a stride is 0.
TEST_P(LargeConformance, LargeFolds) {
  Maker m(405);
  for (DType t : {DType::F32, DType::I32, DType::I64, DType::U8}) {
    for (uint32_t kept : {0b00u, 0b01u, 0b10u}) {
      for (const Dims& sizes : {kSpaces[1], kSpaces[2]}) {
        Case c;
        c.name = std::string("large_fold_") + name_of(t) + shape_of(sizes) + "_" + std::to_string(kept);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        const int x = access(g, m.input(c, t, sizes, Layout::Dense, Fill::Small)),
                  to = access(g, m.both(c, t, masked(sizes, kept), Layout::Odd, Fill::Small), kept);
        g.stores.push_back({to, load(g, x).id, -1, -1, Combine::Add});
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Sums longer than what one loop of a shader may count to (65,535 on a software device).
TEST_P(LargeConformance, LongProducts) {
  Maker m(409);
  using ir::NamedKind;
  for (const auto& [t, biased] :
       {std::pair{DType::F32, false}, {DType::F32, true}, {DType::F64, true}, {DType::F16, false}, {DType::BF16, true}}) {
    Case c;
    const int64_t k = 130001;
    ir::Named n{NamedKind::Matmul, {m.output(c, t, {3, 5}, Layout::Dense)}, {}, "matmul"};
    n.operands.push_back(m.input(c, t, {3, k}, Layout::Dense, Fill::Small));
    n.operands.push_back(m.input(c, t, {k, 5}, Layout::Dense, Fill::Small));
    if (biased) n.operands.push_back(m.input(c, t, {3, 5}, Layout::Dense, Fill::Small));
    c.name = std::string("long_matmul_") + name_of(t) + (biased ? "_biased" : "");
    c.steps.emplace_back(n);
    CHECK_NAMED(c);
  }
  struct Shape {
    int64_t batch, height, width;
  };
  for (const Shape& s : {Shape{70001, 1, 1}, Shape{3, 250, 251}, Shape{1, 1, 66000}, Shape{200, 20, 21}}) {
    for (const DType t : {DType::F32, DType::BF16}) {
      Case c;
      ir::Named n{NamedKind::ConvWeightGrad, {m.output(c, t, {2, 1, 1, 3}, Layout::Dense)}, {}, "conv_weight_grad"};
      n.operands.push_back(m.input(c, t, {s.batch, 2, s.height, s.width}, Layout::Dense, Fill::Small));
      n.operands.push_back(m.input(c, t, {s.batch, 1, s.height, s.width}, Layout::Dense, Fill::Small));
      n.attrs.stride = n.attrs.dilation = {1, 1};
      n.attrs.padding = {0, 1};
      c.name = "long_weight_grad" + shape_of({s.batch, s.height, s.width}) + "_" + name_of(t);
      c.steps.emplace_back(n);
      CHECK_NAMED(c);
    }
  }
}

/// A Generic that sums products of two arrays, which a backend may make a matrix product: of halves, mixed types, doubles; stored as it is,
/// as a half, or after more arithmetic.
TEST_P(LargeConformance, SumsOfProducts) {
  Maker m(410);
  const int64_t rows = 37, columns = 29, k = 41;
  struct Types {
    DType a, b, to;
  };
  for (const Types& t : {Types{DType::F32, DType::F32, DType::F32}, Types{DType::F16, DType::F16, DType::F16},
                         Types{DType::BF16, DType::BF16, DType::BF16}, Types{DType::BF16, DType::BF16, DType::F32},
                         Types{DType::F32, DType::F16, DType::BF16}, Types{DType::F64, DType::F64, DType::F64}}) {
    for (bool more : {false, true}) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        Case c;
        c.name = std::string("sum_of_products_") + name_of(t.a) + "_" + name_of(t.b) + "_" + name_of(t.to) + (more ? "_more" : "") +
                 (layout == Layout::Odd ? "_odd" : "");
        Generic g;
        g.name = c.name;
        g.sizes = {rows, columns, k};
        g.reduce = 0b100;
        const Tolerance tolerance{1, 8 * static_cast<double>(k) * epsilon(compute_type(t.to))};
        const int a = access(g, m.input(c, t.a, {rows, k}, layout, Fill::Plain), 0b101),
                  b = access(g, m.input(c, t.b, {columns, k}, layout, Fill::Plain), 0b110),
                  to = access(g, m.output(c, t.to, {rows, columns}, layout, tolerance), 0b011);
        const Val sum = reduce(ReduceKind::Sum, load_c(g, a) * load_c(g, b));
        store(g, to, more ? sum * 0.5 + 1.0 : sum);
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// One bad element among many, first, last and between, must not be lost by any thread.
TEST_P(LargeConformance, LargeChecks) {
  Maker m(406);
  const int64_t n = kSanitized ? 70001 : 200003;
  for (int64_t bad : {int64_t{-1}, int64_t{0}, int64_t{1}, n / 2, n - 2, n - 1}) {
    for (bool reduced : {false, true}) {
      Case c;
      c.name = "large_check_" + std::to_string(bad);
      Generic g;
      g.name = c.name;
      g.sizes = {n};
      g.reduce = reduced;
      std::vector<double> values(n, 1);
      if (bad >= 0) values[bad] = 9;
      const int x = access(g, m.input(c, DType::I32, {n}, Layout::Dense, values));
      const int to = access(g, m.output(c, DType::I32, reduced ? Dims{} : Dims{n}, Layout::Dense), reduced ? 0 : 1);
      const Val v = load(g, x), ok = ir::check(v < 5.0, ir::Fault::TargetOutOfRange), w = select(ok, v, like(v, 0));
      store(g, to, reduced ? reduce(ReduceKind::Sum, w) : w);
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Random numbers depend on the index alone, however the work is split.
TEST_P(LargeConformance, LargeRandomBits) {
  Maker m(407);
  Case c;
  c.name = "large_philox";
  Generic g;
  g.name = c.name;
  g.sizes = {kMany};
  g.args = {0};
  c.scalars = {Scalar(int64_t{1234567})};
  const int to = access(g, m.output(c, DType::F32, g.sizes, Layout::Dense));
  const Val bits = philox(ir::index(g.body, 0), ir::arg(g.body, DType::I64, 0), ir::constant(g.body, DType::I64, int64_t{0}), 0);
  store(g, to, cast(shr(bits, like(bits, 8)), DType::F32) * 0x1p-24);
  c.steps.push_back(g);
  check(c);
}

}  // namespace
}  // namespace anygpu::conformance
