// The Container Device Interface file of a machine: which nodes and files a container is given with its GPU.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/machine/machine.h"

namespace anygpu::cli {

constexpr const char* kCdiKind = "anygpu.dev/gpu";

struct CdiOptions {
  bool drivers = true;    ///< mount the host's Vulkan drivers; else the image brings its own Mesa
  bool software = false;  ///< a device "lavapipe" too: Mesa's Vulkan on the CPU
};

struct CdiSpec {
  nlohmann::ordered_json file;     ///< null where there is nothing to give
  std::vector<std::string> notes;  ///< for the person who generates it
};

/// The same machine gives the same file, to the byte.
CdiSpec make_cdi_spec(const Machine&, const CdiOptions&);

/// JSON's data as YAML in block form, with each string in quotes.
std::string to_yaml(const nlohmann::ordered_json&);

}  // namespace anygpu::cli
