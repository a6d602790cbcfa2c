// As conv.comp, for devices whose subgroups are a processor's vectors: lhs is spread over the lanes of a subgroup, loaded once, and
// shuffled; factors are texel buffers, neighbours are stored at once. See matmul_lanes.comp. Divisors are conv.comp's.
#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;      // a multiple of 4
layout(constant_id = 2) const uint HAS_BIAS = 0;
layout(constant_id = 3) const uint ADDS = 0;      // to what dst holds: a later part of a long sum
layout(constant_id = 4) const uint TAPS = 0;      // size_k[2], where the taps of 4 columns are 3 + TAPS neighbours; else 0
layout(constant_id = 5) const uint MIRRORED = 0;  // and the first tap is the last of them
layout(constant_id = 6) const uint DST_FOURS = 0; // four columns are neighbours in dst, and aligned
layout(constant_id = 7) const uint WIDTH = 8;     // lanes of a subgroup

const uint WINDOW = TAPS + 3;
const uint PER_LOAD = 4 * WIDTH;  // rows that one load of lhs brings
const uint LOADS = (ROWS + PER_LOAD - 1) / PER_LOAD;

layout(set = 0, binding = 0) buffer Dst { float dst[]; };
layout(set = 0, binding = 0) buffer Dst4 { vec4 dst4[]; };
layout(set = 0, binding = 1) uniform samplerBuffer lhs;    // texels of four
layout(set = 0, binding = 2) uniform samplerBuffer image;  // of one
layout(set = 0, binding = 3) uniform samplerBuffer bias;   // of one

// As in conv.comp.
struct Problem {
  int dst_offset, lhs_offset, image_offset, bias_offset;
  int rows, columns;
  int row_tile, column_tile;
  int size_c[3];
  int size_k0, size_k[3];
  int column_step[3], k_step[3], shift[3], divisor[3], size[3];
  int dst_row, dst_c0, dst_c[3];
  int lhs_k0, lhs_k[3];
  int image_c0, image_k0, image_step[3];
  int bias_row;
  int group_dst, group_lhs, group_image, group_bias;
};
layout(set = 0, binding = 4) readonly buffer Params { Problem problem; };

vec4 sum[ROWS];

/// Adds lhs's column at w times v to the sums.
void add_products(int a[LOADS], int w, vec4 v) {
  vec4 x[LOADS];
  for (int l = 0; l < LOADS; ++l) x[l] = texelFetch(lhs, a[l] + w);
  for (int r = 0; r < ROWS; ++r) sum[r] += subgroupShuffle(x[r / PER_LOAD][r % 4], r % PER_LOAD / 4) * v;
}

