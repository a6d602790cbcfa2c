// What Windows lends a WSL 2 distribution: /dev/dxg, libraries, its drivers.
#pragma once

#include "cli/machine/libraries.h"

namespace anygpu::cli {

struct WindowsDriver {
  std::string folder;      ///< below /usr/lib/wsl/drivers
  std::string vendor;      ///< AMD, Intel, NVIDIA, Qualcomm
  bool for_linux = false;  ///< brings a shared library for Linux
};

struct Wsl {
  bool dxg = false, dxg_usable = false;
  bool folder = false;                 ///< /usr/lib/wsl/lib
  std::vector<std::string> missing;    ///< of the libraries that each GPU needs
  bool configured = false;             ///< the linker is told of the folder
  bool cached = false;                 ///< and has looked
  bool turned_off = false;             ///< /etc/wsl.conf: [gpu] enabled=false
  bool libcuda = false;                ///< NVIDIA's, in the folder
  std::string hiding_libcuda;          ///< one of a Linux driver that is found before it
  std::vector<WindowsDriver> drivers;  ///< those of GPUs
};

constexpr const char* kWslFolder = "/usr/lib/wsl/lib";

Wsl find_wsl_gpu(const System&, const Libraries&);

}  // namespace anygpu::cli
