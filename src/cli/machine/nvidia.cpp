#include "cli/machine/nvidia.h"

namespace anygpu::cli {

Nvidia find_nvidia(const System& sys, const Libraries& libraries) {
  Nvidia nvidia;
  // "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22 ..."; open modules say "... Open Kernel Module for x86_64 565.77
  // Release ..."
  for (const auto& word : words(sys.line("/proc/driver/nvidia/version")))
    if (nvidia.kernel_driver.empty() && word.find('.') != std::string::npos && word.find_first_not_of("0123456789.") == std::string::npos)
      nvidia.kernel_driver = word;
  if (const auto path = libraries.find("libcuda.so.1")) nvidia.libcuda = *path;
  if (const size_t at = nvidia.libcuda.rfind(".so."); at != std::string::npos && nvidia.libcuda.find('.', at + 4) != std::string::npos)
    nvidia.library = nvidia.libcuda.substr(at + 4);
  if (nvidia.libcuda.starts_with("/usr/lib/wsl/")) nvidia.library.clear();  // libcuda.so.1.1 is no version there
  nvidia.ctl = sys.exists("/dev/nvidiactl");
  nvidia.uvm = sys.exists("/dev/nvidia-uvm");
  for (const auto& name : sys.list("/dev"))
    if (name.starts_with("nvidia") && name.size() > 6 && name.find_first_not_of("0123456789", 6) == std::string::npos)
      nvidia.nodes.push_back("/dev/" + name);
  for (const char* path : {"/usr/bin/nvidia-ctk", "/usr/local/bin/nvidia-ctk", "/usr/local/nvidia/toolkit/nvidia-ctk"})
    if (nvidia.ctk.empty() && sys.exists(path)) nvidia.ctk = path;
  return nvidia;
}

}  // namespace anygpu::cli
