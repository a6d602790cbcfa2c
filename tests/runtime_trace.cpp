// What a Trace keeps of a call comes back whole: counts past 16 bits, offsets and sizes past 32; and what fits nowhere is refused whole.
#include "runtime/trace.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>

#include "anygpu/device.h"

namespace anygpu {
namespace {

BufferRef buffer(int64_t bytes = 4) {
  setenv("ANYGPU_DEVICES", "reference", 1);
  return Device::get(0).allocate(bytes);
}

TEST(Trace, CountsPastSixteenBits) {
  const View v{buffer(), DType::F32, 0, {1}, {1}};
  for (size_t n : {65535, 65536, 65537, 200000}) {
    Trace trace;
    const std::vector<ViewArg> views(n, v);
    std::vector<Scalar> scalars;
    std::vector<int64_t> attrs;
    for (size_t i = 0; i < n; ++i) scalars.emplace_back(static_cast<int64_t>(i)), attrs.push_back(static_cast<int64_t>(i));
    trace.record(op("cat"), views, scalars, attrs, true);
    trace.record(op("add"), {}, {scalars.data(), 1}, {}, false);
    const std::vector<Trace::Call> calls = trace.decode();
    ASSERT_EQ(calls.size(), 2u);
    EXPECT_EQ(calls[0].op, &op("cat"));
    EXPECT_EQ(calls[0].views.size(), n);
    EXPECT_EQ(calls[0].attrs, attrs);
    EXPECT_EQ(calls[0].scalars, static_cast<int>(n));
    EXPECT_TRUE(calls[0].in_order);
    EXPECT_EQ(calls[1].op, &op("add"));
    EXPECT_EQ(calls[1].first_scalar, static_cast<int>(n));
    EXPECT_FALSE(calls[1].in_order);
  }
}

TEST(Trace, OffsetsSizesAndStridesPastThirtyTwoBits) {
  const BufferRef b = buffer();
  for (int64_t n : {int64_t{1} << 16, int64_t{1} << 31, int64_t{1} << 32, (int64_t{1} << 40) + 3}) {
    const View v{b, DType::U8, n + 1, {n, 3, n + 2}, {n - 1, 0, n}};
    Trace trace;
    trace.record(op("copy"), std::vector<ViewArg>{v}, {}, {}, false);
    const ir::Operand o = trace.decode()[0].views[0];
    EXPECT_EQ(o.offset, n + 1);
    EXPECT_EQ(o.sizes, v.sizes);
    EXPECT_EQ(o.strides, v.strides);
    EXPECT_EQ(o.dtype, DType::U8);
  }
}

TEST(Trace, ManyBuffersAreNumberedApart) {
  Trace trace;
  std::vector<BufferRef> buffers;
  for (int i = 0; i < 70000; ++i) buffers.push_back(buffer());
  std::vector<ViewArg> views;
  for (const BufferRef& b : buffers) views.emplace_back(View{b, DType::F32, 0, {1}, {1}});
  trace.record(op("cat"), views, {}, {}, false);
  const std::vector<ir::Operand> seen = trace.decode()[0].views;
  ASSERT_EQ(seen.size(), buffers.size());
  for (size_t i = 0; i < seen.size(); ++i) ASSERT_EQ(seen[i].slot, static_cast<int>(i));
}

/// Spans of more elements than there is memory: nothing of them may be looked at.
TEST(Trace, WhatDoesNotFitIsRefusedWhole) {
  const View v{buffer(), DType::F32, 0, {1}, {1}};
  const std::vector<ViewArg> views(2, v);
  const Scalar scalar;
  const int64_t attr = 0, many[17] = {};
  const size_t over = size_t{1} << 31;
  const std::vector<ViewArg> deep{ViewArg(v), ViewArg(v.buffer.get(), DType::F32, 0, 17, many, many)};
  Trace trace;
  trace.record(op("add"), views, {&scalar, 1}, {}, false);
  const std::vector<int64_t> before = trace.words();
  for (const std::function<void()>& call : std::vector<std::function<void()>>{
           [&] { trace.record(op("add"), {views.data(), over}, {}, {}, false); },
           [&] { trace.record(op("add"), views, {&scalar, over}, {}, false); },
           [&] { trace.record(op("add"), views, {&scalar, over - 1}, {}, false); },  // with those that are there already
           [&] { trace.record(op("add"), views, {}, {&attr, over}, false); },
           [&] { trace.record(op("add"), deep, {}, {}, false); },
       }) {
    try {
      call();
      ADD_FAILURE() << "recorded";
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::NotImplemented) << e.what();
    }
    EXPECT_EQ(trace.words(), before);
    EXPECT_EQ(trace.calls(), 1);
    EXPECT_EQ(trace.scalars().size(), 1u);
  }
}

}  // namespace
}  // namespace anygpu
