// Pooling. Shapes and checks are PyTorch's own: meta functions where there are some, else what its kernels call first.
#include <ATen/native/AdaptivePooling.h>
#include <ATen/native/Pool.h>
#include <ATen/ops/adaptive_max_pool2d_backward_meta.h>
#include <ATen/ops/adaptive_max_pool2d_meta.h>
#include <ATen/ops/adaptive_max_pool3d_backward_meta.h>
#include <ATen/ops/adaptive_max_pool3d_meta.h>
#include <ATen/ops/avg_pool2d_backward_meta.h>
#include <ATen/ops/avg_pool2d_meta.h>
#include <ATen/ops/avg_pool3d_backward_meta.h>
#include <ATen/ops/avg_pool3d_meta.h>
#include <ATen/native/FractionalMaxPooling.h>
#include <ATen/ops/fractional_max_pool2d_backward_meta.h>
#include <ATen/ops/fractional_max_pool2d_meta.h>
#include <ATen/ops/fractional_max_pool3d_meta.h>
#include <ATen/ops/max_pool2d_with_indices_backward_meta.h>
#include <ATen/ops/max_pool2d_with_indices_meta.h>

#include "anygpu/calls/pool.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;

/// A list of n from a list of n, or of one that stands for all.
c10::SmallVector<int64_t, 3> spread(IntArrayRef v, int64_t n) {
  c10::SmallVector<int64_t, 3> r;
  for (int64_t d = 0; d < n; ++d) r.push_back(v[v.size() == 1 ? 0 : static_cast<size_t>(d)]);
  return r;
}

calls::Window window(int n, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation) {
  return calls::window(n, dims_of(kernel), dims_of(stride), dims_of(padding), dims_of(dilation));
}

// ---- max ----

std::tuple<Tensor&, Tensor&> max_pool2d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                            IntArrayRef dilation, bool ceil_mode, Tensor& out, Tensor& indices) {
  meta_out<at::meta::structured_max_pool2d_with_indices>({&out, &indices}, self, kernel, stride, padding, dilation, ceil_mode);
  want_numbers(self);
  if (out.numel())
    record(calls::MaxPool{.dst = out, .indices = indices, .src = self, .window = window(2, kernel, stride, padding, dilation)});
  return {out, indices};
}

Tensor& max_pool2d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                IntArrayRef dilation, bool ceil_mode, const Tensor& indices, Tensor& dx) {
  meta_out<at::meta::structured_max_pool2d_with_indices_backward>({&dx}, grad, self, kernel, stride, padding, dilation, ceil_mode, indices);
  if (dx.numel())
    record(calls::MaxPoolGrad{.dsrc = dx, .ddst = grad, .indices = indices, .window = window(2, kernel, stride, padding, dilation)});
  return dx;
}

/// The output's sizes; throws what PyTorch's kernel throws first.
c10::SmallVector<int64_t, 5> max_pool3d_sizes(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                              IntArrayRef dilation, bool ceil_mode) {
  for (const auto& [list, name] : {std::pair{kernel, "kernel_size"}, {padding, "padding"}, {dilation, "dilation"}})
    TORCH_CHECK(list.size() == 1 || list.size() == 3, "max_pool3d: ", name, " must be either a single int, or a tuple of three ints");
  TORCH_CHECK(stride.empty() || stride.size() == 1 || stride.size() == 3,
              "max_pool3d: stride must be either omitted, a single int, or a tuple of three ints");
  TORCH_CHECK(self.dim() == 4 || self.dim() == 5, "max_pool3d_with_indices(): Expected 4D or 5D tensor for input, but got: ", self.sizes());
  const auto k = spread(kernel, 3), s = spread(stride.empty() ? kernel : stride, 3), p = spread(padding, 3), d = spread(dilation, 3);
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end());
  const size_t lead = sizes.size() - 3;
  for (size_t i = 0; i < 3; ++i)
    sizes[lead + i] = at::native::pooling_output_shape<int64_t>(self.size(lead + i), k[i], p[i], s[i], d[i], ceil_mode);
  at::native::pool3d_shape_check(self, self.size(lead - 1), k[0], k[1], k[2], s[0], s[1], s[2], p[0], p[1], p[2], d[0], d[1], d[2],
                                 self.size(lead), self.size(lead + 1), self.size(lead + 2), sizes[lead], sizes[lead + 1], sizes[lead + 2],
                                 "max_pool3d_with_indices()");
  return sizes;
}

