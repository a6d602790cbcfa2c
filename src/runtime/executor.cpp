#include "runtime/executor.h"

#include <algorithm>
#include <optional>

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

void Executor::report(const Poison& failure) {
  std::lock_guard lock(mutex_);
  std::erase_if(untold_, [](const Poison& p) { return p->told.load(); });
  for (const Poison& p : untold_)
    if (p->withheld == failure->withheld) return;
  untold_.push_back(failure);
}

void Executor::throw_untold(bool withheld_only) {
  std::lock_guard lock(mutex_);
  for (const Poison& p : untold_)
    if ((p->withheld || !withheld_only) && !p->told.exchange(true)) throw Error(p->error);
}

Executor::Reading::Reading(Executor& e, const Buffer& b, uint64_t ticket) : executor_(e) {
  std::lock_guard lock(e.readers_mutex_);
  at_ = e.readers_.insert(e.readers_.end(), {&b, ticket});
}

Executor::Reading::~Reading() {
  std::lock_guard lock(executor_.readers_mutex_);
  executor_.readers_.erase(at_);
  executor_.reader_left_.notify_all();
}

/// Readers of what earlier runs made come first. They wait for runs before this one only, so they all end.
void Executor::wait_for_readers(const Run& run) {
  std::unique_lock lock(readers_mutex_);
  reader_left_.wait(lock, [&] {
    for (const auto& [buffer, ticket] : readers_)
      if (ticket < run.ticket)
        for (const BufferPin& mine : run.buffers)
          if (mine.get() == buffer) return false;
    return true;
  });
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
    wait_for_readers(run);
    if (run.plan) execute(run);
    if (run.lost) {
      for (BufferPin& b : run.buffers) b->poison = run.lost;
      report(run.lost);
    }
    run = {};  // lets Buffers go before anyone is told
    {
      std::lock_guard lock(mutex_);
      finished_.store(ticket, std::memory_order_release);
    }
    done_.notify_all();
  }
}

namespace {

/// By slot: bytes, counted from where the slot begins, that a write must cover so that nothing else is left in the Buffer.
std::vector<int64_t> whole_slots(const Run& run) {
  std::vector<int64_t> whole;
  for (const Slot& s : run.plan->slots) {
    const auto i = static_cast<size_t>(s.buffer);
    whole.push_back(s.buffer < 0 ? s.bytes : run.bases[i] > 0 ? INT64_MAX : run.buffers[i]->bytes);
  }
  return whole;
}

/// Contents of slots that a withheld failure would spoil, put by before the run and put back after it: what depends on such a failure does
/// not happen.
class Withheld {
 public:
  Withheld(Backend& backend, const Run& run, const std::vector<Memory>& slots, const std::vector<Poison>& before) : backend_(backend) {
    const Plan& plan = *run.plan;
    std::vector<Poison> after = before;
    spread(plan.effects, whole_slots(run), {}, after);
    for (size_t i = 0; i < slots.size(); ++i) {
      if (!after[i] || !after[i]->withheld || before[i] || !plan.slots[i].has_bytes || !slots[i].handle) continue;
      kept_.push_back({i, slots[i], std::vector<std::byte>(static_cast<size_t>(plan.slots[i].bytes))});
      backend_.read(slots[i], 0, kept_.back().bytes.data(), plan.slots[i].bytes);
    }
  }
  void put_back(std::vector<Poison>& poison) const {
    for (const Kept& k : kept_) {
      backend_.write(k.memory, 0, k.bytes.data(), static_cast<int64_t>(k.bytes.size()));
      poison[k.slot] = nullptr;
    }
  }

 private:
  struct Kept {
    size_t slot;
    Memory memory;
    std::vector<std::byte> bytes;
  };
  Backend& backend_;
  std::vector<Kept> kept_;
};

}  // namespace

/// All that the Plan writes is lost; if nothing ran, only what held nothing before.
void Executor::lose_all(const Plan& plan, const Poison& why, std::vector<Poison>& poison) {
  for (const Effect& e : plan.effects)
    for (const ir::Touch& t : e.touches) {
      const auto slot = static_cast<size_t>(t.slot);
      if (t.write && !(why->withheld && plan.slots[slot].has_bytes)) poison[slot] = why;
    }
  report(why);
}

void Executor::bind(const Run& run, Memory& arena, std::vector<Memory>& slots) {
  const Plan& plan = *run.plan;
  if (plan.arena_bytes) arena = pool_.allocate(plan.arena_bytes, Use::Run);
  for (size_t i = 0; i < plan.slots.size(); ++i) {
    const Slot& s = plan.slots[i];
    if (!s.used) continue;
    if (s.arena_offset >= 0) {
      slots[i] = {arena.handle, arena.offset + s.arena_offset, s.bytes};
    } else {
      Buffer& b = *run.buffers[static_cast<size_t>(s.buffer)].get();
      if (!b.memory.handle) b.memory = pool_.allocate(b.bytes);
      const int64_t base = run.bases[static_cast<size_t>(s.buffer)];
      slots[i] = {b.memory.handle, b.memory.offset + base, b.memory.bytes - base};
    }
  }
}

void Executor::execute(Run& run) {
  Plan& plan = *run.plan;
  std::vector<Memory> slots(plan.slots.size());
  std::vector<Poison> poison(plan.slots.size());
  for (size_t i = 0; i < plan.slots.size(); ++i)
    if (plan.slots[i].buffer >= 0) poison[i] = run.buffers[static_cast<size_t>(plan.slots[i].buffer)]->poison;
  Memory arena;
  bool bound = false;
  try {
    bind(run, arena, slots);
    bound = true;
    run_plan(run, slots, poison);
  } catch (...) {
    lose_all(plan, std::make_shared<Failure>(error_of(std::current_exception()), !bound), poison);
  }
  pool_.release(arena);
  for (size_t i = 0; i < plan.slots.size(); ++i)
    if (plan.slots[i].buffer >= 0) run.buffers[static_cast<size_t>(plan.slots[i].buffer)]->poison = poison[i];
}

void Executor::run_plan(Run& run, std::vector<Memory>& slots, std::vector<Poison>& poison) {
  Plan& plan = *run.plan;
  const bool poisoned = std::any_of(poison.begin(), poison.end(), [](const Poison& p) { return p != nullptr; });
  std::optional<Withheld> withheld;
  if (poisoned) withheld.emplace(backend_, run, slots, poison);
  std::unique_ptr<Verification> verification;
  if (verify_ && !poisoned && !plan.refuses) verification = std::make_unique<Verification>(plan, slots, backend_, run.scalars);

  Timeline& timeline = Timeline::get();
  // Always timed: two readings of the clock a step are 50 ns, and a model's steps take microseconds to milliseconds.
  std::vector<StepFailure> failures = plan.program->run({slots, run.scalars}, &times_);
  plan.clock.add(times_);
  kernels_run_.fetch_add(plan.program->launches(), std::memory_order_relaxed);
  if (timeline.wants_times()) timeline.add(plan, times_);
  if (verification && failures.empty()) verification->compare(slots);
  if (poisoned || plan.refuses || !failures.empty())
    for (const Poison& p : spread(plan.effects, whole_slots(run), failures, poison)) report(p);
  if (withheld) withheld->put_back(poison);
}

}  // namespace anygpu
