// Program: steps made ready to run on the CPU.
#pragma once

#include <memory>
#include <span>

#include "backends/interface/backend.h"

namespace anygpu::cpu {

/// As Backend::groups: runs of steps that the program of the same steps starts as one.
std::vector<int32_t> groups_of(std::span<const ir::Step>);
std::unique_ptr<Program> make_program(std::span<const ir::Step>);

}  // namespace anygpu::cpu
