// The oracle against what others have written down: hardware conversions, published test vectors, results worked out by hand.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>

#include "backends/reference/entry.h"
#include "backends/reference/interpreter.h"
#include "backends/reference/scalar.h"

namespace anygpu::reference {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::Named;
using ir::NamedKind;
using ir::ReduceKind;
using ir::Val;

TEST(Halves, EveryBitPatternWidensAndNarrows) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const auto h = std::bit_cast<_Float16>(static_cast<uint16_t>(bits));
    const float f = half_to_float(static_cast<uint16_t>(bits));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(static_cast<float>(h)));
      EXPECT_EQ(float_to_half(f) & 0x7e00, 0x7e00);
      continue;
    }
    ASSERT_EQ(f, static_cast<float>(h)) << bits;
    ASSERT_EQ(float_to_half(f), bits);
  }
}

TEST(Halves, RoundAsTheCompilerDoes) {
  // Each midpoint between two neighbours, and one float to each side of it.
  for (uint32_t bits = 0; bits < 0x7c00; ++bits) {
    const float low = half_to_float(static_cast<uint16_t>(bits)),
                high = bits == 0x7bff ? 65536.0f : half_to_float(static_cast<uint16_t>(bits + 1));
    const float middle = (low + high) / 2;
    for (float v : {std::nextafter(middle, low), middle, std::nextafter(middle, high)}) {
      for (float signed_v : {v, -v})
        ASSERT_EQ(float_to_half(signed_v), std::bit_cast<uint16_t>(static_cast<_Float16>(signed_v))) << signed_v;
    }
  }
  for (float v : {1e-8f, 0x1p-25f, 0x1.8p-25f, 65519.0f, 65520.0f, 1e30f, INFINITY})
    EXPECT_EQ(float_to_half(v), std::bit_cast<uint16_t>(static_cast<_Float16>(v))) << v;
}

TEST(Halves, BfloatRoundsToNearestEven) {
  EXPECT_EQ(float_to_bfloat(1.0f), 0x3f80);
  EXPECT_EQ(float_to_bfloat(std::bit_cast<float>(0x3f808000)), 0x3f80);  // tie to even
  EXPECT_EQ(float_to_bfloat(std::bit_cast<float>(0x3f818000)), 0x3f82);
  EXPECT_EQ(float_to_bfloat(std::bit_cast<float>(0x3f808001)), 0x3f81);
  EXPECT_EQ(float_to_bfloat(3.4e38f), 0x7f80);
  EXPECT_TRUE(std::isnan(bfloat_to_float(float_to_bfloat(NAN))));
  EXPECT_EQ(bfloat_to_float(0xc020), -2.5f);
}

TEST(Casts, SaturateAndWrap) {
  auto to = [](double v, DType t) { return cast({.d = v}, DType::F64, t).i; };
  EXPECT_EQ(to(-1.9, DType::I32), -1);
  EXPECT_EQ(to(NAN, DType::I32), 0);
  EXPECT_EQ(to(1e30, DType::I64), INT64_MAX);
  EXPECT_EQ(to(-1e30, DType::I64), INT64_MIN);
  EXPECT_EQ(to(1e30, DType::I32), -1);  // INT64_MAX wrapped
  EXPECT_EQ(to(300.7, DType::U8), 44);
  EXPECT_EQ(to(-1, DType::U8), 255);
  EXPECT_EQ(to(4e9, DType::I32), -294967296);
  EXPECT_EQ(to(NAN, DType::Bool), 1);
  EXPECT_EQ(to(-0.0, DType::Bool), 0);
  EXPECT_EQ(cast({.i = 16777217}, DType::I64, DType::F32).f, 16777216.0f);
}

// Random123's published vectors for philox4x32-10.
TEST(Philox, AgreesWithRandom123) {
  const uint32_t zeros[] = {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8};
  const uint32_t ones[] = {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd};
  const uint32_t pi[] = {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1};
  for (int word = 0; word < 4; ++word) {
    EXPECT_EQ(philox(0, 0, 0, word), zeros[word]);
    EXPECT_EQ(philox(~0ull, ~0ull, ~0ull, word), ones[word]);
    EXPECT_EQ(philox(0x85a308d3243f6a88, 0x299f31d0a4093822, 0x0370734413198a2e, word), pi[word]);
  }
}

int64_t integer(ExprOp op, DType t, int64_t a, int64_t b) {
  return apply(op, t, {.i = a}, {.i = b}).i;
}

