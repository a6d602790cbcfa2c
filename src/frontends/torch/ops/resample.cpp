// Resizing and grid sampling.
#include <ATen/native/GridSamplerUtils.h>
#include <ATen/native/UpSample.h>
#include <ATen/ops/_upsample_bicubic2d_aa_backward_meta.h>
#include <ATen/ops/_upsample_bicubic2d_aa_meta.h>
#include <ATen/ops/_upsample_bilinear2d_aa_backward_meta.h>
#include <ATen/ops/_upsample_bilinear2d_aa_meta.h>
#include <ATen/ops/_upsample_nearest_exact1d_backward_meta.h>
#include <ATen/ops/_upsample_nearest_exact1d_meta.h>
#include <ATen/ops/_upsample_nearest_exact2d_backward_meta.h>
#include <ATen/ops/_upsample_nearest_exact2d_meta.h>
#include <ATen/ops/_upsample_nearest_exact3d_backward_meta.h>
#include <ATen/ops/_upsample_nearest_exact3d_meta.h>
#include <ATen/ops/upsample_bicubic2d_backward_meta.h>
#include <ATen/ops/upsample_bicubic2d_meta.h>
#include <ATen/ops/upsample_bilinear2d_backward_meta.h>
#include <ATen/ops/upsample_bilinear2d_meta.h>
#include <ATen/ops/upsample_linear1d_backward_meta.h>
#include <ATen/ops/upsample_linear1d_meta.h>
#include <ATen/ops/upsample_nearest1d_backward_meta.h>
#include <ATen/ops/upsample_nearest1d_meta.h>
#include <ATen/ops/upsample_nearest2d_backward_meta.h>
#include <ATen/ops/upsample_nearest2d_meta.h>
#include <ATen/ops/upsample_nearest3d_backward_meta.h>
#include <ATen/ops/upsample_nearest3d_meta.h>
#include <ATen/ops/upsample_trilinear3d_backward_meta.h>
#include <ATen/ops/upsample_trilinear3d_meta.h>

#include "anygpu/calls/resample.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;
using OptScale = std::optional<double>;

using calls::Filter;
using calls::Resize;

void check_dtype(Resize mode, const Tensor& t) {
  const bool ok = at::isFloatingType(t.scalar_type()) || (t.scalar_type() == at::kByte && (mode == Resize::Nearest || mode == Resize::NearestExact));
  if (!ok) throw Refused(c10::str("upsampling of ", t.scalar_type()));
}

/// Input elements per output element, in the precision that PyTorch computes it in.
double scale_of(Resize mode, const Tensor& t, int64_t in, int64_t out, bool align_corners, OptScale given) {
  if (mode == Resize::Nearest || mode == Resize::NearestExact) return at::native::compute_scales_value<float>(given, in, out);
  return t.scalar_type() == at::kDouble ? at::native::area_pixel_compute_scale<double>(in, out, align_corners, given)
                                        : at::native::area_pixel_compute_scale<float>(in, out, align_corners, given);
}

void upsample(bool gradient, Resize mode, bool align_corners, const Tensor& dst, const Tensor& src, std::initializer_list<OptScale> given) {
  check_dtype(mode, src);
  if (dst.numel() == 0) return;
  const Tensor &in = gradient ? dst : src, &out = gradient ? src : dst;
  std::array<double, 3> scales{};
  int64_t d = 0;
  for (const OptScale& s : given) {
    scales[static_cast<size_t>(d)] = scale_of(mode, src, in.size(2 + d), out.size(2 + d), align_corners, s);
    ++d;
  }
  if (gradient)
    record(calls::UpsampleGrad{.dsrc = dst, .ddst = src, .mode = mode, .align_corners = align_corners, .scales = scales});
  else
    record(calls::Upsample{.dst = dst, .src = src, .mode = mode, .align_corners = align_corners, .scales = scales});
}

/// A byte image's weights are fixed-point numbers on the CPU: left to it.
template <auto F>
struct NotOfBytes;
template <class... Args, Tensor& (*F)(const Tensor&, Args...)>
struct NotOfBytes<F> {
  static Tensor& call(const Tensor& self, Args... args) {
    if (self.scalar_type() == at::kByte) throw Refused("upsampling of bytes");
    return F(self, args...);
  }
};

