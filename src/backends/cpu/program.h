// Program: steps made ready to run on the CPU.
#pragma once

#include <memory>
#include <span>

#include "backends/interface/backend.h"

namespace anygpu::cpu {

/// As Backend::groups and Backend::prepare.
std::vector<StepGroup> groups_of(std::span<const ir::Step>);
std::unique_ptr<Program> make_program(std::span<const ir::Step>, std::span<const StepGroup>);

}  // namespace anygpu::cpu
