#include "frontends/common/columns.h"

#include "anygpu/calls/pool.h"

namespace anygpu::common {

namespace {

/// How many windows lie along a dimension of `size`.
int64_t places(const Window& w, int dim, int64_t size) {
  return calls::windows_along(size, w.kernel[dim], w.stride[dim], w.padding[dim], w.dilation[dim]);
}

/// Columns [N, C kh kw, places] with all their dimensions: [N, C, kh, kw, oh, ow].
Array unfolded(const Array& columns, const Window& w, int64_t height, int64_t width) {
  return reshape(columns, {columns.sizes[0], columns.sizes[1] / (w.kernel[0] * w.kernel[1]), w.kernel[0], w.kernel[1], places(w, 0, height),
                           places(w, 1, width)});
}

}  // namespace

Array im2col(const Array& x_in, const Window& w) {
  const Array x = contiguous(x_in);
  const int64_t height = x.sizes[2], width = x.sizes[3];
  Array r = make(x.device(), x.dtype, {x.sizes[0], x.sizes[1] * w.kernel[0] * w.kernel[1], places(w, 0, height) * places(w, 1, width)});
  if (r.elements()) record(calls::Im2Col{.dst = unfolded(r, w, height, width), .src = x, .window = w});
  return r;
}

Array col2im(const Array& columns, int64_t height, int64_t width, const Window& w) {
  const Array from = unfolded(columns, w, height, width);
  Array r = make(columns.device(), columns.dtype, {columns.sizes[0], from.sizes[1], height, width});
  if (r.elements()) record(calls::Col2Im{.dst = r, .src = from, .window = w});
  return r;
}

}  // namespace anygpu::common
