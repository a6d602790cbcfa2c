// The shaders of a matrix product, as what their launches need to know.
#pragma once

#include <functional>

#include "elements.h"
#include "matmul_tile.h"

namespace anygpu::vulkan {

inline constexpr int kMatmulPushWords = 26;  ///< of all of them: Params in matmul.cpp

/// One of them, made for one problem.
struct MatmulShader {
  int64_t rows, columns;  ///< of dst, that a workgroup makes
  int64_t part;           ///< of k, that one launch may sum: whole fours
  Texel texel[4] = {};    ///< of the operands
  /// adds: to what dst holds, without the bias.
  std::function<std::shared_ptr<const Shader>(bool adds)> make;
};

/// Whether the device has shaders for these operands as they are.
bool has_matmul(const ir::Named&, const Capabilities&);

/// Each may turn the problem round.
MatmulShader plain_matmul(MatmulProblem&, const ir::Named&, const Capabilities&);
/// Where on_lanes().
MatmulShader lanes_matmul(MatmulProblem&, const Capabilities&);
MatmulShader shared_matmul(MatmulProblem&, const ir::Named&, const SharedTile&, const Capabilities&);

}  // namespace anygpu::vulkan
