// A Plan: what a Trace becomes. Fused steps, where each slot lives, and the backend's Program.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/interface/backend.h"
#include "ir/named.h"
#include "ir/normalise.h"
#include "runtime/effects.h"
#include "runtime/trace.h"

namespace anygpu {

/// What a slot of a Plan is.
struct Slot {
  int64_t bytes = 0;          ///< of a Buffer, what the Trace sees
  int32_t buffer = -1;        ///< number of the Trace's Buffer, or -1: a temporary
  bool has_bytes = false;     ///< holds something before the Plan runs
  bool live_after = false;    ///< is read after the Plan has run
  int64_t arena_offset = -1;  ///< temporaries that are still stored: byte offset in the arena
  bool used = false;          ///< some step touches it
  bool stored = false;        ///< some step writes it
};

/// Why two neighbours were not fused; for explain().
struct Cut {
  int32_t step;
  std::string why;
};

/// How long each step takes: written by the Executor after a run, read by explain().
class StepClock {
 public:
  void add(const std::vector<StepTime>&);
  /// Microseconds a step, a running mean over about eight runs; `runs` counts all so far. Empty before the first.
  std::vector<float> mean_us(int64_t& runs) const;

 private:
  mutable std::mutex mutex_;
  std::vector<float> us_;
  int64_t runs_ = 0;
};

struct Plan {
  std::vector<Slot> slots;        ///< the Trace's Buffers first, in order
  std::vector<ir::Step> unfused;  ///< as the catalogue described them (kept for ANYGPU_VERIFY, else empty)
  std::vector<ir::Step> steps;
  std::vector<std::vector<ir::Touch>> touches;  ///< per step
  std::vector<Effect> effects;                  ///< of the steps before fusion, refused ones included
  bool refuses = false;                         ///< some effect never runs
  std::vector<Cut> cuts;
  int64_t arena_bytes = 0;
  int64_t moved_bytes = 0;  ///< that its steps read and write
  int calls = 0;
  std::unique_ptr<Program> program;
  std::unique_ptr<Program> oracle;  ///< of `unfused`, on the reference backend
  std::shared_ptr<const std::vector<Origin>> origins;  ///< of the latest run's calls; under the recording lock
  StepClock clock;
};

struct PlanOptions {
  bool fuse = true;
  bool keep_unfused = false;
};

/// Where the calls were recorded that have become part of a step, each place once: "add, mul at" and its lines. Empty where none is known.
std::string origin_of_step(const Plan&, const std::vector<Origin>*, int32_t step);

/// The Plan as a table for people.
std::string explain(const Plan&);

/// Plans a sealed Trace for a Backend. A call that cannot be described or prepared becomes an Effect that never runs; all others run.
/// Throws what has nothing to do with the calls: std::bad_alloc, Error(OutOfMemory).
std::shared_ptr<Plan> make_plan(const Trace&, Backend&, const PlanOptions&);

// ---- its stages, apart for tests ----

/// The calls of a Trace as steps; Nameds that the backend does not claim are lowered. Fills plan.slots. A call that breaks a rule of the IR
/// is one Refused. `calls`: by step, which call of the Trace it comes from.
std::vector<ir::Step> lower_trace(const Trace&, Backend&, std::vector<Slot>& slots, std::vector<int32_t>& calls);
/// Joins steps that may run as one kernel. Order of effects is kept. `effects`: one a step given; each is told which step it becomes part
/// of.
std::vector<ir::Step> fuse(std::vector<ir::Step>, std::vector<Effect>& effects, const std::vector<Slot>&, std::vector<Cut>& cuts);
/// The two as one Generic, `second` after `first`, or nothing, with the reason in `why`.
bool fuse_pair(const ir::Generic& first, const ir::Generic& second, ir::Generic& fused, std::string& why);
/// Replaces loads of values that are the same everywhere by the value.
void inline_uniform(std::vector<ir::Step>&);
/// Drops stores that nothing reads, and steps without stores. Returns for each step given its position, -1 where it is gone.
std::vector<int32_t> drop_dead(std::vector<ir::Step>&, const std::vector<Slot>&);
/// Temporaries between convolutions lie as the backend likes them (Backend::channel_block), where every step that touches them can follow.
void block_channels(std::vector<ir::Step>&, const std::vector<Slot>&, const Backend&);
/// Puts temporaries at offsets of one arena. Steps of one group share no bytes. Returns the arena's size in bytes.
int64_t plan_memory(const std::vector<std::vector<ir::Touch>>& touches, std::span<const StepGroup> groups, std::vector<Slot>&);

}  // namespace anygpu
