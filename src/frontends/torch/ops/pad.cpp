// Padding by reflection and replication, unfolding, shuffles of channels and pixels.
#include <ATen/native/PixelShuffle.h>
#include <ATen/native/im2col_shape_check.h>
#include <ATen/ops/reflection_pad1d_backward_meta.h>
#include <ATen/ops/reflection_pad1d_meta.h>
#include <ATen/ops/reflection_pad3d_backward_meta.h>
#include <ATen/ops/reflection_pad3d_meta.h>
#include <ATen/ops/replication_pad1d_backward_meta.h>
#include <ATen/ops/replication_pad1d_meta.h>
#include <ATen/ops/replication_pad2d_meta.h>
#include <ATen/ops/replication_pad3d_meta.h>

#include "anygpu/calls/resample.h"
#include "arrays.h"
#include "frontends/common/columns.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;

/// Elements before each dimension; PyTorch's padding names the last dimension first.
Dims elements_before(IntArrayRef padding) {
  const size_t n = padding.size() / 2;
  Dims before;
  for (size_t d = 0; d < n; ++d) before.push_back(padding[2 * (n - 1 - d)]);
  return before;
}
void pad(bool reflect, const Tensor& self, IntArrayRef padding, const Tensor& out) {
  if (out.numel()) record(calls::Pad{.dst = out, .src = self, .reflect = reflect, .before = elements_before(padding)});
}
void pad_grad(bool reflect, const Tensor& grad, IntArrayRef padding, const Tensor& dx) {
  if (dx.numel() == 0) return;
  if (grad.numel() == 0) {
    dx.zero_();
    return;
  }
  record(calls::PadGrad{.dsrc = dx, .ddst = grad, .reflect = reflect, .before = elements_before(padding)});
}

/// meta_out with the input's memory format where the output is resized: PyTorch's kernels choose it after their meta functions.
template <class Meta, class... Args>
void shape_out(const Tensor& out, const Tensor& input, Args&&... args) {
  const c10::SmallVector<int64_t, 5> before(out.sizes().begin(), out.sizes().end());
  meta_out<Meta>({&out}, std::forward<Args>(args)...);
  if (out.sizes() != IntArrayRef(before)) out.unsafeGetTensorImpl()->empty_tensor_restride(input.suggest_memory_format());
}
template <class Meta, bool reflect>
Tensor& pad_out(const Tensor& self, IntArrayRef padding, Tensor& out) {
  shape_out<Meta>(out, self, self, padding);
  want_numbers(self);
  pad(reflect, self, padding, out);
  return out;
}
template <class Meta, bool reflect>
Tensor pad_new(const Tensor& self, IntArrayRef padding) {
  Tensor out = empty({0}, self);
  return pad_out<Meta, reflect>(self, padding, out);
}
template <class Meta, bool reflect>
Tensor& pad_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef padding, Tensor& dx) {
  shape_out<Meta>(dx, self, grad, self, padding);
  pad_grad(reflect, grad, padding, dx);
  return dx;
}
template <class Meta, bool reflect>
Tensor pad_backward(const Tensor& grad, const Tensor& self, IntArrayRef padding) {
  Tensor dx = empty({0}, self);
  return pad_backward_out<Meta, reflect>(grad, self, padding, dx);
}

// ---- those that PyTorch has no meta function for ----

c10::SmallVector<int64_t, 5> padded_sizes(const Tensor& self, IntArrayRef padding) {
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end());
  for (size_t d = 0; d < padding.size() / 2; ++d) sizes[sizes.size() - 1 - d] += padding[2 * d] + padding[2 * d + 1];
  return sizes;
}

Tensor& reflection_pad2d_out(const Tensor& self, IntArrayRef padding, Tensor& out) {
  want_numbers(self);
  TORCH_CHECK(padding.size() == 4, "padding size is expected to be 4, but got: ", padding.size());
  const bool batched = self.dim() == 4;
  TORCH_CHECK(
      (self.dim() == 3 || batched) && self.size(-3) != 0 && self.size(-2) != 0 && self.size(-1) != 0,
      "Expected 3D or 4D (batch mode) tensor with possibly 0 batch size and other non-zero dimensions for input, but got: ", self.sizes());
  for (int64_t d = 0; d < 2; ++d)
    TORCH_CHECK(padding[2 * d] < self.size(-1 - d) && padding[2 * d + 1] < self.size(-1 - d), "Argument #", 4 + 2 * d,
                ": Padding size should be less than the corresponding input dimension, but got: padding (", padding[2 * d], ", ",
                padding[2 * d + 1], ") at dimension ", self.dim() - 1 - d, " of input ", self.sizes());
  const auto sizes = padded_sizes(self, padding);
  TORCH_CHECK(sizes.end()[-1] >= 1 || sizes.end()[-2] >= 1, "input of ", self.sizes(), " is too small. Calculated output ",
              IntArrayRef(sizes));
  resize_out(out, sizes, self.suggest_memory_format());
  pad(true, self, padding, out);
  return out;
}
Tensor reflection_pad2d(const Tensor& self, IntArrayRef padding) {
  Tensor out = empty({0}, self);
  return reflection_pad2d_out(self, padding, out);
}

