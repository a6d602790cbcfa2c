// The three convolutions of three spatial dimensions as one product: dst[row, column] = sum over k of lhs[k, row] * image[k, column] + bias[row].
// Columns and k have four indices each, (c0, cz, cy, cx) and (k0, kz, ky, kx), which meet the image at
// y = (cy * column_step + ky * k_step + shift) / divisor, where that is whole and inside; z and x likewise. See convolution.cpp for what is what.
// An invocation makes ROWS rows of 4 neighbouring columns; those of a workgroup share their rows, so that what they load of lhs is the
// same for all, four rows a load.
#version 450
#extension GL_GOOGLE_include_directive : require
#include "elements.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DIVIDES = 0;  // whether a divisor is not 1
layout(constant_id = 3) const uint HAS_BIAS = 0;
layout(constant_id = 4) const uint ADDS = 0;   // to what dst holds: a later part of a long sum
layout(constant_id = 5) const uint TAPS = 0;   // size_k[2], where the taps of 4 columns are 3 + TAPS neighbours; else 0
layout(constant_id = 6) const uint MIRRORED = 0;  // and the first tap is the last of them
layout(constant_id = 7) const uint DST_KIND = 0;
layout(constant_id = 8) const uint IMAGE_KIND = 0;
layout(constant_id = 9) const uint BIAS_KIND = 0;

const uint WINDOW = TAPS + 3;

OUTPUT(dst, 0, DST_KIND)
layout(set = 0, binding = 1) readonly buffer Lhs { Real4 lhs[]; };
INPUT(image, 2, IMAGE_KIND)
INPUT(bias, 3, BIAS_KIND)

// Offsets and strides in elements; lhs's in fours.
struct Problem {
  int dst_offset, lhs_offset, image_offset, bias_offset;
  int rows, columns;
  int row_tile, column_tile;  // the first of each
  int size_c[3];              // of columns; lists of three are z, y, x
  int size_k0, size_k[3];
  int column_step[3], k_step[3], shift[3], divisor[3], size[3];
  int dst_row, dst_c0, dst_c[3];
  int lhs_k0, lhs_k[3];
  int image_c0, image_k0, image_step[3];
  int bias_row;
  int group_dst, group_lhs, group_image, group_bias;
};
layout(set = 0, binding = 4) readonly buffer Params { Problem problem; };

