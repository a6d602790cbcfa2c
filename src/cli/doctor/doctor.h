// The checks, a file a chain. Each judges the facts of a Machine; only check_live runs anything.
#pragma once

#include "cli/doctor/findings.h"
#include "cli/machine/machine.h"

namespace anygpu::cli {

void check_where(const Machine&, Findings&);
void check_wsl(const Machine&, Findings&);
void check_kernel(const Machine&, Findings&);
void check_nvidia(const Machine&, Findings&);
void check_vulkan(const Machine&, Findings&);
void check_frameworks(const Machine&, Findings&);
void check_containers(const Machine&, Findings&);
/// Opens each Vulkan driver, NVIDIA's libcuda and anygpu's own devices, each in a process of its own.
void check_live(const Machine&, Findings&);
/// Whether a GPU can be reached after all; what could not be read.
void check_reach(const Machine&, Findings&);

/// What makes the Mesa driver of a kind of hardware appear.
std::string install_driver(const Where&, Serves);
/// GPUs that Vulkan can reach by the files: their names, with the driver in brackets.
std::vector<std::string> reached(const Machine&);
/// What a container must be started with to be given the GPU; `rest` follows the option.
std::string container_mend(const Machine&);

}  // namespace anygpu::cli
