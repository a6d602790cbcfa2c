// The stages of planning, one after another.
#include "runtime/plan.h"
#include "runtime/timeline.h"

namespace anygpu {

std::shared_ptr<Plan> make_plan(const Trace& trace, Backend& backend, const PlanOptions& options) {
  auto plan = std::make_shared<Plan>();
  plan->calls = trace.calls();
  std::vector<ir::Step> steps = lower_trace(trace, backend, plan->slots);
  if (options.keep_unfused) plan->unfused = steps;
  inline_uniform(steps);
  drop_dead(steps, plan->slots);
  for (ir::Step& s : steps)
    if (auto* g = std::get_if<ir::Generic>(&s)) canonicalise(*g);
  if (options.fuse) {
    steps = fuse(std::move(steps), plan->slots, plan->cuts);
    drop_dead(steps, plan->slots);
    for (ir::Step& s : steps)
      if (auto* g = std::get_if<ir::Generic>(&s)) canonicalise(*g);
  }
  if (options.fuse) block_channels(steps, plan->slots, backend);
  for (const ir::Step& s : steps)
    if (auto* g = std::get_if<ir::Generic>(&s)) ir::verify(*g);
  plan->steps = std::move(steps);
  for (const ir::Step& s : plan->steps) plan->touches.push_back(ir::touches(s));
  plan->arena_bytes = plan_memory(plan->touches, backend.groups(plan->steps), plan->slots);
  const Timeline::HostSpan span("prepare " + std::to_string(plan->steps.size()) + " steps");
  plan->program = backend.prepare(plan->steps);
  return plan;
}

}  // namespace anygpu
