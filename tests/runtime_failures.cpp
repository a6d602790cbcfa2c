// What a failure reaches, and what it must leave alone: refused calls, failed Checks, exceptions, memory that does not suffice.
#include <gtest/gtest.h>

#include <algorithm>
#include <new>
#include <string>
#include <thread>

#include "anygpu/calls/index.h"
#include "anygpu/calls/matmul.h"
#include "anygpu/host.h"
#include "ops/op.h"
#include "runtime.h"

namespace anygpu {
namespace {

using ops::Loop;
using anygpu::record;
using ops::Lowering;

// Calls that the catalogue does not have. They are described well when they are recorded, and when they are planned one breaks a rule, and
// during the other the host's memory runs out.
bool planning = false;
void describe_copy(Lowering& l) {
  Loop loop(l, l.view(0).sizes);
  loop.store(l.view(0), loop.load(l.view(1)));
  loop.done();
}
const Op kIllFormed{"ill_formed", nullptr,
                    [](Lowering& l) {
                      if (planning) throw Error(ErrorKind::Internal, "[ir] ill-formed");
                      describe_copy(l);
                    },
                    1, nullptr};
const Op kBadAlloc{"bad_alloc", nullptr,
                   [](Lowering& l) {
                     if (planning) throw std::bad_alloc();
                     describe_copy(l);
                   },
                   1, nullptr};
// dst = src + 1 by way of a temporary that no machine has.
const Op kHuge{"huge", nullptr,
               [](Lowering& l) {
                 const ir::Operand temp = l.temp(DType::F32, {int64_t{1} << 55});
                 Loop in(l, {1});
                 in.store_at(temp, {in.i64(0)}, in.load(l.view(1)) + 1.0);
                 in.done();
                 Loop out(l, {1});
                 out.store(l.view(0), out.load_at(temp, {out.i64(0)}));
                 out.done();
               },
               1, nullptr};

void record(const Op& op, std::initializer_list<View> views) {
  std::vector<ViewArg> args(views.begin(), views.end());
  planning = false;
  device().record(op, args, {}, {});
  planning = true;
}

View indices(const std::vector<int64_t>& at) {
  View v{device().allocate(static_cast<int64_t>(at.size()) * 8), DType::I64, 0, {static_cast<int64_t>(at.size())}, {1}};
  device().upload(*v.buffer.get(), 0, at.data(), v.buffer->bytes);
  return v;
}

/// dst = src[at]
void gather(const View& dst, const View& src, const View& at) {
  calls::record(calls::Gather{.dst = dst, .src = src, .index = at, .dim = 0});
}

View part(View v, int64_t offset, int64_t size, int64_t stride = 1) {
  v.offset = offset;
  v.sizes = {size};
  v.strides = {stride};
  return v;
}

/// Lets go of errors that the test has provoked and nobody was told of.
class RuntimeFailures : public testing::Test {
 protected:
  void TearDown() override {
    try {
      device().synchronize();
    } catch (const Error&) {
    }
    EXPECT_NO_THROW(device().synchronize()) << "an error is told once";
  }
};

TEST_F(RuntimeFailures, RefusedCallSpoilsOnlyWhatItWrites) {
  View weight = make({3}, {1, 2, 3}), before = make({3}), lost = make({3}), after = make({3}), dependent = make({3});
  record("add", {before, weight, weight});
  record(kIllFormed, {lost, weight});
  record("mul", {after, before, weight});
  record("add", {dependent, lost, weight});
  EXPECT_EQ(values(weight), (std::vector<float>{1, 2, 3}));
  EXPECT_EQ(values(before), (std::vector<float>{2, 4, 6}));
  EXPECT_EQ(values(after), (std::vector<float>{2, 8, 18}));
  EXPECT_THROW(values(lost), Error);
  EXPECT_THROW(values(dependent), Error);
  record("copy", {lost, weight});
  EXPECT_EQ(values(lost), (std::vector<float>{1, 2, 3})) << "a full write makes it sound again";
}

TEST_F(RuntimeFailures, RefusedCallFailsEachTime) {
  View weight = make({3}, {1, 2, 3});
  for (int i = 0; i < 3; ++i) {  // the second is found in the Plan cache
    View lost = make({3});
    record(kIllFormed, {lost, weight});
    EXPECT_THROW(values(lost), Error);
  }
  EXPECT_EQ(values(weight), (std::vector<float>{1, 2, 3}));
}

TEST_F(RuntimeFailures, UniformValueOfARefusedResultIsNotBelieved) {
  View lost = make({3}), out = make({3});
  record("fill", {lost}, {Scalar(1.0)});
  record(kIllFormed, {lost, lost});
  record("add", {out, lost, lost});
  EXPECT_THROW(values(out), Error);
}

TEST_F(RuntimeFailures, ExceptionWhilePlanningLeavesTheNextTraceWhole) {
  View a = make({3}, {1, 2, 3}), lost = make({3}), b = make({3});
  record(kBadAlloc, {lost, a});
  EXPECT_NO_THROW(device().flush());
  record("add", {b, a, a});
  EXPECT_EQ(values(b), (std::vector<float>{2, 4, 6}));
  try {
    values(lost);
    FAIL() << "the result of a call that was never made";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory);
  }
}

TEST_F(RuntimeFailures, SynchronizeTellsOfIt) {
  View a = make({3}, {1, 2, 3}), lost = make({3});
  record(kBadAlloc, {lost, a});
  EXPECT_THROW(device().synchronize(), Error);
  EXPECT_NO_THROW(device().synchronize());
}

TEST_F(RuntimeFailures, PartialWritesDoNotHeal) {
  View x = make({4}, {1, 2, 3, 4}), bad = indices({1, 2, 99, 3}), one = make({2}, {7, 7});
  View strided = make({4}), scattered = make({4}), halves = make({4}), whole = make({4});
  for (const View& v : {strided, scattered, halves, whole}) gather(v, x, bad);
  record("copy", {part(strided, 0, 2, 2), one});                                           // elements 0 and 2
  calls::record(calls::Scatter{
      .dst = scattered, .index = indices({0, 3}), .src = one, .dim = 0, .combine = calls::Combine::None, .wraps = false});
  record("copy", {part(halves, 0, 2), one});                                               // elements 0 and 1
  record("copy", {whole, x});
  EXPECT_THROW(values(strided), Error);
  EXPECT_THROW(values(scattered), Error);
  EXPECT_THROW(values(halves), Error);
  EXPECT_EQ(values(whole), values(x));
}

TEST_F(RuntimeFailures, NeighboursInAFusedKernelAreSound) {
  View x = make({4}, {1, 2, 3, 4}), y = make({4}), doubled = make({4}), other = make({4});
  gather(y, x, indices({0, 1, 2, 99}));
  record("add", {doubled, x, x});
  gather(other, x, indices({3, 2, 1, 0}));
  EXPECT_EQ(values(doubled), (std::vector<float>{2, 4, 6, 8}));
  EXPECT_EQ(values(other), (std::vector<float>{4, 3, 2, 1}));
  try {
    values(y);
    FAIL() << "an index out of range";
  } catch (const Error& e) {
    EXPECT_EQ(std::string(e.what()).find("[gather]"), 0u) << e.what();
  }
}

TEST_F(RuntimeFailures, NoMemoryForARunLeavesWhatWasThere) {
  View weight = make({1}, {5}), step = make({1}, {1}), loss = make({1}), grad = make({1});
  device().synchronize();
  record(kHuge, {loss, weight});
  device().flush();
  record("mul", {grad, loss, loss});  // the next Plan would spoil the weight by what it reads
  record("add", {weight, weight, grad});
  record("add", {step, step, step});
  device().flush();
  try {
    values(loss);
    FAIL() << "no machine has the memory";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory) << e.what();
  }
  EXPECT_EQ(values(weight), (std::vector<float>{5})) << "the step that failed did not happen";
  EXPECT_EQ(values(step), (std::vector<float>{2})) << "what does not depend on it did";
  EXPECT_THROW(values(grad), Error);
}

