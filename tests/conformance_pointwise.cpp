// Every scalar operation on every dtype, in lengths that are no multiple of a vector, dense and in odd layouts.
#include <cmath>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::Val;

const Dims kShapes[] = {{1}, {3}, {7}, {17}, {65}, {1000}, {}, {5, 13}, {2, 3, 19}};

std::string shape_of(const Dims& d) {
  std::string s;
  for (int64_t x : d) s += "_" + std::to_string(x);
  return s;
}

/// A Generic that computes f of its inputs, all of the output's sizes.
template <class F>
Case pointwise(Maker& m, const std::string& name, const Dims& sizes, Layout layout, const std::vector<DType>& inputs, Fill fill, DType out,
               Tolerance tolerance, F f) {
  Case c;
  c.name = name + shape_of(sizes) + (layout == Layout::Odd ? "_odd" : "");
  Generic g;
  g.name = c.name;
  g.sizes = sizes;
  std::vector<Val> values;
  std::vector<int> accesses;
  for (DType t : inputs) accesses.push_back(access(g, m.input(c, t, sizes, layout, fill)));
  const int to = access(g, m.output(c, out, sizes, layout, tolerance));
  for (int a : accesses) values.push_back(load(g, a));
  store(g, to, f(values));
  c.steps.push_back(g);
  return c;
}

Layout layout_for(int i) {
  return i % 2 ? Layout::Odd : Layout::Dense;
}

struct Math {
  ExprOp op;
  Fill fill;
  double ulps;
  double absolute;  // in units of epsilon: near zeros that are not at 0, relative error means nothing
};

// Bounds of good vector libraries (4 ulp) with some slack where the function is known to be hard.
const Math kMath[] = {
    {ExprOp::Sqrt, Fill::Special, 1, 0},  {ExprOp::Exp, Fill::Special, 4, 0},     {ExprOp::Exp2, Fill::Special, 4, 0},
    {ExprOp::Expm1, Fill::Special, 4, 0}, {ExprOp::Log, Fill::Special, 4, 0},     {ExprOp::Log2, Fill::Special, 4, 0},
    {ExprOp::Log10, Fill::Special, 4, 0}, {ExprOp::Log1p, Fill::Special, 4, 0},   {ExprOp::Sin, Fill::Special, 4, 0},
    {ExprOp::Cos, Fill::Special, 4, 0},   {ExprOp::Tan, Fill::Special, 4, 0},     {ExprOp::Asin, Fill::Unit, 4, 0},
    {ExprOp::Acos, Fill::Unit, 4, 0},     {ExprOp::Atan, Fill::Special, 4, 0},    {ExprOp::Sinh, Fill::Special, 4, 0},
    {ExprOp::Cosh, Fill::Special, 4, 0},  {ExprOp::Tanh, Fill::Special, 4, 0},    {ExprOp::Asinh, Fill::Special, 4, 0},
    {ExprOp::Acosh, Fill::Special, 4, 0}, {ExprOp::Atanh, Fill::Special, 4, 0},   {ExprOp::Erf, Fill::Special, 4, 0},
    {ExprOp::Erfc, Fill::Special, 16, 0}, {ExprOp::Lgamma, Fill::Positive, 8, 8}, {ExprOp::Lgamma, Fill::Special, 16, 16},
    {ExprOp::Asin, Fill::Special, 4, 0},  {ExprOp::Acos, Fill::Special, 4, 0},    {ExprOp::Exp, Fill::Plain, 4, 0},
    {ExprOp::Log, Fill::Positive, 4, 0},  {ExprOp::Tanh, Fill::Unit, 4, 0},       {ExprOp::Log1p, Fill::Unit, 4, 0},
    {ExprOp::Expm1, Fill::Unit, 4, 0},    {ExprOp::Erf, Fill::Unit, 4, 0},
};

/// Results below the least normal number may be flushed.
double flushed(DType t) {
  return t == DType::F64 ? 0x1p-1022 : 0x1p-126;
}