TEST(Integers, NeverTrap) {
  EXPECT_EQ(integer(ExprOp::Div, DType::I32, 7, 0), 0);
  EXPECT_EQ(integer(ExprOp::Rem, DType::I32, 7, 0), 0);
  EXPECT_EQ(integer(ExprOp::Div, DType::I32, INT32_MIN, -1), INT32_MIN);
  EXPECT_EQ(integer(ExprOp::Div, DType::I64, INT64_MIN, -1), INT64_MIN);
  EXPECT_EQ(integer(ExprOp::Rem, DType::I64, INT64_MIN, -1), 0);
  EXPECT_EQ(integer(ExprOp::Div, DType::I8, -7, 2), -3);
  EXPECT_EQ(integer(ExprOp::Rem, DType::I8, -7, 2), -1);
  EXPECT_EQ(integer(ExprOp::Add, DType::I8, 127, 1), -128);
  EXPECT_EQ(integer(ExprOp::Sub, DType::U8, 0, 1), 255);
  EXPECT_EQ(integer(ExprOp::Mul, DType::I64, INT64_MAX, 2), -2);
  EXPECT_EQ(integer(ExprOp::Abs, DType::I16, INT16_MIN, 0), INT16_MIN);
  EXPECT_EQ(integer(ExprOp::Neg, DType::U8, 1, 0), 255);
}

TEST(Integers, ShiftsAndPowers) {
  EXPECT_EQ(integer(ExprOp::Shl, DType::I8, 1, 7), -128);
  EXPECT_EQ(integer(ExprOp::Shl, DType::I8, 1, 8), 0);
  EXPECT_EQ(integer(ExprOp::Shl, DType::I8, 1, -1), 0);
  EXPECT_EQ(integer(ExprOp::Shr, DType::I32, -8, 1), -4);
  EXPECT_EQ(integer(ExprOp::Shr, DType::I32, -8, 32), -1);
  EXPECT_EQ(integer(ExprOp::Shr, DType::I32, 8, 32), 0);
  EXPECT_EQ(integer(ExprOp::Shr, DType::U8, 200, 1), 100);
  EXPECT_EQ(integer(ExprOp::Shr, DType::U8, 200, 9), 0);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, 3, 4), 81);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, 2, 40), 0);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, 2, -1), 0);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, 1, -7), 1);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, -1, -7), -1);
  EXPECT_EQ(integer(ExprOp::Pow, DType::I32, -1, -8), 1);
  EXPECT_EQ(integer(ExprOp::Pow, DType::U8, 255, 2), 1);
}

TEST(Floats, MinAndMaxCarryNan) {
  EXPECT_TRUE(std::isnan(apply(ExprOp::Max, DType::F32, {.f = NAN}, {.f = 1}).f));
  EXPECT_TRUE(std::isnan(apply(ExprOp::Min, DType::F64, {.d = 1}, {.d = NAN}).d));
  EXPECT_EQ(apply(ExprOp::Round, DType::F32, {.f = 2.5f}, {}).f, 2.0f);
  EXPECT_EQ(apply(ExprOp::Round, DType::F32, {.f = -1.5f}, {}).f, -2.0f);
  EXPECT_EQ(apply(ExprOp::Ne, DType::F32, {.f = NAN}, {.f = NAN}).i, 1);
  EXPECT_EQ(apply(ExprOp::Le, DType::F32, {.f = NAN}, {.f = NAN}).i, 0);
  // Really f32: 1 + 2^-24 is 1.
  EXPECT_EQ(apply(ExprOp::Add, DType::F32, {.f = 1}, {.f = 0x1p-24f}).f, 1.0f);
}

/// Slots as vectors of doubles; a run of steps on the backend itself.
struct Bench {
  std::vector<std::vector<char>> slots;
  std::vector<Scalar> scalars;
  std::vector<StepFailure> failures;

  template <class T>
  int slot(const std::vector<T>& v) {
    slots.emplace_back(v.size() * sizeof(T));
    std::memcpy(slots.back().data(), v.data(), slots.back().size());
    return static_cast<int>(slots.size()) - 1;
  }
  template <class T>
  std::vector<T> get(int slot) const {
    std::vector<T> v(slots[slot].size() / sizeof(T));
    std::memcpy(v.data(), slots[slot].data(), slots[slot].size());
    return v;
  }
  void run(const std::vector<ir::Step>& steps) {
    std::vector<Memory> memory;
    for (auto& s : slots) memory.push_back({s.data(), 0, static_cast<int64_t>(s.size())});
    std::vector<StepTime> times;
    failures = reference::entry.make(0)->prepare(steps)->run({memory, scalars}, &times);
    EXPECT_EQ(times.size(), steps.size());
  }
};