template <bool reflect>
Tensor& checked_pad_backward_out(const Tensor& grad, const Tensor& self, IntArrayRef padding, Tensor& dx) {
  TORCH_CHECK(padding.size() % 2 == 0 && self.dim() * 2 >= static_cast<int64_t>(padding.size()), "padding of ", padding,
              " does not fit an input of ", self.sizes());
  const auto sizes = padded_sizes(self, padding);
  TORCH_CHECK(grad.sizes() == IntArrayRef(sizes), "grad_output of ", grad.sizes(), " unexpected. Expected: ", IntArrayRef(sizes));
  resize_out(dx, self.sizes(), self.suggest_memory_format());
  pad_grad(reflect, grad, padding, dx);
  return dx;
}
template <bool reflect>
Tensor checked_pad_backward(const Tensor& grad, const Tensor& self, IntArrayRef padding) {
  Tensor dx = empty({0}, self);
  return checked_pad_backward_out<reflect>(grad, self, padding, dx);
}

// ---- windows as columns ----

common::Window window(IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  return {dims_of(kernel), dims_of(stride), dims_of(padding), dims_of(dilation)};
}

Tensor& put_out(const Tensor& result, Tensor& out) {
  resize_out(out, result.sizes());
  return out.copy_(result);
}

void check_pairs(std::initializer_list<std::pair<IntArrayRef, const char*>> lists) {
  for (const auto& [list, name] : lists) TORCH_CHECK(list.size() == 2, "It is expected ", name, " equals to 2, but got size ", list.size());
}

Tensor columns_of(const Tensor& self, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride) {
  if (self.scalar_type() != at::kBool) want_float(self);
  check_pairs({{kernel, "kernel_size"}, {dilation, "dilation"}, {padding, "padding"}, {stride, "stride"}});
  at::native::im2col_shape_check(self, Tensor(), kernel[0], kernel[1], dilation[0], dilation[1], padding[0], padding[1], stride[0],
                                 stride[1]);
  const common::Window w = window(kernel, dilation, padding, stride);
  return tensor_of(composed([&] {
    const common::Array x = array_of(self);
    return self.dim() == 4 ? common::im2col(x, w) : common::squeeze(common::im2col(common::unsqueeze(x, 0), w), 0);
  }));
}
Tensor& im2col_out(const Tensor& self, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding, IntArrayRef stride, Tensor& out) {
  return put_out(columns_of(self, kernel, dilation, padding, stride), out);
}

Tensor image_of(const Tensor& self, IntArrayRef output_size, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding,
                IntArrayRef stride) {
  check_pairs({{output_size, "output_size"}, {kernel, "kernel_size"}, {dilation, "dilation"}, {padding, "padding"}, {stride, "stride"}});
  at::native::col2im_shape_check(self, Tensor(), output_size[0], output_size[1], kernel[0], kernel[1], dilation[0], dilation[1], padding[0],
                                 padding[1], stride[0], stride[1]);
  const common::Window w = window(kernel, dilation, padding, stride);
  const int64_t h = output_size[0], width = output_size[1];
  return tensor_of(composed([&] {
    const common::Array x = array_of(self);
    return self.dim() == 3 ? common::col2im(x, h, width, w) : common::squeeze(common::col2im(common::unsqueeze(x, 0), h, width, w), 0);
  }));
}
Tensor& col2im_out(const Tensor& self, IntArrayRef output_size, IntArrayRef kernel, IntArrayRef dilation, IntArrayRef padding,
                   IntArrayRef stride, Tensor& out) {
  return put_out(image_of(self, output_size, kernel, dilation, padding, stride), out);
}

Tensor channel_shuffle(const Tensor& self, int64_t groups) {
  TORCH_CHECK(self.dim() > 2, "channel_shuffle expects input with > 2 dims, but got input with sizes ", self.sizes());
  const int64_t c = self.size(1);
  TORCH_CHECK(groups > 0, "Number of groups to divide channels in must be positive. Value of groups:", groups);
  TORCH_CHECK(c % groups == 0, "Number of channels must be divisible by groups. Got ", c, " channels and ", groups, " groups.");
  Tensor out = empty_in(self.suggest_memory_format(), self.sizes(), self);
  if (self.numel() == 0) return out;
  // Seen with the channel dimension split, either side the other way round: one copy.
  c10::SmallVector<int64_t, 6> to(self.sizes().begin(), self.sizes().end());
  to.insert(to.begin() + 1, c / groups);
  to[2] = groups;
  c10::SmallVector<int64_t, 6> from = to;
  std::swap(from[1], from[2]);
  const auto split = [&](const Tensor& t, int64_t inner) {
    c10::SmallVector<int64_t, 6> strides(t.strides().begin(), t.strides().end());
    strides.insert(strides.begin() + 1, t.stride(1) * inner);
    return strides;
  };
  Tensor source = self.as_strided(from, split(self, c / groups)).transpose(1, 2);
  out.as_strided(to, split(out, groups)).copy_(source);
  return out;
}