TEST_P(Conformance, Functions) {
  Maker m(1);
  int i = 0;
  for (const Math& f : kMath) {
    for (DType t : kReal) {
      for (const Dims& sizes : kShapes) {
        check(pointwise(m, std::string(ir::name_of(f.op)) + "_" + name_of(t), sizes, layout_for(i++), {t}, f.fill, t,
                        {f.ulps, f.absolute * epsilon(t) + flushed(t)}, [&](auto& v) { return unary(f.op, v[0]); }));
      }
    }
  }
}

/// A backend may have a function of its own for 1 + erf(x), unless something else wants the erf. Towards -infinity it is exactly 0.
TEST_P(Conformance, SumsWithErf) {
  Maker m(26);
  for (DType t : kReal) {
    const double e = epsilon(t);
    for (Fill fill : {Fill::Special, Fill::Plain, Fill::Unit}) {
      const std::string name = std::string("_") + name_of(t) + (fill == Fill::Special ? "" : fill == Fill::Plain ? "_plain" : "_unit");
      check(pointwise(m, "one_plus_erf" + name, {1000}, Layout::Dense, {t}, fill, t, {0, 4 * e}, [&](auto& v) { return 1.0 + erf(v[0]); }));
      check(pointwise(m, "erf_plus_one" + name, {5, 13}, Layout::Odd, {t}, fill, t, {0, 4 * e}, [&](auto& v) { return erf(v[0]) + 1.0; }));
      check(pointwise(m, "erf_plus_itself_plus_one" + name, {65}, Layout::Dense, {t}, fill, t, {4, 4 * e}, [&](auto& v) {
        const Val r = erf(v[0]);
        return r * (1.0 + r);
      }));
      check(pointwise(m, "erf_plus_two" + name, {65}, Layout::Dense, {t}, fill, t, {4, 4 * e}, [&](auto& v) { return erf(v[0]) + 2.0; }));
      check(pointwise(m, "gelu" + name, {300}, Layout::Dense, {t}, fill, t, {4, 16 * e},
                      [&](auto& v) { return v[0] * 0.5 * (1.0 + erf(v[0] * M_SQRT1_2)); }));
    }
  }
}