TEST_F(RuntimeFailures, AnUpdateThatDidNotHappenIsToldToTheNextReader) {
  View weight = make({1}, {5}), other = make({1}, {3});
  device().synchronize();
  record(kHuge, {weight, weight});
  device().mark()->wait();
  EXPECT_THROW(values(other), Error);
  EXPECT_EQ(values(weight), (std::vector<float>{5}));
}

/// Weights of which the last step fails: grad = src[at] . src, weight += grad, count += 1. The product keeps the update out of the kernel that
/// fails.
struct FailingStep {
  View src = make({4}, {1, 2, 3, 4}), weight = make({4}, {5, 6, 7, 8}), count = make({1}, {1}), one = make({1}, {1});
  View picked = make({1, 4}), grad = make({1, 1});

  /// In as many Plans as there are operators, or in one.
  void run(bool flushes) {
    device().synchronize();
    View flat = part(picked, 0, 4), column = src;
    gather(flat, src, indices({0, 1, 2, 99}));
    if (flushes) device().flush();
    column.sizes = {4, 1}, column.strides = {1, 1};
    calls::record(calls::Matmul{.dst = grad, .lhs = picked, .rhs = column});
    if (flushes) device().flush();
    record("add", {weight, weight, part(grad, 0, 1)});
    record("add", {count, count, one});
  }
};