void main() {
  Problem p = problem;
  int group = int(gl_WorkGroupID.z);
  int first_row = (p.row_tile + int(gl_WorkGroupID.y)) * int(ROWS);
  int first_column = 4 * (p.column_tile * int(gl_WorkGroupSize.x) + int(gl_GlobalInvocationID.x));
  // Past the edge the last row and column are computed again, and not stored. No invocation leaves early: loads that are the same for all
  // are cheap only where all take part.
  int a[ROWS / 4];
  for (int r = 0; r < ROWS / 4; ++r) a[r] = p.lhs_offset + group * p.group_lhs + min(first_row / 4 + r, (p.rows + 3) / 4 - 1);

  ivec4 column = min(ivec4(first_column) + ivec4(0, 1, 2, 3), ivec4(p.columns - 1));
  ivec4 cx = column % p.size_c[2], rest = column / p.size_c[2];
  ivec4 cy = rest % p.size_c[1], planes = rest / p.size_c[1];
  ivec4 cz = planes % p.size_c[0], c0 = planes / p.size_c[0];
  ivec4 tz = cz * p.column_step[0] + p.shift[0], ty = cy * p.column_step[1] + p.shift[1], tx = cx * p.column_step[2] + p.shift[2];
  ivec4 image_at = p.image_offset + group * p.group_image + c0 * p.image_c0;

  Real4 sum[ROWS];
  for (int r = 0; r < ROWS; ++r) sum[r] = Real4(0);
  for (int kzy = 0; kzy < p.size_k[0] * p.size_k[1]; ++kzy) {
    int kz = kzy / p.size_k[1], ky = kzy % p.size_k[1];
    ivec4 z = tz + kz * p.k_step[0], y = ty + ky * p.k_step[1];
    bvec4 whole_z = bvec4(true), whole_y = bvec4(true);
    if (DIVIDES == 1) {
      whole_z = equal(z % p.divisor[0], ivec4(0));
      whole_y = equal(y % p.divisor[1], ivec4(0));
      z /= p.divisor[0];
      y /= p.divisor[1];
    }
    ivec4 in_zy = ivec4(whole_z) & ivec4(greaterThanEqual(z, ivec4(0))) & ivec4(lessThan(z, ivec4(p.size[0]))) &  //
                  ivec4(whole_y) & ivec4(greaterThanEqual(y, ivec4(0))) & ivec4(lessThan(y, ivec4(p.size[1])));
    ivec4 line = z * p.image_step[0] + y * p.image_step[1];
    int lhs_line = kz * p.lhs_k[0] + ky * p.lhs_k[1];
    // What lies outside is read at the image's first element, and counts for nothing.
    if (TAPS > 0) {
      int at[WINDOW];
      bool inside[WINDOW];
      int first = MIRRORED == 1 ? tx.x - int(TAPS) + 1 : tx.x;
      for (int i = 0; i < WINDOW; ++i) {
        int x = first + i;
        inside[i] = in_zy.x == 1 && x >= 0 && x < p.size[2];
        at[i] = image_at.x + (inside[i] ? line.x + x * p.image_step[2] : 0);
      }
      for (int k0 = 0; k0 < p.size_k0; ++k0) {
        Real window[WINDOW];
        for (int i = 0; i < WINDOW; ++i) {
          Real v = image(at[i] + k0 * p.image_k0);
          window[i] = inside[i] ? v : 0;
        }
        int w = lhs_line + k0 * p.lhs_k0;
        for (int kx = 0; kx < TAPS; ++kx) {
          int i = MIRRORED == 1 ? int(TAPS) - 1 - kx : kx;
          Real4 v = Real4(window[i], window[i + 1], window[i + 2], window[i + 3]);
          for (int r = 0; r < ROWS / 4; ++r) {
            Real4 x = lhs[a[r] + w + kx * p.lhs_k[2]];
            for (int j = 0; j < 4; ++j) sum[4 * r + j] = fma(Real4(x[j]), v, sum[4 * r + j]);
          }
        }
      }
    } else {
      for (int k0 = 0; k0 < p.size_k0; ++k0) {
        int w = lhs_line + k0 * p.lhs_k0;
        for (int kx = 0; kx < p.size_k[2]; ++kx) {
          ivec4 x = tx + kx * p.k_step[2];
          bvec4 whole_x = bvec4(true);
          if (DIVIDES == 1) {
            whole_x = equal(x % p.divisor[2], ivec4(0));
            x /= p.divisor[2];
          }
          ivec4 inside = in_zy & ivec4(whole_x) & ivec4(greaterThanEqual(x, ivec4(0))) & ivec4(lessThan(x, ivec4(p.size[2])));
          ivec4 e = image_at + inside * (line + x * p.image_step[2]) + k0 * p.image_k0;
          Real4 v = Real4(image(e.x), image(e.y), image(e.z), image(e.w));
          v = mix(Real4(0), v, equal(inside, ivec4(1)));
          for (int r = 0; r < ROWS / 4; ++r) {
            Real4 l = lhs[a[r] + w + kx * p.lhs_k[2]];
            for (int j = 0; j < 4; ++j) sum[4 * r + j] = fma(Real4(l[j]), v, sum[4 * r + j]);
          }
        }
      }
    }
  }

  // No break: loops that are not unrolled keep the sums in memory.
  ivec4 to = p.dst_offset + group * p.group_dst + c0 * p.dst_c0 + cz * p.dst_c[0] + cy * p.dst_c[1] + cx * p.dst_c[2];
  for (int r = 0; r < ROWS; ++r) {
    int row = first_row + r;
    for (int c = 0; c < 4; ++c) {
      if (row < p.rows && first_column + c < p.columns) {
        Real v = sum[r][c];
        if (HAS_BIAS == 1) v += bias(p.bias_offset + group * p.group_bias + row * p.bias_row);
        put_dst(to[c] + row * p.dst_row, v, ADDS);
      }
    }
  }
}
