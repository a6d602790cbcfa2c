// What runs inside a child: it loads drivers, prints one JSON object, and may crash.
#pragma once

#include <chrono>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "cli/machine/system.h"

namespace anygpu::cli {

/// Each of them may take as long; a GPU that sleeps takes a second or two to wake.
inline std::chrono::milliseconds probe_limit() {
  return patience(std::chrono::milliseconds(5000));
}

/// Prints what a probe found. Its result is the exit status.
int answer(const nlohmann::json&);

/// {"devices": [{name, type, vendor, api, driver, driver_info, memory, shader_float16, ...}]} of the drivers that the loader is told of,
/// or {"error": what failed}. Exit status 0 either way.
int probe_vulkan();
/// {"version": "12.8", "devices": [name]} of libcuda.so.1, or {"error": ...}
int probe_cuda();
/// {"devices": [{name, backend, driver, memory_bytes}]}: what anygpu itself opens, or {"error": ...}
int probe_devices();

/// Measures a device of anygpu's, see library_bench.cpp. It has all the time that its parent gives it.
int probe_bench(int device, double seconds);

/// The hidden verb: `anygpu probe WHAT [MORE...]`.
int probe(const std::string& what, const std::vector<std::string>& more);

}  // namespace anygpu::cli
