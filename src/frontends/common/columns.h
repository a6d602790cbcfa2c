// Images as matrices whose columns are the windows that a convolution would look at.
#pragma once

#include "anygpu/calls/window.h"
#include "frontends/common/operators.h"

namespace anygpu::common {

using calls::Window;  ///< of two dimensions: height, then width

/// x [N, C, H, W] as [N, C kh kw, places].
Array im2col(const Array& x, const Window&);
/// The sum of columns in an image of H x W: im2col's gradient.
Array col2im(const Array& columns, int64_t height, int64_t width, const Window&);

}  // namespace anygpu::common