// ---- nearest: (self, output_size, scales...) and (grad, output_size, input_size, scales...) ----

template <class Meta, Resize mode>
Tensor& nearest1d(const Tensor& self, IntArrayRef size, OptScale w, Tensor& out) {
  meta_out<Meta>({&out}, self, size, w);
  upsample(false, mode, false, out, self, {w});
  return out;
}
template <class Meta, Resize mode>
Tensor& nearest1d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, OptScale w, Tensor& dx) {
  meta_out<Meta>({&dx}, grad, size, input_size, w);
  upsample(true, mode, false, dx, grad, {w});
  return dx;
}
template <class Meta, Resize mode>
Tensor& nearest2d(const Tensor& self, IntArrayRef size, OptScale h, OptScale w, Tensor& out) {
  meta_out<Meta>({&out}, self, size, h, w);
  upsample(false, mode, false, out, self, {h, w});
  return out;
}
template <class Meta, Resize mode>
Tensor& nearest2d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, OptScale h, OptScale w, Tensor& dx) {
  meta_out<Meta>({&dx}, grad, size, input_size, h, w);
  upsample(true, mode, false, dx, grad, {h, w});
  return dx;
}
template <class Meta, Resize mode>
Tensor& nearest3d(const Tensor& self, IntArrayRef size, OptScale d, OptScale h, OptScale w, Tensor& out) {
  meta_out<Meta>({&out}, self, size, d, h, w);
  upsample(false, mode, false, out, self, {d, h, w});
  return out;
}
template <class Meta, Resize mode>
Tensor& nearest3d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, OptScale d, OptScale h, OptScale w, Tensor& dx) {
  meta_out<Meta>({&dx}, grad, size, input_size, d, h, w);
  upsample(true, mode, false, dx, grad, {d, h, w});
  return dx;
}

// ---- linear and cubic ----

Tensor& linear1d(const Tensor& self, IntArrayRef size, bool align, OptScale w, Tensor& out) {
  meta_out<at::meta::structured_upsample_linear1d>({&out}, self, size, align, w);
  upsample(false, Resize::Linear, align, out, self, {w});
  return out;
}
Tensor& linear1d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, bool align, OptScale w, Tensor& dx) {
  meta_out<at::meta::structured_upsample_linear1d_backward>({&dx}, grad, size, input_size, align, w);
  upsample(true, Resize::Linear, align, dx, grad, {w});
  return dx;
}
template <class Meta, Resize mode>
Tensor& smooth2d(const Tensor& self, IntArrayRef size, bool align, OptScale h, OptScale w, Tensor& out) {
  meta_out<Meta>({&out}, self, size, align, h, w);
  upsample(false, mode, align, out, self, {h, w});
  return out;
}
template <class Meta, Resize mode>
Tensor& smooth2d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, bool align, OptScale h, OptScale w, Tensor& dx) {
  meta_out<Meta>({&dx}, grad, size, input_size, align, h, w);
  upsample(true, mode, align, dx, grad, {h, w});
  return dx;
}
Tensor& trilinear3d(const Tensor& self, IntArrayRef size, bool align, OptScale d, OptScale h, OptScale w, Tensor& out) {
  meta_out<at::meta::structured_upsample_trilinear3d>({&out}, self, size, align, d, h, w);
  upsample(false, Resize::Linear, align, out, self, {d, h, w});
  return out;
}
Tensor& trilinear3d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, bool align, OptScale d, OptScale h, OptScale w,
                             Tensor& dx) {
  meta_out<at::meta::structured_upsample_trilinear3d_backward>({&dx}, grad, size, input_size, align, d, h, w);
  upsample(true, Resize::Linear, align, dx, grad, {d, h, w});
  return dx;
}

// ---- with a filter that grows with the scale ----

