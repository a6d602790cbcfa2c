// The Executor: starts Plans in the order in which they were flushed, and finishes them in that order. A backend that takes a run and
// completes it later has several under way at once.
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
  Poison lost;                 ///< without a Plan: why `buffers` will never be written
  std::vector<Scalar> scalars;
  std::vector<profile::Caller> callers;  ///< of the Plan's calls, where a profiler is on
  std::shared_ptr<const std::vector<Origin>> origins;  ///< of its calls, where they are kept
  std::shared_ptr<class QueueMarker> marker;
  uint64_t ticket = 0;
};

class Withheld;
class Verification;
class StepGate;

/// A run that has been started, with what it needs until it is finished.
struct Flight {
  explicit Flight(Run);
  ~Flight();

  Run run;
  std::unique_ptr<Withheld> withheld;
  std::unique_ptr<Verification> verification;
  std::unique_ptr<StepGate> gate;
  std::vector<Memory> slots;
  std::unique_ptr<Completion> completion;  ///< null where no Plan was submitted
  Poison failed;                           ///< why not
};

class Executor {
 public:
  Executor(Backend& backend, Pool& pool, bool verify);

  /// Queues a run. Tickets count from 1. `awaited`: wait() follows at once.
  uint64_t submit(Run, bool awaited = false);
  /// Blocks until the run with this ticket has finished. Small runs are started by the thread that waits, where no other does. The host may
  /// interrupt it (HostHooks): then all that was submitted is stopped, and what it threw is thrown.
  void wait(uint64_t ticket);
  /// Nothing of what was submitted so far is started any more; what depends on that does not happen.
  void stop();
  /// Whether a run is to start no more steps.
  bool stopped(uint64_t ticket) const { return ticket <= stopped_until_.load(std::memory_order_relaxed); }
  /// Blocks while more than `runs` are unfinished: a loop without reads must not run ahead for ever.
  void wait_for_room(int runs);
  /// Stops, and returns when all that has been started is over: static objects that kernels and LLVM use are about to be
  /// destroyed. To wait for what was queued behind it is an error from now on.
  void retire();
  uint64_t finished() const { return finished_.load(std::memory_order_acquire); }
  /// Throws the first failure that nobody has been told of; of those that left old contents in place (Failure::withheld) only, if asked so.
  void throw_untold(bool withheld_only);
  int64_t kernels_run() const { return kernels_run_.load(); }

  struct Reader {
    const Buffer* buffer;
    uint64_t ticket;
    bool writes;
  };
  /// While one is held, runs after `ticket` that touch the Buffer wait: its memory, poison and bytes are the reader's. Made under the
  /// recording lock; the reader then waits for the ticket. `writes`: others who read it wait too, wait_for_writers() being how.
  class Reading {
   public:
    Reading(Executor&, const Buffer&, uint64_t ticket, bool writes = false);
    ~Reading();
    Reading(const Reading&) = delete;

   private:
    Executor& executor_;
    std::list<Reader>::iterator at_;
  };
  /// Blocks while a Reading that writes is held of this Buffer.
  void wait_for_writers(const Buffer&);

 private:
  void start_loop();
  void finish_loop();
  /// Takes the first of the queue and starts it.
  void start_next(std::unique_lock<std::mutex>&);
  /// Returns false where the process is ending: then the run must not start.
  bool wait_for_readers(const Run&);
  /// Blocks until no more than so many runs are under way. Returns whether there were more.
  bool wait_for_flights(size_t most);

  // flight.cpp: the way of one run.
  void launch(Flight&);
  bool meets_poison(const Run&);
  /// Waits for what is under way, and puts by what is compared or restored when the run is over.
  void surround(Flight&);
  void bind(const Run&, Memory& arena, std::vector<Memory>& slots);
  void finish(Flight&);
  void finish_plan(Flight&, std::vector<Poison>& poison);
  void lose_all(const Plan&, const Poison&, std::vector<Poison>& poison);
  void report(const Poison&);

  Backend& backend_;
  Pool& pool_;
  const bool verify_;
  std::mutex readers_mutex_;
  std::condition_variable reader_left_;
  std::list<Reader> readers_;
  std::mutex poison_mutex_;  // of Buffers that runs under way touch
  std::mutex mutex_;
  std::condition_variable work_, flown_, done_;
  std::deque<Run> queue_;
  bool starting_ = false;
  std::atomic<bool> retired_{false};
  std::atomic<uint64_t> stopped_until_{0};
  std::deque<std::unique_ptr<Flight>> flights_;  // under way, in order; the first is being finished
  uint64_t submitted_ = 0;
  std::atomic<uint64_t> finished_{0};
  std::atomic<int64_t> kernels_run_{0};
  std::vector<Poison> untold_;  // at most one of each kind, withheld or not
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

}  // namespace anygpu
