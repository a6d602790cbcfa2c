// The catalogue's tables, one function a file.
#pragma once

#include "ops/op.h"

namespace anygpu::ops {

OpTable pointwise_unary();
OpTable pointwise_binary();
OpTable reductions();
OpTable scans();
OpTable indexing();
OpTable matmuls();

}  // namespace anygpu::ops
