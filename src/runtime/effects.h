// Effects: what each call of a Plan reads and writes, in program order, whatever fusion has made of it. They tell what a failure reaches.
#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "backends/interface/backend.h"
#include "ir/named.h"

namespace anygpu {

/// Why some results are not there. Shared by all that it has spoiled.
struct Failure {
  Error error;
  /// It came before anything ran (no memory): what depends on it does not happen, and what was there before stays.
  bool withheld = false;
  std::atomic<bool> told{false};  ///< somebody has been given the error

  explicit Failure(const Error& e, bool withheld = false) : error(e), withheld(withheld) {}
};
using Poison = std::shared_ptr<Failure>;
/// Any exception as an Error.
Error error_of(const std::exception_ptr&);

/// An unfused step.
struct Effect {
  std::string name;                      ///< the operator that it came from
  int32_t call = -1;                     ///< of the Trace's calls, the one that it came from
  int32_t step = -1;                     ///< of the Plan's steps, the one that it became a part of; -1: it never runs
  bool checks = false;                   ///< holds a Check
  std::shared_ptr<const Error> refused;  ///< why it never runs
  std::vector<ir::Touch> touches;
};
Effect effect_of(const ir::Step&);

/// Carries poison through a run: what depends on a failure, or on a slot that is poisoned before, is poisoned; what a sound effect covers is
/// sound again. `whole`: bytes that must be covered for that, by slot; `poison`: by slot, before the run and after it. Returns the failures that
/// began here.
std::vector<Poison> spread(const std::vector<Effect>&, const std::vector<int64_t>& whole, const std::vector<StepFailure>&,
                           std::vector<Poison>& poison);

}  // namespace anygpu
