// What a call is: made and read by one description, both ways; what breaks a layout is refused; operands that are absent take no part; the
// geometry that frontends share.
#include <gtest/gtest.h>

#include "anygpu/calls/conv.h"
#include "anygpu/calls/index.h"
#include "anygpu/calls/loss.h"
#include "anygpu/calls/matmul.h"
#include "anygpu/calls/norm.h"
#include "anygpu/calls/reduce.h"
#include "anygpu/calls/resample.h"
#include "ops/call.h"
#include "runtime.h"

namespace anygpu {
namespace {

using calls::Encoded;

/// What Device::record would be given, as the catalogue reads it.
template <template <class> class C>
C<calls::Making> read_back(const Encoded<C<calls::Making>>& e) {
  const ops::CallArgs args{e.entry, e.views(), e.scalars(), e.attrs()};
  ops::check_layout(args, calls::layout_of<C>);
  return ops::read<C>(args);
}

TEST(Calls, AreReadAsTheyWereMade) {
  const View x = make({2, 3}), y = make({2, 3}), mean = make({2, 1}), rstd = make({2, 1}), bias = make({3});
  const Encoded e(calls::LayerNorm{.y = y, .mean = mean, .rstd = rstd, .x = x, .weight = std::nullopt, .bias = bias, .dims = 1, .eps = 0.5});
  EXPECT_EQ(name_of(e.entry), "layer_norm");
  ASSERT_EQ(e.views().size(), 6u);
  EXPECT_EQ(e.views()[3].buffer, x.buffer.get());
  EXPECT_FALSE(e.views()[4]);
  const auto back = read_back<calls::LayerNorm>(e);
  EXPECT_EQ(back.y.buffer, y.buffer.get());
  EXPECT_EQ(back.rstd.buffer, rstd.buffer.get());
  EXPECT_EQ(back.x.buffer, x.buffer.get());
  EXPECT_FALSE(back.weight);
  EXPECT_EQ(back.bias.buffer, bias.buffer.get());
  EXPECT_EQ(back.dims, 1);
  EXPECT_EQ(back.eps, 0.5);
}

TEST(Calls, AttrsOfEveryKind) {
  const View v = make({1});
  const auto conv = read_back<calls::Conv>(Encoded(calls::Conv{
      .dst = v, .src = v, .weight = v, .geometry = {.stride = {1, 2}, .padding = {3, 4}, .dilation = {5, 6}, .groups = 7}}));
  EXPECT_EQ(conv.geometry.stride, (Dims{1, 2}));
  EXPECT_EQ(conv.geometry.padding, (Dims{3, 4}));
  EXPECT_EQ(conv.geometry.dilation, (Dims{5, 6}));
  EXPECT_EQ(conv.geometry.groups, 7);
  const auto attention = read_back<calls::Attention>(
      Encoded(calls::Attention{.dst = v, .logsumexp = v, .q = v, .k = v, .v = v, .scale = 0.125, .causal = true}));
  EXPECT_EQ(attention.scale, 0.125);
  EXPECT_TRUE(attention.causal);
  const auto roll = read_back<calls::Roll>(Encoded(calls::Roll{.dst = v, .src = v, .dims = {2, 0}, .shifts = {5, 6}}));
  EXPECT_EQ(roll.dims, (Dims{2, 0}));
  EXPECT_EQ(roll.shifts, (Dims{5, 6}));
  const auto resize = read_back<calls::Upsample>(
      Encoded(calls::Upsample{.dst = v, .src = v, .mode = calls::Resize::Cubic, .align_corners = true, .scales = {1, 2, 3}}));
  EXPECT_EQ(resize.mode, calls::Resize::Cubic);
  EXPECT_EQ(resize.scales, (std::array<double, 3>{1, 2, 3}));
}

TEST(Calls, AKindIsAName) {
  const View v = make({1, 1});
  const Encoded e(calls::Reduce{.kind = calls::Reduction::ArgMin, .dst = v, .src = v, .compute = DType::F32, .mask = 3});
  EXPECT_EQ(name_of(e.entry), "argmin");
  EXPECT_EQ(read_back<calls::Reduce>(e).kind, calls::Reduction::ArgMin);
}

TEST(Calls, ListsOfOperandsOfAnyLength) {
  const View dst = make({1}), part = make({1});
  for (size_t n : {0u, 1u, 16u, 17u, 300u}) {
    const std::vector<ViewArg> parts(n, part);
    const Encoded e(calls::Cat{.dst = dst, .parts = parts, .dim = 0});
    ASSERT_EQ(e.views().size(), n + 1);
    EXPECT_EQ(e.views()[0].buffer, dst.buffer.get());
    for (const ViewArg& v : read_back<calls::Cat>(e).parts) EXPECT_EQ(v.buffer, part.buffer.get());
  }
}

/// The message of the Error that f() throws.
std::string refusal(auto&& f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST(Calls, WhatBreaksALayoutIsRefused) {
  const View v = make({2, 2}, {1, 2, 3, 4});
  const std::vector<ViewArg> two(2, v), four(4, v);
  const std::vector<ViewArg> absent{v, v, ViewArg(), ViewArg()};
  EXPECT_EQ(refusal([&] { device().record(op("matmul"), two, {}, {}); }), "[matmul] a call of 2 operands, not 4");
  const int64_t attr = 0;
  EXPECT_EQ(refusal([&] { device().record(op("matmul"), four, {}, {&attr, 1}); }), "[matmul] a call of 1 attrs, not 0");
  EXPECT_EQ(refusal([&] { device().record(op("matmul"), absent, {}, {}); }), "[matmul] operand 2 is absent");
  EXPECT_NE(refusal([&] {
              calls::record(calls::BatchNorm{
                  .y = v, .mean = v, .invstd = v, .x = v, .running_mean = v, .momentum = 0.1, .eps = 1e-5});
            }),
            "");
  EXPECT_EQ(values(v), (std::vector<float>{1, 2, 3, 4}));
}

/// Outputs that nobody asked for are not written, and cost no operator of another name.
TEST(Calls, OutputsMayBeAbsent) {
  const View x = make({2, 2}, {1, 2, 3, 4}), dy = make({2, 2}, {1, 1, 2, 2}), mean = make({2, 1}, {0, 0}), rstd = make({2, 1}, {1, 1});
  const View dbias = make({2}), dweight = make({2});
  calls::record(calls::LayerNormGrad{.dbias = dbias, .dy = dy, .x = x, .mean = mean, .rstd = rstd, .dims = 1});
  calls::record(calls::LayerNormGrad{.dweight = dweight, .dy = dy, .x = x, .mean = mean, .rstd = rstd, .dims = 1});
  EXPECT_EQ(values(dbias), (std::vector<float>{3, 3}));
  EXPECT_EQ(values(dweight), (std::vector<float>{7, 10}));
}

TEST(Calls, NumbersAmongTheInputsOfAPointwiseCall) {
  const View x = make({2}, {1, 2}), y = make({2});
  calls::record(calls::Pointwise(op("sub"), DType::F32).out(y).in(x).in(Scalar(0.5)));
  EXPECT_EQ(values(y), (std::vector<float>{0.5, 1.5}));
  calls::record(calls::Pointwise(op("sub"), DType::F32).out(y).in(Scalar(0.5)).in(x));
  EXPECT_EQ(values(y), (std::vector<float>{-0.5, -1.5}));
  calls::record(calls::Pointwise(op("addcmul"), DType::F32).scalar(2.0).out(y).in(x).in(x).in(Scalar(10.0)));
  EXPECT_EQ(values(y), (std::vector<float>{21, 42}));
}

TEST(Calls, Geometry) {
  EXPECT_EQ(calls::windows_along(7, 3, 2, 1, 1), 4);
  EXPECT_EQ(calls::windows_along(7, 3, 1, 0, 2), 3);
  for (int64_t size : {1, 4, 9})  // a transposed convolution makes the least input of which a convolution makes as much
    EXPECT_EQ(calls::windows_along(calls::transposed_along(size, 3, 2, 1, 2, 0), 3, 2, 1, 2), size);
  EXPECT_EQ(calls::window(2, {3}, {}, {1}).stride, (Dims{3, 3}));
  EXPECT_NE(refusal([] { calls::spread({1, 2}, 3); }), "");
  const View row = make({2, 4});
  const View kept = calls::kept(row, 3, 0b010);
  EXPECT_EQ(kept.sizes, (Dims{2, 1, 4}));
  EXPECT_EQ(kept.strides, (Dims{4, 0, 1}));
  EXPECT_EQ(calls::kept(kept, 3, 0b010).sizes, kept.sizes);
  const std::vector<int64_t> lengths{2, 0, 3};
  EXPECT_EQ(calls::ctc_starts(lengths).starts, (std::vector<int64_t>{0, 2, 2}));
  EXPECT_EQ(calls::ctc_starts(lengths, 4).starts, (std::vector<int64_t>{0, 4, 8}));
  EXPECT_EQ(calls::ctc_starts(lengths).longest, 3);
  EXPECT_EQ(calls::filter_taps(calls::Filter::Triangle, 1.0, 100), 4);
  EXPECT_EQ(calls::filter_taps(calls::Filter::Lanczos, 2.5, 100), 32);
  EXPECT_EQ(calls::filter_taps(calls::Filter::Lanczos, 2.5, 10), 10);
}

}  // namespace
}  // namespace anygpu
