// dst = lhs @ rhs + bias, for a stack of matrices with any strides. An invocation makes ROWS rows of 4 neighbouring columns; those of a
// workgroup share their rows, so that what they load of lhs is the same for all.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "elements.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint LHS = 0;  // 0: any strides; 1: four k at a time, which are neighbours; 2: four rows at a time
layout(constant_id = 3) const uint RHS = 0;  // 0: any strides; 1: four columns at a time; 2: four k at a time
layout(constant_id = 4) const uint HAS_BIAS = 0;
layout(constant_id = 5) const uint ADDS = 0;  // to what dst holds: a later part of a long sum
layout(constant_id = 6) const uint DST_KIND = 0;
layout(constant_id = 7) const uint LHS_KIND = 0;
layout(constant_id = 8) const uint RHS_KIND = 0;
layout(constant_id = 9) const uint BIAS_KIND = 0;

OUTPUT(dst, 0, DST_KIND)
INPUT(lhs, 1, LHS_KIND)
INPUT(rhs, 2, RHS_KIND)
INPUT(bias, 3, BIAS_KIND)

// Strides and offsets in elements, in the order dst, lhs, rhs, bias.
layout(push_constant) uniform Params {
  int m, n, k;
  int row_tile, batch;  // the first of each
  int offset[4];
  int row[4];     // lhs: of m; rhs: of k
  int column[4];  // lhs: of k; rhs: of n
  int batches;           // size of the inner batch dimension
  int batch_stride[8];   // of the outer one, then of the inner one
} p;

void main() {
  int z = p.batch + int(gl_WorkGroupID.z);
  int inner = z % p.batches, outer = z / p.batches;
  ivec4 at;
  for (int i = 0; i < 4; ++i) at[i] = p.offset[i] + outer * p.batch_stride[i] + inner * p.batch_stride[4 + i];

  int first_row = (p.row_tile + int(gl_WorkGroupID.y)) * int(ROWS);
  int first_column = 4 * int(gl_GlobalInvocationID.x);
  // Past the edge the last row and column are computed again, and not stored. No invocation leaves early: loads that are the same for all
  // are cheap only where all take part.
  int a[ROWS];
  for (int r = 0; r < ROWS; ++r) {
    int row = LHS == 2 ? min(first_row + r / 4 * 4, p.m - 4) + r % 4 : min(first_row + r, p.m - 1);
    a[r] = at[1] + row * p.row[1];
  }
  ivec4 columns = min(ivec4(first_column) + ivec4(0, 1, 2, 3), ivec4(p.n - 1));
  if (RHS == 1) columns.x = min(first_column, p.n - 4);
  ivec4 b = at[2] + columns * p.column[2];

  Real4 sum[ROWS];
  for (int r = 0; r < ROWS; ++r) sum[r] = Real4(0);
  int k = 0;
  if (LHS == 1 || RHS == 2) {
    for (; k + 3 < p.k; k += 4) {
      Real4 y[4];
      if (RHS == 1) {
        for (int i = 0; i < 4; ++i) y[i] = rhs4(b.x + (k + i) * p.row[2]);
      } else if (RHS == 2) {
        Real4x4 t = transpose(Real4x4(rhs4(b.x + k), rhs4(b.y + k), rhs4(b.z + k), rhs4(b.w + k)));
        for (int i = 0; i < 4; ++i) y[i] = t[i];
      } else {
        for (int i = 0; i < 4; ++i) {
          ivec4 e = b + (k + i) * p.row[2];
          y[i] = Real4(rhs(e.x), rhs(e.y), rhs(e.z), rhs(e.w));
        }
      }
      for (int r = 0; r < ROWS && LHS != 2; ++r) {
        Real4 x;
        if (LHS == 1) {
          x = lhs4(a[r] + k);
        } else {
          for (int i = 0; i < 4; ++i) x[i] = lhs(a[r] + (k + i) * p.column[1]);
        }
        for (int i = 0; i < 4; ++i) sum[r] = fma(Real4(x[i]), y[i], sum[r]);
      }
      if (LHS == 2) {
        for (int i = 0; i < 4; ++i) {
          for (int r = 0; r < ROWS; r += 4) {
            Real4 x = lhs4(a[r] + (k + i) * p.column[1]);
            for (int j = 0; j < 4; ++j) sum[r + j] = fma(Real4(x[j]), y[i], sum[r + j]);
          }
        }
      }
    }
  }
  for (; k < p.k; ++k) {
    Real4 y;
    if (RHS == 1) {
      y = rhs4(b.x + k * p.row[2]);
    } else {
      ivec4 e = b + k * p.row[2];
      y = Real4(rhs(e.x), rhs(e.y), rhs(e.z), rhs(e.w));
    }
    if (LHS == 2) {
      for (int r = 0; r < ROWS; r += 4) {
        Real4 x = lhs4(a[r] + k * p.column[1]);
        for (int i = 0; i < 4; ++i) sum[r + i] = fma(Real4(x[i]), y, sum[r + i]);
      }
    } else {
      for (int r = 0; r < ROWS; ++r) sum[r] = fma(Real4(lhs(a[r] + k * p.column[1])), y, sum[r]);
    }
  }

  // No break: loops that are not unrolled keep the sums in memory.
  for (int r = 0; r < ROWS; ++r) {
    int row = first_row + r;
    for (int c = 0; c < 4; ++c) {
      int column = first_column + c;
      if (row < p.m && column < p.n) {
        Real v = sum[r][c];
        if (HAS_BIAS == 1) v += bias(at[3] + row * p.row[3] + column * p.column[3]);
        put_dst(at[0] + row * p.row[0] + column * p.column[0], v, ADDS);
      }
    }
  }
}
