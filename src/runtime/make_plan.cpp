// The stages of planning, one after another.
#include <algorithm>
#include <iterator>

#include "runtime/plan.h"
#include "runtime/timeline.h"

namespace anygpu {

namespace {

void normalise_all(std::vector<ir::Step>& steps) {
  for (ir::Step& s : steps)
    if (auto* g = std::get_if<ir::Generic>(&s)) ir::normalise(*g);
}

/// Fuses, and keeps the effects' steps right.
void fuse_steps(Plan& plan, std::vector<ir::Step>& steps) {
  steps = fuse(std::move(steps), plan.effects, plan.slots, plan.cuts);
  const std::vector<int32_t> at = drop_dead(steps, plan.slots);
  for (Effect& e : plan.effects) e.step = at[static_cast<size_t>(e.step)];
  normalise_all(steps);
}

/// Steps that never run are effects only.
void take_out_refused(Plan& plan, std::vector<ir::Step>& steps) {
  std::vector<int32_t> at(steps.size(), -1);
  size_t n = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    if (std::holds_alternative<ir::Refused>(steps[i])) continue;
    at[i] = static_cast<int32_t>(n);
    if (n != i) steps[n] = std::move(steps[i]);
    ++n;
  }
  steps.erase(steps.begin() + static_cast<int64_t>(n), steps.end());
  for (Effect& e : plan.effects)
    if (e.step >= 0) e.step = at[static_cast<size_t>(e.step)];
}

/// Makes those steps Refused that the backend does not prepare even alone.
void refuse_unprepared(std::vector<ir::Step>& steps, Backend& backend) {
  for (ir::Step& s : steps) {
    if (std::holds_alternative<ir::Refused>(s)) continue;
    try {
      backend.prepare({&s, 1});
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::OutOfMemory) throw;
      std::string name;
      std::visit([&](const auto& x) { name = x.name; }, s);
      s = ir::Refused{name, e, ir::touches(s)};
    }
  }
}

/// Those of `numbers`, one a step, whose step was not dropped. kept: of each step, its new place, or -1.
std::vector<int32_t> of_kept(const std::vector<int32_t>& numbers, const std::vector<int32_t>& kept) {
  std::vector<int32_t> left;
  for (size_t i = 0; i < kept.size(); ++i)
    if (kept[i] >= 0) left.push_back(numbers[i]);
  return left;
}

std::shared_ptr<Plan> plan_of(const Trace& trace, Backend& backend, const PlanOptions& options, bool one_by_one) {
  auto plan = std::make_shared<Plan>();
  plan->calls = trace.calls();
  std::vector<int32_t> calls;
  std::vector<ir::Step> steps = lower_trace(trace, backend, plan->slots, calls);
  if (one_by_one) refuse_unprepared(steps, backend);
  if (options.keep_unfused)
    std::copy_if(steps.begin(), steps.end(), std::back_inserter(plan->unfused),
                 [](const ir::Step& s) { return !std::holds_alternative<ir::Refused>(s); });
  inline_uniform(steps);
  calls = of_kept(calls, drop_dead(steps, plan->slots));
  normalise_all(steps);
  for (const ir::Step& s : steps) {
    const auto at = static_cast<int32_t>(plan->effects.size());
    plan->effects.push_back(effect_of(s));
    plan->effects.back().step = at;
    plan->effects.back().call = calls[static_cast<size_t>(at)];
    plan->refuses |= plan->effects.back().refused != nullptr;
  }
  if (options.fuse && !one_by_one) fuse_steps(*plan, steps);
  if (plan->refuses) take_out_refused(*plan, steps);
  const bool in_order = std::any_of(steps.begin(), steps.end(), [](const ir::Step& s) {
    const auto* g = std::get_if<ir::Generic>(&s);
    return g && g->order.fixed();
  });
  if (options.fuse && !in_order) block_channels(steps, plan->slots, backend);  // which would sum over channels in blocks
  for (const ir::Step& s : steps)
    if (auto* g = std::get_if<ir::Generic>(&s)) ir::verify(*g);
  plan->steps = std::move(steps);
  for (const ir::Step& s : plan->steps) {
    plan->touches.push_back(ir::touches(s));
    plan->moved_bytes += bytes_of(s);
  }
  const std::vector<StepGroup> groups = backend.groups(plan->steps);
  plan->arena_bytes = plan_memory(plan->touches, groups, plan->slots);
  const Timeline::HostSpan span("compile", static_cast<int64_t>(plan->steps.size()), "steps");
  plan->program = backend.prepare(plan->steps, groups);
  return plan;
}

}  // namespace

std::shared_ptr<Plan> make_plan(const Trace& trace, Backend& backend, const PlanOptions& options) {
  try {
    return plan_of(trace, backend, options, false);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::OutOfMemory) throw;
  }
  // Something that fusion made, or a step as it was described, is more than the backend can do: each by itself, to tell which.
  return plan_of(trace, backend, options, true);
}

}  // namespace anygpu