void filtered(bool gradient, Filter filter, bool align_corners, const Tensor& dst, const Tensor& src, OptScale h, OptScale w) {
  check_dtype(Resize::Cubic, src);
  if (dst.numel() == 0) return;
  const Tensor &in = gradient ? dst : src, &out = gradient ? src : dst;
  double scales[2];
  int64_t taps[2];
  for (int d = 0; d < 2; ++d) {
    scales[d] = scale_of(Resize::Cubic, src, in.size(2 + d), out.size(2 + d), align_corners, d ? w : h);
    taps[d] = calls::filter_taps(filter, scales[d], in.size(2 + d));
  }
  if (gradient)
    record(calls::UpsampleFilteredGrad{.dsrc = dst,
                                       .ddst = src,
                                       .filter = filter,
                                       .taps_h = taps[0],
                                       .taps_w = taps[1],
                                       .scale_h = scales[0],
                                       .scale_w = scales[1]});
  else
    record(calls::UpsampleFiltered{.dst = dst,
                                   .src = src,
                                   .filter = filter,
                                   .taps_h = taps[0],
                                   .taps_w = taps[1],
                                   .scale_h = scales[0],
                                   .scale_w = scales[1]});
}
template <class Meta, Filter filter>
Tensor& filtered2d(const Tensor& self, IntArrayRef size, bool align, OptScale h, OptScale w, Tensor& out) {
  meta_out<Meta>({&out}, self, size, align, h, w);
  filtered(false, filter, align, out, self, h, w);
  return out;
}
template <class Meta, Filter filter>
Tensor& filtered2d_backward(const Tensor& grad, IntArrayRef size, IntArrayRef input_size, bool align, OptScale h, OptScale w, Tensor& dx) {
  meta_out<Meta>({&dx}, grad, size, input_size, align, h, w);
  filtered(true, filter, align, dx, grad, h, w);
  return dx;
}

// ---- at coordinates ----

void check_grid(const Tensor& input, const Tensor& grid, int64_t n, int64_t interpolation) {
  at::native::check_grid_sampler_common(input, grid);
  if (n == 2)
    at::native::check_grid_sampler_2d(input, grid);
  else
    at::native::check_grid_sampler_3d(input, grid, interpolation);
  want_float(input);
  TORCH_CHECK(input.scalar_type() == grid.scalar_type(), "expected scalar type ", input.scalar_type(), " but found ", grid.scalar_type());
}

/// PyTorch's numbers are the catalogue's.
calls::Sampling sampling_of(int64_t interpolation) {
  return static_cast<calls::Sampling>(interpolation);
}
calls::Outside outside_of(int64_t padding) {
  return static_cast<calls::Outside>(padding);
}

template <int64_t n>
Tensor grid_sampler(const Tensor& input, const Tensor& grid, int64_t interpolation, int64_t padding, bool align) {
  check_grid(input, grid, n, interpolation);
  c10::SmallVector<int64_t, 5> sizes{input.size(0), input.size(1)};
  for (int64_t d = 0; d < n; ++d) sizes.push_back(grid.size(1 + d));
  Tensor out = empty(sizes, input);
  if (out.numel())
    record(calls::GridSample{.dst = out,
                             .src = input,
                             .grid = grid,
                             .sampling = sampling_of(interpolation),
                             .outside = outside_of(padding),
                             .align_corners = align});
  return out;
}

