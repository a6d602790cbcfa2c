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
  std::shared_ptr<Failure> of;    ///< not null: a stand-in for that one, on a Buffer that holds what it held before

  explicit Failure(const Error& e, bool withheld = false) : error(e), withheld(withheld) {}
};

/// On a Buffer: what it should hold is lost; or it still holds what it held before, since what a failure would have written did not happen.
/// That is as good as lost until somebody has been told, and no matter afterwards: as if an exception had been raised there and caught.
using Poison = std::shared_ptr<Failure>;
Poison kept_by(const Poison&);        ///< the second sort, of the same failure
bool keeps(const Poison&);            ///< whether it is of that sort
Poison still_matters(const Poison&);  ///< null where it was one that somebody has been told of
void throw_if_matters(const Poison&);      ///< what still matters is told to who reads
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
  std::vector<int64_t> whole;   ///< by slot: bytes that must be covered so that nothing else is left in it
  std::vector<bool> has_bytes;  ///< by slot: it holds something before the run
  std::vector<Poison> poison;   ///< by slot: before the run, and after spread(). Never told and kept
  std::vector<bool> left_out;   ///< by step: it did not run. Empty: all did
  Poison stopped;               ///< why something is left out that depends on no failure

  // Filled by spread().
  std::vector<bool> bad;  ///< by effect: what it computes is not there
};

/// Carries poison through a run: what depends on a failure, or on a slot that is poisoned before, is poisoned; what a sound effect covers
/// is sound again. A slot that held something, and that only effects which were left out would have spoiled, keeps it. Returns the failures
/// that began here.
std::vector<Poison> spread(Course&, const std::vector<StepFailure>&);

/// Beside those that are left out already, which of the steps from `first` on compute nothing but what depends on failures: by step.
std::vector<bool> dependents(Course, const std::vector<StepFailure>&, int32_t first);

}  // namespace anygpu