std::tuple<Tensor&, Tensor&> max_pool3d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                            IntArrayRef dilation, bool ceil_mode, Tensor& out, Tensor& indices) {
  const auto sizes = max_pool3d_sizes(self, kernel, stride, padding, dilation, ceil_mode);
  want_numbers(self);
  resize_out(out, sizes, self.suggest_memory_format());
  resize_out(indices, sizes, self.suggest_memory_format());
  if (out.numel())
    record(calls::MaxPool{.dst = out, .indices = indices, .src = self, .window = window(3, kernel, stride, padding, dilation)});
  return {out, indices};
}
std::tuple<Tensor, Tensor> max_pool3d(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                                      bool ceil_mode) {
  Tensor out = empty({0}, self), indices = empty({0}, at::kLong, self);
  max_pool3d_out(self, kernel, stride, padding, dilation, ceil_mode, out, indices);
  return {out, indices};
}

Tensor& max_pool3d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                IntArrayRef dilation, bool ceil_mode, const Tensor& indices, Tensor& dx) {
  const auto sizes = max_pool3d_sizes(self, kernel, stride, padding, dilation, ceil_mode);
  TORCH_CHECK(grad.sizes() == IntArrayRef(sizes) && indices.sizes() == IntArrayRef(sizes),
              "max_pool3d_with_indices_backward: expected a gradient and indices of ", IntArrayRef(sizes), ", got ", grad.sizes(), " and ",
              indices.sizes());
  resize_out(dx, self.sizes(), self.suggest_memory_format());
  if (dx.numel())
    record(calls::MaxPoolGrad{.dsrc = dx, .ddst = grad, .indices = indices, .window = window(3, kernel, stride, padding, dilation)});
  return dx;
}
Tensor max_pool3d_backward(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                           IntArrayRef dilation, bool ceil_mode, const Tensor& indices) {
  Tensor dx = empty({0}, self);
  return max_pool3d_backward_out(grad, self, kernel, stride, padding, dilation, ceil_mode, indices, dx);
}

// ---- average ----

template <int n>
void avg_pool(const Tensor& out, const Tensor& in, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, bool count_include_pad,
              std::optional<int64_t> divisor) {
  if (!out.numel()) return;
  record(calls::AvgPool{.dst = out,
                        .src = in,
                        .window = window(n, kernel, stride, padding, {1}),
                        .count_include_pad = count_include_pad,
                        .divisor = divisor.value_or(0)});
}
template <int n>
void avg_pool_grad(const Tensor& dx, const Tensor& grad, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                   bool count_include_pad, std::optional<int64_t> divisor) {
  if (!dx.numel()) return;
  record(calls::AvgPoolGrad{.dsrc = dx,
                            .ddst = grad,
                            .window = window(n, kernel, stride, padding, {1}),
                            .count_include_pad = count_include_pad,
                            .divisor = divisor.value_or(0)});
}

Tensor& avg_pool2d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, bool ceil_mode,
                       bool count_include_pad, std::optional<int64_t> divisor, Tensor& out) {
  meta_out<at::meta::structured_avg_pool2d>({&out}, self, kernel, stride, padding, ceil_mode, count_include_pad, divisor);
  want_float_or_long(self);
  avg_pool<2>(out, self, kernel, stride, padding, count_include_pad, divisor);
  return out;
}
Tensor& avg_pool2d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor, Tensor& dx) {
  meta_out<at::meta::structured_avg_pool2d_backward>({&dx}, grad, self, kernel, stride, padding, ceil_mode, count_include_pad, divisor);
  avg_pool_grad<2>(dx, grad, kernel, stride, padding, count_include_pad, divisor);
  return dx;
}
Tensor& avg_pool3d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding, bool ceil_mode,
                       bool count_include_pad, std::optional<int64_t> divisor, Tensor& out) {
  meta_out<at::meta::structured_avg_pool3d>({&out}, self, kernel, stride, padding, ceil_mode, count_include_pad, divisor);
  want_float_or_long(self);
  avg_pool<3>(out, self, kernel, stride, padding, count_include_pad, divisor);
  return out;
}
Tensor& avg_pool3d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef stride, IntArrayRef padding,
                                bool ceil_mode, bool count_include_pad, std::optional<int64_t> divisor, Tensor& dx) {
  meta_out<at::meta::structured_avg_pool3d_backward>({&dx}, grad, self, kernel, stride, padding, ceil_mode, count_include_pad, divisor);
  avg_pool_grad<3>(dx, grad, kernel, stride, padding, count_include_pad, divisor);
  return dx;
}