void main() {
  Problem p = problem;
  int group = int(gl_WorkGroupID.z);
  int first_row = (p.row_tile + int(gl_WorkGroupID.y)) * int(ROWS);
  int first_column = 4 * (p.column_tile * int(gl_WorkGroupSize.x) + int(gl_GlobalInvocationID.x));
  // Past the edge the last rows and column are computed again, and not stored: shuffles need every lane.
  int a[LOADS];
  for (int l = 0; l < LOADS; ++l)
    a[l] = p.lhs_offset + group * p.group_lhs + min(first_row / 4 + l * int(WIDTH) + int(gl_SubgroupInvocationID), (p.rows + 3) / 4 - 1);

  ivec4 column = min(ivec4(first_column) + ivec4(0, 1, 2, 3), ivec4(p.columns - 1));
  ivec4 cx = column % p.size_c[2], rest = column / p.size_c[2];
  ivec4 cy = rest % p.size_c[1], planes = rest / p.size_c[1];
  ivec4 cz = planes % p.size_c[0], c0 = planes / p.size_c[0];
  ivec4 tz = cz * p.column_step[0] + p.shift[0], ty = cy * p.column_step[1] + p.shift[1], tx = cx * p.column_step[2] + p.shift[2];
  ivec4 image_at = p.image_offset + group * p.group_image + c0 * p.image_c0;

  for (int r = 0; r < ROWS; ++r) sum[r] = vec4(0);
  int lines = p.size_k[0] * p.size_k[1], size_k0 = p.size_k0, lhs_k0 = p.lhs_k0, lhs_kx = p.lhs_k[2], image_k0 = p.image_k0;
  for (int kzy = 0; kzy < lines; ++kzy) {
    int kz = kzy / p.size_k[1], ky = kzy % p.size_k[1];
    ivec4 z = tz + kz * p.k_step[0], y = ty + ky * p.k_step[1];
    ivec4 in_zy = ivec4(greaterThanEqual(z, ivec4(0))) & ivec4(lessThan(z, ivec4(p.size[0]))) &  //
                  ivec4(greaterThanEqual(y, ivec4(0))) & ivec4(lessThan(y, ivec4(p.size[1])));
    ivec4 line = z * p.image_step[0] + y * p.image_step[1];
    int w = kz * p.lhs_k[0] + ky * p.lhs_k[1];
    // What lies outside is read at the image's first element, and counts for nothing.
    if (TAPS > 0) {
      int at[WINDOW];
      float counts[WINDOW];
      int first = MIRRORED == 1 ? tx.x - int(TAPS) + 1 : tx.x;
      for (int i = 0; i < WINDOW; ++i) {
        int x = first + i;
        bool inside = in_zy.x == 1 && x >= 0 && x < p.size[2];
        counts[i] = inside ? 1 : 0;
        at[i] = image_at.x + (inside ? line.x + x * p.image_step[2] : 0);
      }
      for (int k0 = 0; k0 < size_k0; ++k0) {
        float window[WINDOW];
        for (int i = 0; i < WINDOW; ++i) {
          float v = texelFetch(image, at[i] + k0 * image_k0).x;
          window[i] = counts[i] == 1 ? v : 0;
        }
        for (int kx = 0; kx < TAPS; ++kx) {
          int i = MIRRORED == 1 ? int(TAPS) - 1 - kx : kx;
          add_products(a, w + k0 * lhs_k0 + kx * lhs_kx, vec4(window[i], window[i + 1], window[i + 2], window[i + 3]));
        }
      }
    } else {
      for (int kx = 0; kx < p.size_k[2]; ++kx) {
        ivec4 x = tx + kx * p.k_step[2];
        ivec4 inside = in_zy & ivec4(greaterThanEqual(x, ivec4(0))) & ivec4(lessThan(x, ivec4(p.size[2])));
        ivec4 e = image_at + inside * (line + x * p.image_step[2]);
        for (int k0 = 0; k0 < size_k0; ++k0) {
          ivec4 f = e + k0 * image_k0;
          vec4 v = vec4(texelFetch(image, f.x).x, texelFetch(image, f.y).x, texelFetch(image, f.z).x, texelFetch(image, f.w).x);
          add_products(a, w + k0 * lhs_k0 + kx * lhs_kx, mix(vec4(0), v, equal(inside, ivec4(1))));
        }
      }
    }
  }

  if (HAS_BIAS == 1)
    for (int r = 0; r < ROWS; ++r)
      sum[r] += texelFetch(bias, p.bias_offset + group * p.group_bias + min(first_row + r, p.rows - 1) * p.bias_row).x;
  // No break: loops that are not unrolled keep the sums in memory.
  ivec4 to = p.dst_offset + group * p.group_dst + c0 * p.dst_c0 + cz * p.dst_c[0] + cy * p.dst_c[1] + cx * p.dst_c[2];
  for (int r = 0; r < ROWS; ++r) {
    int row = first_row + r;
    if (DST_FOURS == 1) {
      if (row < p.rows && first_column < p.columns) {
        int e = to.x + row * p.dst_row;
        vec4 v = sum[r];
        if (ADDS == 1) v += vec4(dst[e], dst[e + 1], dst[e + 2], dst[e + 3]);
        dst4[e >> 2] = v;
      }
    } else {
      for (int c = 0; c < 4; ++c)
        if (row < p.rows && first_column + c < p.columns) {
          int e = to[c] + row * p.dst_row;
          dst[e] = ADDS == 1 ? dst[e] + sum[r][c] : sum[r][c];
        }
    }
  }
}
