// The Executor: one thread a Device that runs Plans in the order in which they were flushed.
#pragma once

#include <condition_variable>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/effects.h"
#include "runtime/plan.h"
#include "runtime/pool.h"

namespace anygpu {

/// A Plan with what it runs on this time; without a Plan, a Marker, or what could not be planned.
struct Run {
  std::shared_ptr<Plan> plan;
  std::vector<BufferPin> buffers;
  std::vector<int64_t> bases;  ///< where in its Buffer a slot begins, bytes
  Poison lost;  ///< without a Plan: why `buffers` will never be written
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
  /// Throws the first failure that nobody has been told of; of those that left old contents in place (Failure::withheld) only, if asked so.
  void throw_untold(bool withheld_only);
  int64_t kernels_run() const { return kernels_run_.load(); }

  /// While one is held, runs after `ticket` that touch the Buffer wait: its memory, poison and bytes are the reader's. Made under the
  /// recording lock; the reader then waits for the ticket.
  class Reading {
   public:
    Reading(Executor&, const Buffer&, uint64_t ticket);
    ~Reading();
    Reading(const Reading&) = delete;

   private:
    Executor& executor_;
    std::list<std::pair<const Buffer*, uint64_t>>::iterator at_;
  };

 private:
  void loop();
  void wait_for_readers(const Run&);
  void execute(Run&);
  void bind(const Run&, Memory& arena, std::vector<Memory>& slots);
  void run_plan(Run&, std::vector<Memory>& slots, std::vector<Poison>& poison);
  void lose_all(const Plan&, const Poison&, std::vector<Poison>& poison);
  void report(const Poison&);

  Backend& backend_;
  Pool& pool_;
  const bool verify_;
  std::mutex readers_mutex_;
  std::condition_variable reader_left_;
  std::list<std::pair<const Buffer*, uint64_t>> readers_;
  std::mutex mutex_;
  std::condition_variable work_, done_;
  std::deque<Run> queue_;
  bool busy_ = false, retired_ = false;
  uint64_t submitted_ = 0;
  std::atomic<uint64_t> finished_{0};
  std::atomic<int64_t> kernels_run_{0};
  std::vector<Poison> untold_;  // at most one of each kind, withheld or not
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
