#include "runtime/profiler.h"

#include <unistd.h>

#include <algorithm>

#include "runtime/device_impl.h"
#include "runtime/timeline.h"

namespace anygpu {

using profile::Caller;
using profile::Event;

namespace {

/// Of a thread, and the profile in which it was said.
struct Said {
  Caller caller;
  uint64_t profile = 0;
};
thread_local Said said;
std::atomic<uint64_t> profiles{0};

/// What must be added to now_us(), in nanoseconds, to have the system's clock: as of the shortest of some looks at both.
int64_t epoch_minus_steady_ns() {
  double shortest = 1e30;
  int64_t difference = 0;
  for (int i = 0; i < 8; ++i) {
    const double before = now_us();
    const int64_t epoch = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
    const double after = now_us();
    if (after - before >= shortest) continue;
    shortest = after - before;
    difference = epoch - static_cast<int64_t>((before + after) / 2 * 1000);
  }
  return difference;
}

/// By step: the callers of the calls that became a part of it.
std::vector<std::vector<Caller>> callers_by_step(const Plan& plan, const std::vector<Caller>& of_call) {
  std::vector<std::vector<Caller>> all(plan.steps.size());
  for (const Effect& e : plan.effects) {
    const auto call = static_cast<size_t>(e.call);
    if (e.step < 0 || e.call < 0 || call >= of_call.size() || of_call[call] == Caller{}) continue;
    std::vector<Caller>& mine = all[static_cast<size_t>(e.step)];
    if (std::find(mine.begin(), mine.end(), of_call[call]) == mine.end()) mine.push_back(of_call[call]);
  }
  for (auto& mine : all) std::sort(mine.begin(), mine.end(), [](const Caller& a, const Caller& b) { return a.op < b.op; });
  return all;
}

Event event_of(const ir::Step& step) {
  Event e;
  e.bytes = bytes_of(step);
  if (const auto* g = std::get_if<ir::Generic>(&step)) {
    e.kind = profile::Kind::Kernel;
    e.name = g->name;
    e.shapes = "[" + list_of(g->sizes) + "]";
    return e;
  }
  const auto& n = std::get<ir::Named>(step);
  e.kind = profile::Kind::Library;
  e.name = ir::name_of(n.kind);
  if (n.name != e.name) e.name += " (" + n.name + ")";
  for (const ir::Operand& o : n.operands)
    if (o.slot >= 0) e.shapes += (e.shapes.empty() ? "[" : ", ") + list_of(o.sizes);
  e.shapes += e.shapes.empty() ? "[]" : "]";
  return e;
}

}  // namespace

std::atomic<bool> Profiler::on_{false};

Profiler& Profiler::get() {
  static auto* p = new Profiler;  // leaked: executors use it while the process exits
  return *p;
}

Caller Profiler::caller() {
  return said.profile == profiles.load(std::memory_order_relaxed) ? said.caller : Caller{};
}

void Profiler::start() {
  settle_devices();
  std::lock_guard lock(mutex_);
  ran_.clear();
  did_.clear();
  start_us_ = now_us();
  ++profiles;
  on_ = true;
}

void Profiler::add(std::shared_ptr<const Plan> plan, const std::vector<StepTime>& times, std::vector<Caller> callers, int device) {
  std::lock_guard lock(mutex_);
  ran_.push_back({std::move(plan), times, std::move(callers), device});
}

void Profiler::add(Event e, double begin_us, double end_us) {
  e.thread = gettid();
  e.callers = {caller()};
  std::lock_guard lock(mutex_);
  did_.push_back({std::move(e), begin_us, end_us});
}

std::vector<Event> Profiler::stop() {
  settle_devices();
  on_ = false;
  const int64_t epoch = epoch_minus_steady_ns();
  std::lock_guard lock(mutex_);
  std::vector<Event> events;
  auto add = [&](Event e, double begin_us, double end_us) {
    if (begin_us < start_us_) return;
    e.begin_ns = epoch + static_cast<int64_t>(begin_us * 1000);
    e.end_ns = std::max(e.begin_ns, epoch + static_cast<int64_t>(end_us * 1000));
    events.push_back(std::move(e));
  };
  for (const Ran& r : ran_) {
    std::vector<std::vector<Caller>> callers = callers_by_step(*r.plan, r.callers);
    for (size_t i = 0; i < r.times.size() && i < r.plan->steps.size(); ++i) {
      Event e = event_of(r.plan->steps[i]);
      e.device = r.device;
      e.callers = std::move(callers[i]);
      add(std::move(e), r.times[i].start_us, r.times[i].end_us);
    }
  }
  for (Did& d : did_) add(std::move(d.event), d.begin_us, d.end_us);
  ran_.clear();
  did_.clear();
  return events;
}

namespace profile {

void start() {
  Profiler::get().start();
}
std::vector<Event> stop() {
  return Profiler::get().stop();
}
void set_caller(Caller c) {
  said = {c, profiles.load(std::memory_order_relaxed)};
}

}  // namespace profile
}  // namespace anygpu
