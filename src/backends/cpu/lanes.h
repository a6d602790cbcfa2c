// Lanes: a run of small steps that depend on each other row by row only, such as the time steps of a recurrent layer over a batch. Each
// thread takes some of the rows through all of the steps, and waits for nobody in between. Matrices that all rows are multiplied by are
// packed once a run.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "backends/interface/backend.h"

namespace anygpu::cpu {

class Lanes {
 public:
  virtual ~Lanes() = default;
  /// How many of the steps it stands for.
  virtual size_t steps() const = 0;
  /// For the kernels; before run().
  virtual void wait() = 0;
  /// `times`: null, or an entry for each of its steps, as the first lane met them.
  virtual void run(const Bindings&, StepTime* times) = 0;
};

/// How many steps from steps[0] on are one run; 0 where there is none worth it.
size_t lanes_from(std::span<const ir::Step> steps);
/// Of exactly those steps. Their temporaries must share no bytes (Backend::groups): one lane may be at the end when another begins.
std::unique_ptr<Lanes> make_lanes(std::span<const ir::Step> steps);

}  // namespace anygpu::cpu
