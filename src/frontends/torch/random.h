// Random numbers: a seed and a counter per Generator, both taken when an operator is recorded.
#pragma once

#include <ATen/core/Generator.h>

#include <optional>

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// Philox 4x32-10 state for one operator: key = seed, counters offset .. offset + blocks are its own.
struct Philox {
  uint64_t seed;
  uint64_t offset;
};

/// Reserves `blocks` counters of the given Generator, or of the device's default one, and returns where they start.
/// Throws where the Generator belongs to another device.
Philox philox_of(const std::optional<at::Generator>&, c10::DeviceIndex device, uint64_t blocks);

/// The device's default Generator (of the current device for -1), and a new one.
const at::Generator& default_generator(c10::DeviceIndex);
at::Generator make_generator(c10::DeviceIndex);

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