ir::Operand dense(int slot, DType t, const Dims& sizes) {
  return {slot, t, 0, sizes, contiguous_strides(sizes)};
}

using Floats = std::vector<float>;
using Longs = std::vector<int64_t>;

TEST(Interpreter, ReducesInStagesAndStoresBothLevels) {
  Bench b;
  const int x = b.slot(Floats{1, 2, 3, 4, 0, 0}), y = b.slot(Floats(6)), sum = b.slot(Floats(2));
  Generic g;
  g.sizes = {2, 3};
  g.reduce = 0b10;
  g.accesses = {{x, DType::F32, 0, {3, 1}}, {y, DType::F32, 0, {3, 1}}, {sum, DType::F32, 0, {1, 0}}};
  const Val v = load(g.body, DType::F32, 0), d = v - reduce(ReduceKind::Max, v), total = reduce(ReduceKind::Sum, d);
  g.stores = {{1, (d / total).id}, {2, total.id}};
  b.run({g});
  EXPECT_EQ(b.get<float>(sum), (Floats{-3, -8}));
  EXPECT_EQ(b.get<float>(y), (Floats{2.0f / 3, 1.0f / 3, 0, 0, 0.5, 0.5}));
}

TEST(Interpreter, ArgMaxKnowsTiesAndNan) {
  Bench b;
  const int x = b.slot(Floats{1, 3, 3, 2, NAN, NAN, -1, -1, -2}), to = b.slot(Longs(6));
  Generic g;
  g.sizes = {3, 3};
  g.reduce = 0b10;
  g.accesses = {{x, DType::F32, 0, {3, 1}}, {to, DType::I64, 0, {2, 0}}, {to, DType::I64, 1, {2, 0}}};
  const Val v = load(g.body, DType::F32, 0), i = index(g.body, 1);
  g.stores = {{1, reduce_arg(ReduceKind::ArgMax, v, i).id}, {2, reduce_arg(ReduceKind::ArgMin, v, i).id}};
  b.run({g});
  EXPECT_EQ(b.get<int64_t>(to), (Longs{1, 0, 1, 1, 0, 2}));
}

TEST(Interpreter, ScattersOneAfterAnother) {
  Bench b;
  const int at = b.slot(Longs{2, 0, 2, 1, 2}), x = b.slot(Floats{1, 2, 3, 4, 5}), to = b.slot(Floats{10, 10, 10});
  Generic g;
  g.sizes = {5};
  g.accesses = {{at, DType::I64, 0, {1}}, {x, DType::F32, 0, {1}}, {to, DType::F32, 0, {0}}};
  const Val i = load(g.body, DType::I64, 0), v = load(g.body, DType::F32, 1);
  g.stores = {{2, v.id, i.id, (v != 3.0).id, ir::Combine::Add}};
  b.run({g});
  EXPECT_EQ(b.get<float>(to), (Floats{12, 14, 16}));
}

TEST(Interpreter, ReportsChecksAndRunsOn) {
  Bench b;
  const int at = b.slot(Longs{0, 5}), to = b.slot(Longs{7, 7}), other = b.slot(Longs{1, 2});
  Generic g;
  g.name = "gather";
  g.sizes = {2};
  g.accesses = {{at, DType::I64, 0, {1}}, {to, DType::I64, 0, {1}}};
  const Val i = load(g.body, DType::I64, 0);
  check(i < 5.0, ir::Fault::IndexOutOfRange);
  g.stores = {{1, i.id}};
  Generic next;
  next.sizes = {2};
  next.accesses = {{other, DType::I64, 0, {1}}};
  next.stores = {{0, (load(next.body, DType::I64, 0) * 10.0).id}};
  b.run({g, next});
  ASSERT_EQ(b.failures.size(), 1u);
  EXPECT_EQ(b.failures[0].step, 0);
  EXPECT_EQ(b.failures[0].error.kind(), ErrorKind::Index);
  EXPECT_STREQ(b.failures[0].error.what(), "[gather] index out of range");
  EXPECT_EQ(b.get<int64_t>(other), (Longs{10, 20}));
}

