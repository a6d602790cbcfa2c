// Buffers in the host's hands: what waits for them, and what a failure there reaches.
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <thread>

#include "anygpu/loan.h"
#include "runtime.h"

namespace anygpu {
namespace {

/// Another thread that gives a Loan back after it has seen a value in `go`.
template <class F>
std::thread when(std::atomic<bool>& go, F f) {
  return std::thread([&go, f] {
    while (!go) std::this_thread::yield();
    f();
  });
}

TEST(RuntimeLoans, WhatIsRecordedLaterWaits) {
  const View a = make({3}, {1, 2, 3}), b = make({3}), c = make({3}, {5, 5, 5});
  record("add", {b, a, a});
  std::unique_ptr<Loan> loan = lend(*b.buffer.get(), true);
  record("add", {a, b, b});  // sees what the host writes
  record("add", {c, c, c});  // has nothing to do with it
  device().flush();
  std::atomic<bool> go{false};
  float seen[3];
  std::thread host = when(go, [&] {
    loan->wait(false);
    loan->read(0, seen, 12);
    const float mine[] = {10, 20, 30};
    if (char* p = loan->address())
      std::memcpy(p, mine, 12);
    else
      loan->write(0, mine, 12);
    loan.reset();
  });
  go = true;
  EXPECT_EQ(values(a), (std::vector<float>{20, 40, 60}));
  host.join();
  EXPECT_EQ(seen[2], 6);
  EXPECT_EQ(values(b), (std::vector<float>{10, 20, 30}));
  EXPECT_EQ(values(c), (std::vector<float>{10, 10, 10}));
}

TEST(RuntimeLoans, AReaderWaitsForWhoWrites) {
  const View a = make({2}, {1, 2});
  std::unique_ptr<Loan> loan = lend(*a.buffer.get(), true);
  std::atomic<bool> go{false};
  std::thread host = when(go, [&] {
    loan->wait(true);
    const float mine[] = {7, 8};
    loan->write(0, mine, 8);
    loan.reset();
  });
  go = true;
  EXPECT_EQ(values(a), (std::vector<float>{7, 8}));
  host.join();
}

TEST(RuntimeLoans, ABufferWithoutBytesIsFilled) {
  const View a = make({4}), b = make({4});
  std::unique_ptr<Loan> loan = lend(*a.buffer.get(), true);
  record("add", {b, a, a});
  loan->wait(true);
  const float mine[] = {1, 2, 3, 4};
  loan->write(0, mine, 16);
  loan.reset();
  EXPECT_EQ(values(b), (std::vector<float>{2, 4, 6, 8}));
}

TEST(RuntimeLoans, WhatWasNotWrittenIsNotRead) {
  const View a = make({2}, {1, 2}), b = make({2}), c = make({2}, {3, 4});
  std::unique_ptr<Loan> loan = lend(*a.buffer.get(), true);
  loan->wait(false);
  loan->spoil(Error(ErrorKind::Value, "[peers] gone"));
  loan.reset();
  record("add", {b, a, a});
  record("add", {c, c, c});
  EXPECT_EQ(values(c), (std::vector<float>{6, 8}));
  EXPECT_THROW(values(b), Error);
  EXPECT_THROW(values(a), Error);
  record("fill", {a}, {Scalar(1.0)});
  EXPECT_EQ(values(a), (std::vector<float>{1, 1}));
  std::unique_ptr<Loan> again = lend(*b.buffer.get(), true);
  EXPECT_THROW(again->wait(false), Error);
}

TEST(RuntimeLoans, SeveralOfOneBufferDoNotWaitForEachOther) {
  const View a = make({2}, {1, 2});
  std::unique_ptr<Loan> one = lend(*a.buffer.get(), true), two = lend(*a.buffer.get(), true);
  two->wait(false);
  one->wait(false);
  const float x = 5, y = 6;
  two->write(4, &y, 4);
  one->write(0, &x, 4);
  one.reset();
  two.reset();
  EXPECT_EQ(values(a), (std::vector<float>{5, 6}));
}

}  // namespace
}  // namespace anygpu
