// The Executor: one thread a Device that runs Plans in the order in which they were flushed.
#pragma once

#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "runtime/plan.h"
#include "runtime/pool.h"

namespace anygpu {

/// A Plan with what it runs on this time; or, without a Plan, a Marker.
struct Run {
  std::shared_ptr<Plan> plan;
  std::vector<BufferPin> buffers;
  std::vector<Scalar> scalars;
  std::shared_ptr<class QueueMarker> marker;
  uint64_t ticket = 0;
};

class Executor {
 public:
  Executor(Backend& backend, Pool& pool, bool verify);

  /// Queues a run. Tickets count from 1.
  uint64_t submit(Run);
  /// Blocks until the run with this ticket has finished.
  void wait(uint64_t ticket);
  /// Blocks while more than `runs` are unfinished: a loop without reads must not run ahead for ever.
  void wait_for_room(int runs);
  /// Runs nothing more, and returns when the run at hand is over: static objects that kernels and LLVM use are about to be destroyed.
  /// To wait for what was queued behind it is an error from now on.
  void retire();
  uint64_t finished() const { return finished_.load(std::memory_order_acquire); }
  /// The first error since the last call that no reader has been given.
  std::optional<Error> take_error();
  int64_t kernels_run() const { return kernels_run_.load(); }

 private:
  void loop();
  void execute(Run&);
  void run_plan(Run&, std::vector<Memory>& slots, std::vector<std::shared_ptr<const Error>>& slot_errors);
  void spread(const Plan&, const std::vector<StepFailure>&, std::vector<std::shared_ptr<const Error>>& slot_errors);

  Backend& backend_;
  Pool& pool_;
  const bool verify_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<Run> queue_;
  bool busy_ = false, retired_ = false;
  uint64_t submitted_ = 0;
  std::atomic<uint64_t> finished_{0};
  std::atomic<int64_t> kernels_run_{0};
  std::optional<Error> error_;
  std::vector<StepTime> times_;  // of the run just done
  std::thread thread_;
};

/// Reached when all that was queued before it has run.
class QueueMarker : public Marker {
 public:
  explicit QueueMarker(Executor& e) : executor_(e) {}
  bool done() const override { return executor_.finished() >= ticket; }
  void wait() const override { executor_.wait(ticket); }
  double reached_at_us() const override {
    wait();
    return at_us;
  }
  uint64_t ticket = 0;
  double at_us = 0;

 private:
  Executor& executor_;
};

/// Runs the Plan's unfused steps on the reference backend over copies of its slots, and says where the results differ.
class Verification {
 public:
  Verification(Plan& plan, const std::vector<Memory>& slots, Backend& backend, std::span<const Scalar> scalars);
  ~Verification();
  /// Throws Error(Internal) where a slot that lives on differs.
  void compare(const std::vector<Memory>& slots);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anygpu
