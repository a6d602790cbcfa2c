// Several Plans under way at once: a device that computes when the test says so, and what must hold meanwhile.
#include <gtest/gtest.h>

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <string>
#include <thread>

#include "anygpu/calls/index.h"
#include "anygpu/calls/matmul.h"
#include "anygpu/calls/pointwise.h"
#include "anygpu/calls/reduce.h"
#include "backends/table/table.h"
#include "runtime/device_impl.h"

namespace anygpu {
namespace {

/// Takes runs at once. Computes them, in order, when reach() says so, or as soon as somebody waits for them after let_go().
class ByHand : public Backend {
 public:
  DeviceInfo describe() const override { return {"by hand", "by hand", "", int64_t{1} << 30}; }
  Memory allocate(int64_t bytes) override {
    std::lock_guard lock(mutex_);
    if (bytes > room_) {
      ++refused_;
      changed_.notify_all();
      throw Error(ErrorKind::OutOfMemory, "[allocate] no room by hand");
    }
    room_ -= bytes;
    return real_->allocate(bytes);
  }
  void release(Memory m) override {
    std::lock_guard lock(mutex_);
    watch(m, 0, m.bytes, "given back");
    room_ += m.bytes;
    real_->release(m);
  }
  void write(Memory dst, int64_t at, const void* src, int64_t bytes) override {
    std::lock_guard lock(mutex_);
    watch(dst, at, bytes, "written by the host");
    real_->write(dst, at, src, bytes);
  }
  void read(Memory src, int64_t at, void* dst, int64_t bytes) override {
    std::lock_guard lock(mutex_);
    watch(src, at, bytes, "read by the host");
    real_->read(src, at, dst, bytes);
  }
  bool supports(const ir::Named&) const override { return true; }
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps, std::span<const StepGroup> groups) override;
  int64_t kernels_compiled() const override { return 0; }

  // ---- for the test ----

  void wait_for_submitted(int runs) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return submitted_ >= runs; });
  }
  void wait_for_refusal() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return refused_ > 0; });
  }
  void reach() {
    std::lock_guard lock(mutex_);
    compute_first();
  }
  void let_go() {
    std::lock_guard lock(mutex_);
    held_ = false;
    changed_.notify_all();
  }
  void hold() {
    std::lock_guard lock(mutex_);
    held_ = true;
  }
  void lose() {
    std::lock_guard lock(mutex_);
    lost_ = true;
    changed_.notify_all();
  }
  void refuse_next_run() {
    std::lock_guard lock(mutex_);
    refuses_ = true;
  }
  void leave_room(int64_t bytes) {
    std::lock_guard lock(mutex_);
    room_ = bytes;
  }
  int under_way() {
    std::lock_guard lock(mutex_);
    return static_cast<int>(runs_.size());
  }
  int most_under_way() {
    std::lock_guard lock(mutex_);
    return most_;
  }
  /// What was touched while a run used it.
  std::string harm() {
    std::lock_guard lock(mutex_);
    return harm_;
  }

 private:
  struct Taken {
    Program& program;
    std::vector<Memory> slots;
    std::vector<Scalar> scalars;
    bool done = false;
    std::vector<StepFailure> failures;
    std::vector<StepTime> times;
  };
  class HandCompletion : public Completion {
   public:
    HandCompletion(ByHand& device, std::shared_ptr<Taken> run) : device_(device), run_(std::move(run)) {}
    bool reached() const override {
      std::lock_guard lock(device_.mutex_);
      return run_->done;
    }
    void wait() override {
      std::unique_lock lock(device_.mutex_);
      device_.changed_.wait(lock, [&] { return run_->done || !device_.held_ || device_.lost_; });
      while (!run_->done && !device_.lost_) device_.compute_first();
      if (!run_->done) {
        std::erase(device_.runs_, run_);
        throw Error(ErrorKind::Value, "[by hand] the device was lost");
      }
      failures = run_->failures;
      times = run_->times;
    }

   private:
    ByHand& device_;
    std::shared_ptr<Taken> run_;
  };
  class HandProgram : public Program {
   public:
    HandProgram(ByHand& device, std::unique_ptr<Program> real) : device_(device), real_(std::move(real)) {}
    std::unique_ptr<Completion> submit(const Bindings& b, bool) override {
      std::lock_guard lock(device_.mutex_);
      if (std::exchange(device_.refuses_, false)) throw Error(ErrorKind::Value, "[by hand] this run is refused");
      const std::shared_ptr<Taken> run(new Taken{*real_, {b.slots.begin(), b.slots.end()}, {b.scalars.begin(), b.scalars.end()}});
      device_.runs_.push_back(run);
      ++device_.submitted_;
      device_.most_ = std::max(device_.most_, static_cast<int>(device_.runs_.size()));
      device_.changed_.notify_all();
      return std::make_unique<HandCompletion>(device_, run);
    }
    int64_t launches() const override { return real_->launches(); }

   private:
    ByHand& device_;
    std::unique_ptr<Program> real_;
  };

  void compute_first() {
    if (runs_.empty()) return;
    Taken& run = *runs_.front();
    run.failures = run.program.run({run.slots, run.scalars}, &run.times);
    run.done = true;
    runs_.pop_front();
    changed_.notify_all();
  }
  void watch(const Memory& m, int64_t at, int64_t bytes, const char* what) {
    const int64_t begin = m.offset + at, end = begin + bytes;
    for (const auto& run : runs_)
      for (const Memory& s : run->slots)
        if (s.handle == m.handle && s.handle && s.offset < end && begin < s.offset + s.bytes)
          harm_ = std::string("memory of a run under way was ") + what;
  }

  std::unique_ptr<Backend> real_ = find_backend("reference")->make(0);
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Taken>> runs_;
  bool held_ = true, lost_ = false, refuses_ = false;
  int submitted_ = 0, refused_ = 0, most_ = 0;
  int64_t room_ = int64_t{1} << 30;
  std::string harm_;
};

