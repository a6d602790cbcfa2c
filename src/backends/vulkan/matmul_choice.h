// Which tile a product takes: a guess, or what the device showed to be best for products like it.
#pragma once

#include <optional>
#include <variant>

#include "matmul_cooperative.h"

namespace anygpu::vulkan {

/// Of shared memory, of cooperative matrices, or none: shaders/matmul.comp.
using MatmulTile = std::variant<std::monostate, SharedTile, CooperativeTile>;

MatmulTile choose_tile(const MatmulProblem&, const ir::Named&, const Capabilities&);

/// The product, where has_matmul(), in a tile that takes it. Nothing where offsets or workgroups pass what the device takes.
std::optional<Compiled> compile_matmul_in(const MatmulTile&, const ir::Named&, const Capabilities&);

}  // namespace anygpu::vulkan
