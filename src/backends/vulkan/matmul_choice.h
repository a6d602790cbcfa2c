// Which tile of shared memory a product takes: a guess, or what the device showed to be best for products like it.
#pragma once

#include <optional>

#include "matmul_way.h"

namespace anygpu::vulkan {

/// Nothing: shaders/matmul.comp is better, or no tile fits.
std::optional<SharedTile> choose_tile(const MatmulProblem&, const ir::Named&, const Capabilities&);

/// The product, where has_matmul(), in a tile or by shaders/matmul.comp. Nothing where offsets or workgroups pass what the device takes.
std::optional<Compiled> compile_matmul_in(const SharedTile*, const ir::Named&, const Capabilities&);

}  // namespace anygpu::vulkan
