// Calls of convolutions over n spatial dimensions and their gradients. A transposed convolution is the gradient of a plain one by its source:
//
//   y = conv(x, w)              Conv{.dst = y, .src = x, .weight = w}
//   its gradients               ConvSrcGrad{.dsrc = dx, .ddst = dy, .weight = w}, ConvWeightGrad{.dweight = dw, .ddst = dy, .src = x}
//   y = transposed_conv(x, w)   ConvSrcGrad{.dsrc = y, .ddst = x, .weight = w, .bias = b}
//   its gradients               Conv{.dst = dx, .src = dy, .weight = w}, ConvWeightGrad{.dweight = dw, .ddst = x, .src = dy}
//
// and the gradient of a bias is ChannelSum. Arrays may have any strides, channels last among them.
#pragma once

#include "anygpu/calls/window.h"

namespace anygpu::calls {

template <class S = Making>
struct Conv {
  static constexpr std::string_view name = "conv";
  View<S> dst;     ///< [N,OC,o..], o = windows_along(i, ..)
  View<S> src;     ///< [N,IC,i..]
  View<S> weight;  ///< [OC,IC/groups,k..]
  Maybe<S> bias;   ///< [OC]
  ConvGeometry geometry;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.weight, c.bias);
    f.attrs(c.geometry.stride, c.geometry.padding, c.geometry.dilation, c.geometry.groups);
  }
};

template <class S = Making>
struct ConvSrcGrad {
  static constexpr std::string_view name = "conv_src_grad";
  View<S> dsrc;    ///< [N,IC,i..]
  View<S> ddst;    ///< [N,OC,o..]
  View<S> weight;  ///< [OC,IC/groups,k..]
  Maybe<S> bias;   ///< [IC], of a transposed convolution
  ConvGeometry geometry;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.weight, c.bias);
    f.attrs(c.geometry.stride, c.geometry.padding, c.geometry.dilation, c.geometry.groups);
  }
};

template <class S = Making>
struct ConvWeightGrad {
  static constexpr std::string_view name = "conv_weight_grad";
  View<S> dweight;  ///< [OC,IC/groups,k..]
  View<S> ddst;     ///< [N,OC,o..]
  View<S> src;      ///< [N,IC,i..]
  ConvGeometry geometry;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dweight);
    f.inputs(c.ddst, c.src);
    f.attrs(c.geometry.stride, c.geometry.padding, c.geometry.dilation, c.geometry.groups);
  }
};

/// The sum over all dimensions but the channels': the gradient of a bias.
template <class S = Making>
struct ChannelSum {
  static constexpr std::string_view name = "channel_sum";
  View<S> dst;  ///< [C]
  View<S> src;  ///< [N,C,i..]

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
  }
};

}  // namespace anygpu::calls
