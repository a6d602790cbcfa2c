// Calls of pooling and unfolding over the last n dimensions of [N,C,i..] or [C,i..]; all operands of a call have the batch dimension, or none.
// Indices are i64: the row-major position within the input's last n dimensions, of the first of equals.
#pragma once

#include "anygpu/calls/window.h"

namespace anygpu::calls {

template <class S = Making>
struct MaxPool {
  static constexpr std::string_view name = "max_pool";
  View<S> dst, indices;  ///< [N,C,o..]
  View<S> src;           ///< [N,C,i..]
  Window window;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst, c.indices);
    f.inputs(c.src);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation);
  }
};

template <class S = Making>
struct MaxPoolGrad {
  static constexpr std::string_view name = "max_pool_grad";
  View<S> dsrc;           ///< [N,C,i..]
  View<S> ddst, indices;  ///< [N,C,o..]
  Window window;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.indices);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation);
  }
};

template <class S = Making>
struct AvgPool {
  static constexpr std::string_view name = "avg_pool";
  View<S> dst;  ///< [N,C,o..]
  View<S> src;  ///< [N,C,i..]
  Window window;
  bool count_include_pad;
  int64_t divisor;  ///< 0: the number of elements in the window

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation, c.count_include_pad, c.divisor);
  }
};

template <class S = Making>
struct AvgPoolGrad {
  static constexpr std::string_view name = "avg_pool_grad";
  View<S> dsrc, ddst;  ///< [N,C,i..], [N,C,o..]
  Window window;
  bool count_include_pad;
  int64_t divisor;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation, c.count_include_pad, c.divisor);
  }
};

/// Puts elements where indices say; 0 elsewhere.
template <class S = Making>
struct MaxUnpool {
  static constexpr std::string_view name = "max_unpool";
  View<S> dst;           ///< [N,C,o..]
  View<S> src, indices;  ///< [N,C,i..]; indices: positions in dst's last n dimensions
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.indices);
    f.attrs(c.n);
  }
};

/// Output o takes the input elements from floor(o * I / O) to ceil((o + 1) * I / O).
template <class S = Making>
struct AdaptiveAvgPool {
  static constexpr std::string_view name = "adaptive_avg_pool";
  View<S> dst, src;  ///< [N,C,o..], [N,C,i..]
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.n);
  }
};

template <class S = Making>
struct AdaptiveAvgPoolGrad {
  static constexpr std::string_view name = "adaptive_avg_pool_grad";
  View<S> dsrc, ddst;
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst);
    f.attrs(c.n);
  }
};

template <class S = Making>
struct AdaptiveMaxPool {
  static constexpr std::string_view name = "adaptive_max_pool";
  View<S> dst, indices, src;
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst, c.indices);
    f.inputs(c.src);
    f.attrs(c.n);
  }
};

template <class S = Making>
struct AdaptiveMaxPoolGrad {
  static constexpr std::string_view name = "adaptive_max_pool_grad";
  View<S> dsrc, ddst, indices;
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.indices);
    f.attrs(c.n);
  }
};

/// Windows at random places (Graham, arXiv:1412.6071).
template <class S = Making>
struct FractionalMaxPool {
  static constexpr std::string_view name = "fractional_max_pool";
  View<S> dst, indices;  ///< [N,C,o..]
  View<S> src;           ///< [N,C,i..]
  View<S> samples;       ///< [N,C,n] in [0,1), in the order of the spatial dimensions
  Dims kernel;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst, c.indices);
    f.inputs(c.src, c.samples);
    f.attrs(c.kernel);
  }
};

/// The gradient of maxima over windows of any kind: adds up where indices point.
template <class S = Making>
struct ScatterPoolGrad {
  static constexpr std::string_view name = "scatter_pool_grad";
  View<S> dsrc, ddst, indices;
  int64_t n;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.indices);
    f.attrs(c.n);
  }
};

/// Windows as columns.
template <class S = Making>
struct Im2Col {
  static constexpr std::string_view name = "im2col";
  View<S> dst;  ///< [N,C,k..,o..]
  View<S> src;  ///< [N,C,i..]
  Window window;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation);
  }
};

/// ... and back: the sum of all columns' elements at their places.
template <class S = Making>
struct Col2Im {
  static constexpr std::string_view name = "col2im";
  View<S> dst;  ///< [N,C,i..]
  View<S> src;  ///< [N,C,k..,o..]
  Window window;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.window.kernel, c.window.stride, c.window.padding, c.window.dilation);
  }
};

}  // namespace anygpu::calls
