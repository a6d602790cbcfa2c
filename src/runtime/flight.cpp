#include "runtime/flight.h"

#include <algorithm>

#include "runtime/timeline.h"

namespace anygpu {

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

/// By slot.
std::vector<Poison> poison_of(const Run& run) {
  const std::vector<Slot>& slots = run.plan->slots;
  std::vector<Poison> poison(slots.size());
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].buffer >= 0) poison[i] = run.buffers[static_cast<size_t>(slots[i].buffer)]->poison;
  return poison;
}

bool any(const std::vector<Poison>& poison) {
  return std::any_of(poison.begin(), poison.end(), [](const Poison& p) { return p != nullptr; });
}

/// A run's temporaries. Runs come one after another on the device, so the next may have them as soon as this one is submitted.
class Arena {
 public:
  Arena(Pool& pool, uint64_t ticket) : pool_(pool), ticket_(ticket) {}
  ~Arena() { pool_.release(memory, ticket_); }
  Arena(const Arena&) = delete;
  Memory memory;

 private:
  Pool& pool_;
  const uint64_t ticket_;
};

}  // namespace

Flight::Flight(Run r) : run(std::move(r)) {}
Flight::~Flight() = default;

Withheld::Withheld(Backend& backend, const Run& run, const std::vector<Memory>& slots, const std::vector<Poison>& before)
    : backend_(backend) {
  const Plan& plan = *run.plan;
  std::vector<Poison> after = before;
  spread(plan.effects, whole_slots(run), {}, after);
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!after[i] || !after[i]->withheld || before[i] || !plan.slots[i].has_bytes || !slots[i].handle) continue;
    kept_.push_back({i, slots[i], std::vector<std::byte>(static_cast<size_t>(plan.slots[i].bytes))});
    backend_.read(slots[i], 0, kept_.back().bytes.data(), plan.slots[i].bytes);
  }
}

void Withheld::put_back(std::vector<Poison>& poison) const {
  for (const Kept& k : kept_) {
    backend_.write(k.memory, 0, k.bytes.data(), static_cast<int64_t>(k.bytes.size()));
    poison[k.slot] = nullptr;
  }
}

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
  if (plan.arena_bytes && !arena.handle) arena = pool_.allocate(plan.arena_bytes, Use::Run);
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

void Executor::launch(Flight& f) {
  const Run& run = f.run;
  Plan& plan = *run.plan;
  const Timeline::HostSpan span("submit", static_cast<int64_t>(plan.steps.size()), "steps", profile::Kind::Background);
  Arena arena(pool_, run.ticket);
  bool bound = false;
  f.slots.resize(plan.slots.size());
  try {
    try {
      bind(run, arena.memory, f.slots);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::OutOfMemory || !wait_for_flights(0)) throw;  // else what was under way has let go of some
      bind(run, arena.memory, f.slots);
    }
    bound = true;
    if (verify_ || meets_withheld(run)) surround(f);
    f.completion = plan.program->submit({f.slots, run.scalars}, true);
    kernels_run_.fetch_add(plan.program->launches(), std::memory_order_relaxed);
  } catch (...) {
    f.failed = std::make_shared<Failure>(error_of(std::current_exception()), !bound);
  }
  if (f.failed && f.failed->withheld) wait_for_flights(0);  // so that it is known before the next run starts
}

/// A run under way withholds nothing: each was started with all before it known.
bool Executor::meets_withheld(const Run& run) {
  std::lock_guard lock(poison_mutex_);
  return std::any_of(run.buffers.begin(), run.buffers.end(), [](const BufferPin& b) { return b->poison && b->poison->withheld; });
}

void Executor::surround(Flight& f) {
  wait_for_flights(0);
  Plan& plan = *f.run.plan;
  const std::vector<Poison> poison = poison_of(f.run);
  if (any(poison)) {
    f.withheld = std::make_unique<Withheld>(backend_, f.run, f.slots, poison);
  } else if (!plan.refuses) {
    f.verification = std::make_unique<Verification>(plan, f.slots, backend_, f.run.scalars);
  }
}

void Executor::finish(Flight& f) {
  const Run& run = f.run;
  if (run.marker) run.marker->at_us = now_us();
  if (run.lost) {
    std::lock_guard lock(poison_mutex_);
    for (const BufferPin& b : run.buffers) b->poison = run.lost;
  }
  if (run.lost) report(run.lost);
  if (!run.plan) return;
  std::vector<Poison> poison = poison_of(run);
  try {
    if (f.failed) {
      lose_all(*run.plan, f.failed, poison);
    } else {
      finish_plan(f, poison);
    }
  } catch (...) {
    lose_all(*run.plan, std::make_shared<Failure>(error_of(std::current_exception())), poison);
  }
  std::lock_guard lock(poison_mutex_);
  const std::vector<Slot>& slots = run.plan->slots;
  for (size_t i = 0; i < slots.size(); ++i)
    if (slots[i].buffer >= 0) run.buffers[static_cast<size_t>(slots[i].buffer)]->poison = std::move(poison[i]);
}

void Executor::finish_plan(Flight& f, std::vector<Poison>& poison) {
  Plan& plan = *f.run.plan;
  Completion& done = *f.completion;
  done.wait();
  plan.clock.add(done.times);
  if (Timeline& timeline = Timeline::get(); timeline.wants_times()) timeline.add(plan, done.times);
  if (Profiler::on()) Profiler::get().add(f.run.plan, done.times, std::move(f.run.callers), f.run.buffers.front()->device.index());
  if (f.verification && done.failures.empty()) f.verification->compare(f.slots);
  if (any(poison) || plan.refuses || !done.failures.empty())
    for (const Poison& p : spread(plan.effects, whole_slots(f.run), done.failures, poison)) report(p);
  if (f.withheld) f.withheld->put_back(poison);
}

}  // namespace anygpu
