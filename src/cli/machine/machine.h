// All facts of a machine, each probed once.
#pragma once

#include "cli/machine/containers.h"
#include "cli/machine/frameworks.h"
#include "cli/machine/gpus.h"
#include "cli/machine/nvidia.h"
#include "cli/machine/vulkan.h"
#include "cli/machine/wsl.h"

namespace anygpu::cli {

struct Machine {
  explicit Machine(const System& system)
      : sys(system),
        libraries(system),
        installed(system),
        where(find_where(system)),
        gpus(find_gpus(system)),
        wsl(find_wsl_gpu(system, libraries)),
        vulkan(find_vulkan(system, libraries)),
        nvidia(find_nvidia(system, libraries)),
        pythons(find_frameworks(system)),
        containers(find_containers(system, installed)) {
    if (!nvidia.ctk.empty()) nvidia.ctk_version = installed.version("nvidia-container-toolkit");
  }

  const System& sys;
  Libraries libraries;
  Installed installed;
  Where where;
  Gpus gpus;
  Wsl wsl;
  Vulkan vulkan;
  Nvidia nvidia;
  std::vector<PythonPlace> pythons;
  Containers containers;
};

}  // namespace anygpu::cli
