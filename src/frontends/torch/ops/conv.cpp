// Convolutions. ATen checks shapes and dtypes before it asks the device.
#include <ATen/ops/convolution_backward_overrideable.h>
#include <ATen/ops/convolution_overrideable.h>

#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;

at::MemoryFormat format_of(const Tensor& a, const Tensor& b) {
  for (const Tensor* t : {&a, &b}) {
    const at::MemoryFormat f = t->suggest_memory_format();
    if (f == at::MemoryFormat::ChannelsLast || f == at::MemoryFormat::ChannelsLast3d) return f;
  }
  return at::MemoryFormat::Contiguous;
}

Tensor empty_in(IntArrayRef sizes, const Tensor& like, at::MemoryFormat format) {
  if (format == at::MemoryFormat::ChannelsLast)
    return empty_strided(sizes, c10::get_channels_last_strides_2d(sizes), like.scalar_type(), like.get_device());
  if (format == at::MemoryFormat::ChannelsLast3d)
    return empty_strided(sizes, c10::get_channels_last_strides_3d(sizes), like.scalar_type(), like.get_device());
  return empty(sizes, like);
}

/// n, stride, padding, dilation, groups; a list of one stands for all dimensions.
c10::SmallVector<int64_t, 12> geometry(int64_t n, IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation, int64_t groups) {
  c10::SmallVector<int64_t, 12> attrs{n};
  for (IntArrayRef part : {stride, padding, dilation})
    for (int64_t d = 0; d < n; ++d) attrs.push_back(part[part.size() == 1 ? 0 : static_cast<size_t>(d)]);
  attrs.push_back(groups);
  return attrs;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding,
                   IntArrayRef dilation, bool transposed, IntArrayRef output_padding, int64_t groups) {
  if (transposed) want_float_or_long(input);
  const int64_t n = input.dim() - 2;
  const auto attrs = geometry(n, stride, padding, dilation, groups);
  c10::SmallVector<int64_t, 5> sizes{input.size(0), transposed ? weight.size(1) * groups : weight.size(0)};
  for (int64_t d = 0; d < n; ++d) {
    const int64_t s = attrs[1 + d], p = attrs[1 + n + d], reach = attrs[1 + 2 * n + d] * (weight.size(2 + d) - 1) + 1;
    const int64_t extra = output_padding.empty() ? 0 : output_padding[output_padding.size() == 1 ? 0 : static_cast<size_t>(d)];
    sizes.push_back(transposed ? (input.size(2 + d) - 1) * s - 2 * p + reach + extra : (input.size(2 + d) + 2 * p - reach) / s + 1);
    TORCH_CHECK(sizes.back() >= 0, "Given input size per channel: ", input.sizes().slice(2), ", the calculated output size is too small");
  }
  Tensor out = empty_in(sizes, input, format_of(input, weight));
  if (out.numel() == 0) return out;
  c10::SmallVector<Operand, 4> operands{out, input, weight};
  if (bias && bias->defined()) operands.emplace_back(*bias);
  record(transposed ? ANYGPU_OP("conv_src_grad") : ANYGPU_OP("conv"), operands, {}, attrs);
  return out;
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& grad, const Tensor& input, const Tensor& weight, IntArrayRef stride,
                                                        IntArrayRef padding, IntArrayRef dilation, bool transposed,
                                                        IntArrayRef output_padding, int64_t groups, std::array<bool, 3> mask) {
  const auto attrs = geometry(input.dim() - 2, stride, padding, dilation, groups);
  Tensor dx, dw, db;
  const bool nothing = grad.numel() == 0 || input.numel() == 0;
  if (mask[0]) {
    dx = empty_in(input.sizes(), input, format_of(input, weight));
    if (nothing)
      dx.zero_();
    else
      record(transposed ? ANYGPU_OP("conv") : ANYGPU_OP("conv_src_grad"), {dx, grad, weight}, {}, attrs);
  }
  if (mask[1]) {
    dw = empty_like(weight);
    // A transposed convolution is the gradient of a plain one, whose input is this one's output.
    if (nothing)
      dw.zero_();
    else
      record(ANYGPU_OP("conv_weight_grad"), {dw, transposed ? input : grad, transposed ? grad : input}, {}, attrs);
  }
  if (mask[2]) {
    db = empty({grad.size(1)}, grad);
    if (grad.numel() == 0)
      db.zero_();
    else
      record(ANYGPU_OP("channel_sum"), {db, grad});
  }
  return {dx, dw, db};
}

std::tuple<Tensor, Tensor, Tensor> backward_with_bias(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                      at::OptionalIntArrayRef, IntArrayRef stride, IntArrayRef padding,
                                                      IntArrayRef dilation, bool transposed, IntArrayRef output_padding, int64_t groups,
                                                      std::array<bool, 3> mask) {
  return convolution_backward(grad, input, weight, stride, padding, dilation, transposed, output_padding, groups, mask);
}
std::tuple<Tensor, Tensor, Tensor> convolution_backward_or_cpu(const Tensor& grad, const Tensor& input, const Tensor& weight,
                                                               IntArrayRef stride, IntArrayRef padding, IntArrayRef dilation,
                                                               bool transposed, IntArrayRef output_padding, int64_t groups,
                                                               std::array<bool, 3> mask) {
  const int64_t channels = grad.size(1);
  return real<at::_ops::convolution_backward, backward_with_bias>(grad, input, weight, IntArrayRef(channels), stride, padding, dilation,
                                                                  transposed, output_padding, groups, mask);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  // What is refused here is refused by the operator that called, in its words.
  m.impl("convolution_overrideable", real<at::_ops::convolution, convolution>);
  m.impl("convolution_backward_overrideable", convolution_backward_or_cpu);
}

}  // namespace
}  // namespace anygpu::torch_frontend
