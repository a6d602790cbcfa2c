// What Kineto does not carry to Python of the kernels in a profile.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#pragma GCC visibility push(default)  // _torch.so calls these
namespace anygpu::torch_frontend {

struct ProfiledKernel {
  int32_t id;                      ///< its correlation id in the profile
  std::vector<int64_t> operators;  ///< correlation ids of the operators (or the user's ranges) whose work it is
  std::string shapes;              ///< as profile::Event's
};

/// Whether kernels come into a profile at all: from PyTorch 2.13 on.
extern const bool kProfilesKernels;

/// Those of the last profile, once.
std::vector<ProfiledKernel> take_profiled_kernels();

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
