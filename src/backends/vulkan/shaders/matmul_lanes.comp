// dst = lhs @ rhs + bias for devices whose subgroups are a processor's vectors. As in matmul.comp, an invocation makes ROWS rows of 4
// neighbouring columns. What a subgroup needs of lhs is spread over its lanes, loaded once, and shuffled: there, a load that is the same
// for all lanes costs more than one that differs. Factors are texel buffers: loads of storage buffers are a branch for each element.
// Four elements that are stored at once are one branch, too.
#version 450
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require

layout(local_size_x_id = 0) in;
layout(constant_id = 1) const uint ROWS = 8;  // a multiple of 4
layout(constant_id = 2) const uint LHS = 0;   // 0: any strides; 1: four k at a time, which are neighbours; 2: four rows at a time
layout(constant_id = 3) const uint RHS = 0;   // 0: any strides; 1: four columns at a time; 2: four k at a time
layout(constant_id = 4) const uint BIAS = 0;  // 0: none; 1: any strides; 2: the same for all rows
layout(constant_id = 5) const uint ADDS = 0;  // to what dst holds: a later part of a long sum
layout(constant_id = 6) const uint DST = 0;   // 0: any strides; 1: four columns at a time; 2: four rows at a time
layout(constant_id = 7) const uint WIDTH = 8; // lanes of a subgroup

layout(set = 0, binding = 0) buffer Dst { float dst[]; };
layout(set = 0, binding = 0) buffer Dst4 { vec4 dst4[]; };
// Texels of four elements where taken four at a time, else of one.
layout(set = 0, binding = 1) uniform samplerBuffer lhs;
layout(set = 0, binding = 2) uniform samplerBuffer rhs;
layout(set = 0, binding = 3) uniform samplerBuffer bias;

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

// How many loads bring all rows of lhs, and how many k a step takes.
const uint PER_LOAD = LHS == 2 ? 4 * WIDTH : WIDTH;
const uint LOADS = (ROWS + PER_LOAD - 1) / PER_LOAD;
const uint STEP = 4;

/// Element e of lhs, of this lane's row or four rows.
vec4 one_k(int e) { return texelFetch(lhs, LHS == 2 ? e >> 2 : e); }

/// Of what one_k() gave the lanes: row r's.
float row_of(vec4 x[LOADS], int r) {
  return LHS == 2 ? subgroupShuffle(x[r / PER_LOAD][r % 4], r % PER_LOAD / 4) : subgroupShuffle(x[r / PER_LOAD].x, r % PER_LOAD);
}

void store4(int e, vec4 v) {
  if (ADDS == 1) v += vec4(dst[e], dst[e + 1], dst[e + 2], dst[e + 3]);
  dst4[e >> 2] = v;
}

