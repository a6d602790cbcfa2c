// Matrix times vector in f32, which oneDNN's matmul does at a fraction of memory's speed (measured, 1024x1024, one thread: 250 to 600 us;
// here 60 to 70).
#pragma once

#include <memory>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {

/// y[b][i] = sum over k of a[b][i][k] * x[b][k], plus bias[b][i]. Slots, and strides in elements; batch strides one per batch dimension.
struct Gemv {
  struct Array {
    int32_t slot = -1;
    int64_t offset = 0;
    Dims batch;
    int64_t i = 0, k = 0;
  };
  Dims batch;
  int64_t rows, depth;
  Array y, a, x, bias;  // bias.slot -1: none
};

/// Null where neither the rows nor the columns of `a` are dense.
std::unique_ptr<PreparedNamed> make_gemv(const Gemv&);

}  // namespace anygpu::cpu