std::unique_ptr<Program> ByHand::prepare(std::span<const ir::Step> steps, std::span<const StepGroup> groups) {
  return std::make_unique<HandProgram>(*this, real_->prepare(steps, groups));
}

class RuntimeAsync : public testing::Test {
 protected:
  RuntimeAsync() {
    auto made = std::make_unique<ByHand>();
    hand = made.get();
    impl = new DeviceImpl(0, std::move(made));  // leaked, as devices are
  }
  void TearDown() override {
    hand->let_go();
    impl->device.mark()->wait();
    EXPECT_EQ(hand->harm(), "");
  }

  View make(const Dims& sizes, const std::vector<float>& values = {}) {
    View v{impl->device.allocate(product(sizes) * 4), DType::F32, 0, sizes, contiguous_strides(sizes)};
    if (!values.empty()) impl->device.upload(*v.buffer.get(), 0, values.data(), v.buffer->bytes);
    return v;
  }
  View indices(const std::vector<int64_t>& at) {
    View v{impl->device.allocate(static_cast<int64_t>(at.size()) * 8), DType::I64, 0, {static_cast<int64_t>(at.size())}, {1}};
    impl->device.upload(*v.buffer.get(), 0, at.data(), v.buffer->bytes);
    return v;
  }
  std::vector<float> values(const View& v) {
    std::vector<float> out(static_cast<size_t>(v.buffer->bytes / 4));
    impl->device.download(*v.buffer.get(), 0, out.data(), v.buffer->bytes);
    return out;
  }
  /// Recorded and flushed: a Plan of its own.
  void run(const char* name, std::initializer_list<View> views, std::initializer_list<Scalar> scalars = {}) {
    record(name, views, scalars);
    impl->device.flush();
  }
  /// A pointwise operator of one output, which comes first.
  void record(const char* name, std::initializer_list<View> views, std::initializer_list<Scalar> scalars = {}) {
    calls::Pointwise call(op(name), DType::F32);
    for (const View& v : views) &v == views.begin() ? call.out(v) : call.in(v);
    for (const Scalar& s : scalars) call.scalar(s);
    calls::record(call);
  }
  void multiply(const View& dst, const View& lhs, const View& rhs) { calls::record(calls::Matmul{.dst = dst, .lhs = lhs, .rhs = rhs}); }
  void run_gather(const View& dst, const View& src, const View& index) {
    calls::record(calls::Gather{.dst = dst, .src = src, .index = index, .dim = 0});
    impl->device.flush();
  }
  std::string error_of(const View& v) {
    try {
      values(v);
      return "";
    } catch (const Error& e) {
      return e.what();
    }
  }

  ByHand* hand;
  DeviceImpl* impl;
};