// ---- pixels to channels and back ----

/// The image [.., C, H * r, W * r] seen as the channels [.., C, r, r, H, W].
Tensor as_channels(const Tensor& image, int64_t r) {
  const int64_t h = image.size(-2) / r, w = image.size(-1) / r;
  return image.unflatten(-1, {w, r}).unflatten(-3, {h, r}).movedim({-3, -1}, {-4, -3});
}
Tensor pixel_shuffle(const Tensor& self, int64_t r) {
  at::native::check_pixel_shuffle_shapes(self, r);
  const int64_t c = self.size(-3) / (r * r);
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end() - 3);
  sizes.append({c, self.size(-2) * r, self.size(-1) * r});
  Tensor out = empty_in(self.suggest_memory_format(), sizes, self);
  if (out.numel()) as_channels(out, r).copy_(self.unflatten(-3, {c, r, r}));
  return out;
}
Tensor pixel_unshuffle(const Tensor& self, int64_t r) {
  at::native::check_pixel_unshuffle_shapes(self, r);
  const int64_t c = self.size(-3);
  c10::SmallVector<int64_t, 5> sizes(self.sizes().begin(), self.sizes().end() - 3);
  sizes.append({c * r * r, self.size(-2) / r, self.size(-1) / r});
  Tensor out = empty_in(self.suggest_memory_format(), sizes, self);
  if (out.numel()) out.unflatten(-3, {c, r, r}).copy_(as_channels(self, r));
  return out;
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("reflection_pad1d.out", real<at::_ops::reflection_pad1d_out, pad_out<at::meta::structured_reflection_pad1d, true>>);
  m.impl("reflection_pad1d_backward.grad_input",
         real<at::_ops::reflection_pad1d_backward_grad_input, pad_backward_out<at::meta::structured_reflection_pad1d_backward, true>>);
  m.impl("reflection_pad2d", real<at::_ops::reflection_pad2d, reflection_pad2d>);
  m.impl("reflection_pad2d.out", real<at::_ops::reflection_pad2d_out, reflection_pad2d_out>);
  m.impl("reflection_pad2d_backward", real<at::_ops::reflection_pad2d_backward, checked_pad_backward<true>>);
  m.impl("reflection_pad2d_backward.grad_input", real<at::_ops::reflection_pad2d_backward_grad_input, checked_pad_backward_out<true>>);
  m.impl("reflection_pad3d", real<at::_ops::reflection_pad3d, pad_new<at::meta::structured_reflection_pad3d, true>>);
  m.impl("reflection_pad3d.out", real<at::_ops::reflection_pad3d_out, pad_out<at::meta::structured_reflection_pad3d, true>>);
  m.impl("reflection_pad3d_backward",
         real<at::_ops::reflection_pad3d_backward, pad_backward<at::meta::structured_reflection_pad3d_backward, true>>);
  m.impl("reflection_pad3d_backward.grad_input",
         real<at::_ops::reflection_pad3d_backward_grad_input, pad_backward_out<at::meta::structured_reflection_pad3d_backward, true>>);
  m.impl("replication_pad1d.out", real<at::_ops::replication_pad1d_out, pad_out<at::meta::structured_replication_pad1d, false>>);
  m.impl("replication_pad1d_backward.grad_input",
         real<at::_ops::replication_pad1d_backward_grad_input, pad_backward_out<at::meta::structured_replication_pad1d_backward, false>>);
  m.impl("replication_pad2d", real<at::_ops::replication_pad2d, pad_new<at::meta::structured_replication_pad2d, false>>);
  m.impl("replication_pad2d.out", real<at::_ops::replication_pad2d_out, pad_out<at::meta::structured_replication_pad2d, false>>);
  m.impl("replication_pad2d_backward", real<at::_ops::replication_pad2d_backward, checked_pad_backward<false>>);
  m.impl("replication_pad2d_backward.grad_input", real<at::_ops::replication_pad2d_backward_grad_input, checked_pad_backward_out<false>>);
  m.impl("replication_pad3d", real<at::_ops::replication_pad3d, pad_new<at::meta::structured_replication_pad3d, false>>);
  m.impl("replication_pad3d.out", real<at::_ops::replication_pad3d_out, pad_out<at::meta::structured_replication_pad3d, false>>);
  m.impl("replication_pad3d_backward", real<at::_ops::replication_pad3d_backward, checked_pad_backward<false>>);
  m.impl("replication_pad3d_backward.grad_input", real<at::_ops::replication_pad3d_backward_grad_input, checked_pad_backward_out<false>>);
  m.impl("im2col", real<at::_ops::im2col, columns_of>);
  m.impl("im2col.out", real<at::_ops::im2col_out, im2col_out>);
  m.impl("col2im", real<at::_ops::col2im, image_of>);
  m.impl("col2im.out", real<at::_ops::col2im_out, col2im_out>);
  on<at::_ops::channel_shuffle, channel_shuffle>(m);
  on<at::_ops::pixel_shuffle, pixel_shuffle>(m);
  on<at::_ops::pixel_unshuffle, pixel_unshuffle>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
