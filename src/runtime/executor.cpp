#include "runtime/executor.h"

#include <cstring>

#include "runtime/timeline.h"

namespace anygpu {

Executor::Executor(Backend& backend, Pool& pool, bool verify) : backend_(backend), pool_(pool), verify_(verify) {
  thread_ = std::thread([this] { loop(); });
  thread_.detach();  // the Executor is leaked: it lives as long as the process
}

uint64_t Executor::submit(Run run) {
  std::lock_guard lock(mutex_);
  run.ticket = ++submitted_;
  if (run.marker) run.marker->ticket = run.ticket;
  queue_.push_back(std::move(run));
  work_.notify_one();
  return submitted_;
}

void Executor::wait(uint64_t ticket) {
  if (finished() >= ticket) return;
  std::unique_lock lock(mutex_);
  done_.wait(lock, [&] { return finished() >= ticket || retired_; });
  if (finished() < ticket) throw Error(ErrorKind::Value, "[device] the process is ending: what was recorded last did not run");
}

void Executor::retire() {
  std::unique_lock lock(mutex_);
  retired_ = true;
  done_.wait(lock, [&] { return !busy_; });
  done_.notify_all();
}

void Executor::wait_for_room(int runs) {
  uint64_t target;
  {
    std::lock_guard lock(mutex_);
    if (submitted_ <= static_cast<uint64_t>(runs)) return;
    target = submitted_ - static_cast<uint64_t>(runs);
  }
  wait(target);
}

std::optional<Error> Executor::take_error() {
  std::lock_guard lock(mutex_);
  std::optional<Error> e = std::move(error_);
  error_.reset();
  return e;
}

void Executor::loop() {
  for (;;) {
    Run run;
    {
      std::unique_lock lock(mutex_);
      busy_ = false;
      if (retired_) done_.notify_all();
      work_.wait(lock, [&] { return !queue_.empty() && !retired_; });
      busy_ = true;
      run = std::move(queue_.front());
      queue_.pop_front();
    }
    uint64_t ticket = run.ticket;
    if (run.marker) run.marker->at_us = now_us();
    if (run.plan) execute(run);
    run = {};  // lets Buffers go before anyone is told
    {
      std::lock_guard lock(mutex_);
      finished_.store(ticket, std::memory_order_release);
    }
    done_.notify_all();
  }
}

void Executor::execute(Run& run) {
  Plan& plan = *run.plan;
  std::vector<Memory> slots(plan.slots.size());
  std::vector<std::shared_ptr<const Error>> errors(plan.slots.size());
  for (size_t i = 0; i < plan.slots.size(); ++i)
    if (plan.slots[i].buffer >= 0) errors[i] = run.buffers[static_cast<size_t>(plan.slots[i].buffer)]->poison;
  Memory arena;
  try {
    if (plan.arena_bytes) arena = pool_.allocate(plan.arena_bytes, Use::Run);
    for (size_t i = 0; i < plan.slots.size(); ++i) {
      const Slot& s = plan.slots[i];
      if (!s.used) continue;
      if (s.arena_offset >= 0) {
        slots[i] = {arena.handle, arena.offset + s.arena_offset, s.bytes};
      } else {
        Buffer& b = *run.buffers[static_cast<size_t>(s.buffer)].get();
        if (!b.memory.handle) b.memory = pool_.allocate(b.bytes);
        slots[i] = b.memory;
      }
    }
    run_plan(run, slots, errors);
  } catch (const Error& e) {
    // Nothing ran, or nobody can tell what did: all that the Plan writes is lost.
    auto shared = std::make_shared<const Error>(e);
    for (const auto& touches : plan.touches)
      for (const ir::Touch& t : touches)
        if (t.write) errors[static_cast<size_t>(t.slot)] = shared;
    std::lock_guard lock(mutex_);
    if (!error_) error_ = e;
  } catch (const std::exception& e) {
    auto shared = std::make_shared<const Error>(ErrorKind::Internal, std::string("[executor] ") + e.what());
    for (const auto& touches : plan.touches)
      for (const ir::Touch& t : touches)
        if (t.write) errors[static_cast<size_t>(t.slot)] = shared;
  }
  pool_.release(arena);
  for (size_t i = 0; i < plan.slots.size(); ++i)
    if (plan.slots[i].buffer >= 0) run.buffers[static_cast<size_t>(plan.slots[i].buffer)]->poison = errors[i];
}

void Executor::run_plan(Run& run, std::vector<Memory>& slots, std::vector<std::shared_ptr<const Error>>& errors) {
  Plan& plan = *run.plan;
  bool poisoned = false;
  for (const auto& e : errors) poisoned |= e != nullptr;
  std::unique_ptr<Verification> verification;
  if (verify_ && !poisoned) verification = std::make_unique<Verification>(plan, slots, backend_, run.scalars);

  Timeline& timeline = Timeline::get();
  // Always timed: two readings of the clock a step are 50 ns, and a model's steps take microseconds to milliseconds.
  std::vector<StepFailure> failures = plan.program->run({slots, run.scalars}, &times_);
  plan.clock.add(times_);
  kernels_run_.fetch_add(plan.program->launches(), std::memory_order_relaxed);
  if (timeline.wants_times()) timeline.add(plan, times_);
  if (verification && failures.empty()) verification->compare(slots);
  if (poisoned || !failures.empty()) spread(plan, failures, errors);
  if (!failures.empty()) {
    std::lock_guard lock(mutex_);
    if (!error_) error_ = failures.front().error;
  }
}

/// What a failed or poisoned step writes is poisoned; a write over a whole slot by a sound step makes it sound again.
void Executor::spread(const Plan& plan, const std::vector<StepFailure>& failures, std::vector<std::shared_ptr<const Error>>& errors) {
  for (size_t step = 0; step < plan.steps.size(); ++step) {
    std::shared_ptr<const Error> bad;
    for (const StepFailure& f : failures)
      if (f.step == static_cast<int32_t>(step) && !bad) bad = std::make_shared<const Error>(f.error);
    for (const ir::Touch& t : plan.touches[step])
      if (!bad && !t.write) bad = errors[static_cast<size_t>(t.slot)];
    for (const ir::Touch& t : plan.touches[step]) {
      if (!t.write) continue;
      auto& e = errors[static_cast<size_t>(t.slot)];
      if (bad) {
        e = bad;
      } else if (t.begin == 0 && t.end >= plan.slots[static_cast<size_t>(t.slot)].bytes) {
        e = nullptr;
      }
    }
  }
}

}  // namespace anygpu
