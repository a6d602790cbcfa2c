// The three convolutions of two spatial dimensions as one product: dst[row, column] = sum over k of lhs[k, row] * image[k, column] + bias[row].
// Columns and k have three indices each, (c0, cy, cx) and (k0, ky, kx), which meet the image at
// y = (cy * column_step + ky * k_step + shift) / divisor, where that is whole and inside; x likewise. See convolution.cpp for what is what.
// An invocation makes ROWS rows of 4 neighbouring columns; those of a workgroup share their rows, so that what they load of lhs is the
// same for all, four rows a load.
#version 450

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;
layout(constant_id = 2) const uint DIVIDES = 0;  // whether a divisor is not 1
layout(constant_id = 3) const uint HAS_BIAS = 0;
layout(constant_id = 4) const uint ADDS = 0;   // to what dst holds: a later part of a long sum
layout(constant_id = 5) const uint TAPS = 0;   // size_kx, where the taps of 4 columns are 3 + TAPS neighbours; else 0
layout(constant_id = 6) const uint MIRRORED = 0;  // and the first tap is the last of them

const uint WINDOW = TAPS + 3;

layout(set = 0, binding = 0) buffer Dst { float dst[]; };
layout(set = 0, binding = 1) readonly buffer Lhs { vec4 lhs[]; };
layout(set = 0, binding = 2) readonly buffer Image { float image[]; };
layout(set = 0, binding = 3) readonly buffer Bias { float bias[]; };

// Offsets and strides in elements; lhs's in fours.
struct Problem {
  int dst_offset, lhs_offset, image_offset, bias_offset;
  int rows, columns;
  int row_tile, column_tile;  // the first of each
  int size_cy, size_cx;       // of columns
  int size_k0, size_ky, size_kx;
  int column_step[2], k_step[2], shift[2], divisor[2], size[2];  // y, x
  int dst_row, dst_c0, dst_cy, dst_cx;
  int lhs_k0, lhs_ky, lhs_kx;
  int image_c0, image_k0, image_y, image_x;
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
  ivec4 cx = column % p.size_cx, rest = column / p.size_cx;
  ivec4 cy = rest % p.size_cy, c0 = rest / p.size_cy;
  ivec4 ty = cy * p.column_step[0] + p.shift[0], tx = cx * p.column_step[1] + p.shift[1];
  ivec4 image_at = p.image_offset + group * p.group_image + c0 * p.image_c0;

  vec4 sum[ROWS];
  for (int r = 0; r < ROWS; ++r) sum[r] = vec4(0);
  for (int ky = 0; ky < p.size_ky; ++ky) {
    ivec4 y = ty + ky * p.k_step[0];
    bvec4 whole_y = bvec4(true);
    if (DIVIDES == 1) {
      whole_y = equal(y % p.divisor[0], ivec4(0));
      y /= p.divisor[0];
    }
    ivec4 in_y = ivec4(whole_y) & ivec4(greaterThanEqual(y, ivec4(0))) & ivec4(lessThan(y, ivec4(p.size[0])));
    // What lies outside is read at the image's first element, and counts for nothing.
    if (TAPS > 0) {
      int at[WINDOW];
      bool inside[WINDOW];
      int first = MIRRORED == 1 ? tx.x - int(TAPS) + 1 : tx.x;
      for (int i = 0; i < WINDOW; ++i) {
        int x = first + i;
        inside[i] = in_y.x == 1 && x >= 0 && x < p.size[1];
        at[i] = image_at.x + (inside[i] ? y.x * p.image_y + x * p.image_x : 0);
      }
      for (int k0 = 0; k0 < p.size_k0; ++k0) {
        float window[WINDOW];
        for (int i = 0; i < WINDOW; ++i) {
          float v = image[at[i] + k0 * p.image_k0];
          window[i] = inside[i] ? v : 0;
        }
        int w = ky * p.lhs_ky + k0 * p.lhs_k0;
        for (int kx = 0; kx < TAPS; ++kx) {
          int i = MIRRORED == 1 ? int(TAPS) - 1 - kx : kx;
          vec4 v = vec4(window[i], window[i + 1], window[i + 2], window[i + 3]);
          for (int r = 0; r < ROWS / 4; ++r) {
            vec4 x = lhs[a[r] + w + kx * p.lhs_kx];
            for (int j = 0; j < 4; ++j) sum[4 * r + j] = fma(vec4(x[j]), v, sum[4 * r + j]);
          }
        }
      }
    } else {
      for (int k0 = 0; k0 < p.size_k0; ++k0) {
        int w = ky * p.lhs_ky + k0 * p.lhs_k0;
        for (int kx = 0; kx < p.size_kx; ++kx) {
          ivec4 x = tx + kx * p.k_step[1];
          bvec4 whole_x = bvec4(true);
          if (DIVIDES == 1) {
            whole_x = equal(x % p.divisor[1], ivec4(0));
            x /= p.divisor[1];
          }
          ivec4 inside = in_y & ivec4(whole_x) & ivec4(greaterThanEqual(x, ivec4(0))) & ivec4(lessThan(x, ivec4(p.size[1])));
          ivec4 e = image_at + inside * (y * p.image_y + x * p.image_x) + k0 * p.image_k0;
          vec4 v = vec4(image[e.x], image[e.y], image[e.z], image[e.w]);
          v = mix(vec4(0), v, equal(inside, ivec4(1)));
          for (int r = 0; r < ROWS / 4; ++r) {
            vec4 l = lhs[a[r] + w + kx * p.lhs_kx];
            for (int j = 0; j < 4; ++j) sum[4 * r + j] = fma(vec4(l[j]), v, sum[4 * r + j]);
          }
        }
      }
    }
  }

  // No break: loops that are not unrolled keep the sums in memory.
  ivec4 to = p.dst_offset + group * p.group_dst + c0 * p.dst_c0 + cy * p.dst_cy + cx * p.dst_cx;
  for (int r = 0; r < ROWS; ++r) {
    int row = first_row + r;
    for (int c = 0; c < 4; ++c) {
      if (row < p.rows && first_column + c < p.columns) {
        float v = sum[r][c];
        if (HAS_BIAS == 1) v += bias[p.bias_offset + group * p.group_bias + row * p.bias_row];
        int e = to[c] + row * p.dst_row;
        if (ADDS == 1) v += dst[e];
        dst[e] = v;
      }
    }
  }
}
