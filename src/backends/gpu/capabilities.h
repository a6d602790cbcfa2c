// What a device has, whatever API tells of it.
#pragma once

#include <cstdint>

namespace anygpu::gpu {

/// What kernels may use: of the device, less what its backend's switches mask off. Bytes where nothing else is said.
struct Capabilities {
  bool int64 = false, float64 = false;
  bool int16 = false, float16 = false, storage16 = false;  ///< arithmetic; loads and stores of 16 bits
  bool int8 = false, storage8 = false;
  bool float_controls_f32 = false;  ///< f32 arithmetic may be told to keep infinities, NaN and the sign of zeros
  bool denormals = false;           ///< and subnormal numbers: without it, a device may take them for zeros
  bool memory_model = false;        ///< the memory model that cooperative matrices want
  bool device_addresses = false;    ///< memory may be reached by address
  bool subgroup_shuffle = false;
  uint32_t subgroup_size = 1;
  bool cooperative = false;  ///< f16 matrices, m x k by k x n, are multiplied by a subgroup, and summed in f32
  uint32_t cooperative_m = 0, cooperative_n = 0, cooperative_k = 0;
  uint32_t max_invocations = 128, max_group_size[3] = {128, 128, 64}, max_groups[3] = {65535, 65535, 65535};
  uint32_t shared_bytes = 16384;
  uint32_t push_bytes = 128;  ///< of params that a launch carries itself
  uint32_t max_bindings = 4;  ///< buffers of one kernel, those that its API adds included
  int64_t max_binding_bytes = 1 << 27;
  int64_t binding_alignment = 64;  ///< of where a binding begins
  int64_t max_iterations = 60000;  ///< of all loops of one invocation of a product
  bool software = false;           ///< a rasteriser on the processor: tiles are sized for its vectors
};

}  // namespace anygpu::gpu