TEST_F(RuntimeFailures, AFailedStepWritesNoWeights) {
  for (const bool flushes : {false, true}) {
    FailingStep step;
    step.run(flushes);
    EXPECT_THROW(values(step.grad), Error) << "told once";
    EXPECT_EQ(values(step.weight), (std::vector<float>{5, 6, 7, 8})) << "flushes: " << flushes;
    EXPECT_EQ(values(step.count), (std::vector<float>{2})) << "what does not depend on it did happen";
    record("add", {step.weight, step.weight, step.one});
    EXPECT_EQ(values(step.weight), (std::vector<float>{6, 7, 8, 9})) << "training goes on";
  }
}

TEST_F(RuntimeFailures, WhoReadsAWeightThatWasNotWrittenIsToldFirst) {
  for (const bool flushes : {false, true}) {
    FailingStep step;
    step.run(flushes);
    EXPECT_THROW(values(step.count), Error) << "flushes: " << flushes;
    EXPECT_EQ(values(step.weight), (std::vector<float>{5, 6, 7, 8}));
  }
}

TEST_F(RuntimeFailures, UntilSomebodyIsToldNothingGoesOnFromWhatDidNotHappen) {
  // A gradient that was there before: the optimizer's step must not happen with the old one.
  for (const bool flushes : {false, true}) {
    FailingStep step;
    View accumulated = make({1}, {100}), more = make({4});
    step.run(flushes);
    record("fill", {accumulated}, {Scalar(0.0)});
    record("add", {accumulated, accumulated, part(step.grad, 0, 1)});
    if (flushes) device().flush();
    record("add", {step.weight, step.weight, accumulated});
    record("add", {step.weight, step.weight, step.one});
    if (flushes) device().flush();
    record("add", {more, step.weight, step.weight});
    EXPECT_THROW(values(more), Error);
    EXPECT_EQ(values(step.weight), (std::vector<float>{5, 6, 7, 8})) << "flushes: " << flushes;
    record("add", {step.weight, step.weight, step.one});
    EXPECT_EQ(values(step.weight), (std::vector<float>{6, 7, 8, 9}));
  }
}

TEST_F(RuntimeFailures, WhatHasNoOldContentsIsLost) {
  View src = make({4}, {1, 2, 3, 4}), picked = make({4}), fresh = make({4});
  gather(picked, src, indices({99, 0, 0, 0}));
  record("copy", {fresh, picked});
  EXPECT_THROW(values(fresh), Error);
}