TEST_F(RuntimeAsync, TheNextPlanIsSubmittedWhileOneRuns) {
  View x = make({3}, {1, 2, 3}), y = make({3}), z = make({3});
  run("add", {y, x, x});
  hand->wait_for_submitted(1);
  run("mul", {z, y, x});  // of what is not there yet
  hand->wait_for_submitted(2);
  EXPECT_EQ(hand->under_way(), 2);
  hand->let_go();
  EXPECT_EQ(values(z), (std::vector<float>{2, 8, 18}));
  EXPECT_EQ(values(y), (std::vector<float>{2, 4, 6}));
}

TEST_F(RuntimeAsync, FewAreUnderWay) {
  View x = make({3}, {0, 0, 0}), one = make({3}, {1, 1, 1});
  std::thread user([&] {
    for (int i = 0; i < 20; ++i) run("add", {x, x, one});
  });
  hand->wait_for_submitted(3);
  hand->reach();
  hand->wait_for_submitted(4);
  hand->let_go();
  user.join();
  EXPECT_EQ(values(x), (std::vector<float>{20, 20, 20}));
  EXPECT_EQ(hand->most_under_way(), 3);
}

TEST_F(RuntimeAsync, PoisonFollowsWhatIsUnderWay) {
  View x = make({4}, {1, 2, 3, 4}), bad = make({4}), dependent = make({4}), sound = make({4}), healed = make({4});
  run_gather(bad, x, indices({0, 1, 99, 3}));
  run("add", {dependent, bad, x});
  run("add", {sound, x, x});
  hand->wait_for_submitted(3);
  hand->let_go();
  EXPECT_EQ(error_of(dependent).find("[gather]"), 0u) << error_of(dependent);
  EXPECT_EQ(values(sound), (std::vector<float>{2, 4, 6, 8}));

  hand->hold();
  run_gather(healed, x, indices({0, 1, 99, 3}));
  run("add", {dependent, healed, x});
  run("copy", {healed, x});  // submitted before anything is known of the first
  hand->wait_for_submitted(6);
  hand->let_go();
  EXPECT_EQ(values(healed), values(x));
  EXPECT_NE(error_of(dependent), "");
  EXPECT_NE(error_of(bad), "");
}

TEST_F(RuntimeAsync, MemoryOfRunsUnderWayIsTheirs) {
  const int64_t n = 64;
  View a = make({n, n}, std::vector<float>(n * n, 1)), out = make({n, n}), next = make({n, n});
  {
    View b = make({n, n}, std::vector<float>(n * n, 2)), t = make({n, n}), u = make({n, n});
    multiply(t, a, b);  // t and u are temporaries, b is let go while it is needed
    multiply(out, t, b);
    multiply(u, b, a);
    multiply(next, u, b);
  }
  impl->device.flush();
  hand->wait_for_submitted(1);
  std::vector<View> others;
  for (int i = 0; i < 8; ++i) others.push_back(make({n, n}, std::vector<float>(n * n, static_cast<float>(i))));
  run("add", {next, out, others[3]});
  hand->wait_for_submitted(2);
  EXPECT_EQ(hand->harm(), "");
  hand->let_go();
  EXPECT_EQ(values(out)[5], 128.f * 128);
  EXPECT_EQ(values(next)[7], 128.f * 128 + 3);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(values(others[static_cast<size_t>(i)])[9], static_cast<float>(i));
}

TEST_F(RuntimeAsync, PlansUnderWayShareTemporaries) {
  const int64_t n = 64;
  View a = make({n, n}, std::vector<float>(n * n, 1)), out = make({n, n});
  auto step = [&] {
    {
      View t = make({n, n});
      multiply(t, a, a);
      multiply(out, t, a);
    }
    impl->device.flush();
  };
  step();
  hand->wait_for_submitted(1);
  const int64_t before = impl->memory_stats().reserved;
  step();
  step();
  hand->wait_for_submitted(3);
  EXPECT_EQ(impl->memory_stats().reserved, before);
  hand->let_go();
  EXPECT_EQ(values(out)[0], static_cast<float>(n * n));
}

