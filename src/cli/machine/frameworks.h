// PyTorch, TensorFlow and anygpu in the Pythons of a machine, by their metadata: no Python is started.
#pragma once

#include "cli/machine/system.h"

namespace anygpu::cli {

struct PythonPlace {
  std::string folder;      ///< a site-packages or dist-packages folder
  std::string torch;       ///< version of PyTorch, "2.13.0+cpu"; empty where there is none
  std::string tensorflow;  ///< version of TensorFlow
  std::string anygpu;      ///< version of anygpu
  std::string wants;       ///< what anygpu's metadata requires of torch: "==2.13.*"; empty where it says nothing
};

/// The folders in which one of them is installed.
std::vector<PythonPlace> find_frameworks(const System&);

/// 2.13.0+cpu -> {2, 13}; {0, 0} for what is no version.
std::pair<int, int> major_minor(const std::string& version);

}  // namespace anygpu::cli
