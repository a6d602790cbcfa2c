// The runtime end to end on the reference backend: recording, fusion, memory, errors.
#include <gtest/gtest.h>

#include <numeric>

#include "anygpu/calls/matmul.h"
#include "anygpu/calls/reduce.h"
#include "runtime.h"

namespace anygpu {
namespace {

void sum(const View& dst, const View& src, uint64_t mask) {
  calls::record(calls::Reduce{.kind = calls::Reduction::Sum, .dst = dst, .src = src, .compute = DType::F32, .mask = mask});
}

TEST(Runtime, AddsAndMultiplies) {
  View a = make({2, 3}, {1, 2, 3, 4, 5, 6}), b = make({2, 3}, {10, 20, 30, 40, 50, 60}), c = make({2, 3}), d = make({2, 3});
  record("add", {c, a, b});
  record("mul", {d, c, a});
  EXPECT_EQ(values(d), (std::vector<float>{11, 44, 99, 176, 275, 396}));
  EXPECT_EQ(values(c), (std::vector<float>{11, 22, 33, 44, 55, 66}));
}

TEST(Runtime, DeadIntermediatesFuseIntoOneKernel) {
  View a = make({4, 5}, std::vector<float>(20, 2)), out = make({4, 1});
  device().synchronize();
  {
    View t = make({4, 5}), u = make({4, 5});
    record("add", {t, a, a});
    record("mul", {u, t, t});
    sum(out, u, 2);
  }
  EXPECT_EQ(values(out), (std::vector<float>(4, 80)));
  std::string text = device().explain(1);
  EXPECT_NE(text.find("as 1 kernel and 0 library calls"), std::string::npos) << text;
  EXPECT_NE(text.find("arena 0 B"), std::string::npos) << text;
}

TEST(Runtime, ShiftedOverlapKeepsProgramOrder) {
  // x[1:] = x[1:] + x[:-1] by way of a temporary, then back: fusing the two would read what was just written.
  View x = make({6}, {1, 2, 3, 4, 5, 6});
  View hi = x, lo = x;
  hi.sizes = lo.sizes = {5};
  hi.offset = 1;
  {
    View t = make({5});
    record("add", {t, hi, lo});
    record("copy", {hi, t});
  }
  EXPECT_EQ(values(x), (std::vector<float>{1, 3, 5, 7, 9, 11}));
}

TEST(Runtime, SamePlanForEveryStep) {
  View w = make({8}, std::vector<float>(8, 1)), g = make({8}, std::vector<float>(8, 1));
  RunStats before{};
  for (int step = 0; step < 6; ++step) {
    if (step == 2) before = device().run_stats();
    record("add_scaled", {w, w, g}, {Scalar(-0.1 * step)});
    device().flush();
  }
  device().synchronize();
  EXPECT_EQ(device().run_stats().plans_compiled, before.plans_compiled);
  EXPECT_NEAR(values(w)[3], 1 - 0.1 * (1 + 2 + 3 + 4 + 5), 1e-5);
}

TEST(Runtime, ReductionOverOneElementStaysWhatItIs) {
  // The first sum reduces nothing; fused with the second it must not reduce over the second's dimension.
  View x = make({1, 5}, {1, 2, 3, 4, 5}), out = make({1, 1});
  {
    View row = make({1, 1});
    View t = make({1, 5});
    sum(t, x, 1);
    record("mul", {t, t, t});
    sum(row, t, 2);
    sum(out, row, 3);
  }
  EXPECT_EQ(values(out), (std::vector<float>{55}));
}

TEST(Runtime, TransposedConsumerFuses) {
  View a = make({2, 3}, {1, 2, 3, 4, 5, 6}), out = make({3, 2});
  {
    View t = make({2, 3});
    record("add", {t, a, a});
    View tt = t;
    tt.sizes = {3, 2};
    tt.strides = {1, 3};
    record("copy", {out, tt});
  }
  EXPECT_EQ(values(out), (std::vector<float>{2, 8, 4, 10, 6, 12}));
  EXPECT_NE(device().explain(1).find("as 1 kernel and 0 library calls"), std::string::npos) << device().explain(1);
}

TEST(Runtime, FillOfAnExpandedTensorComesAfterItsReaders) {
  // Row 1 still reads what the fill, done with row 0, would have overwritten.
  View x = make({4}, {1, 2, 3, 4}), out = make({3, 4});
  View expanded = x;
  expanded.sizes = {3, 4};
  expanded.strides = {0, 1};
  record("add", {out, expanded, expanded});
  record("fill", {expanded}, {Scalar(0.0)});
  EXPECT_EQ(values(out), (std::vector<float>{2, 4, 6, 8, 2, 4, 6, 8, 2, 4, 6, 8}));
  EXPECT_EQ(values(x), (std::vector<float>{0, 0, 0, 0}));
}

TEST(Runtime, ProductIntoItsOwnOperand) {
  View a = make({2, 2}, {1, 2, 3, 4});
  calls::record(calls::Matmul{.dst = a, .lhs = a, .rhs = a});
  EXPECT_EQ(values(a), (std::vector<float>{7, 10, 15, 22}));
}

TEST(Runtime, OutOfMemoryLeavesTheDeviceUsable) {
  device().set_memory_limit(1 << 20);
  EXPECT_THROW(device().allocate(8 << 20), Error);
  device().set_memory_limit(0);
  View a = make({3}, {1, 2, 3}), b = make({3});
  record("add", {b, a, a});
  EXPECT_EQ(values(b), (std::vector<float>{2, 4, 6}));
}

TEST(Runtime, UploadIntoUsedBufferIsOrdered) {
  View a = make({3}, {1, 2, 3}), b = make({3});
  record("add", {b, a, a});
  std::vector<float> next{7, 8, 9};
  device().upload(*a.buffer.get(), 0, next.data(), 12);
  EXPECT_EQ(values(b), (std::vector<float>{2, 4, 6}));
  EXPECT_EQ(values(a), next);
}

TEST(Runtime, OnePlanForAViewWhereverItLies) {
  std::vector<float> ones(64, 1);
  View x = make({64}, ones), y = make({64}, ones);
  device().synchronize();
  const RunStats before = device().run_stats();
  for (int i = 0; i < 64; ++i) {
    View at = x, from = y;
    at.sizes = from.sizes = {1};
    at.offset = i;
    from.offset = 63 - i;
    record("add_scaled", {at, at, from}, {Scalar(static_cast<double>(i))});
    device().flush();
  }
  const std::vector<float> got = values(x);
  for (int i = 0; i < 64; ++i) EXPECT_EQ(got[static_cast<size_t>(i)], static_cast<float>(1 + i));
  EXPECT_LE(device().run_stats().plans_compiled - before.plans_compiled, 2);
}

TEST(Runtime, RelationsOfViewsArePartOfThePlan) {
  // x[i:i+3] += x[i+1:i+4] by way of a temporary, and then with the two apart: another Plan.
  View x = make({16}, std::vector<float>(16, 1));
  auto add = [&](int64_t dst, int64_t src) {
    View a = x, b = x, t = make({3});
    a.sizes = b.sizes = {3};
    a.offset = dst;
    b.offset = src;
    record("add", {t, a, b});
    record("copy", {a, t});
    device().flush();
  };
  add(0, 1);
  add(4, 5);
  add(8, 12);
  EXPECT_EQ(values(x), (std::vector<float>{2, 2, 2, 1, 2, 2, 2, 1, 2, 2, 2, 1, 1, 1, 1, 1}));
}

/// A View of i32 over as many elements.
View integers(const Dims& sizes) {
  return {device().allocate(product(sizes) * 4), DType::I32, 0, sizes, contiguous_strides(sizes)};
}

/// The kind of Error that recording the call throws; Internal for none.
ErrorKind refusal(auto&& call) {
  try {
    calls::record(call);
  } catch (const Error& e) {
    return e.kind();
  }
  return ErrorKind::Internal;
}

TEST(Runtime, WhatIsNotDefinedOnADTypeIsRefusedWhenRecorded) {
  View a = make({2, 2}, {1, 2, 3, 4}), beside = make({2, 2}), i = integers({2, 2}), j = integers({2, 2});
  record("add", {beside, a, a});
  for (int again = 0; again < 2; ++again) {  // a refusal is no verdict that is kept for another call
    EXPECT_EQ(refusal(calls::Pointwise(op("exp"), DType::I32).out(j).in(i)), ErrorKind::NotImplemented);
    EXPECT_EQ(refusal(calls::Pointwise(op("bitwise_and"), DType::F32).out(beside).in(a).in(a)), ErrorKind::NotImplemented);
    EXPECT_EQ(refusal(calls::Matmul{.dst = beside, .lhs = a, .rhs = i}), ErrorKind::NotImplemented);
    View product = make({2, 2});
    calls::record(calls::Matmul{.dst = product, .lhs = a, .rhs = a});
    EXPECT_EQ(values(product), (std::vector<float>{7, 10, 15, 22}));
  }
  EXPECT_EQ(values(beside), (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(values(a), (std::vector<float>{1, 2, 3, 4}));
}

}  // namespace
}  // namespace anygpu