TEST_F(RuntimeAsync, ARefusedRunLosesItsOwn) {
  View x = make({3}, {1, 2, 3}), first = make({3}), lost = make({3}), after = make({3}), dependent = make({3});
  run("add", {first, x, x});
  hand->wait_for_submitted(1);
  hand->refuse_next_run();
  run("mul", {lost, x, x});
  run("add", {after, first, x});
  run("add", {dependent, lost, x});
  hand->wait_for_submitted(2);
  hand->let_go();
  EXPECT_EQ(values(after), (std::vector<float>{3, 6, 9}));
  EXPECT_EQ(error_of(lost), "[by hand] this run is refused");
  EXPECT_EQ(error_of(dependent), "[by hand] this run is refused");
  EXPECT_EQ(values(first), (std::vector<float>{2, 4, 6}));
}

TEST_F(RuntimeAsync, WithoutMemoryWhatIsUnderWayIsWaitedFor) {
  const int64_t n = 4096;
  View out = make({n}), other = make({n}), one = make({1}, {1});
  run("fill", {other}, {Scalar(5.0)});
  {
    View big = make({n});
    run("fill", {big}, {Scalar(1.0)});
    hand->wait_for_submitted(2);
  }  // only the run under way needs it now
  hand->leave_room(0);
  run("add", {out, other, other});
  hand->wait_for_refusal();
  EXPECT_EQ(hand->under_way(), 2);
  hand->let_go();
  EXPECT_EQ(values(out), std::vector<float>(n, 10));
}

TEST_F(RuntimeAsync, AStepWithoutMemoryDoesNotHappen) {
  const int64_t n = 512;
  View weight = make({1}, {5}), loss = make({1}), m = make({n, n}, std::vector<float>(n * n, 1)), count = make({1}, {1});
  run("add", {count, count, count});
  hand->wait_for_submitted(1);
  hand->leave_room(64 << 10);
  {
    View t = make({n, n}), s = make({n, 1});
    multiply(t, m, m);  // its temporary finds no room
    calls::record(calls::Reduce{.kind = calls::Reduction::Sum, .dst = s, .src = t, .compute = DType::F32, .mask = 2});
    View corner = s;
    corner.sizes = {1};
    corner.strides = {1};
    record("copy", {loss, corner});
  }
  std::thread user([&] {
    impl->device.flush();
    run("add", {weight, weight, loss});
    run("add", {count, count, count});
  });
  hand->wait_for_refusal();
  hand->let_go();
  user.join();
  impl->device.mark()->wait();
  EXPECT_THROW(values(weight), Error) << "the next reader is told";
  EXPECT_EQ(values(weight), (std::vector<float>{5}));
  EXPECT_EQ(values(count), (std::vector<float>{4}));
}

TEST_F(RuntimeAsync, ALostDeviceHangsNobody) {
  View x = make({3}, {1, 2, 3}), y = make({3}), z = make({3});
  run("add", {y, x, x});
  run("add", {z, y, x});
  hand->wait_for_submitted(2);
  hand->lose();
  EXPECT_EQ(error_of(y), "[by hand] the device was lost");
  EXPECT_EQ(error_of(z), "[by hand] the device was lost");
}

TEST_F(RuntimeAsync, MarkersComeInOrder) {
  View x = make({3}, {1, 2, 3}), y = make({3});
  run("add", {y, x, x});
  const std::shared_ptr<Marker> first = impl->device.mark();
  run("add", {y, y, x});
  const std::shared_ptr<Marker> second = impl->device.mark();
  hand->wait_for_submitted(2);
  EXPECT_FALSE(first->done());
  hand->reach();
  first->wait();
  EXPECT_FALSE(second->done());
  hand->reach();
  EXPECT_LE(first->reached_at_us(), second->reached_at_us());
}

TEST_F(RuntimeAsync, ReadersSeeTheirOwnMomentWhileMoreIsUnderWay) {
  View x = make({256}, std::vector<float>(256, 0)), y = make({256});
  hand->let_go();
  std::thread writer([&] {
    for (int i = 0; i < 150; ++i) {
      run("fill", {x}, {Scalar(static_cast<double>(i))});
      run("add", {y, x, x});
    }
  });
  std::vector<std::thread> readers;
  for (int r = 0; r < 2; ++r)
    readers.emplace_back([&, r] {
      for (int i = 0; i < 60; ++i) {
        const std::vector<float> v = values(r ? x : y);
        EXPECT_EQ(std::count(v.begin(), v.end(), v[0]), 256);
      }
    });
  writer.join();
  for (std::thread& t : readers) t.join();
  EXPECT_EQ(values(y)[0], 298);
}

}  // namespace
}  // namespace anygpu
