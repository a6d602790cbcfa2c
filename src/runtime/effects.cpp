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

Poison kept_by(const Poison& p) {
  if (!p || p->of) return p;
  auto kept = std::make_shared<Failure>(p->error, true);
  kept->of = p;
  return kept;
}
bool keeps(const Poison& p) {
  return p && p->of;
}
Poison still_matters(const Poison& p) {
  return keeps(p) && p->of->told ? nullptr : p;
}
void throw_if_matters(const Poison& p) {
  const Poison poison = still_matters(p);
  if (!poison) return;
  Failure& why = keeps(poison) ? *poison->of : *poison;
  why.told = true;
  throw Error(why.error);
}

std::vector<Poison> spread(Course& course, const std::vector<StepFailure>& failures) {
  Failures own(failures);
  std::vector<Poison> began;
  std::vector<bool> intact;  // by slot: it holds what it should but for what did not happen
  for (size_t i = 0; i < course.poison.size(); ++i) {
    Poison& p = course.poison[i];
    intact.push_back(course.has_bytes[i] && (!p || keeps(p)));
    if (keeps(p)) p = p->of;
  }
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
      if (bad) {
        p = bad;
        intact[slot] = intact[slot] && out;
      } else if (t.covers && t.begin <= 0 && t.end >= course.whole[slot]) {
        p = nullptr;
        intact[slot] = course.has_bytes[slot];
      }
    }
  }
  for (size_t i = 0; i < course.poison.size(); ++i)
    if (intact[i]) course.poison[i] = kept_by(course.poison[i]);
  return began;
}

std::vector<bool> dependents(Course course, const std::vector<StepFailure>& failures, int32_t first) {
  spread(course, failures);
  std::vector<bool> out(course.left_out.size(), false);
  for (const Effect& e : course.effects)
    if (e.step >= first) out[static_cast<size_t>(e.step)] = true;
  for (size_t i = 0; i < course.effects.size(); ++i)
    if (const int32_t s = course.effects[i].step; s >= 0 && !course.bad[i]) out[static_cast<size_t>(s)] = false;
  for (size_t i = 0; i < out.size(); ++i) out[i] = out[i] || course.left_out[i];
  return out;
}

}  // namespace anygpu
