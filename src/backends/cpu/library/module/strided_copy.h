// Copies between any two layouts of one array.
#pragma once

#include "anygpu/dims.h"

namespace anygpu::cpu {

/// dst[i] = src[i] for all indices i of `sizes`; strides in elements of `element_bytes` (2 or 4) bytes. dst does not overlap itself;
/// src may repeat (stride 0, windows). dst and src are disjoint, or the same elements throughout.
void strided_copy(int element_bytes, const Dims& sizes, void* dst, const Dims& dst_strides, const void* src, const Dims& src_strides);

/// All elements of dst become zero bytes.
void strided_zero(int element_bytes, const Dims& sizes, void* dst, const Dims& dst_strides);

}  // namespace anygpu::cpu
