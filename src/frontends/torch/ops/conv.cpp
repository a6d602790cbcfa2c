// Convolutions. ATen checks shapes and dtypes before it asks the device.
#include <ATen/ops/convolution_backward_overrideable.h>
#include <ATen/ops/convolution_overrideable.h>

#include "anygpu/calls/conv.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;

/// Whether PyTorch's CPU leaves a 3-D convolution to oneDNN: its own kernels for it know no channels_last.
bool has_channels_last_3d(const Tensor& input, const Tensor& weight, IntArrayRef stride, bool transposed, IntArrayRef output_padding,
                          int64_t groups) {
  if (input.scalar_type() == at::kDouble) return false;
  for (size_t d = 0; transposed && d < output_padding.size(); ++d)
    if (output_padding[d] >= stride[stride.size() == 1 ? 0 : d]) return false;
  return groups > 1 || (weight.size(-1) > 3 && weight.size(-2) > 3) || input.size(0) > 1 || input.numel() / input.size(-1) > 20480;
}

at::MemoryFormat format_of(const Tensor& input, const Tensor& weight, IntArrayRef stride, bool transposed, IntArrayRef output_padding,
                           int64_t groups) {
  if (input.numel() && input.dim() == 5 && !has_channels_last_3d(input, weight, stride, transposed, output_padding, groups))
    return at::MemoryFormat::Contiguous;
  for (const Tensor* t : {&input, &weight}) {
    const at::MemoryFormat f = t->suggest_memory_format();
    if (f == at::MemoryFormat::ChannelsLast || f == at::MemoryFormat::ChannelsLast3d) return f;
  }
  return at::MemoryFormat::Contiguous;
}

Tensor convolution(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, IntArrayRef stride, IntArrayRef padding,
                   IntArrayRef dilation, bool transposed, IntArrayRef output_padding, int64_t groups) {
  if (transposed) want_float_or_long(input);
  const int64_t n = input.dim() - 2;
  const calls::ConvGeometry g = calls::conv_geometry(static_cast<int>(n), dims_of(stride), dims_of(padding), dims_of(dilation), groups);
  c10::SmallVector<int64_t, 5> sizes{input.size(0), transposed ? weight.size(1) * groups : weight.size(0)};
  for (int d = 0; d < n; ++d) {
    const int64_t size = input.size(2 + d), kernel = weight.size(2 + d);
    const int64_t extra = output_padding.empty() ? 0 : output_padding[output_padding.size() == 1 ? 0 : static_cast<size_t>(d)];
    sizes.push_back(transposed ? calls::transposed_along(size, kernel, g.stride[d], g.padding[d], g.dilation[d], extra)
                               : calls::windows_along(size, kernel, g.stride[d], g.padding[d], g.dilation[d]));
    TORCH_CHECK(sizes.back() >= 0, "Given input size per channel: ", input.sizes().slice(2), ", the calculated output size is too small");
  }
  Tensor out = empty_in(format_of(input, weight, stride, transposed, output_padding, groups), sizes, input);
  if (out.numel() == 0) return out;
  if (transposed)
    record(calls::ConvSrcGrad{.dsrc = out, .ddst = input, .weight = weight, .bias = bias, .geometry = g});
  else
    record(calls::Conv{.dst = out, .src = input, .weight = weight, .bias = bias, .geometry = g});
  return out;
}

std::tuple<Tensor, Tensor, Tensor> convolution_backward(const Tensor& grad, const Tensor& input, const Tensor& weight, IntArrayRef stride,
                                                        IntArrayRef padding, IntArrayRef dilation, bool transposed,
                                                        IntArrayRef output_padding, int64_t groups, std::array<bool, 3> mask) {
  const int n = static_cast<int>(input.dim()) - 2;
  const calls::ConvGeometry g = calls::conv_geometry(n, dims_of(stride), dims_of(padding), dims_of(dilation), groups);
  const at::MemoryFormat format = format_of(input, weight, stride, transposed, output_padding, groups);
  Tensor dx, dw, db;
  const bool nothing = grad.numel() == 0 || input.numel() == 0;
  if (mask[0]) {
    dx = empty_in(format, input.sizes(), input);
    if (nothing)
      dx.zero_();
    else if (transposed)
      record(calls::Conv{.dst = dx, .src = grad, .weight = weight, .geometry = g});
    else
      record(calls::ConvSrcGrad{.dsrc = dx, .ddst = grad, .weight = weight, .geometry = g});
  }
  if (mask[1]) {
    dw = empty_in(format, weight.sizes(), weight);
    // A transposed convolution is the gradient of a plain one, whose input is this one's output.
    if (nothing)
      dw.zero_();
    else
      record(calls::ConvWeightGrad{
          .dweight = dw, .ddst = transposed ? input : grad, .src = transposed ? grad : input, .geometry = g});
  }
  if (mask[2]) {
    db = empty({grad.size(1)}, grad);
    if (grad.numel() == 0)
      db.zero_();
    else
      record(calls::ChannelSum{.dst = db, .src = grad});
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
