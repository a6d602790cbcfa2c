// Program: steps made ready to run on the CPU.
#pragma once

#include <memory>
#include <span>

#include "backends/interface/backend.h"

namespace anygpu::cpu {

std::unique_ptr<Program> make_program(std::span<const ir::Step>);

}  // namespace anygpu::cpu
