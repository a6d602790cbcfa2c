// The Vulkan loader and the drivers that it is told of by ICD files.
#pragma once

#include "cli/machine/libraries.h"

namespace anygpu::cli {

/// What a driver serves.
enum class Serves { Amd, Intel, Nvidia, Nouveau, Dxg, Virtio, Soc, Software, Unknown };

struct Icd {
  std::string file;     ///< /usr/share/vulkan/icd.d/radeon_icd.x86_64.json
  std::string error;    ///< why the file cannot be used, empty if it can
  std::string written;  ///< its library_path
  std::string library;  ///< where that is, as the linker opens it; empty where it is not found
  std::string api;      ///< its api_version: what the driver may reach, not what a device has
  Serves serves = Serves::Unknown;
};

struct Vulkan {
  std::string loader;              ///< libvulkan.so.1 without links; empty where there is none
  std::vector<Icd> icds;           ///< in the order in which the loader looks
  std::string forced;              ///< value of VK_DRIVER_FILES or VK_ICD_FILENAMES, on the machine itself
  bool has(Serves) const;          ///< an ICD with its library
  const Icd* first(Serves) const;  ///< whole or not; nullptr
};

Vulkan find_vulkan(const System&, const Libraries&);
const char* serves_name(Serves);

}  // namespace anygpu::cli