TEST(Interpreter, RefusesAddressesOutsideOfTheSlot) {
  for (int64_t offset : {-1, 1}) {
    Bench b;
    const int x = b.slot(Longs{1, 2}), to = b.slot(Longs{0, 0});
    Generic g;
    g.sizes = {2};
    g.accesses = {{x, DType::I64, offset, {1}}, {to, DType::I64, 0, {1}}};
    g.stores = {{1, load(g.body, DType::I64, 0).id}};
    b.run({g});
    ASSERT_EQ(b.failures.size(), 1u);
    EXPECT_EQ(b.failures[0].error.kind(), ErrorKind::Internal);
  }
}

TEST(Interpreter, FloatSumsDoNotDrift) {
  Bench b;
  const int x = b.slot(Floats{1e8f, 1, -1e8f, 1}), to = b.slot(Floats{0});
  Generic g;
  g.sizes = {4};
  g.reduce = 1;
  g.accesses = {{x, DType::F32, 0, {1}}, {to, DType::F32, 0, {0}}};
  g.stores = {{1, reduce(ReduceKind::Sum, load(g.body, DType::F32, 0)).id}};
  b.run({g});
  EXPECT_EQ(b.get<float>(to)[0], 2);
}

TEST(Nameds, Matmul) {
  Bench b;
  const int dst = b.slot(Floats(4)), lhs = b.slot(Floats{1, 2, 3, 4, 5, 6}), rhs = b.slot(Floats{1, 0, 0, 1, 1, 1}),
            bias = b.slot(Floats{100, 200});
  Named n{NamedKind::Matmul,
          {dense(dst, DType::F32, {2, 2}),
           dense(lhs, DType::F32, {2, 3}),
           dense(rhs, DType::F32, {3, 2}),
           {bias, DType::F32, 0, {2, 2}, {0, 1}}},
          {},
          ""};
  b.run({n});
  EXPECT_EQ(b.get<float>(dst), (Floats{104, 205, 110, 211}));
}

TEST(Nameds, ConvolutionAndItsGradients) {
  // One channel, stride 2, padding 1, dilation 1: y[o] = sum_k w[k] * x[2 o - 1 + k].
  Named n{NamedKind::Conv, {}, {}, ""};
  n.attrs.stride = {2};
  n.attrs.padding = {1};
  n.attrs.dilation = {1};
  Bench b;
  const int y = b.slot(Floats(3)), x = b.slot(Floats{1, 2, 3, 4, 5}), w = b.slot(Floats{1, 10, 100}), bias = b.slot(Floats{1000});
  n.operands = {dense(y, DType::F32, {1, 1, 3}), dense(x, DType::F32, {1, 1, 5}), dense(w, DType::F32, {1, 1, 3}),
                dense(bias, DType::F32, {1})};
  b.run({n});
  EXPECT_EQ(b.get<float>(y), (Floats{1210, 1432, 1054}));
  // Each source position gets the windows that see it: dy = {1, 2, 3}.
  const int dx = b.slot(Floats(5)), dy = b.slot(Floats{1, 2, 3}), dw = b.slot(Floats(3));
  Named grad = n, weight_grad = n;
  grad.kind = NamedKind::ConvSrcGrad;
  grad.operands = {dense(dx, DType::F32, {1, 1, 5}), dense(dy, DType::F32, {1, 1, 3}), dense(w, DType::F32, {1, 1, 3})};
  weight_grad.kind = NamedKind::ConvWeightGrad;
  weight_grad.operands = {dense(dw, DType::F32, {1, 1, 3}), dense(dy, DType::F32, {1, 1, 3}), dense(x, DType::F32, {1, 1, 5})};
  b.run({grad, weight_grad});
  EXPECT_EQ(b.get<float>(dx), (Floats{10, 102, 20, 203, 30}));
  EXPECT_EQ(b.get<float>(dw), (Floats{2 * 2 + 3 * 4, 1 * 1 + 2 * 3 + 3 * 5, 1 * 2 + 2 * 4}));
}

TEST(Nameds, GroupsKeepToThemselves) {
  Named n{NamedKind::Conv, {}, {}, ""};
  n.attrs.stride = n.attrs.dilation = {1};
  n.attrs.padding = {0};
  n.attrs.groups = 2;
  Bench b;
  const int y = b.slot(Floats(4)), x = b.slot(Floats{1, 2, 10, 20}), w = b.slot(Floats{3, 5});
  n.operands = {dense(y, DType::F32, {1, 2, 2}), dense(x, DType::F32, {1, 2, 2}), dense(w, DType::F32, {2, 1, 1})};
  b.run({n});
  EXPECT_EQ(b.get<float>(y), (Floats{3, 6, 50, 100}));
}

