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
  /// Something that depends on it did not happen, and what was there before stayed: nothing but the next reader, of whatever, can be told.
  std::atomic<bool> withheld{false};
  std::atomic<bool> told{false};  ///< somebody has been given the error
  int32_t call = -1;              ///< of the Trace, the one that failed; -1: unknown

  explicit Failure(const Error& e, bool withheld = false) : error(e), withheld(withheld) {}
};
using Poison = std::shared_ptr<Failure>;
/// Any exception as an Error.
Error error_of(const std::exception_ptr&);

/// A Check of an effect: its code, and the bound that it tells, or ir::FaultReport::kUnknown.
struct CheckSite {
  int64_t code, bound;
};

/// An unfused step.
struct Effect {
  std::string name;                      ///< the operator that it came from
  int32_t call = -1;                     ///< of the Trace's calls, the one that it came from
  int32_t step = -1;                     ///< of the Plan's steps, the one that it became a part of; -1: it never runs
  std::vector<CheckSite> checks;         ///< that it holds
  std::shared_ptr<const Error> refused;  ///< why it never runs
  std::vector<ir::Touch> touches;
};
Effect effect_of(const ir::Step&);

/// What a run's failures are carried through.
struct Course {
  const std::vector<Effect>& effects;
  std::vector<int64_t> whole;    ///< by slot: bytes that must be covered so that nothing else is left in it
  std::vector<bool> has_bytes;   ///< by slot: it holds something before the run
  std::vector<Poison> poison;    ///< by slot: before the run, and after spread()
  std::vector<bool> left_out;    ///< by step: it did not run. Empty: all did
  Poison stopped;                ///< why something is left out that depends on no failure

  // Filled by spread().
  std::vector<bool> bad;         ///< by effect: what it computes is not there
  std::vector<Poison> withheld;  ///< failures of which something that held bytes was spared
};

/// Carries poison through a run: what depends on a failure, or on a slot that is poisoned before, is poisoned; what a sound effect covers is
/// sound again. What is left out changes no slot that held something. Returns the failures that began here.
std::vector<Poison> spread(Course&, const std::vector<StepFailure>&);

/// Beside those that are left out already, which of the steps from `first` on compute nothing but what depends on failures: by step.
std::vector<bool> dependents(Course, const std::vector<StepFailure>&, int32_t first);

}  // namespace anygpu
