// The Nameds that oneDNN does, a file a family.
#pragma once

#include <memory>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {

bool supports_matmul(const ir::Named&);
bool supports_convolution(const ir::Named&);
bool supports_pooling(const ir::Named&);
/// As Backend::channel_block.
int64_t convolution_block(const ir::Named&, int operand);

/// What the matching supports_ denies is Error(Internal).
std::unique_ptr<PreparedNamed> prepare_matmul(const ir::Named&);
std::unique_ptr<PreparedNamed> prepare_convolution(const ir::Named&);
std::unique_ptr<PreparedNamed> prepare_pooling(const ir::Named&);

}  // namespace anygpu::cpu
