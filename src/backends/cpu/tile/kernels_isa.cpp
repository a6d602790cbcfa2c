// The kernels, compiled once an instruction set: see isa.h for what may be included here.
#include "backends/cpu/tile/isa.h"
#include "backends/cpu/tile/kernels.h"

namespace anygpu::cpu::tile {
namespace {

#if defined(__AVX512F__)
constexpr int kRows = 12;  // rows * 2 sums, two factors and a broadcast fill the registers
#else
constexpr int kRows = 6;
#endif
constexpr int64_t kDepth = 256;  // rows of a panel that stay in the first-level cache while all of a's rows pass

/// R rows by one panel. `full`: all of the panel's columns are wanted.
template <int R>
void block(int64_t columns, int64_t depth, Matrix a, const float* panel, Matrix init, float* c, int64_t c_row) {
  Vector sums[R][2];
  const bool full = columns == kWidth;
  for (int r = 0; r < R; ++r) {
    if (!init.data) {
      sums[r][0] = sums[r][1] = Vector{};
    } else if (full) {
      sums[r][0] = load(init.data + r * init.row);
      sums[r][1] = load(init.data + r * init.row + kLanes);
    } else {
      float part[kWidth] = {};
      for (int64_t j = 0; j < columns; ++j) part[j] = init.data[r * init.row + j];
      sums[r][0] = load(part);
      sums[r][1] = load(part + kLanes);
    }
  }
  const float* x = a.data;
  for (int64_t k = 0; k < depth; ++k) {
    const Vector b0 = load(panel), b1 = load(panel + kLanes);
    for (int r = 0; r < R; ++r) {
      const float s = x[r * a.row];
      sums[r][0] += b0 * s;
      sums[r][1] += b1 * s;
    }
    panel += kWidth;
    x += a.column;
  }
  for (int r = 0; r < R; ++r) {
    if (full) {
      store(c + r * c_row, sums[r][0]);
      store(c + r * c_row + kLanes, sums[r][1]);
    } else {
      float part[kWidth];
      store(part, sums[r][0]);
      store(part + kLanes, sums[r][1]);
      for (int64_t j = 0; j < columns; ++j) c[r * c_row + j] = part[j];
    }
  }
}

using Block = void (*)(int64_t, int64_t, Matrix, const float*, Matrix, float*, int64_t);
const Block kBlocks[] = {nullptr,  block<1>, block<2>, block<3>,  block<4>,  block<5>, block<6>,
#if defined(__AVX512F__)
                         block<7>, block<8>, block<9>, block<10>, block<11>, block<12>
#endif
};

void multiply(int64_t rows, int64_t columns, int64_t depth, Matrix a, const float* packed, Matrix init, float* c, int64_t c_row) {
  // Equal blocks: 16 rows are 8 and 8, not 12 and 4.
  const int64_t blocks = (rows + kRows - 1) / kRows, panel_floats = depth * kWidth;
  for (int64_t k = 0; k == 0 || k < depth; k += kDepth) {
    const int64_t part = depth - k < kDepth ? depth - k : kDepth;
    const Matrix from = k == 0 ? init : Matrix{c, c_row, 1};
    for (int64_t j = 0; j < columns; j += kWidth) {
      const int64_t wanted = columns - j < kWidth ? columns - j : kWidth;
      const float* panel = packed + j / kWidth * panel_floats + k * kWidth;
      for (int64_t i = 0; i < blocks; ++i) {
        const int64_t first = rows * i / blocks, n = rows * (i + 1) / blocks - first;
        kBlocks[n](wanted, part, Matrix{a.data + first * a.row + k * a.column, a.row, a.column}, panel,
                   Matrix{from.data ? from.data + first * from.row + j : nullptr, from.row, 1}, c + first * c_row + j, c_row);
      }
    }
  }
}

void pack(int64_t depth, int64_t columns, Matrix b, float* packed) {
  for (int64_t j = 0; j < columns; j += kWidth) {
    const int64_t n = columns - j < kWidth ? columns - j : kWidth;
    const float* from = b.data + j * b.column;
    float* to = packed + j * depth;
    if (b.column == 1 && n == kWidth) {
      for (int64_t k = 0; k < depth; ++k) {
        store(to + k * kWidth, load(from + k * b.row));
        store(to + k * kWidth + kLanes, load(from + k * b.row + kLanes));
      }
      continue;
    }
    // Columns that lie dense are read along themselves, sixteen deep: each cache line that is read or written is used up.
    for (int64_t first = 0; first < depth; first += 16) {
      const int64_t last = first + 16 < depth ? first + 16 : depth;
      for (int64_t c = 0; c < n; ++c) {
        for (int64_t k = first; k < last; ++k) to[k * kWidth + c] = from[k * b.row + c * b.column];
      }
      for (int64_t c = n; c < kWidth; ++c) {
        for (int64_t k = first; k < last; ++k) to[k * kWidth + c] = 0;
      }
    }
  }
}

}  // namespace

extern const Kernels ANYGPU_ISA_TABLE(kernels_);
const Kernels ANYGPU_ISA_TABLE(kernels_) = {ANYGPU_ISA_NAME, kWidth, pack, multiply};

}  // namespace anygpu::cpu::tile
