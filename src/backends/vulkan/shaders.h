// What Vulkan does in its own way when steps become Launches.
#pragma once

#include "backends/gpu/emit/kernel.h"
#include "backends/gpu/matmul.h"
#include "shader.h"

namespace anygpu::vulkan {

class Shaders : public gpu::Api {
 public:
  gpu::Emitted emit(const gpu::KernelSpec&, const Capabilities&, const std::string& name) const override;
  const gpu::MatmulKernels* matmul_kernels() const override;                                 // matmul.cpp
  std::optional<Compiled> convolution(const ir::Named&, const gpu::Target&) const override;  // convolution.cpp
};

}  // namespace anygpu::vulkan
