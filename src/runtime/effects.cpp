#include "runtime/effects.h"

#include <algorithm>

namespace anygpu {

Error error_of(const std::exception_ptr& thrown) {
  try {
    std::rethrow_exception(thrown);
  } catch (const Error& e) {
    return e;
  } catch (const std::bad_alloc&) {
    return Error(ErrorKind::OutOfMemory, "[device] out of memory on the host");
  } catch (const std::exception& e) {
    return Error(ErrorKind::Internal, std::string("[device] ") + e.what());
  }
}

Effect effect_of(const ir::Step& step) {
  Effect e;
  std::visit([&](const auto& s) { e.name = s.name; }, step);
  e.touches = ir::touches(step);
  if (const auto* r = std::get_if<ir::Refused>(&step)) e.refused = std::make_shared<const Error>(r->error);
  if (const auto* g = std::get_if<ir::Generic>(&step))
    for (const ir::Node& n : g->body.nodes())
      if (n.op == ir::ExprOp::Check) e.checks.push_back({n.imm.i, n.c >= 0 ? g->body[n.c].imm.i : ir::FaultReport::kUnknown});
  return e;
}

namespace {

/// The failures of one run, by step.
class Failures {
 public:
  explicit Failures(const std::vector<StepFailure>& all) : all_(all), made_(all.size()) {}

  /// Why this effect failed by itself, or null.
  Poison of(const Effect& e) {
    Poison p = find(e);
    if (p && p->call < 0) p->call = e.call;
    return p;
  }

 private:
  Poison find(const Effect& e) {
    if (e.refused) return std::make_shared<Failure>(*e.refused);
    for (size_t i = 0; i < all_.size(); ++i) {
      const StepFailure& f = all_[i];
      if (f.step != e.step || e.step < 0) continue;
      if (!f.report) return shared(i);
      if (!e.checks.empty()) return std::make_shared<Failure>(ir::fault_error(f.report, e.name, bound_of(e, f.report)));
    }
    return nullptr;
  }
  /// Of the Check that failed; unknown where two of that code have others.
  static int64_t bound_of(const Effect& e, const ir::FaultReport& report) {
    int64_t bound = ir::FaultReport::kUnknown;
    for (const CheckSite& c : e.checks) {
      if (c.code != report.code) continue;
      if (bound != ir::FaultReport::kUnknown && bound != c.bound) return ir::FaultReport::kUnknown;
      bound = c.bound;
    }
    return bound;
  }
  Poison shared(size_t i) {
    if (!made_[i]) made_[i] = std::make_shared<Failure>(all_[i].error);
    return made_[i];
  }
  const std::vector<StepFailure>& all_;
  std::vector<Poison> made_;
};

}  // namespace

std::vector<Poison> spread(Course& course, const std::vector<StepFailure>& failures) {
  Failures own(failures);
  std::vector<Poison> began;
  std::vector<bool> holds = course.has_bytes;  // by slot: something that may stay
  course.bad.assign(course.effects.size(), false);
  for (size_t i = 0; i < course.effects.size(); ++i) {
    const Effect& e = course.effects[i];
    const bool out = e.step >= 0 && !course.left_out.empty() && course.left_out[static_cast<size_t>(e.step)];
    Poison bad = own.of(e);
    if (bad && std::find(began.begin(), began.end(), bad) == began.end()) began.push_back(bad);
    for (const ir::Touch& t : e.touches)
      if (!bad && !t.write) bad = course.poison[static_cast<size_t>(t.slot)];
    if (out && !bad) bad = course.stopped;
    course.bad[i] = bad != nullptr;
    for (const ir::Touch& t : e.touches) {
      if (!t.write) continue;
      const auto slot = static_cast<size_t>(t.slot);
      Poison& p = course.poison[slot];
      if (bad && out && holds[slot]) {
        course.withheld.push_back(bad);
      } else if (bad) {
        p = bad;
      } else if (t.covers && t.begin <= 0 && t.end >= course.whole[slot]) {
        p = nullptr;
      }
      holds[slot] = holds[slot] || !bad;
    }
  }
  return began;
}

std::vector<bool> dependents(Course course, const std::vector<StepFailure>& failures, int32_t first) {
  const std::vector<Poison> before = course.poison;
  const size_t steps = course.left_out.size();
  const std::vector<bool> earlier = course.left_out;
  std::vector<bool> out(steps, false);
  for (const Effect& e : course.effects)
    if (e.step >= first) out[static_cast<size_t>(e.step)] = true;
  // What is left out spoils less than what runs: each round fewer steps depend on failures.
  for (;;) {
    course.poison = before;
    spread(course, failures);
    std::vector<bool> now = out;
    for (size_t i = 0; i < course.effects.size(); ++i)
      if (const int32_t s = course.effects[i].step; s >= first && !course.bad[i]) now[static_cast<size_t>(s)] = false;
    course.left_out = earlier;
    for (size_t i = 0; i < steps; ++i) course.left_out[i] = earlier[i] || now[i];
    if (now == out) return course.left_out;
    out = std::move(now);
  }
}

}  // namespace anygpu