// ---- adaptive ----

template <int64_t n>
Tensor& adaptive_avg_pool_out(const Tensor& self, IntArrayRef output_size, Tensor& out) {
  TORCH_CHECK(output_size.size() == n, "adaptive_avg_pool", n, "d: output_size must be ", n);
  TORCH_CHECK(self.dim() == n + 1 || self.dim() == n + 2, "adaptive_avg_pool", n, "d(): Expected ", n + 1, "D or ", n + 2,
              "D tensor, but got ", self.sizes());
  for (int64_t d = self.dim() - n; d < self.dim(); ++d)
    TORCH_CHECK(self.size(d) > 0, "adaptive_avg_pool", n,
                "d(): Expected input to have non-zero size for non-batch dimensions, but input has sizes ", self.sizes(),
                " with dimension ", d, " being empty");
  TORCH_CHECK(self.scalar_type() == out.scalar_type(), "expected dtype ", self.scalar_type(), " for `output` but got dtype ",
              out.scalar_type());
  want_float(self);
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end());
  std::copy(output_size.begin(), output_size.end(), sizes.end() - n);
  resize_out(out, sizes, n == 2 ? self.suggest_memory_format() : at::MemoryFormat::Contiguous);
  if (out.numel()) record(calls::AdaptiveAvgPool{.dst = out, .src = self, .n = n});
  return out;
}
template <int64_t n>
Tensor adaptive_avg_pool(const Tensor& self, IntArrayRef output_size) {
  Tensor out = empty({0}, self);
  return adaptive_avg_pool_out<n>(self, output_size, out);
}

template <int64_t n>
Tensor& adaptive_avg_pool_backward_out(const Tensor& grad, const Tensor& self, Tensor& dx) {
  at::native::adaptive_pool_empty_output_check(grad, n == 2 ? "adaptive_avg_pool2d_backward" : "adaptive_avg_pool3d_backward");
  TORCH_CHECK(self.dim() == n + 1 || self.dim() == n + 2, "adaptive_avg_pool", n, "d_backward(): Expected ", n + 1, "D or ", n + 2,
              "D tensor, but got ", self.sizes());
  TORCH_CHECK(grad.dim() == self.dim(), "__func__: Expected dimensions ", self.dim(), " for `gradOutput` but got dimensions ", grad.dim());
  TORCH_CHECK(self.scalar_type() == grad.scalar_type(), "expected dtype ", self.scalar_type(), " for `grad_output` but got dtype ",
              grad.scalar_type());
  resize_out(dx, self.sizes(), n == 2 ? self.suggest_memory_format() : at::MemoryFormat::Contiguous);
  if (dx.numel()) record(calls::AdaptiveAvgPoolGrad{.dsrc = dx, .ddst = grad, .n = n});
  return dx;
}
template <int64_t n>
Tensor adaptive_avg_pool_backward(const Tensor& grad, const Tensor& self) {
  Tensor dx = empty({0}, self);
  return adaptive_avg_pool_backward_out<n>(grad, self, dx);
}

template <int64_t n>
std::tuple<Tensor&, Tensor&> adaptive_max_pool_out(const Tensor& self, IntArrayRef output_size, Tensor& out, Tensor& indices) {
  using Meta = std::conditional_t<n == 2, at::meta::structured_adaptive_max_pool2d, at::meta::structured_adaptive_max_pool3d>;
  meta_out<Meta>({&out, &indices}, self, output_size);
  want_float(self);
  if (out.numel()) record(calls::AdaptiveMaxPool{.dst = out, .indices = indices, .src = self, .n = n});
  return {out, indices};
}
template <int64_t n>
Tensor& adaptive_max_pool_backward_out(const Tensor& grad, const Tensor& self, const Tensor& indices, Tensor& dx) {
  using Meta =
      std::conditional_t<n == 2, at::meta::structured_adaptive_max_pool2d_backward, at::meta::structured_adaptive_max_pool3d_backward>;
  meta_out<Meta>({&dx}, grad, self, indices);
  if (dx.numel()) record(calls::AdaptiveMaxPoolGrad{.dsrc = dx, .ddst = grad, .indices = indices, .n = n});
  return dx;
}

