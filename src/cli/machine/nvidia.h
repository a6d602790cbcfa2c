// NVIDIA's own driver: the kernel's half and the libraries' half, which must be of one version.
#pragma once

#include "cli/machine/libraries.h"

namespace anygpu::cli {

struct Nvidia {
  std::string kernel_driver;       ///< version by /proc/driver/nvidia/version; empty where the module is not loaded
  std::string libcuda;             ///< path of libcuda.so.1 without links; empty where there is none
  std::string library;             ///< version by that path's end; empty where it does not tell
  bool ctl = false, uvm = false;   ///< /dev/nvidiactl, /dev/nvidia-uvm
  std::vector<std::string> nodes;  ///< /dev/nvidia0 ...
  std::string ctk;                 ///< path of nvidia-ctk, empty where there is none
  std::string ctk_version;         ///< empty where it is not known
};

Nvidia find_nvidia(const System&, const Libraries&);

}  // namespace anygpu::cli