TEST(Nameds, AveragesCountPaddingOnDemand) {
  for (bool count_padding : {true, false}) {
    Named n{NamedKind::AvgPool, {}, {}, ""};
    n.attrs.kernel = {3};
    n.attrs.stride = {2};
    n.attrs.padding = {1};
    n.attrs.count_include_pad = count_padding;
    Bench b;
    // ceil_mode: the last window starts at 3, reaches 6, and the padding ends at 5.
    const int y = b.slot(Floats(3)), x = b.slot(Floats{6, 12, 18, 24}), dx = b.slot(Floats(4)), dy = b.slot(Floats{6, 6, 6});
    n.operands = {dense(y, DType::F32, {1, 1, 3}), dense(x, DType::F32, {1, 1, 4})};
    Named grad = n;
    grad.kind = NamedKind::AvgPoolGrad;
    grad.operands = {dense(dx, DType::F32, {1, 1, 4}), dense(dy, DType::F32, {1, 1, 3})};
    b.run({n, grad});
    EXPECT_EQ(b.get<float>(y), (count_padding ? Floats{6, 18, 12} : Floats{9, 18, 24}));
    EXPECT_EQ(b.get<float>(dx), (count_padding ? Floats{2, 4, 2, 5} : Floats{3, 5, 2, 8}));
  }
}

TEST(Nameds, RunningMaximumTakesTheLastOfEqualsAndCarriesNan) {
  Named n{NamedKind::Scan, {}, {}, ""};
  n.attrs.scan = ir::ScanKind::Max;
  Bench b;
  const int y = b.slot(Floats(7)), x = b.slot(Floats{1, 3, 3, 2, NAN, 9, NAN}), at = b.slot(Longs(7));
  n.operands = {dense(y, DType::F32, {7}), dense(x, DType::F32, {7}), dense(at, DType::I64, {7})};
  b.run({n});
  EXPECT_EQ(b.get<int64_t>(at), (Longs{0, 1, 2, 2, 4, 4, 6}));
  const Floats got = b.get<float>(y);
  EXPECT_EQ(Floats(got.begin(), got.begin() + 4), (Floats{1, 3, 3, 3}));
  for (int i = 4; i < 7; ++i) EXPECT_TRUE(std::isnan(got[i]));
}

TEST(Nameds, ScansAlongAnAxis) {
  Named n{NamedKind::Scan, {}, {}, ""};
  n.attrs.axis = 0;
  Bench b;
  const int y = b.slot(Longs(4)), x = b.slot(std::vector<int8_t>{100, 2, 100, 4});
  n.operands = {dense(y, DType::I64, {2, 2}), dense(x, DType::I8, {2, 2})};
  b.run({n});
  EXPECT_EQ(b.get<int64_t>(y), (Longs{100, 2, 200, 6}));
  n.attrs.scan = ir::ScanKind::LogAddExp;
  Bench c;
  const int z = c.slot(Floats(3)), w = c.slot(Floats{-INFINITY, 0, 0});
  n.operands = {dense(z, DType::F32, {3}), dense(w, DType::F32, {3})};
  c.run({n});
  EXPECT_EQ(c.get<float>(z), (Floats{-INFINITY, 0, std::log(2.0f)}));
}

TEST(Nameds, SortIsStableAndPutsNanLast) {
  for (bool descending : {false, true}) {
    Named n{NamedKind::Sort, {}, {}, ""};
    n.attrs.descending = descending;
    Bench b;
    const int v = b.slot(Floats(5)), i = b.slot(Longs(5)), x = b.slot(Floats{2, NAN, 1, 2, -0.0f});
    n.operands = {dense(v, DType::F32, {5}), dense(i, DType::I64, {5}), dense(x, DType::F32, {5})};
    b.run({n});
    EXPECT_EQ(b.get<int64_t>(i), (descending ? Longs{1, 0, 3, 2, 4} : Longs{4, 2, 0, 3, 1}));
    EXPECT_TRUE(std::isnan(b.get<float>(v)[descending ? 0 : 4]));
  }
}

}  // namespace
}  // namespace anygpu::reference
