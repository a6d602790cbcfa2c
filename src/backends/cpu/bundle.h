// Bundle: neighbouring kernels that need nothing from each other, such as an optimizer's for each parameter, started as one. Threads share
// out all of their work at once, and wait once.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "generic_step.h"

namespace anygpu::cpu {

class Bundle {
 public:
  /// Of exactly the steps that bundle_from() counted. Their temporaries must share no bytes (Backend::groups).
  explicit Bundle(std::span<const ir::Step> steps);
  /// For the kernels; before run().
  void wait();

  size_t steps() const { return steps_.size(); }
  /// `times`: null, or an entry for each step: shares of the whole by their work, as they run interleaved.
  void run(const Bindings&, StepTime* times) const;

 private:
  std::vector<std::unique_ptr<GenericStep>> steps_;
  std::vector<int64_t> first_;  // first_[i]: slices of the steps before i; one more at the end. A slice is a grain, or a small step
  std::vector<size_t> words_;   // likewise of the parameters
  double work_ = 0;             // in grains
  bool at_once_ = true;         // false: a kernel is more than one function, so each runs by itself
};

/// How many steps from steps[0] on are one bundle; 0 where fewer than two belong together.
size_t bundle_from(std::span<const ir::Step> steps);

}  // namespace anygpu::cpu
