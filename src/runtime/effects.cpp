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
  if (const auto* g = std::get_if<ir::Generic>(&step)) {
    const auto& nodes = g->body.nodes();
    e.checks = std::any_of(nodes.begin(), nodes.end(), [](const ir::Node& n) { return n.op == ir::ExprOp::Check; });
  }
  return e;
}

namespace {

/// The failures of one run, by step.
class Failures {
 public:
  explicit Failures(const std::vector<StepFailure>& all) : all_(all), made_(all.size()) {}

  /// Why this effect failed by itself, or null.
  Poison of(const Effect& e) {
    if (e.refused) return std::make_shared<Failure>(*e.refused);
    for (size_t i = 0; i < all_.size(); ++i) {
      const StepFailure& f = all_[i];
      if (f.step != e.step || e.step < 0) continue;
      if (f.fault == ir::Fault::None) return shared(i);
      if (e.checks) return std::make_shared<Failure>(ir::fault_error(f.fault, e.name));  // named as the user knows it
    }
    return nullptr;
  }

 private:
  Poison shared(size_t i) {
    if (!made_[i]) made_[i] = std::make_shared<Failure>(all_[i].error);
    return made_[i];
  }
  const std::vector<StepFailure>& all_;
  std::vector<Poison> made_;
};

}  // namespace

std::vector<Poison> spread(const std::vector<Effect>& effects, const std::vector<int64_t>& whole, const std::vector<StepFailure>& failures,
                           std::vector<Poison>& poison) {
  Failures own(failures);
  std::vector<Poison> began;
  for (const Effect& e : effects) {
    Poison bad = own.of(e);
    if (bad) began.push_back(bad);
    for (const ir::Touch& t : e.touches)
      if (!bad && !t.write) bad = poison[static_cast<size_t>(t.slot)];
    for (const ir::Touch& t : e.touches) {
      if (!t.write) continue;
      Poison& p = poison[static_cast<size_t>(t.slot)];
      if (bad) {
        p = bad;
      } else if (t.covers && t.begin <= 0 && t.end >= whole[static_cast<size_t>(t.slot)]) {
        p = nullptr;
      }
    }
  }
  return began;
}

}  // namespace anygpu
