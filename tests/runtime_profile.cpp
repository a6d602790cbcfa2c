// profile.h: what ran, whose work each step is, and that nothing is kept where nobody asks. memory_events.h: Blocks that are made and let
// go.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "anygpu/calls/index.h"
#include "anygpu/memory_events.h"
#include "anygpu/profile.h"
#include "runtime.h"

namespace anygpu {
namespace {

using profile::Caller;
using profile::Event;
using profile::Kind;

int64_t epoch_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
}

std::vector<Event> of_kind(const std::vector<Event>& events, Kind kind) {
  std::vector<Event> found;
  std::copy_if(events.begin(), events.end(), std::back_inserter(found), [&](const Event& e) { return e.kind == kind; });
  return found;
}

TEST(Profile, KernelsAreTheWorkOfTheirCallers) {
  const View x = make({5}, {-2, -1, 0, 1, 2}), z = make({5});
  device().synchronize();
  const int64_t before = epoch_ns();
  profile::start();
  {
    const View y = make({5});
    profile::set_caller({7, 1});
    record("exp", {y, x});
    profile::set_caller({8, 1});
    record("add", {z, y, y}, {Scalar(1.0)});
  }
  profile::set_caller({9, 0});
  const std::vector<float> got = values(z);
  profile::set_caller({});
  const std::vector<Event> events = profile::stop();
  EXPECT_FLOAT_EQ(got[2], 2);
  const std::vector<Event> kernels = of_kind(events, Kind::Kernel);
  ASSERT_EQ(kernels.size(), 1u) << "the two are one kernel";
  EXPECT_EQ(kernels[0].callers, (std::vector<Caller>{{7, 1}, {8, 1}}));
  EXPECT_EQ(kernels[0].shapes, "[[5]]");
  EXPECT_EQ(kernels[0].bytes, 2 * 5 * 4);
  EXPECT_EQ(kernels[0].device, 0);
  for (const Event& e : events) {
    EXPECT_LE(e.begin_ns, e.end_ns) << e.name;
    EXPECT_GT(e.begin_ns, before - 1'000'000'000) << e.name;
    EXPECT_LT(e.end_ns, epoch_ns() + 1'000'000'000) << e.name;
  }
  std::vector<std::string> host;
  for (const Event& e : of_kind(events, Kind::Host)) {
    host.push_back(e.name);
    EXPECT_EQ(e.callers, (std::vector<Caller>{{9, 0}})) << e.name;
  }
  for (const char* name : {"plan", "compile"}) EXPECT_EQ(std::count(host.begin(), host.end(), name), 1) << name;
  ASSERT_EQ(of_kind(events, Kind::Download).size(), 1u);
  EXPECT_EQ(of_kind(events, Kind::Download)[0].bytes, 20);
}

TEST(Profile, WhatWasRecordedBeforeHasRunBefore) {
  const View x = make({3}, {1, 2, 3}), y = make({3}), z = make({4});
  profile::set_caller({1, 0});
  record("neg", {y, x});
  profile::start();
  profile::set_caller({2, 0});
  record("fill", {z}, {Scalar(1.0)});
  const std::vector<Event> kernels = of_kind(profile::stop(), Kind::Kernel);  // flushes
  profile::set_caller({});
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_EQ(kernels[0].name, "fill");
  EXPECT_EQ(kernels[0].callers, (std::vector<Caller>{{2, 0}}));
  EXPECT_EQ(values(y)[2], -3);
}

TEST(Profile, CallersOfAnEarlierProfileAreForgotten) {
  profile::start();
  profile::set_caller({5, 6});
  profile::stop();
  profile::start();
  const View x = make({3});
  record("fill", {x}, {Scalar(1.0)});
  const std::vector<Event> kernels = of_kind(profile::stop(), Kind::Kernel);
  ASSERT_EQ(kernels.size(), 1u);
  EXPECT_TRUE(kernels[0].callers.empty());
}

TEST(Profile, NothingIsKeptWithoutOne) {
  profile::start();
  profile::stop();
  const View x = make({3});
  record("fill", {x}, {Scalar(1.0)});
  values(x);
  EXPECT_TRUE(profile::stop().empty());
}

TEST(Profile, WhatFailsIsStillRaisedWhereItIsRead) {
  const View x = make({2}, {1, 2}), y = make({1});
  const View i{device().allocate(8), DType::I64, 0, {1}, {1}};
  const int64_t nine = 9;
  device().upload(*i.buffer.get(), 0, &nine, 8);
  profile::start();
  calls::record(calls::Gather{.dst = y, .src = x, .index = i, .dim = 0});
  profile::stop();
  EXPECT_THROW(values(y), Error);
  EXPECT_THROW(values(y), Error);
}

std::vector<std::pair<int64_t, bool>> seen;

TEST(MemoryEvents, BlocksThatAreMadeAndLetGo) {
  seen.clear();
  observe_blocks([](const Block& b, bool made) noexcept { seen.emplace_back(b.buffer->bytes, made); });
  Block* b = allocate_block(device(), 100);
  Block* empty = allocate_block(device(), 0);
  const std::vector<LiveBlock> live = live_blocks();
  const auto mine = std::find_if(live.begin(), live.end(), [&](const LiveBlock& l) { return l.address == b->address; });
  ASSERT_NE(mine, live.end());
  EXPECT_EQ(mine->bytes, 100);
  EXPECT_GE(mine->room, 100);
  EXPECT_EQ(mine->device, 0);
  release_block(b);
  release_block(empty);
  observe_blocks(nullptr);
  release_block(allocate_block(device(), 7));
  EXPECT_EQ(seen, (std::vector<std::pair<int64_t, bool>>{{100, true}, {100, false}}));
  for (const LiveBlock& l : live_blocks()) EXPECT_NE(l.address, mine->address);
}

}  // namespace
}  // namespace anygpu
