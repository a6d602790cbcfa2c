#include "runtime/flight.h"

#include <algorithm>
#include <utility>

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
    if (slots[i].buffer >= 0) poison[i] = still_matters(run.buffers[static_cast<size_t>(slots[i].buffer)]->poison);
  return poison;
}

bool any(const std::vector<Poison>& poison) {
  return std::any_of(poison.begin(), poison.end(), [](const Poison& p) { return p != nullptr; });
}

Course course_of(const Run& run, std::vector<Poison> poison) {
  Course course{run.plan->effects, whole_slots(run), {}, std::move(poison), {}, nullptr, {}};
  for (const Slot& s : run.plan->slots) course.has_bytes.push_back(s.has_bytes);
  return course;
}

/// Who reads what was to be computed hears of it; nobody else needs to.
Poison interruption() {
  auto why = std::make_shared<Failure>(Error(ErrorKind::Value, "[device] interrupted before this was computed"), true);
  why->told = true;
  return why;
}

/// Adds where the call was recorded, if that is known.
void add_origin(Failure& failure, const Run& run) {
  if (!run.origins || failure.call < 0) return;
  const auto o = std::lower_bound(run.origins->begin(), run.origins->end(), failure.call,
                                  [](const Origin& origin, int32_t call) { return origin.call < call; });
  if (o == run.origins->end() || o->call != failure.call) return;
  failure.error = Error(failure.error.kind(), std::string(failure.error.what()) + "\nIt was recorded at\n" + o->where);
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
  Course course = course_of(run, before);
  spread(course, {});
  std::vector<bool> spoiled(slots.size(), false);
  for (size_t e = 0; e < course.effects.size(); ++e)
    for (const ir::Touch& t : course.effects[e].touches)
      if (course.bad[e] && t.write) spoiled[static_cast<size_t>(t.slot)] = true;
  for (size_t i = 0; i < slots.size(); ++i) {
    if (!course.poison[i] || !spoiled[i] || (before[i] && !keeps(before[i])) || !plan.slots[i].has_bytes || !slots[i].handle) continue;
    kept_.push_back({i, slots[i], std::vector<std::byte>(static_cast<size_t>(plan.slots[i].bytes))});
    backend_.read(slots[i], 0, kept_.back().bytes.data(), plan.slots[i].bytes);
  }
}

void Withheld::put_back(std::vector<Poison>& poison) const {
  for (const Kept& k : kept_) {
    backend_.write(k.memory, 0, k.bytes.data(), static_cast<int64_t>(k.bytes.size()));
    poison[k.slot] = kept_by(poison[k.slot]);
  }
}

bool StepGate::leaves_out(int32_t first, int32_t steps, std::span<const StepFailure> so_far) {
  const bool stop = executor_.stopped(run_.ticket);
  if (!stop && so_far.empty() && !run_.plan->refuses) return false;
  left_out_.resize(run_.plan->steps.size());
  if (!stop && (to_leave_.empty() || so_far.size() != failures_)) {
    failures_ = so_far.size();
    Course course = course_of(run_, poison_of(run_));
    course.left_out = left_out_;
    to_leave_ = dependents(std::move(course), {so_far.begin(), so_far.end()}, first);
  }
  for (int32_t i = first; !stop && i < first + steps; ++i)
    if (!to_leave_[static_cast<size_t>(i)]) return false;
  std::fill_n(left_out_.begin() + first, steps, true);
  return true;
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
  if (stopped(run.ticket)) {
    f.failed = interruption();
    wait_for_flights(0);  // so that it is known before the next run starts
    return;
  }
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
    if (verify_ || meets_poison(run)) surround(f);
    f.gate = std::make_unique<StepGate>(*this, run);
    f.completion = plan.program->submit({f.slots, run.scalars, f.gate.get()}, true);
    kernels_run_.fetch_add(plan.program->launches(), std::memory_order_relaxed);
  } catch (...) {
    f.failed = std::make_shared<Failure>(error_of(std::current_exception()), !bound);
  }
  if (f.failed && f.failed->withheld) wait_for_flights(0);  // so that it is known before the next run starts
}

/// Whether what an earlier failure would do to old contents is to be undone. Always where that was withheld before; of other failures where
/// no run is under way, which would have to be waited for.
bool Executor::meets_poison(const Run& run) {
  bool alone;
  {
    std::lock_guard lock(mutex_);
    alone = flights_.empty();
  }
  std::lock_guard lock(poison_mutex_);
  return std::any_of(run.buffers.begin(), run.buffers.end(),
                     [&](const BufferPin& b) { return still_matters(b->poison) && (alone || b->poison->withheld); });
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
  std::vector<Poison> poison = poison_of(run);  // of which some may have been told since: then it no longer matters
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
  const std::vector<bool>& left_out = f.gate->left_out();
  if (f.verification && done.failures.empty() && left_out.empty()) f.verification->compare(f.slots);
  if (any(poison) || plan.refuses || !done.failures.empty() || !left_out.empty()) {
    Course course = course_of(f.run, std::move(poison));
    course.left_out = left_out;
    if (!left_out.empty()) course.stopped = interruption();
    const std::vector<Poison> began = spread(course, done.failures);
    poison = std::move(course.poison);
    for (const Poison& p : began) add_origin(*p, f.run);
    if (f.withheld) f.withheld->put_back(poison);
    for (const Poison& p : poison)
      if (keeps(p) && !p->of->told) p->of->withheld = true, report(p->of);
    for (const Poison& p : began) report(p);
  }
}

}  // namespace anygpu