// ---- fractional ----

template <int64_t n>
void fractional(const Tensor& self, IntArrayRef kernel, const Tensor& samples, const Tensor& out, const Tensor& indices) {
  want_float(self);
  at::native::fractional_max_pool_check_shape<n>(self, samples);
  if (!out.numel()) return;
  // PyTorch numbers the samples of two dimensions from the last.
  const bool batched = self.dim() == n + 2;
  const Tensor used = samples.narrow(0, 0, batched ? self.size(0) : 1), ordered = n == 2 ? used.flip({2}) : used;
  record(calls::FractionalMaxPool{.dst = out,
                                  .indices = indices,
                                  .src = self,
                                  .samples = batched ? ordered : ordered.select(0, 0),
                                  .kernel = calls::spread(dims_of(kernel), n)});
}

std::tuple<Tensor&, Tensor&> fractional_max_pool2d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef output_size,
                                                       const Tensor& samples, Tensor& out, Tensor& indices) {
  meta_out<at::meta::structured_fractional_max_pool2d>({&out, &indices}, self, kernel, output_size, samples);
  fractional<2>(self, kernel, samples, out, indices);
  return {out, indices};
}
std::tuple<Tensor&, Tensor&> fractional_max_pool3d_out(const Tensor& self, IntArrayRef kernel, IntArrayRef output_size,
                                                       const Tensor& samples, Tensor& out, Tensor& indices) {
  meta_out<at::meta::structured_fractional_max_pool3d>({&out, &indices}, self, kernel, output_size, samples);
  fractional<3>(self, kernel, samples, out, indices);
  return {out, indices};
}
Tensor& fractional_max_pool2d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef output_size,
                                           const Tensor& indices, Tensor& dx) {
  meta_out<at::meta::structured_fractional_max_pool2d_backward>({&dx}, grad, self, kernel, output_size, indices);
  if (dx.numel()) record(calls::ScatterPoolGrad{.dsrc = dx, .ddst = grad, .indices = indices, .n = 2});
  return dx;
}
Tensor& fractional_max_pool3d_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef output_size,
                                           const Tensor& indices, Tensor& dx) {
  TORCH_CHECK(grad.sizes() == indices.sizes() && grad.dim() == self.dim(), "fractional_max_pool3d_backward_out(): gradOutput of ",
              grad.sizes(), " does not fit input of ", self.sizes());
  resize_out(dx, self.sizes());
  if (dx.numel()) record(calls::ScatterPoolGrad{.dsrc = dx, .ddst = grad, .indices = indices, .n = 3});
  return dx;
}
Tensor fractional_max_pool3d_backward(const Tensor& grad, const Tensor& self, IntArrayRef kernel, IntArrayRef output_size,
                                      const Tensor& indices) {
  Tensor dx = empty({0}, self);
  return fractional_max_pool3d_backward_out(grad, self, kernel, output_size, indices, dx);
}

// ---- undone ----

template <int64_t n>
void max_unpool_into(const Tensor& self, const Tensor& indices, IntArrayRef output_size, const Tensor& out) {
  TORCH_CHECK(indices.scalar_type() == at::kLong, "elements in indices should be type int64");
  TORCH_CHECK(output_size.size() == n, "There should be exactly ", n, " elements in output_size, but got ", output_size.size(),
              " elements.");
  TORCH_CHECK(self.dim() == n + 1 || self.dim() == n + 2, "Input to max_unpooling", n, "d should be a ", n + 1, "d or ", n + 2,
              "d Tensor, but got a tensor of ", self.sizes());
  TORCH_CHECK(self.sizes() == indices.sizes(), "Expected shape of indices to be same as that of the input tensor (", self.sizes(),
              ") but got indices tensor with shape: ", indices.sizes());
  for (int64_t d = 1; d < self.dim(); ++d)
    TORCH_CHECK(self.size(d) > 0, "max_unpooling", n, "d(): Expected input to have non-zero size for non-batch dimensions, but got ",
                self.sizes(), " with dimension ", d, " being empty.");
  want_float(self);
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end());
  std::copy(output_size.begin(), output_size.end(), sizes.end() - n);
  resize_out(out, sizes, n == 2 ? self.suggest_memory_format() : at::MemoryFormat::Contiguous);
  if (out.numel()) record(calls::MaxUnpool{.dst = out, .src = self, .indices = indices, .n = n});
}