/// The words of the first error that reading it raises.
std::string words(const View& v) {
  try {
    values(v);
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

TEST_F(RuntimeFailures, AFailureNamesTheValueAndItsBound) {
  View x = make({2, 3}, {1, 2, 3, 4, 5, 6});
  View row = make({1, 3}), column = make({2, 1}), one = make({1});
  View at = indices({7, 7, 7});
  at.sizes = {1, 3}, at.strides = {3, 1};
  calls::record(calls::Gather{.dst = row, .src = x, .index = at, .dim = 0});
  EXPECT_EQ(words(row), "[gather] index 7 is out of bounds for dimension 0 with size 2");
  View negative = indices({-1, 0});
  negative.sizes = {2, 1}, negative.strides = {1, 1};
  calls::record(calls::Gather{.dst = column, .src = x, .index = negative, .dim = 1});
  EXPECT_EQ(words(column), "[gather] index -1 is out of bounds for dimension 1 with size 3");
  calls::record(calls::Take{.dst = one, .src = x, .index = indices({-7})});
  EXPECT_EQ(words(one), "[take] index out of range: tried to access index -7 on a tensor of 6 elements");
  View picked = make({1});
  const View rows = indices({1}), columns = indices({3});
  const ViewArg both[] = {rows, columns};
  calls::record(calls::Index{.dst = picked, .src = x, .indices = both, .before = 0, .wraps = true});
  EXPECT_EQ(words(picked), "[index] index out of range: index 3 is out of bounds for dimension 1 with size 3");
}

std::string here(bool all) {
  return all ? "  outside\n  here" : "  here";
}

TEST_F(RuntimeFailures, AFailureTellsWhereItWasRecorded) {
  View x = make({4}, {1, 2, 3, 4}), y = make({1}), z = make({4});
  set_host_hooks({here, nullptr});
  record("add", {z, x, x});
  gather(y, x, indices({9}));
  EXPECT_NE(words(y).find("with size 4\nIt was recorded at\n  here"), std::string::npos) << words(y);
  EXPECT_EQ(device().explain(1).find("here"), std::string::npos) << "only what may fail asks, and explain() shows none";
  keep_stacks(true);
  record("mul", {z, x, x});
  EXPECT_EQ(values(z), (std::vector<float>{1, 4, 9, 16}));
  EXPECT_NE(device().explain(1).find("mul at\n"), std::string::npos) << device().explain(1);
  EXPECT_NE(device().explain(1).find("outside\n"), std::string::npos);
  keep_stacks(false);
  set_host_hooks({});
}

struct Stop {};

TEST_F(RuntimeFailures, AnInterruptEndsTheWaitAndDropsWhatIsQueued) {
  const int64_t n = 1 << 21;  // longer than a look at the host's signals takes, on the interpreter
  View x = make({n}, std::vector<float>(static_cast<size_t>(n), 1)), kept = make({1}, {3}), fresh = make({n});
  device().synchronize();
  set_host_hooks({nullptr, [] { throw Stop(); }});
  EXPECT_THROW(
      {
        for (int i = 0; i < 3; ++i) {
          record("add", {x, x, x});
          device().flush();
        }
        record("copy", {fresh, x});
        record("add", {kept, kept, kept});
        device().synchronize();
      },
      Stop);
  set_host_hooks({});
  EXPECT_NO_THROW(device().synchronize()) << "who interrupts knows of it";
  EXPECT_EQ(values(kept), (std::vector<float>{3})) << "it did not happen";
  EXPECT_NE(words(fresh).find("interrupted"), std::string::npos) << "nothing was ever there";
  const float first = values(x)[0];
  EXPECT_LT(first, 8) << "some of it was dropped";
  record("add", {x, x, x});
  EXPECT_EQ(values(x)[0], 2 * first) << "the device goes on";
}

TEST_F(RuntimeFailures, ReadersSeeTheirOwnMoment) {
  // Each reader's value is that of a moment between its call and its return; nothing is torn.
  View x = make({512}, std::vector<float>(512, 0));
  std::thread writer([&] {
    for (int i = 0; i < 200; ++i) {
      record("fill", {x}, {Scalar(static_cast<double>(i))});
      device().flush();
    }
  });
  std::vector<std::thread> readers;
  for (int r = 0; r < 3; ++r)
    readers.emplace_back([&] {
      for (int i = 0; i < 60; ++i) {
        const std::vector<float> v = values(x);
        EXPECT_EQ(std::count(v.begin(), v.end(), v[0]), 512);
      }
    });
  writer.join();
  for (std::thread& t : readers) t.join();
}

TEST_F(RuntimeFailures, LoopsThatNobodyReadsAreFoundAgain) {
  View x = make({3}, {0, 0, 0}), one = make({3}, {1, 1, 1});
  device().synchronize();
  const RunStats before = device().run_stats();
  for (int i = 0; i < 2000; ++i) record("add", {x, x, one});
  EXPECT_EQ(values(x), (std::vector<float>{2000, 2000, 2000}));
  EXPECT_LE(device().run_stats().plans_compiled - before.plans_compiled, 3);
}

}  // namespace
}  // namespace anygpu
