// Generators: each has a PhiloxState, of which an operator takes its part when it is recorded.
#pragma once

#include <ATen/core/Generator.h>

#include <optional>

#include "anygpu/philox.h"

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// Reserves `blocks` counters of the given Generator, or of the device's default one, and returns where they start.
/// Throws where the Generator belongs to another device.
Philox philox_of(const std::optional<at::Generator>&, c10::DeviceIndex device, uint64_t blocks);

/// The device's default Generator (of the current device for -1), and a new one.
const at::Generator& default_generator(c10::DeviceIndex);
at::Generator make_generator(c10::DeviceIndex);

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
