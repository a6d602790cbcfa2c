// Computed addresses, combining stores, guards, checks, and Programs of several steps run with other Bindings.
#include <algorithm>
#include <numeric>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Combine;
using ir::Fault;
using ir::Generic;
using ir::ReduceKind;
using ir::Val;

std::vector<double> indices(Maker& m, int64_t count, int64_t below) {
  std::vector<double> v(count);
  for (double& x : v) x = static_cast<double>(m.below(below));
  return v;
}

std::vector<double> permutation(Maker& m, int64_t count) {
  std::vector<double> v(count);
  std::iota(v.begin(), v.end(), 0);
  for (int64_t i = count - 1; i > 0; --i) std::swap(v[i], v[m.below(i + 1)]);
  return v;
}

Val i64(Generic& g, int64_t v) {
  return ir::constant(g.body, DType::I64, v);
}

/// An access to element 0 of an operand, whose addresses are computed.
int base(Generic& g, const ir::Operand& o) {
  g.accesses.push_back({o.slot, o.dtype, o.offset, Dims::filled(g.rank(), 0)});
  return static_cast<int>(g.accesses.size()) - 1;
}

/// Rows of a table, by index: the embedding of every dtype; part of the address is affine, part computed.
TEST_P(Conformance, Gathers) {
  Maker m(201);
  for (DType t : kAll) {
    for (DType index_type : {DType::I64, DType::I32, DType::U8}) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        for (const auto& [rows, width] : {std::pair<int64_t, int64_t>{1, 1}, {7, 3}, {17, 65}, {65, 5}}) {
          Case c;
          c.name =
              std::string("gather_") + name_of(t) + "_" + name_of(index_type) + "_" + std::to_string(rows) + "_" + std::to_string(width);
          Generic g;
          g.name = c.name;
          g.sizes = {rows, width};
          const ir::Operand table = m.input(c, t, {11, width}, layout, Fill::Plain);
          const int at = access(g, m.input(c, index_type, {rows}, layout, indices(m, rows, 11)), 0b01);
          const int to = access(g, m.output(c, t, g.sizes, layout));
          g.accesses.push_back({table.slot, t, table.offset, {0, table.strides[1]}});
          const Val row = cast(load(g, at), DType::I64);
          const Val v = ir::load(g.body, t, static_cast<int>(g.accesses.size()) - 1, row * i64(g, table.strides[0]));
          store(g, to, v);
          c.steps.push_back(g);
          check(c);
        }
      }
    }
  }
}

