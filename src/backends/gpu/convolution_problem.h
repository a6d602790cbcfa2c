// Convolutions and their gradients in one to three spatial dimensions, as products whose one factor is an image.
//
//            row  column (c0, cz, cy, cx)  k (k0, kz, ky, kx)  lhs     image
// forward    oc   n, dst z, y, x           ic, window z, y, x  weight  src
// src grad   ic   n, src z, y, x           oc, window z, y, x  weight  grad
// w. grad    oc   ic, window z, y, x       n, dst z, y, x      grad    src
#pragma once

#include <optional>
#include <vector>

#include "capabilities.h"
#include "ir/named.h"

namespace anygpu::gpu {

inline constexpr int kSpatial = 3;  ///< z, y, x; what is missing in front has size 1

/// What kernels are told, word by word. Offsets and strides in elements.
struct ConvolutionParams {
  int32_t dst_offset, lhs_offset, image_offset, bias_offset;
  int32_t rows, columns;
  int32_t row_tile, column_tile;
  int32_t size_c[kSpatial];
  int32_t size_k0, size_k[kSpatial];
  int32_t column_step[kSpatial], k_step[kSpatial], shift[kSpatial], divisor[kSpatial], size[kSpatial];
  int32_t dst_row, dst_c0, dst_c[kSpatial];
  int32_t lhs_k0, lhs_k[kSpatial];
  int32_t image_c0, image_k0, image_step[kSpatial];
  int32_t bias_row;
  int32_t group_dst, group_lhs, group_image, group_bias;
};

/// Its params lack offsets, and where lhs lies: kernels want that packed.
struct ConvolutionProblem {
  ConvolutionParams params;
  ir::Operand dst, lhs, image;  ///< of rank 2 + kSpatial
  Dims lhs_strides;             ///< group, k0, kz, ky, kx, row
  int64_t groups;
  bool bias;
  bool dilates;
};

/// Nothing where a place within the image or a column is no number of 32 bits, or there is nothing to sum. dst has elements.
std::optional<ConvolutionProblem> convolution_problem(const ir::Named&);

/// Whether what the operands touch is within the device's reach, and 31 bits of elements.
bool operands_fit(const ir::Named&, const Capabilities&);

/// lhs[group, k0, kz, ky, kx, row], rows together, each list of them in whole fours; its sizes in `packed`.
Dims packed_sizes(const ConvolutionParams&, int64_t groups);
ir::Generic pack_lhs(const std::string& name, const ConvolutionProblem&, ir::Operand packed);
/// Where the packed lhs lies.
void set_packed_strides(ConvolutionParams&);

/// A source gradient of stride s sees every s-th tap only: columns of one remainder see the same ones, and are a product without a
/// divisor. Others, and what is dilated, stay as they are.
std::vector<ConvolutionParams> phases(const ConvolutionParams&, bool dilates);

}  // namespace anygpu::gpu
