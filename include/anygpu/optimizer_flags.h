// attr 1 of the catalogue's fused optimizer steps: which operands a call has, and what it does with them.
#pragma once

#include <cstdint>

namespace anygpu::optimizer {

/// Which of them an operator knows is in its comment, in src/ops/optimizer.cpp.
enum Flag : int64_t {
  kMaximize = 1,
  kScaled = 2,      ///< an operand divides the gradient
  kGuarded = 4,     ///< an operand says whether an overflow was found
  kTensorRate = 8,  ///< the learning rate is an operand
  kAmsgrad = 16,
  kDecoupled = 32,
  kMomentum = 64,
  kNesterov = 128,
  kFirst = 256,
  kDecay = 512,
  kHostStep = 1024,  ///< what follows from the step's number is scalars
};

}  // namespace anygpu::optimizer