void main() {
  int z = p.batch + int(gl_WorkGroupID.z);
  int inner = z % p.batches, outer = z / p.batches;
  ivec4 at;
  for (int i = 0; i < 4; ++i) at[i] = p.offset[i] + outer * p.batch_stride[i] + inner * p.batch_stride[4 + i];
  int first_row = (p.row_tile + int(gl_WorkGroupID.y)) * int(ROWS);
  int first_column = 4 * int(gl_GlobalInvocationID.x);
  int lane = int(gl_SubgroupInvocationID);

  // Past the edge the last row and column are computed again, and not stored: shuffles need every lane.
  int a[LOADS];
  for (int i = 0; i < LOADS; ++i) {
    int row = first_row + int(i * PER_LOAD) + (LHS == 2 ? 4 * lane : lane);
    a[i] = at[1] + min(row, LHS == 2 ? p.m - 4 : p.m - 1) * p.row[1];
  }
  ivec4 columns = min(ivec4(first_column) + ivec4(0, 1, 2, 3), ivec4(p.n - 1));
  if (RHS == 1) columns.x = min(first_column, p.n - 4);
  ivec4 b = at[2] + columns * p.column[2];

  // Read here, for each read is a branch.
  int size_k = p.k, lhs_k = p.column[1], rhs_k = p.row[2];
  vec4 sum[ROWS];
  for (int r = 0; r < ROWS; ++r) sum[r] = vec4(0);
  int k = 0;
  for (; k + int(STEP) <= size_k; k += int(STEP)) {
    vec4 y[4];
    if (RHS == 2) {
      mat4 t = transpose(mat4(texelFetch(rhs, (b.x + k) >> 2), texelFetch(rhs, (b.y + k) >> 2), texelFetch(rhs, (b.z + k) >> 2),
                              texelFetch(rhs, (b.w + k) >> 2)));
      for (int i = 0; i < 4; ++i) y[i] = t[i];
    } else {
      for (int i = 0; i < 4; ++i) {
        ivec4 e = b + (k + i) * rhs_k;
        if (RHS == 1)
          y[i] = texelFetch(rhs, e.x >> 2);
        else
          y[i] = vec4(texelFetch(rhs, e.x).x, texelFetch(rhs, e.y).x, texelFetch(rhs, e.z).x, texelFetch(rhs, e.w).x);
      }
    }
    if (LHS == 1) {
      vec4 x[LOADS];
      for (int l = 0; l < LOADS; ++l) x[l] = texelFetch(lhs, (a[l] + k) >> 2);
      for (int i = 0; i < 4; ++i)
        for (int r = 0; r < ROWS; ++r) sum[r] += subgroupShuffle(x[r / WIDTH][i], r % WIDTH) * y[i];
    } else {
      for (int i = 0; i < 4; ++i) {
        vec4 x[LOADS];
        for (int l = 0; l < LOADS; ++l) x[l] = one_k(a[l] + (k + i) * lhs_k);
        for (int r = 0; r < ROWS; ++r) sum[r] += row_of(x, r) * y[i];
      }
    }
  }
  // Of what is taken four k at a time, k is a multiple of four.
  for (; k < size_k && LHS != 1 && RHS != 2; ++k) {
    ivec4 e = b + k * rhs_k;
    vec4 y;
    if (RHS == 1)
      y = texelFetch(rhs, e.x >> 2);
    else
      y = vec4(texelFetch(rhs, e.x).x, texelFetch(rhs, e.y).x, texelFetch(rhs, e.z).x, texelFetch(rhs, e.w).x);
    vec4 x[LOADS];
    for (int l = 0; l < LOADS; ++l) x[l] = one_k(a[l] + k * lhs_k);
    for (int r = 0; r < ROWS; ++r) sum[r] += row_of(x, r) * y;
  }

  if (BIAS == 2) {
    ivec4 e = at[3] + columns * p.column[3];
    vec4 v = vec4(texelFetch(bias, e.x).x, texelFetch(bias, e.y).x, texelFetch(bias, e.z).x, texelFetch(bias, e.w).x);
    for (int r = 0; r < ROWS; ++r) sum[r] += v;
  } else if (BIAS == 1) {
    for (int r = 0; r < ROWS; ++r) {
      ivec4 e = at[3] + min(first_row + r, p.m - 1) * p.row[3] + columns * p.column[3];
      sum[r] += vec4(texelFetch(bias, e.x).x, texelFetch(bias, e.y).x, texelFetch(bias, e.z).x, texelFetch(bias, e.w).x);
    }
  }
  // No break: loops that are not unrolled keep the sums in memory.
  if (DST == 1) {
    for (int r = 0; r < ROWS; ++r)
      if (first_row + r < p.m && first_column < p.n) store4(at[0] + (first_row + r) * p.row[0] + first_column, sum[r]);
  } else if (DST == 2) {
    for (int r = 0; r < ROWS; r += 4)
      for (int c = 0; c < 4; ++c)
        if (first_row + r < p.m && first_column + c < p.n)
          store4(at[0] + first_row + r + (first_column + c) * p.column[0], vec4(sum[r][c], sum[r + 1][c], sum[r + 2][c], sum[r + 3][c]));
  } else {
    for (int r = 0; r < ROWS; ++r)
      for (int c = 0; c < 4; ++c)
        if (first_row + r < p.m && first_column + c < p.n) {
          int e = at[0] + (first_row + r) * p.row[0] + (first_column + c) * p.column[0];
          dst[e] = ADDS == 1 ? dst[e] + sum[r][c] : sum[r][c];
        }
  }
}
