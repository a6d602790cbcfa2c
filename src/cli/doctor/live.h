// What the drivers themselves say, each asked in a process of its own.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/machine/machine.h"

namespace anygpu::cli {

struct Asked {
  std::string what;       ///< the ICD's file, "libcuda", "anygpu"
  std::string failure;    ///< it crashed, hung, or said an error; empty for a good answer
  std::string said;       ///< the end of what it wrote to its standard error
  nlohmann::json answer;  ///< see probe.h
};

/// Vulkan drivers one by one, libcuda where there is one, and anygpu's library. Takes probe_limit() at most.
std::vector<Asked> ask_drivers(const Machine&);

/// The last of them alone.
Asked ask_library();

/// Of what a child wrote to its standard error, the line that tells most: the linker's, else the last.
std::string telling_line(const std::string& text);

/// 8589934592 -> "8.0 GiB"
std::string bytes_text(int64_t bytes);

}  // namespace anygpu::cli
