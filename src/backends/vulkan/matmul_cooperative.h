// Products of f16 by cooperative matrices: what GPUs' matrix units multiply. Emitted here, not written in GLSL: glslang of 2023 does not
// know the extension.
#pragma once

#include "matmul_way.h"

namespace anygpu::vulkan {

/// A workgroup of 2 x 2 subgroups, each of which makes rows x columns matrices of the device's size; k elements of a sum at a time.
struct CooperativeTile {
  int64_t rows, columns;
  /// "cooperative 4x4"
  std::string name() const;
};

/// Whether lhs and rhs are f16, dst is something that the device can store, and the device multiplies such matrices.
bool takes_cooperative(const ir::Named&, const Capabilities&);

/// Those that the device can run, the likely best for the product first.
std::vector<CooperativeTile> cooperative_tiles(const MatmulProblem&, const Capabilities&);

/// May turn the problem round. Products are exact, sums are in f32.
MatmulShader cooperative_matmul(MatmulProblem&, const CooperativeTile&, const Capabilities&);

}  // namespace anygpu::vulkan