/// Trigonometry far from 0: reduction of the argument is where approximations break.
TEST_P(Conformance, FunctionsOfLargeArguments) {
  Maker m(2);
  for (ExprOp op : {ExprOp::Sin, ExprOp::Cos, ExprOp::Tan, ExprOp::Exp, ExprOp::Log, ExprOp::Tanh, ExprOp::Atan, ExprOp::Asinh}) {
    for (DType t : kReal) {
      Case c;
      c.name = std::string(ir::name_of(op)) + "_large_" + name_of(t);
      Generic g;
      g.name = c.name;
      g.sizes = {400};
      std::vector<double> values(400);
      for (double& v : values) v = std::ldexp(m.uniform(-1, 1), static_cast<int>(m.below(20)));
      const int from = access(g, m.input(c, t, g.sizes, Layout::Dense, values));
      const int to = access(g, m.output(c, t, g.sizes, Layout::Dense, {4, flushed(t)}));
      store(g, to, unary(op, load(g, from)));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// f16 and bf16 compute in f32 and round once, when stored.
TEST_P(Conformance, FunctionsOfHalves) {
  Maker m(3);
  for (const Math& f : kMath) {
    for (DType t : {DType::F16, DType::BF16}) {
      for (const Dims& sizes : {Dims{17}, Dims{300}, Dims{3, 11}}) {
        check(pointwise(m, std::string(ir::name_of(f.op)) + "_" + name_of(t), sizes, sizes.size() == 2 ? Layout::Odd : Layout::Dense, {t},
                        f.fill, t, {1, 2e-5}, [&](auto& v) { return unary(f.op, cast(v[0], DType::F32)); }));
      }
    }
  }
}

TEST_P(Conformance, Rounding) {
  Maker m(4);
  int i = 0;
  for (ExprOp op : {ExprOp::Floor, ExprOp::Ceil, ExprOp::Trunc, ExprOp::Round, ExprOp::Neg, ExprOp::Abs}) {
    for (DType t : kReal) {
      for (const Dims& sizes : kShapes) {
        check(pointwise(m, std::string(ir::name_of(op)) + "_" + name_of(t), sizes, layout_for(i++), {t}, Fill::Special, t, {},
                        [&](auto& v) { return unary(op, v[0]); }));
        // Once more to the bit: a zero has a sign. (A NaN's bits are nobody's promise.)
        const DType bits = t == DType::F32 ? DType::I32 : DType::I64;
        check(pointwise(m, std::string(ir::name_of(op)) + "_bits_" + name_of(t), sizes, layout_for(i), {t}, Fill::Special, bits, {},
                        [&](auto& v) {
                          const Val r = unary(op, v[0]);
                          return bitcast(select(isnan(r), like(r, 0), r), bits);
                        }));
      }
    }
  }
}

/// Where whole numbers begin, and where f32, i32 and i64 end; ties and their neighbours, each as a float and to the bit.
TEST_P(Conformance, RoundingOfLargeAndNearlyWholeNumbers) {
  Maker m(4);
  for (DType t : kReal) {
    const double whole = t == DType::F32 ? 0x1p23 : 0x1p52, half_below = t == DType::F32 ? 0x1.fffffep-2 : 0x1.fffffffffffffp-2;
    std::vector<double> values = {0.0,       0.3,           0.5,         half_below, 1 - epsilon(t) / 2,
                                  1.5,       2.5,           whole - 0.5, whole - 1,  whole,
                                  whole + 1, 2 * whole - 1, 0x1p60,      0x1p100,    INFINITY};
    for (const double large : {0x1p15, 0x1p22, 0x1p24, 0x1p31, 0x1p40, 0x1p50})
      for (const double part : {0.25, 0.5, 0.75, 1.5}) values.push_back(large + part);
    for (size_t i = values.size(); i-- > 0;) values.push_back(-values[i]);
    const auto n = static_cast<int64_t>(values.size());
    for (ExprOp op : {ExprOp::Floor, ExprOp::Ceil, ExprOp::Trunc, ExprOp::Round}) {
      Case c;
      c.name = std::string(ir::name_of(op)) + "_large_" + name_of(t);
      Generic g;
      g.name = c.name;
      g.sizes = {n};
      const int x = access(g, m.input(c, t, g.sizes, Layout::Dense, values));
      const int to = access(g, m.output(c, t == DType::F32 ? DType::I32 : DType::I64, g.sizes, Layout::Dense));
      store(g, to, bitcast(unary(op, load(g, x)), t == DType::F32 ? DType::I32 : DType::I64));
      c.steps.push_back(g);
      check(c);
    }
  }
}

TEST_P(Conformance, IntegerUnary) {
  Maker m(5);
  int i = 0;
  for (ExprOp op : {ExprOp::Neg, ExprOp::Abs, ExprOp::Not}) {
    for (DType t : kInts) {
      for (const Dims& sizes : kShapes) {
        check(pointwise(m, std::string(ir::name_of(op)) + "_" + name_of(t), sizes, layout_for(i++), {t}, Fill::Special, t, {},
                        [&](auto& v) { return unary(op, v[0]); }));
      }
    }
  }
  for (const Dims& sizes : kShapes) {
    check(pointwise(m, "not_bool", sizes, layout_for(i++), {DType::Bool}, Fill::Plain, DType::Bool, {}, [&](auto& v) { return !v[0]; }));
  }
}

struct Binary {
  ExprOp op;
  double ulps;
};

const Binary kFloatBinary[] = {
    {ExprOp::Add, 0}, {ExprOp::Sub, 0}, {ExprOp::Mul, 0},   {ExprOp::Div, 0},   {ExprOp::Rem, 0},      {ExprOp::Min, 0},
    {ExprOp::Max, 0}, {ExprOp::Pow, 8}, {ExprOp::Atan2, 4}, {ExprOp::Hypot, 4}, {ExprOp::Copysign, 0}, {ExprOp::Nextafter, 0},
};

TEST_P(Conformance, FloatBinary) {
  Maker m(6);
  int i = 0;
  for (const Binary& f : kFloatBinary) {
    for (DType t : kReal) {
      for (Fill fill : {Fill::Special, Fill::Positive, Fill::Wide}) {
        for (const Dims& sizes : kShapes) {
          const Tolerance tolerance{f.ulps, f.ulps ? flushed(t) : 0};
          check(pointwise(m, std::string(ir::name_of(f.op)) + "_" + name_of(t), sizes, layout_for(i++), {t, t}, fill, t, tolerance,
                          [&](auto& v) { return binary(f.op, v[0], v[1]); }));
        }
      }
    }
  }
}

/// Whole exponents, and bases that are no more than signs and zeros: where pow is a table of special cases.
TEST_P(Conformance, PowersOfSpecialValues) {
  Maker m(7);
  const double inf = INFINITY, picks[] = {0.0, -0.0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, inf, -inf, NAN, 1e10, -1e10, 2.5};
  const int n = static_cast<int>(std::size(picks));
  for (DType t : kReal) {
    for (ExprOp op : {ExprOp::Pow, ExprOp::Atan2, ExprOp::Hypot, ExprOp::Rem, ExprOp::Div, ExprOp::Min, ExprOp::Max, ExprOp::Copysign,
                      ExprOp::Nextafter}) {
      Case c;
      c.name = std::string(ir::name_of(op)) + "_table_" + name_of(t);
      Generic g;
      g.name = c.name;
      g.sizes = {n, n};
      const std::vector<double> values(std::begin(picks), std::end(picks));
      const int x = access(g, m.input(c, t, {n}, Layout::Dense, values), 0b01),
                y = access(g, m.input(c, t, {n}, Layout::Dense, values), 0b10);
      const int to = access(g, m.output(c, t, g.sizes, Layout::Dense, {8, 0}));
      store(g, to, binary(op, load(g, x), load(g, y)));
      c.steps.push_back(g);
      check(c);
    }
  }
}

TEST_P(Conformance, IntegerBinary) {
  Maker m(8);
  int i = 0;
  for (ExprOp op : {ExprOp::Add, ExprOp::Sub, ExprOp::Mul, ExprOp::Div, ExprOp::Rem, ExprOp::Min, ExprOp::Max, ExprOp::Pow, ExprOp::And,
                    ExprOp::Or, ExprOp::Xor, ExprOp::Shl, ExprOp::Shr}) {
    for (DType t : kInts) {
      for (Fill fill : {Fill::Special, Fill::Small}) {
        for (const Dims& sizes : kShapes) {
          check(pointwise(m, std::string(ir::name_of(op)) + "_" + name_of(t), sizes, layout_for(i++), {t, t}, fill, t, {},
                          [&](auto& v) { return binary(op, v[0], v[1]); }));
        }
      }
    }
  }
}

/// Division by 0, MIN / -1, shifts by the width and more, negative exponents: all pairs of extremes.
TEST_P(Conformance, IntegerExtremes) {
  Maker m(9);
  for (DType t : kInts) {
    const int bits = static_cast<int>(8 * size_of(t));
    const bool is_unsigned = t == DType::U8;
    const double top = std::ldexp(1, bits - 1);
    std::vector<double> picks = {0,  1, 2, 3, 7, static_cast<double>(bits) - 1, static_cast<double>(bits), static_cast<double>(bits) + 5,
                                 100};
    if (is_unsigned) {
      picks.insert(picks.end(), {255, 254, 128});
    } else {
      picks.insert(picks.end(), {-1, -2, -3, -7, -top, t == DType::I64 ? 9.2e18 : top - 1});
    }
    const auto n = static_cast<int64_t>(picks.size());
    for (ExprOp op : {ExprOp::Div, ExprOp::Rem, ExprOp::Shl, ExprOp::Shr, ExprOp::Pow, ExprOp::Mul, ExprOp::Sub}) {
      Case c;
      c.name = std::string(ir::name_of(op)) + "_extremes_" + name_of(t);
      Generic g;
      g.name = c.name;
      g.sizes = {n, n};
      const int x = access(g, m.input(c, t, {n}, Layout::Dense, picks), 0b01),
                y = access(g, m.input(c, t, {n}, Layout::Dense, picks), 0b10);
      const int to = access(g, m.output(c, t, g.sizes, Layout::Dense));
      store(g, to, binary(op, load(g, x), load(g, y)));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// What is known of a number before it is shifted must still hold of it then: 64 bits are asked for here.
TEST_P(Conformance, ShiftsOfLargeNegativeNumbers) {
  Maker m(9);
  Case c;
  c.name = "shifted_far";
  Generic g;
  g.name = c.name;
  g.sizes = {20};
  const int to = access(g, m.output(c, DType::I64, g.sizes, Layout::Dense));
  const auto far = [&] { return ir::constant(g.body, DType::I64, int64_t{1} << 40); };
  store(g, to, binary(ExprOp::Shr, ir::index(g.body, 0) - far(), ir::constant(g.body, DType::I64, int64_t{39})) + far());
  c.steps.push_back(g);
  check(c);
}

TEST_P(Conformance, BoolBinary) {
  Maker m(10);
  int i = 0;
  for (ExprOp op : {ExprOp::And, ExprOp::Or, ExprOp::Xor, ExprOp::Eq, ExprOp::Ne, ExprOp::Lt, ExprOp::Le}) {
    for (const Dims& sizes : kShapes) {
      check(pointwise(m, std::string(ir::name_of(op)) + "_bool", sizes, layout_for(i++), {DType::Bool, DType::Bool}, Fill::Plain,
                      DType::Bool, {}, [&](auto& v) { return binary(op, v[0], v[1]); }));
    }
  }
}

TEST_P(Conformance, Comparisons) {
  Maker m(11);
  int i = 0;
  for (ExprOp op : {ExprOp::Eq, ExprOp::Ne, ExprOp::Lt, ExprOp::Le}) {
    for (DType t : kAll) {
      for (Fill fill : {Fill::Special, Fill::Small}) {
        for (const Dims& sizes : kShapes) {
          check(pointwise(m, std::string(ir::name_of(op)) + "_" + name_of(t), sizes, layout_for(i++), {t, t}, fill, DType::Bool, {},
                          [&](auto& v) { return binary(op, cast(v[0], compute_type(t)), cast(v[1], compute_type(t))); }));
        }
      }
    }
  }
}

TEST_P(Conformance, Selects) {
  Maker m(12);
  int i = 0;
  for (DType t : kAll) {
    for (const Dims& sizes : kShapes) {
      check(pointwise(m, std::string("select_") + name_of(t), sizes, layout_for(i++), {DType::Bool, t, t}, Fill::Special, t, {},
                      [&](auto& v) { return select(v[0], v[1], v[2]); }));
    }
  }
}

TEST_P(Conformance, Casts) {
  Maker m(13);
  int i = 0;
  for (DType from : kAll) {
    for (DType to : kAll) {
      // f64 and wide integers may go to halves by way of f32 or straight: the two differ by a rounding.
      const bool twice = to == DType::F16 || to == DType::BF16;
      for (const Dims& sizes : kShapes) {
        for (Fill fill : {Fill::Special, Fill::Wide}) {
          check(pointwise(m, std::string("cast_") + name_of(from) + "_" + name_of(to), sizes, layout_for(i++), {from}, fill, to,
                          {twice ? 1.0 : 0.0, 0}, [&](auto& v) { return cast(v[0], to); }));
        }
      }
    }
  }
}

/// Numbers at and beyond the ends of the integers: truncate, saturate at i64, wrap to the narrower type; NaN is 0.
TEST_P(Conformance, CastsThatSaturateAndWrap) {
  Maker m(14);
  const std::vector<double> values = {NAN,          INFINITY, -INFINITY, 1e30,  -1e30,   0x1p63, -0x1p63, 0x1p62, 0x1p31, -0x1p31,
                                      0x1p31 - 128, 4e9,      -4e9,      255.9, 256,     300.5,  -1,      -1.9,   -0.9,   0.9,
                                      127.5,        128,      -128.9,    -129,  32767.9, 32768,  -32769,  65535,  65536,  1e10};
  const auto n = static_cast<int64_t>(values.size());
  for (DType from : kFloats) {
    for (DType to : {DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64}) {
      Case c;
      c.name = std::string("saturate_") + name_of(from) + "_" + name_of(to);
      Generic g;
      g.name = c.name;
      g.sizes = {n};
      const int x = access(g, m.input(c, from, g.sizes, Layout::Dense, values)), out = access(g, m.output(c, to, g.sizes, Layout::Dense));
      store(g, out, cast(load(g, x), to));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Every f16 there is, to f32 and back; and every f32 that lies on or beside the boundary between two halves.
TEST_P(Conformance, EveryHalf) {
  Maker m(15);
  for (DType t : {DType::F16, DType::BF16}) {
    std::vector<double> bits(65536);
    for (int k = 0; k < 65536; ++k) bits[k] = k - 32768;
    Case widen;
    widen.name = std::string("widen_") + name_of(t);
    Generic g;
    g.name = widen.name;
    g.sizes = {65536};
    const int x = access(g, m.input(widen, DType::I16, g.sizes, Layout::Dense, bits)),
              out = access(g, m.output(widen, DType::F32, g.sizes, Layout::Dense));
    store(g, out, cast(bitcast(load(g, x), t), DType::F32));
    widen.steps.push_back(g);
    check(widen);

    Case narrow;
    narrow.name = std::string("narrow_") + name_of(t);
    Generic h;
    h.name = narrow.name;
    h.sizes = {65536, 3};
    const int y = access(h, m.input(narrow, DType::I16, {65536}, Layout::Dense, bits), 0b01),
              to = access(h, m.output(narrow, t, h.sizes, Layout::Dense));
    // Midway to the next half up, and one f32 below and above.
    const Val v = cast(bitcast(load(h, y), t), DType::F32);
    const int shift = t == DType::F16 ? 12 : 15;
    const Val middle = bitcast(v, DType::I32) + ir::constant(h.body, DType::I32, int64_t{1} << shift) +
                       cast(ir::index(h.body, 1), DType::I32) - ir::constant(h.body, DType::I32, int64_t{1});
    store(h, to, cast(bitcast(middle, DType::F32), t));
    narrow.steps.push_back(h);
    check(narrow);
  }
}

TEST_P(Conformance, Bitcasts) {
  Maker m(16);
  const std::pair<DType, DType> pairs[] = {{DType::F32, DType::I32}, {DType::I32, DType::F32}, {DType::F64, DType::I64},
                                           {DType::I64, DType::F64}, {DType::F16, DType::I16}, {DType::I16, DType::BF16},
                                           {DType::U8, DType::I8},   {DType::I8, DType::U8},   {DType::F16, DType::BF16}};
  for (const auto& [from, to] : pairs) {
    for (const Dims& sizes : kShapes) {
      check(pointwise(m, std::string("bitcast_") + name_of(from) + "_" + name_of(to), sizes, Layout::Odd, {from}, Fill::Wide, to, {},
                      [&, to = to](auto& v) { return bitcast(v[0], to); }));
    }
  }
}

TEST_P(Conformance, IndicesArgumentsAndConstants) {
  Maker m(17);
  for (DType t : kAll) {
    for (const Dims& sizes : {Dims{}, Dims{9}, Dims{4, 21}, Dims{2, 3, 5, 2}}) {
      Case c;
      c.name = std::string("index_arg_") + name_of(t) + shape_of(sizes);
      Generic g;
      g.name = c.name;
      g.sizes = sizes;
      const DType k = compute_type(t);
      const int to = access(g, m.output(c, t, sizes, Layout::Odd, {1, 0}));
      // The Trace's scalars need not be in the order of the arguments.
      g.args = {2, 0};
      c.scalars = {Scalar::of(k, 5), Scalar::of(k, 99), Scalar::of(k, is_float(t) ? 2.5 : 3)};
      Val position = ir::constant(g.body, DType::I64, int64_t{0});
      for (int d = 0; d < g.rank(); ++d) position = position * static_cast<double>(sizes[d]) + ir::index(g.body, d);
      const Val x = ir::arg(g.body, k, 0), y = ir::arg(g.body, k, 1);
      const Val even = position % 2 == 0;
      store(g, to, t == DType::Bool ? select(even, x, !y) : select(even, x, y + ir::constant(g.body, k, 1.25)));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// A scalar argument of f64 given to an f32 kernel is rounded to f32; an integer's wraps.
/// Distances of indices, as padding by reflection computes them: of what 32 bits hold, and of what they may not.
TEST_P(Conformance, DistancesOfIndices) {
  for (bool wide : {false, true}) {
    Maker m(24);
    Case c;
    c.name = wide ? "distances_wide" : "distances";
    Generic g;
    g.name = c.name;
    g.sizes = {40};
    g.args = {0};
    c.scalars = {Scalar(int64_t{17})};
    const int near = access(g, m.output(c, DType::Bool, g.sizes, Layout::Dense)),
              folded = access(g, m.output(c, DType::I64, g.sizes, Layout::Dense));
    const Val i = ir::index(g.body, 0), from = wide ? ir::arg(g.body, DType::I64, 0) : ir::constant(g.body, DType::I64, int64_t{17});
    const int x = access(g, m.input(c, DType::I32, g.sizes, Layout::Dense, Fill::Small));
    const Val shift = wide ? cast(load(g, x), DType::I64) : like(i, 0);
    const Val distance = abs(i - from + abs(shift)), back = abs(i - 17.0);
    store(g, near, (distance < 9.0) & (back < 12.0));
    store(g, folded, select(distance < 9.0, distance, 16.0 - distance) + select(back < 9.0, back, 16.0 - back));
    c.steps.push_back(g);
    check(c);
  }
}

TEST_P(Conformance, ArgumentsConvert) {
  Maker m(18);
  for (DType t : {DType::F32, DType::F64, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::Bool}) {
    Case c;
    c.name = std::string("arg_") + name_of(t);
    Generic g;
    g.name = c.name;
    g.sizes = {3};
    g.args = {0};
    c.scalars = {is_float(t) ? Scalar(0.1) : Scalar(int64_t{-1234567890123})};
    const int to = access(g, m.output(c, t, g.sizes, Layout::Dense));
    store(g, to, ir::arg(g.body, t, 0));
    c.steps.push_back(g);
    check(c);
  }
}

TEST_P(Conformance, RandomBits) {
  Maker m(19);
  for (const Dims& sizes : {Dims{1}, Dims{17}, Dims{1000}, Dims{7, 9}}) {
    Case c;
    c.name = "philox" + shape_of(sizes);
    Generic g;
    g.name = c.name;
    g.sizes = sizes;
    g.args = {0, 1};
    c.scalars = {Scalar(int64_t{0x123456789abcdef0}), Scalar(int64_t{-5})};
    const Val seed = ir::arg(g.body, DType::I64, 0), offset = ir::arg(g.body, DType::I64, 1);
    std::vector<int> to;
    for (int word = 0; word < 4; ++word) to.push_back(access(g, m.output(c, DType::I64, sizes, Layout::Dense)));
    const int uniform = access(g, m.output(c, DType::F32, sizes, Layout::Odd));
    for (int word = 0; word < 4; ++word) store(g, to[word], philox(ir::index(g.body, 0), seed, offset, word));
    // Words of a wide counter and stream, and the usual way to a float.
    const Val bits = philox(seed + ir::index(g.body, 0), offset, ir::index(g.body, g.rank() - 1), 1);
    store(g, uniform, cast(shr(bits, like(bits, 8)), DType::F32) * 0x1p-24);
    c.steps.push_back(g);
    check(c);
  }
}

/// Broadcasts: an operand that repeats along each subset of the dimensions.
TEST_P(Conformance, Broadcasts) {
  Maker m(20);
  for (DType t : {DType::F32, DType::BF16, DType::I64}) {
    const Dims sizes = {3, 1, 7, 5};
    for (uint32_t mask = 0; mask < 16; ++mask) {
      for (Layout layout : {Layout::Dense, Layout::Odd}) {
        Case c;
        c.name = std::string("broadcast_") + name_of(t) + "_" + std::to_string(mask);
        Generic g;
        g.name = c.name;
        g.sizes = sizes;
        const int x = access(g, m.input(c, t, masked(sizes, mask), layout, Fill::Plain), mask),
                  y = access(g, m.input(c, t, sizes, layout, Fill::Plain));
        const int to = access(g, m.output(c, t, sizes, layout));
        store(g, to, load_c(g, x) - load_c(g, y));
        c.steps.push_back(g);
        check(c);
      }
    }
  }
}

/// Ranks 0 to 6, sizes 0 and 1 among the others, copies of every dtype.
TEST_P(Conformance, ShapesAndLayouts) {
  Maker m(21);
  for (int rank = 0; rank <= 6; ++rank) {
    for (int repeat = 0; repeat < 24; ++repeat) {
      Dims sizes;
      for (int d = 0; d < rank; ++d) sizes.push_back(m.chance(0.25) ? 1 : 1 + m.below(rank > 3 ? 5 : 12));
      if (rank && repeat % 8 == 0) sizes[static_cast<int>(m.below(rank))] = 0;
      const DType t = kAll[m.below(std::size(kAll))];
      check(pointwise(m, std::string("copy_") + name_of(t), sizes, m.chance(0.8) ? Layout::Odd : Layout::Dense, {t}, Fill::Plain, t, {},
                      [&](auto& v) { return v[0]; }));
    }
  }
}

/// In place: what is loaded at an index is what was there before the store at that index.
TEST_P(Conformance, InPlace) {
  Maker m(22);
  for (DType t : {DType::F32, DType::F16, DType::I32, DType::U8}) {
    for (const Dims& sizes : {Dims{1000}, Dims{7, 9}, Dims{33}}) {
      Case c;
      c.name = std::string("in_place_") + name_of(t) + shape_of(sizes);
      Generic g;
      g.name = c.name;
      g.sizes = sizes;
      const int x = access(g, m.both(c, t, sizes, Layout::Odd, Fill::Small)), y = access(g, m.input(c, t, sizes, Layout::Odd, Fill::Small));
      store(g, x, load_c(g, x) * load_c(g, y) + load_c(g, y));
      c.steps.push_back(g);
      check(c);
    }
  }
}

/// Several outputs of several types from one body.
TEST_P(Conformance, ManyStores) {
  Maker m(23);
  for (Layout layout : {Layout::Dense, Layout::Odd}) {
    Case c;
    c.name = "many_stores";
    Generic g;
    g.name = c.name;
    g.sizes = {5, 67};
    const int x = access(g, m.input(c, DType::F32, g.sizes, layout, Fill::Plain)),
              y = access(g, m.input(c, DType::F16, g.sizes, layout, Fill::Plain));
    std::vector<int> to;
    for (DType t : kAll) to.push_back(access(g, m.output(c, t, g.sizes, layout)));
    const Val a = load(g, x), b = load_c(g, y);
    for (int i : to) store(g, i, a * b);
    c.steps.push_back(g);
    check(c);
  }
}

}  // namespace
}  // namespace anygpu::conformance