template <int64_t n>
std::tuple<Tensor, Tensor> grid_sampler_backward(const Tensor& grad, const Tensor& input, const Tensor& grid, int64_t interpolation,
                                                 int64_t padding, bool align, std::array<bool, 2> mask) {
  check_grid(input, grid, n, interpolation);
  Tensor dx, dgrid;
  const bool nothing = grad.numel() == 0;
  if (mask[0]) {
    dx = empty(input.sizes(), input);
    if (nothing)
      dx.zero_();
    else
      record(calls::GridSampleSrcGrad{.dsrc = dx,
                                      .ddst = grad,
                                      .grid = grid,
                                      .sampling = sampling_of(interpolation),
                                      .outside = outside_of(padding),
                                      .align_corners = align});
  }
  if (mask[1]) {
    dgrid = empty(grid.sizes(), grid);
    if (nothing)
      dgrid.zero_();
    else
      record(calls::GridSampleGridGrad{.dgrid = dgrid,
                                       .ddst = grad,
                                       .src = input,
                                       .grid = grid,
                                       .sampling = sampling_of(interpolation),
                                       .outside = outside_of(padding),
                                       .align_corners = align});
  }
  return {dx, dgrid};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::upsample_nearest1d_out, nearest1d<at::meta::structured_upsample_nearest1d, Resize::Nearest>>(m);
  on<at::_ops::upsample_nearest1d_backward_grad_input, nearest1d_backward<at::meta::structured_upsample_nearest1d_backward, Resize::Nearest>>(m);
  on<at::_ops::_upsample_nearest_exact1d_out, nearest1d<at::meta::structured__upsample_nearest_exact1d, Resize::NearestExact>>(m);
  on<at::_ops::_upsample_nearest_exact1d_backward_grad_input,
     nearest1d_backward<at::meta::structured__upsample_nearest_exact1d_backward, Resize::NearestExact>>(m);
  on<at::_ops::upsample_nearest2d_out, nearest2d<at::meta::structured_upsample_nearest2d, Resize::Nearest>>(m);
  on<at::_ops::upsample_nearest2d_backward_grad_input, nearest2d_backward<at::meta::structured_upsample_nearest2d_backward, Resize::Nearest>>(m);
  on<at::_ops::_upsample_nearest_exact2d_out, nearest2d<at::meta::structured__upsample_nearest_exact2d, Resize::NearestExact>>(m);
  on<at::_ops::_upsample_nearest_exact2d_backward_grad_input,
     nearest2d_backward<at::meta::structured__upsample_nearest_exact2d_backward, Resize::NearestExact>>(m);
  on<at::_ops::upsample_nearest3d_out, nearest3d<at::meta::structured_upsample_nearest3d, Resize::Nearest>>(m);
  on<at::_ops::upsample_nearest3d_backward_grad_input, nearest3d_backward<at::meta::structured_upsample_nearest3d_backward, Resize::Nearest>>(m);
  on<at::_ops::_upsample_nearest_exact3d_out, nearest3d<at::meta::structured__upsample_nearest_exact3d, Resize::NearestExact>>(m);
  on<at::_ops::_upsample_nearest_exact3d_backward_grad_input,
     nearest3d_backward<at::meta::structured__upsample_nearest_exact3d_backward, Resize::NearestExact>>(m);
  on<at::_ops::upsample_linear1d_out, linear1d>(m);
  on<at::_ops::upsample_linear1d_backward_grad_input, linear1d_backward>(m);
  on<at::_ops::upsample_bilinear2d_out, &NotOfBytes<smooth2d<at::meta::structured_upsample_bilinear2d, Resize::Linear>>::call>(m);
  on<at::_ops::upsample_bilinear2d_backward_grad_input, smooth2d_backward<at::meta::structured_upsample_bilinear2d_backward, Resize::Linear>>(m);
  on<at::_ops::upsample_bicubic2d_out, &NotOfBytes<smooth2d<at::meta::structured_upsample_bicubic2d, Resize::Cubic>>::call>(m);
  on<at::_ops::upsample_bicubic2d_backward_grad_input, smooth2d_backward<at::meta::structured_upsample_bicubic2d_backward, Resize::Cubic>>(m);
  on<at::_ops::upsample_trilinear3d_out, trilinear3d>(m);
  on<at::_ops::upsample_trilinear3d_backward_grad_input, trilinear3d_backward>(m);
  on<at::_ops::_upsample_bilinear2d_aa_out, &NotOfBytes<filtered2d<at::meta::structured__upsample_bilinear2d_aa, Filter::Triangle>>::call>(m);
  on<at::_ops::_upsample_bilinear2d_aa_backward_grad_input,
     filtered2d_backward<at::meta::structured__upsample_bilinear2d_aa_backward, Filter::Triangle>>(m);
  on<at::_ops::_upsample_bicubic2d_aa_out, &NotOfBytes<filtered2d<at::meta::structured__upsample_bicubic2d_aa, Filter::Cubic>>::call>(m);
  on<at::_ops::_upsample_bicubic2d_aa_backward_grad_input,
     filtered2d_backward<at::meta::structured__upsample_bicubic2d_aa_backward, Filter::Cubic>>(m);
  on<at::_ops::grid_sampler_2d, grid_sampler<2>>(m);
  on<at::_ops::grid_sampler_2d_backward, grid_sampler_backward<2>>(m);
  on<at::_ops::grid_sampler_3d, grid_sampler<3>>(m);
  on<at::_ops::grid_sampler_3d_backward, grid_sampler_backward<3>>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