/// A window that reaches over the edge: clamped address, selected value, summed. What padding and pooling do.
TEST_P(Conformance, ReductionsOfGathers) {
  Maker m(202);
  for (DType t : {DType::F32, DType::F16, DType::I64, DType::I32}) {
    for (int64_t window : {1, 3, 5}) {
      for (int64_t size : {1, 7, 65}) {
        Case c;
        c.name = std::string("window_") + name_of(t) + "_" + std::to_string(window) + "_" + std::to_string(size);
        Generic g;
        g.name = c.name;
        g.sizes = {3, size, window};
        g.reduce = 0b100;
        const ir::Operand src = m.input(c, t, {3, size}, Layout::Odd, Fill::Small);
        const int to = access(g, m.output(c, t, {3, size}, Layout::Odd), 0b011);
        const int most = access(g, m.output(c, DType::I64, {3, size}, Layout::Dense), 0b011);
        g.accesses.push_back({src.slot, t, src.offset, {src.strides[0], 0, 0}});
        const Val p = ir::index(g.body, 1) + ir::index(g.body, 2) - i64(g, window / 2);
        const Val inside = (i64(g, 0) <= p) & (p < i64(g, size));
        const Val v =
            cast(ir::load(g.body, t, static_cast<int>(g.accesses.size()) - 1, select(inside, p, i64(g, 0)) * i64(g, src.strides[1])),
                 compute_type(t));
        store(g, to, reduce(ReduceKind::Sum, select(inside, v, like(v, 0))));
        store(g, most, reduce_arg(ReduceKind::ArgMax, select(inside, v, like(v, -100)), p));
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Addresses that come from arithmetic on indices alone: a transposition that strides could not say.
TEST_P(Conformance, AffineInTheBody) {
  Maker m(203);
  for (DType t : {DType::F32, DType::I16, DType::Bool}) {
    Case c;
    c.name = std::string("diagonal_") + name_of(t);
    Generic g;
    g.name = c.name;
    g.sizes = {13, 29};
    const ir::Operand src = m.input(c, t, {13, 29}, Layout::Dense, Fill::Plain);
    const int from = base(g, src), to = access(g, m.output(c, t, g.sizes, Layout::Odd));
    const Val i = ir::index(g.body, 0), j = ir::index(g.body, 1);
    store(g, to, ir::load(g.body, t, from, i * 29.0 + (j * 2.0 + i) % i64(g, 29)));
    c.steps.push_back(g);
    check(c);
  }
}

/// Every Combine over every dtype, with many meeting one element. Small whole numbers, so that order does not matter.
TEST_P(Conformance, Scatters) {
  Maker m(204);
  for (Combine how : {Combine::Add, Combine::Mul, Combine::Max, Combine::Min}) {
    for (DType t : kAll) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        for (const auto& [rows, width, buckets] :
             {std::tuple<int64_t, int64_t, int64_t>{1, 1, 1}, {30, 1, 5}, {40, 7, 3}, {300, 17, 11}, {9, 65, 200}, {2000, 1, 1}}) {
          Case c;
          c.name = std::string("scatter_") + std::to_string(static_cast<int>(how)) + "_" + name_of(t) + "_" + std::to_string(rows) + "_" +
                   std::to_string(width);
          Generic g;
          g.name = c.name;
          g.sizes = {rows, width};
          std::vector<double> values(rows * width);
          for (double& v : values) {
            v = how == Combine::Mul ? (t == DType::U8 || t == DType::Bool ? 1.0 : m.chance(0.5) ? 1 : -1) : m.value(t, Fill::Small);
            if (t == DType::Bool) v = static_cast<double>(m.below(2));
            // Halves count exactly to 2048 and 256 only.
            if (how == Combine::Add && (t == DType::BF16 || t == DType::F16) && rows > 100) v = m.chance(0.05) ? 1 : 0;
          }
          const int x = access(g, m.input(c, t, g.sizes, layout, values));
          const int at = access(g, m.input(c, DType::I64, {rows}, layout, indices(m, rows, buckets)), 0b01);
          const ir::Operand dst = m.both(c, t, {buckets, width}, layout, Fill::Small);
          g.accesses.push_back({dst.slot, t, dst.offset, {0, dst.strides[1]}});
          const Val v = load(g, x), where = load(g, at) * i64(g, dst.strides[0]);
          g.stores.push_back({static_cast<int32_t>(g.accesses.size()) - 1, v.id, where.id, -1, how});
          c.steps.push_back(g);
          check(c);
        }
      }
    }
  }
}

/// Several indices meet one element because a stride is 0: a sum over parallel dimensions, without any computed index.
TEST_P(Conformance, CombiningAlongZeroStrides) {
  Maker m(205);
  for (Combine how : {Combine::Add, Combine::Max, Combine::Min}) {
    for (DType t : {DType::F32, DType::F64, DType::BF16, DType::I32, DType::I64, DType::U8, DType::Bool}) {
      for (uint32_t kept : {0b00u, 0b01u, 0b10u, 0b11u}) {
        Case c;
        c.name = std::string("fold_") + std::to_string(static_cast<int>(how)) + "_" + name_of(t) + "_" + std::to_string(kept);
        Generic g;
        g.name = c.name;
        g.sizes = {5, 19};
        const int x = access(g, m.input(c, t, g.sizes, Layout::Odd, Fill::Small));
        const int to = access(g, m.both(c, t, masked(g.sizes, kept), Layout::Odd, Fill::Small), kept);
        g.stores.push_back({to, load(g, x).id, -1, -1, how});
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Reduced values combined into what is there; full-level values combined from the inner loops; both in one Generic.
TEST_P(Conformance, CombiningInReductions) {
  Maker m(206);
  for (DType t : {DType::F32, DType::F16, DType::I64, DType::I32, DType::I8}) {
    for (uint32_t mask : {0b01u, 0b10u, 0b11u}) {
      Case c;
      c.name = std::string("combine_levels_") + name_of(t) + "_" + std::to_string(mask);
      Generic g;
      g.name = c.name;
      g.sizes = {6, 21};
      g.reduce = mask;
      const uint32_t kept = 3u & ~mask;
      const int x = access(g, m.input(c, t, g.sizes, Layout::Odd, Fill::Small));
      const int row = access(g, m.both(c, t, masked(g.sizes, kept), Layout::Odd, Fill::Small), kept);
      const ir::Operand histogram = m.both(c, DType::I32, {7}, Layout::Odd, Fill::Small);
      const int bins = base(g, histogram);
      const Val v = load_c(g, x), sum = reduce(ReduceKind::Sum, v);
      g.stores.push_back({row, cast(sum, t).id, -1, -1, Combine::Add});
      // Small values are -3 to 3: one bin each. The weight varies, so that it is counted at every index.
      const Val bin = (cast(v, DType::I64) + 3.0) * i64(g, histogram.strides[0]);
      g.stores.push_back({bins, cast(v * v, DType::I32).id, bin.id, (v != sum).id, Combine::Add});
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Without Combine each element has one writer: a permutation. Rows and elements, with parts of the address affine.
TEST_P(Conformance, Permutations) {
  Maker m(207);
  for (DType t : kAll) {
    for (int64_t rows : {1, 17, 100}) {
      Case c;
      c.name = std::string("permute_") + name_of(t) + "_" + std::to_string(rows);
      Generic g;
      g.name = c.name;
      g.sizes = {rows, 5};
      const int x = access(g, m.input(c, t, g.sizes, Layout::Odd, Fill::Plain)),
                at = access(g, m.input(c, DType::I64, {rows}, Layout::Dense, permutation(m, rows)), 0b01);
      const ir::Operand dst = m.output(c, t, g.sizes, Layout::Odd);
      g.accesses.push_back({dst.slot, t, dst.offset, {0, dst.strides[1]}});
      const Val v = load(g, x), where = load(g, at) * i64(g, dst.strides[0]);
      g.stores.push_back({static_cast<int32_t>(g.accesses.size()) - 1, v.id, where.id});
      c.steps.push_back(g);
      check(c);
    }
  }
}

TEST_P(Conformance, Guards) {
  Maker m(208);
  for (DType t : kAll) {
    for (Layout layout : {Layout::Dense, Layout::Odd}) {
      for (const Dims& sizes : {Dims{1}, Dims{17}, Dims{1000}, Dims{5, 13}}) {
        Case c;
        c.name = std::string("guard_") + name_of(t) + "_" + std::to_string(product(sizes));
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        const int x = access(g, m.input(c, t, sizes, layout, Fill::Plain)),
                  mask = access(g, m.input(c, DType::Bool, sizes, layout, Fill::Plain));
        const int to = access(g, m.output(c, t, sizes, layout)), other = access(g, m.output(c, t, sizes, layout));
        const Val keep = load(g, mask);
        g.stores.push_back({to, load(g, x).id, -1, keep.id});
        g.stores.push_back({other, load(g, x).id, -1, (!keep).id});
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Guards of reduced and of full-level stores, and a guard that keeps a computed index from going astray.
TEST_P(Conformance, GuardsInReductions) {
  Maker m(209);
  for (DType t : {DType::F32, DType::F16, DType::I32, DType::I64}) {
    for (uint32_t mask : {0b01u, 0b10u, 0b11u}) {
      Case c;
      c.name = std::string("guard_reduced_") + name_of(t) + "_" + std::to_string(mask);
      Generic g;
      g.name = c.name;
      g.sizes = {9, 17};
      g.reduce = mask;
      const uint32_t kept = 3u & ~mask;
      const int x = access(g, m.input(c, t, g.sizes, Layout::Odd, Fill::Small));
      const int row = access(g, m.output(c, t, masked(g.sizes, kept), Layout::Odd), kept),
                full = access(g, m.output(c, t, g.sizes, Layout::Odd));
      const ir::Operand astray = m.both(c, DType::I32, {4}, Layout::Dense, Fill::Small);
      const int to = base(g, astray);
      const Val v = load_c(g, x), sum = reduce(ReduceKind::Sum, v), position = ir::index(g.body, 1);
      g.stores.push_back({row, cast(sum, t).id, -1, (sum > 0.0).id});
      g.stores.push_back({full, cast(v - sum, t).id, -1, (v != 0.0).id});
      // Addresses beyond the end are computed, but guarded off.
      g.stores.push_back(
          {to, cast(v + cast(position, v.type()), DType::I32).id, (position * 1.0).id, ((position < 4.0) & (v > -5.0)).id, Combine::Add});
      c.steps.push_back(g);
      check(c);
    }
  }
}

Case checked(Maker& m, Fault fault, int64_t size, int64_t bad_at, int where) {
  Case c;
  c.name = "check_" + std::to_string(static_cast<int>(fault)) + "_" + std::to_string(size) + "_" + std::to_string(bad_at) + "_" +
           std::to_string(where);
  Generic g;
  g.name = "checked";
  g.sizes = {size, 3};
  if (where == 2) g.reduce = 0b01;
  std::vector<double> values(size, 5);
  if (bad_at >= 0) values[bad_at] = -1;
  const int at = access(g, m.input(c, DType::I64, {size}, Layout::Odd, values), 0b01);
  const int to =
      where == 2 ? access(g, m.output(c, DType::I64, {3}, Layout::Dense), 0b10) : access(g, m.output(c, DType::I64, g.sizes, Layout::Odd));
  const Val i = load(g, at), ok = ir::check(i >= 0.0, fault);
  const Val used = where == 0 ? i : select(ok, i, i64(g, 0));  // 0: nobody uses the result, it is made nevertheless
  store(g, to, where == 2 ? reduce(ReduceKind::Sum, used) : used + ir::index(g.body, 1));
  c.steps.push_back(g);
  // A second step, which runs whatever becomes of the first.
  Generic next;
  next.name = "next";
  next.sizes = {size};
  const int x = access(next, m.input(c, DType::I64, {size}, Layout::Dense, Fill::Small)),
            y = access(next, m.output(c, DType::I64, {size}, Layout::Dense));
  store(next, y, load(next, x) * 3.0);
  c.steps.push_back(next);
  return c;
}

TEST_P(Conformance, Checks) {
  Maker m(210);
  for (Fault fault : {Fault::IndexOutOfRange, Fault::BadProbability, Fault::DivisionByZero, Fault::TargetOutOfRange, Fault::BadArgument,
                      Fault::OutOfBounds}) {
    for (int64_t size : {1, 17, 1000}) {
      for (int64_t bad_at : {int64_t{-1}, int64_t{0}, size / 2, size - 1}) {
        for (int where = 0; where < 3; ++where) {
          const Case c = checked(m, fault, size, bad_at, where);
          check(c);
          // What check() does not see: the message, and that later steps have run.
          const Outcome got = run(backend(), c, c.steps);
          ASSERT_EQ(got.failures.size(), bad_at < 0 ? 0u : 1u) << c.name;
          if (bad_at >= 0) {
            EXPECT_EQ(got.failures[0].first, 0);
            EXPECT_NE(std::string(got.failures[0].second.what()).find(ir::fault_message(fault)), std::string::npos)
                << got.failures[0].second.what();
          }
          const Slot& from = c.slots[c.slots.size() - 2];
          for (int64_t k = 0; k < size; ++k) {
            int64_t before, after;
            std::copy_n(from.bytes.data() + 8 * k, 8, reinterpret_cast<char*>(&before));
            std::copy_n(got.slots.back().data() + 8 * k, 8, reinterpret_cast<char*>(&after));
            ASSERT_EQ(after, 3 * before) << c.name;
          }
        }
      }
    }
  }
}

/// A guarded gather as operators write it: the check reports, the select keeps the address in range.
TEST_P(Conformance, ChecksBesideGathers) {
  Maker m(211);
  for (int64_t bad : {int64_t{4}, int64_t{1} << 40, int64_t{-1}}) {
    Case c;
    c.name = "checked_gather";
    Generic g;
    g.name = "take";
    g.sizes = {50};
    std::vector<double> at = indices(m, 50, 4);
    at[31] = static_cast<double>(bad);
    const int i = access(g, m.input(c, DType::I64, {50}, Layout::Dense, at)), to = access(g, m.output(c, DType::F32, {50}, Layout::Dense));
    const int table = base(g, m.input(c, DType::F32, {4}, Layout::Dense, Fill::Plain));
    const Val k = load(g, i), ok = ir::check((k >= 0.0) & (k < 4.0), Fault::IndexOutOfRange);
    store(g, to, ir::load(g.body, DType::F32, table, select(ok, k, like(k, 0))));
    c.steps.push_back(g);
    check(c);
  }
}

/// A Program is made once and run on other memory, with other scalars: nothing of the first run may stick to it.
TEST_P(Conformance, ProgramsRunOnOtherBindings) {
  Maker m(212);
  const Dims sizes = {4, 33};
  std::vector<ir::Step> steps;
  Case shape;
  {
    Generic scale;  // t = x * a + row
    scale.name = "scale";
    scale.sizes = sizes;
    scale.args = {1};
    const ir::Operand x = m.input(shape, DType::F32, sizes, Layout::Dense, Fill::Plain),
                      t = m.output(shape, DType::F32, sizes, Layout::Dense);
    const ir::Operand sums = m.output(shape, DType::F32, {4}, Layout::Dense), y = m.output(shape, DType::F32, sizes, Layout::Dense);
    const int from = access(scale, x), to = access(scale, t);
    store(scale, to, load(scale, from) * ir::arg(scale.body, DType::F32, 0) + cast(ir::index(scale.body, 0), DType::F32));
    Generic sum;  // s = max over rows of t
    sum.name = "most";
    sum.sizes = sizes;
    sum.reduce = 0b10;
    const int from_t = access(sum, t), to_s = access(sum, sums, 0b01);
    store(sum, to_s, reduce(ReduceKind::Max, load(sum, from_t)));
    Generic centre;  // y = t - s
    centre.name = "centre";
    centre.sizes = sizes;
    const int again = access(centre, t), s = access(centre, sums, 0b01), out = access(centre, y);
    store(centre, out, load(centre, again) - load(centre, s));
    steps = {scale, sum, centre};
  }
  const std::unique_ptr<Program> program = backend().prepare(steps), oracle_program = oracle().prepare(steps);
  for (int round = 0; round < 4; ++round) {
    Case c = shape;
    c.name = "round_" + std::to_string(round);
    c.steps = steps;
    std::vector<double> x(product(sizes));
    for (double& v : x) v = m.uniform(-2, 2);
    c.slots[0].bytes = bytes_of(DType::F32, x);
    c.scalars = {Scalar(1e9), Scalar(m.uniform(-1, 1))};
    Outcome outcomes[2];
    for (int side = 0; side < 2; ++side) {
      Backend& b = side ? oracle() : backend();
      // All slots in one arena, at offsets that move from round to round.
      const Memory arena = b.allocate(1 << 16);
      std::vector<Memory> slots;
      int64_t at = 64 * (round + 1);
      for (const Slot& s : c.slots) {
        const auto bytes = static_cast<int64_t>(s.bytes.size());
        slots.push_back({arena.handle, arena.offset + at, bytes});
        b.write(slots.back(), 0, s.bytes.data(), bytes);
        at += (bytes + 63) / 64 * 64 + 64 * round;
      }
      std::vector<StepTime> times;
      EXPECT_TRUE((side ? oracle_program : program)->run({slots, c.scalars}, &times).empty());
      EXPECT_EQ(times.size(), steps.size());
      for (const StepTime& t : times) EXPECT_LE(t.start_us, t.end_us);
      for (size_t i = 0; i < slots.size(); ++i) {
        outcomes[side].slots.emplace_back(slots[i].bytes);
        b.read(slots[i], 0, outcomes[side].slots.back().data(), slots[i].bytes);
      }
      b.release(arena);
    }
    EXPECT_EQ(difference(c, outcomes[0], outcomes[1]), "");
  }
}

/// Kernels are keyed by body and rank: other sizes, slots and scalars compile nothing new, nor does the same once more.
TEST_P(Conformance, WarmProgramsCompileNothing) {
  Maker m(213);
  auto make = [&](const Dims& sizes, int arg) {
    Case c;
    c.name = "warm";
    Generic g;
    g.name = c.name;
    g.sizes = sizes;
    g.args = {arg};
    c.scalars = {Scalar(0.5), Scalar(0.25)};
    const int x = access(g, m.input(c, DType::F32, sizes, Layout::Dense, Fill::Plain)),
              to = access(g, m.output(c, DType::F32, sizes, Layout::Dense));
    store(g, to, load(g, x) * ir::arg(g.body, DType::F32, 0) - 0.123);
    c.steps.push_back(g);
    return c;
  };
  // Sizes that a vector of four divides may have a kernel of their own.
  check(make({40, 50}, 0));
  check(make({31, 47}, 0));
  const int64_t before = backend().kernels_compiled();
  check(make({40, 50}, 0));
  check(make({40, 50}, 1));
  check(make({24, 70}, 0));
  check(make({33, 43}, 0));
  EXPECT_EQ(backend().kernels_compiled(), before);
}

/// Memory: aligned, of any size, and copied at any offset.
TEST_P(Conformance, Memory) {
  for (int64_t bytes : {int64_t{0}, int64_t{1}, int64_t{63}, int64_t{64}, int64_t{4097}, int64_t{1} << 20}) {
    const Memory m = backend().allocate(bytes);
    EXPECT_EQ(m.bytes, bytes);
    std::vector<char> in(bytes), out(bytes);
    for (int64_t i = 0; i < bytes; ++i) in[i] = static_cast<char>(i * 31 >> 3);
    backend().write(m, 0, in.data(), bytes);
    backend().read(m, 0, out.data(), bytes);
    EXPECT_EQ(in, out);
    if (bytes > 20) {
      char patch[5] = {1, 2, 3, 4, 5}, back[7];
      backend().write(m, 13, patch, 5);
      backend().read(m, 12, back, 7);
      EXPECT_EQ(std::string(back, 7), std::string(1, in[12]) + std::string(patch, 5) + std::string(1, in[18]));
    }
    backend().release(m);
  }
}

/// What cannot be had is refused as out of memory, and the device goes on.
TEST_P(Conformance, OutOfMemory) {
  try {
    backend().release(backend().allocate(int64_t{1} << 60));
    FAIL() << "an exabyte was allocated";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory) << e.what();
  }
  backend().release(backend().allocate(1 << 20));
}

TEST_P(Conformance, DescribesItself) {
  const DeviceInfo info = backend().describe();
  EXPECT_EQ(info.backend, GetParam().name);
  EXPECT_FALSE(info.name.empty());
  EXPECT_GT(info.memory_bytes, 0);
}

}  // namespace
}  // namespace anygpu::conformance
