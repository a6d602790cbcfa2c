// dst = lhs @ rhs + bias for GPUs: a workgroup makes a tile of TILE_M x TILE_N. A step takes TILE_K of k: what the tile needs of both
// factors is put into shared memory once, while the next step's is already on its way into registers, and each invocation multiplies its
// ROWS x COLUMNS out of it. Its rows are blocks of four, THREADS_Y blocks apart, its columns likewise: neighbouring invocations then read
// and write neighbouring fours.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "elements.glsl"

layout(local_size_x_id = 0) in;  // THREADS_X * THREADS_Y
// All multiples of 4; TILE_M of ROWS, TILE_N of COLUMNS.
layout(constant_id = 1) const uint TILE_M = 64;
layout(constant_id = 2) const uint TILE_N = 64;
layout(constant_id = 3) const uint TILE_K = 16;
layout(constant_id = 4) const uint ROWS = 4;
layout(constant_id = 5) const uint COLUMNS = 4;
// How a factor is loaded: 0: any strides, neighbouring invocations take neighbours along k; 1: four along k at once; 2: four rows of lhs,
// or columns of rhs, at once; 3: any strides, neighbouring invocations take neighbouring rows, or columns.
layout(constant_id = 6) const uint LHS = 0;
layout(constant_id = 7) const uint RHS = 0;
layout(constant_id = 8) const uint DST = 0;  // 1: four columns at once
layout(constant_id = 9) const uint HAS_BIAS = 0;
layout(constant_id = 10) const uint ADDS = 0;  // to what dst holds: a later part of a long sum
layout(constant_id = 11) const uint DST_KIND = 0;
layout(constant_id = 12) const uint LHS_KIND = 0;
layout(constant_id = 13) const uint RHS_KIND = 0;
layout(constant_id = 14) const uint BIAS_KIND = 0;

OUTPUT(dst, 0, DST_KIND)
INPUT(lhs, 1, LHS_KIND)
INPUT(rhs, 2, RHS_KIND)
INPUT(bias, 3, BIAS_KIND)

// As in matmul.comp.
layout(push_constant) uniform Params {
  int m, n, k;
  int row_tile, batch;
  int offset[4];
  int row[4];
  int column[4];
  int batches;
  int batch_stride[8];
} p;

const uint THREADS_X = TILE_N / COLUMNS, THREADS_Y = TILE_M / ROWS, THREADS = THREADS_X * THREADS_Y;
const uint ROW_FOURS = ROWS / 4, COLUMN_FOURS = COLUMNS / 4;

// STAGE(lhs, LHS, TILE): lhs's part of a step, as fours of neighbours along the side that is not k. fetch_lhs() reads it into registers,
// keep_lhs() puts it into lhs_part[k][fours], whose lines are one longer than they need be: k is no multiple of the banks of the memory.
// Past the edge of the side the last neighbours are read again, and what they give is not stored; past k all is 0.
// `at` is where the matrix begins, `side` the first neighbour.
#define STAGE(name, MODE, TILE)                                                                            \
  const uint name##_LINE = TILE / 4 + 1;                                                                   \
  const uint name##_UNITS = MODE == 1 ? TILE / 4 * (TILE_K / 4) : TILE / 4 * TILE_K;                       \
  const uint name##_TURNS = (name##_UNITS + THREADS - 1) / THREADS;                                        \
  const uint name##_HELD = MODE == 1 ? 4 * name##_TURNS : name##_TURNS;                                    \
  shared Real4 name##_part[TILE_K * name##_LINE];                                                          \
  Real4 name##_held[name##_HELD];                                                                          \
                                                                                                           \
  /* Of unit u: its first k, and which four of the tile. */                                                \
  ivec2 name##_place(uint u) {                                                                             \
    if (MODE == 1) return ivec2(u % (TILE_K / 4) * 4, u / (TILE_K / 4));                                   \
    return MODE == 0 ? ivec2(u % TILE_K, u / TILE_K) : ivec2(u / (TILE / 4), u % (TILE / 4));              \
  }                                                                                                        \
                                                                                                           \
  void fetch_##name(int at, int side, int size, int side_step, int k_step, int first_k) {                  \
    [[unroll]] for (uint i = 0; i < name##_TURNS; ++i) {                                                   \
      ivec2 place = name##_place(min(i * THREADS + gl_LocalInvocationIndex, name##_UNITS - 1));            \
      int k = first_k + place.x, first = side + 4 * place.y;                                               \
      bool inside = k < p.k;                                                                               \
      if (MODE == 1) {                                                                                     \
        int e = at + (inside ? k : 0);                                                                     \
        Real4 v[4];                                                                                        \
        [[unroll]] for (int j = 0; j < 4; ++j) v[j] = name##4(e + min(first + j, size - 1) * side_step);   \
        [[unroll]] for (int j = 0; j < 4; ++j)                                                             \
          name##_held[4 * i + j] = inside ? Real4(v[0][j], v[1][j], v[2][j], v[3][j]) : Real4(0);          \
      } else {                                                                                             \
        int e = at + (inside ? k * k_step : 0);                                                            \
        Real4 v;                                                                                           \
        if (MODE == 2) {                                                                                   \
          v = name##4(e + min(first, size - 4));                                                           \
        } else {                                                                                           \
          [[unroll]] for (int j = 0; j < 4; ++j) v[j] = name(e + min(first + j, size - 1) * side_step);    \
        }                                                                                                  \
        name##_held[i] = inside ? v : Real4(0);                                                            \
      }                                                                                                    \
    }                                                                                                      \
  }                                                                                                        \
                                                                                                           \
  void keep_##name() {                                                                                     \
    [[unroll]] for (uint i = 0; i < name##_TURNS; ++i) {                                                   \
      uint u = i * THREADS + gl_LocalInvocationIndex;                                                      \
      ivec2 place = name##_place(u);                                                                       \
      uint to = place.x * name##_LINE + place.y;                                                           \
      if (u < name##_UNITS) {                                                                              \
        if (MODE == 1) {                                                                                   \
          [[unroll]] for (uint j = 0; j < 4; ++j) name##_part[to + j * name##_LINE] = name##_held[4 * i + j]; \
        } else {                                                                                           \
          name##_part[to] = name##_held[i];                                                                \
        }                                                                                                  \
      }                                                                                                    \
    }                                                                                                      \
  }

