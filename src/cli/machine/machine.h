// All facts of a machine, each probed once.
#pragma once

#include "containers.h"
#include "frameworks.h"
#include "gpus.h"
#include "nvidia.h"
#include "vulkan.h"
#include "wsl.h"

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
