// What surrounds a run that cannot be left alone: others wait until it is over.
#pragma once

#include "runtime/executor.h"

namespace anygpu {

/// Contents of slots that an earlier failure would spoil, put by before the run and put back after it: what depends on such a failure does
/// not happen.
class Withheld {
 public:
  /// `before`: poison by slot.
  Withheld(Backend&, const Run&, const std::vector<Memory>& slots, const std::vector<Poison>& before);
  void put_back(std::vector<Poison>& poison) const;

 private:
  struct Kept {
    size_t slot;
    Memory memory;
    std::vector<std::byte> bytes;
  };
  Backend& backend_;
  std::vector<Kept> kept_;
};

/// Leaves out the steps of a run that depend on a failure of the same run, or that come after it was stopped.
class StepGate : public Gate {
 public:
  StepGate(Executor& executor, const Run& run) : executor_(executor), run_(run) {}
  bool leaves_out(int32_t first, int32_t steps, std::span<const StepFailure> so_far) override;
  const std::vector<bool>& left_out() const { return left_out_; }

 private:
  Executor& executor_;
  const Run& run_;
  std::vector<bool> left_out_, to_leave_;  // by step; empty before the first failure
  size_t failures_ = 0;
};

/// Runs the Plan's unfused steps on the reference backend over copies of its slots, and says where the results differ.
class Verification {
 public:
  Verification(Plan& plan, const std::vector<Memory>& slots, Backend& backend, std::span<const Scalar> scalars);
  ~Verification();
  /// Throws Error(Internal) where a slot that lives on differs.
  void compare(const std::vector<Memory>& slots);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace anygpu
