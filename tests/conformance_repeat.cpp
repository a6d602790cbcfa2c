// Loops within expressions: lanes that end at different times, several values carried, loops beside and around reductions.
#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Generic;
using ir::Iteration;
using ir::ReduceKind;
using ir::repeat;
using ir::Val;
using Vals = std::vector<Val>;

const Dims kShapes[] = {{1}, {3}, {17}, {1000}, {}, {5, 13}, {2, 3, 19}};

std::string name_for(const std::string& what, DType t, const Dims& sizes) {
  std::string s = what + "_" + name_of(t);
  for (int64_t n : sizes) s += "_" + std::to_string(n);
  return s;
}

/// How often x is halved, or tripled and one added, until it is 1, and the greatest number on the way.
Vals collatz(Val x) {
  const DType t = x.type();
  auto whole = [&](int64_t v) { return ir::constant(*x.body, t, v); };
  const Val start = abs(x) + whole(1);
  const Vals end = repeat(50, {start, whole(0), start}, [&](const Vals& now) {
    const Val n = now[0], next = select(n % whole(2) == whole(0), n / whole(2), n * whole(3) + whole(1));
    return Iteration{n != whole(1), {next, now[1] + whole(1), max(now[2], next)}};
  });
  return {end[1], end[2]};
}

TEST_P(Conformance, RepeatOfIntegers) {
  Maker m(410);
  int i = 0;
  for (DType t : {DType::I32, DType::I64, DType::U8, DType::I16}) {
    for (const Dims& sizes : kShapes) {
      const Layout layout = ++i % 2 ? Layout::Odd : Layout::Dense;
      Case c;
      Generic g;
      g.name = c.name = name_for("collatz", t, sizes);
      g.sizes = sizes;
      const int from = access(g, m.input(c, t, sizes, layout, Fill::Small));
      const int steps = access(g, m.output(c, t, sizes, layout)), top = access(g, m.output(c, t, sizes, layout));
      const Vals r = collatz(load(g, from) * ir::constant(g.body, t, int64_t{3}));
      store(g, steps, r[0]);
      store(g, top, r[1]);
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Newton's method for a cube root, until it stands still.
Val cube_root(Val x) {
  const Vals end = repeat(100, {max(abs(x), 1.0), ir::constant(*x.body, DType::Bool, int64_t{1})}, [&](const Vals& now) {
    const Val r = now[0], next = r - (r - abs(x) / (r * r)) * (1.0 / 3);
    return Iteration{now[1], {next, next < r}};
  });
  return end[0];
}

TEST_P(Conformance, RepeatOfFloats) {
  Maker m(411);
  int i = 0;
  for (DType t : kFloats) {
    for (const Dims& sizes : kShapes) {
      const Layout layout = ++i % 2 ? Layout::Odd : Layout::Dense;
      Case c;
      Generic g;
      g.name = c.name = name_for("cube_root", t, sizes);
      g.sizes = sizes;
      const int from = access(g, m.input(c, t, sizes, layout, Fill::Plain)), to = access(g, m.output(c, t, sizes, layout, {8, 1e-6}));
      store(g, to, cast(cube_root(load_c(g, from)), t));
      c.steps.push_back(g);
      check(c);
    }
  }
}

TEST_P(Conformance, RepeatEndsAtItsBound) {
  Maker m(412);
  for (int64_t most : {1, 2, 7}) {
    Case c;
    Generic g;
    g.name = c.name = "counts_to_" + std::to_string(most);
    g.sizes = {37};
    const int from = access(g, m.input(c, DType::F32, g.sizes, Layout::Dense, Fill::Small));
    const int to = access(g, m.output(c, DType::F32, g.sizes, Layout::Dense));
    const Val x = load(g, from);
    const Vals end = repeat(most, {x, x * 0.0}, [&](const Vals& now) { return Iteration{now[0] < 1e9, {now[0] + 2.0, now[1] + now[0]}}; });
    store(g, to, end[0] + end[1] * 100.0);
    c.steps.push_back(g);
    check(c);
  }
}

/// A loop of what is reduced, one of the result, and one that needs both.
TEST_P(Conformance, RepeatAroundReductions) {
  Maker m(413);
  for (DType t : kReal) {
    for (const Dims& sizes : {Dims{1, 1}, Dims{4, 9}, Dims{3, 300}, Dims{70, 33}, Dims{2, 5000}}) {
      Case c;
      Generic g;
      g.name = c.name = name_for("loops_and_sums", t, sizes);
      g.sizes = sizes;
      g.reduce = 2;
      const int from = access(g, m.input(c, t, sizes, Layout::Dense, Fill::Plain));
      const Tolerance near{64, 1e-5};
      const int once = access(g, m.output(c, t, {sizes[0]}, Layout::Dense, near), 1);
      const int each = access(g, m.output(c, t, sizes, Layout::Dense, near));
      const Val x = load(g, from);
      const Val top = reduce(ReduceKind::Max, cube_root(x));
      const Val of_top = cube_root(top + 1.0);
      store(g, once, of_top);
      const Vals end = repeat(20, {x, x * 0.0}, [&](const Vals& now) {
        return Iteration{now[1] < abs(x) * 4.0, {now[0] * 0.5 + of_top, now[1] + 0.5}};
      });
      store(g, each, end[0]);
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Walks a table, from each index on, until it meets a 3 or the end.
TEST_P(Conformance, RepeatLoadsAtComputedPlaces) {
  Maker m(414);
  for (int64_t length : {1, 5, 64, 333}) {
    Case c;
    Generic g;
    g.name = c.name = "walks_" + std::to_string(length);
    g.sizes = {length};
    const int table = access(g, m.input(c, DType::I32, {length}, Layout::Dense, Fill::Small), 0);
    const int to = access(g, m.output(c, DType::I64, {length}, Layout::Dense));
    auto i64 = [&](int64_t v) { return ir::constant(g.body, DType::I64, v); };
    const Vals end = repeat(length, {ir::index(g.body, 0)}, [&](const Vals& now) {
      const Val at = min(now[0], i64(length - 1));
      const Val here = ir::load(g.body, DType::I32, table, at);
      return Iteration{(now[0] < i64(length)) & (here != ir::constant(g.body, DType::I32, int64_t{3})), {now[0] + i64(1)}};
    });
    store(g, to, end[0]);
    c.steps.push_back(g);
    check(c);
  }
}

}  // namespace
}  // namespace anygpu::conformance