STAGE(lhs, LHS, TILE_M)
STAGE(rhs, RHS, TILE_N)

Real4 sum[ROWS * COLUMN_FOURS];

void multiply(uint x, uint y) {
  for (uint k = 0; k < TILE_K; ++k) {
    Real4 a[ROW_FOURS], b[COLUMN_FOURS];
    [[unroll]] for (uint r = 0; r < ROW_FOURS; ++r) a[r] = lhs_part[k * lhs_LINE + y + r * THREADS_Y];
    [[unroll]] for (uint c = 0; c < COLUMN_FOURS; ++c) b[c] = rhs_part[k * rhs_LINE + x + c * THREADS_X];
    [[unroll]] for (uint r = 0; r < ROWS; ++r)
      [[unroll]] for (uint c = 0; c < COLUMN_FOURS; ++c)
        sum[r * COLUMN_FOURS + c] = fma(Real4(a[r / 4][r % 4]), b[c], sum[r * COLUMN_FOURS + c]);
  }
}

void main() {
  int z = p.batch + int(gl_WorkGroupID.z);
  int inner = z % p.batches, outer = z / p.batches;
  ivec4 at;
  for (int i = 0; i < 4; ++i) at[i] = p.offset[i] + outer * p.batch_stride[i] + inner * p.batch_stride[4 + i];
  int tile_row = (p.row_tile + int(gl_WorkGroupID.y)) * int(TILE_M), tile_column = int(gl_WorkGroupID.x * TILE_N);
  uint x = gl_LocalInvocationIndex % THREADS_X, y = gl_LocalInvocationIndex / THREADS_X;

  [[unroll]] for (uint i = 0; i < ROWS * COLUMN_FOURS; ++i) sum[i] = Real4(0);
  fetch_lhs(at[1], tile_row, p.m, p.row[1], p.column[1], 0);
  fetch_rhs(at[2], tile_column, p.n, p.column[2], p.row[2], 0);
  for (int k = 0; k < p.k; k += int(TILE_K)) {
    keep_lhs();
    keep_rhs();
    barrier();
    if (k + int(TILE_K) < p.k) {
      fetch_lhs(at[1], tile_row, p.m, p.row[1], p.column[1], k + int(TILE_K));
      fetch_rhs(at[2], tile_column, p.n, p.column[2], p.row[2], k + int(TILE_K));
    }
    multiply(x, y);
    barrier();
  }

  [[unroll]] for (uint r = 0; r < ROWS; ++r) {
    int row = tile_row + int(4 * (y + r / 4 * THREADS_Y) + r % 4);
    [[unroll]] for (uint c = 0; c < COLUMN_FOURS; ++c) {
      int column = tile_column + int(4 * (x + c * THREADS_X));
      Real4 v = sum[r * COLUMN_FOURS + c];
      int biased = at[3] + row * p.row[3] + column * p.column[3], to = at[0] + row * p.row[0] + column * p.column[0];
      if (DST == 1) {
        if (row < p.m && column < p.n) {
          if (HAS_BIAS == 1)
            [[unroll]] for (int j = 0; j < 4; ++j) v[j] += bias(biased + j * p.column[3]);
          put4_dst(to, v, ADDS);
        }
      } else {
        [[unroll]] for (int j = 0; j < 4; ++j) {
          if (row < p.m && column + j < p.n) {
            Real one = v[j];
            if (HAS_BIAS == 1) one += bias(biased + j * p.column[3]);
            put_dst(to + j * p.column[0], one, ADDS);
          }
        }
      }
    }
  }
}