Tensor& max_unpool2d_out(const Tensor& self, const Tensor& indices, IntArrayRef output_size, Tensor& out) {
  max_unpool_into<2>(self, indices, output_size, out);
  return out;
}
Tensor max_unpool2d(const Tensor& self, const Tensor& indices, IntArrayRef output_size) {
  Tensor out = empty({0}, self);
  return max_unpool2d_out(self, indices, output_size, out);
}
Tensor& max_unpool3d_out(const Tensor& self, const Tensor& indices, IntArrayRef output_size, IntArrayRef stride, IntArrayRef padding,
                         Tensor& out) {
  TORCH_CHECK(stride.size() == 3 && padding.size() == 3,
              "There should be exactly three elements (depth, height, width) in stride and padding, but got: ", stride, " and ", padding);
  for (int64_t s : stride) TORCH_CHECK(s > 0, "strides should be greater than zero, but got stride: ", stride);
  max_unpool_into<3>(self, indices, output_size, out);
  return out;
}
Tensor max_unpool3d(const Tensor& self, const Tensor& indices, IntArrayRef output_size, IntArrayRef stride, IntArrayRef padding) {
  Tensor out = empty({0}, self);
  return max_unpool3d_out(self, indices, output_size, stride, padding, out);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::max_pool2d_with_indices_out, max_pool2d_out>(m);
  on<at::_ops::max_pool2d_with_indices_backward_grad_input, max_pool2d_backward_out>(m);
  on<at::_ops::max_pool3d_with_indices, max_pool3d>(m);
  on<at::_ops::max_pool3d_with_indices_out, max_pool3d_out>(m);
  on<at::_ops::max_pool3d_with_indices_backward, max_pool3d_backward>(m);
  on<at::_ops::max_pool3d_with_indices_backward_grad_input, max_pool3d_backward_out>(m);
  on<at::_ops::avg_pool2d_out, avg_pool2d_out>(m);
  on<at::_ops::avg_pool2d_backward_grad_input, avg_pool2d_backward_out>(m);
  on<at::_ops::avg_pool3d_out, avg_pool3d_out>(m);
  on<at::_ops::avg_pool3d_backward_grad_input, avg_pool3d_backward_out>(m);
  on<at::_ops::_adaptive_avg_pool2d, adaptive_avg_pool<2>>(m);
  on<at::_ops::adaptive_avg_pool2d_out, adaptive_avg_pool_out<2>>(m);
  on<at::_ops::_adaptive_avg_pool2d_backward, adaptive_avg_pool_backward<2>>(m);
  on<at::_ops::_adaptive_avg_pool3d, adaptive_avg_pool<3>>(m);
  on<at::_ops::adaptive_avg_pool3d_out, adaptive_avg_pool_out<3>>(m);
  on<at::_ops::_adaptive_avg_pool3d_backward, adaptive_avg_pool_backward<3>>(m);
  on<at::_ops::adaptive_avg_pool3d_backward_grad_input, adaptive_avg_pool_backward_out<3>>(m);
  on<at::_ops::adaptive_max_pool2d_out, adaptive_max_pool_out<2>>(m);
  on<at::_ops::adaptive_max_pool2d_backward_grad_input, adaptive_max_pool_backward_out<2>>(m);
  on<at::_ops::adaptive_max_pool3d_out, adaptive_max_pool_out<3>>(m);
  on<at::_ops::adaptive_max_pool3d_backward_grad_input, adaptive_max_pool_backward_out<3>>(m);
  on<at::_ops::fractional_max_pool2d_output, fractional_max_pool2d_out>(m);
  on<at::_ops::fractional_max_pool2d_backward_grad_input, fractional_max_pool2d_backward_out>(m);
  on<at::_ops::fractional_max_pool3d_output, fractional_max_pool3d_out>(m);
  on<at::_ops::fractional_max_pool3d_backward, fractional_max_pool3d_backward>(m);
  on<at::_ops::fractional_max_pool3d_backward_grad_input, fractional_max_pool3d_backward_out>(m);
  on<at::_ops::max_unpool2d, max_unpool2d>(m);
  on<at::_ops::max_unpool2d_out, max_unpool2d_out>(m);
  on<at::_ops::max_unpool3d, max_unpool3d>(m);
  on<at::_ops::max_unpool3d_out, max_unpool3d_out>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
