// Tile kernels: f32 matrix products whose operands lie in one core's caches, by one thread. The right factor is packed in panels.
//
// A panel is `width` neighbouring columns, all of their depth, one row of the panel after another; the last panel is filled up with
// zeros. Whoever multiplies by one matrix many times packs it once.
#pragma once

#include <cstdint>

namespace anygpu::cpu::tile {

/// A matrix: element (i, j) is at data[i * row + j * column].
struct Matrix {
  const float* data = nullptr;
  int64_t row = 0, column = 0;
};

struct Kernels {
  const char* name;
  int64_t width;  ///< columns of a panel
  /// packed[...] = b[0..depth, 0..columns), in panels; packed_floats() of room.
  void (*pack)(int64_t depth, int64_t columns, Matrix b, float* packed);
  /// c[i * c_row + j] = init(i, j) + sum over k of a(i, k) * b(k, j). init.data null: 0. c may be init itself, with the same strides,
  /// init.column must be 1, and c overlap nothing else that is read.
  void (*multiply)(int64_t rows, int64_t columns, int64_t depth, Matrix a, const float* packed, Matrix init, float* c, int64_t c_row);

  /// Floats that pack() writes.
  int64_t packed_floats(int64_t depth, int64_t columns) const { return (columns + width - 1) / width * width * depth; }
};

/// The best that this CPU runs; ANYGPU_CPU_ISA (sse, avx2, avx512) sets a limit.
const Kernels& kernels();

}  // namespace anygpu::cpu::tile
