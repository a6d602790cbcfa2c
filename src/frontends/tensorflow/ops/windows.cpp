// Convolutions and pooling: windows over the last dimensions of [N, C, ..], which TensorFlow's tensors are given as by views.
#include "../kernel.h"
#include "anygpu/calls/conv.h"
#include "anygpu/calls/pool.h"
#include "tensorflow/core/framework/kernel_shape_util.h"
#include "tensorflow/core/util/padding.h"

namespace anygpu::tensorflow_frontend {

namespace {

/// The attributes that say where windows lie.
struct Windows {
  bool channels_last = true;
  std::vector<int64_t> strides, dilations, kernel, explicit_padding;  ///< of the spatial dimensions; padding in pairs
  tf::Padding padding;

  explicit Windows(const Node& node) {
    const std::string format = node.attr<std::string>("data_format");
    channels_last = format == "NHWC" || format == "NDHWC";
    strides = spatial(node.attr<std::vector<int32_t>>("strides"));
    if (node.has("ksize")) kernel = spatial(node.attr<std::vector<int32_t>>("ksize"));
    dilations = node.has("dilations") ? spatial(node.attr<std::vector<int32_t>>("dilations")) : std::vector<int64_t>(strides.size(), 1);
    padding = node.attr<tf::Padding>("padding");
    if (padding != tf::Padding::EXPLICIT) return;
    const auto pairs = node.attr<std::vector<int32_t>>("explicit_paddings");
    const size_t first = channels_last ? 2 : 4;
    explicit_padding.assign(pairs.begin() + static_cast<long>(first), pairs.begin() + static_cast<long>(first + 2 * strides.size()));
  }

  std::vector<int64_t> spatial(const std::vector<int32_t>& list) const {
    const auto first = list.begin() + (channels_last ? 1 : 2);
    return {first, first + static_cast<long>(list.size()) - 2};
  }
  int n() const { return static_cast<int>(strides.size()); }
};

/// How many windows lie along each dimension, and what padding that takes.
struct Fit {
  Dims out, before, after;
  bool even = true;  ///< whether padding is the same on both sides

  Fit(const Windows& w, const Dims& in, const Dims& kernel) {
    for (int d = 0; d < w.n(); ++d) {
      const auto i = static_cast<size_t>(d);
      int64_t count = 0, first = 0, last = 0;
      if (w.padding == tf::Padding::EXPLICIT) first = w.explicit_padding[2 * i], last = w.explicit_padding[2 * i + 1];
      const absl::Status s =
          tf::GetWindowedOutputSizeVerbose(in[d], kernel[d], w.dilations[i], w.strides[i], w.padding, &count, &first, &last);
      if (!s.ok()) throw Refusal(s);
      out.push_back(count);
      before.push_back(first);
      after.push_back(last);
      even = even && first == last;
    }
  }
};

Dims list(const std::vector<int64_t>& v) {
  return Dims(v.data(), static_cast<int>(v.size()));
}

/// Any tensor of TensorFlow's as [N, C, ..].
Array channels_first(const Array& a, bool channels_last) {
  return channels_last ? common::move_dim(a, -1, 1) : a;
}
Dims spatial_of(const Array& nchw) {
  return Dims(nchw.sizes.data() + 2, nchw.rank() - 2);
}
/// The sizes of a tensor of TensorFlow's.
Dims laid_out(int64_t n, int64_t c, const Dims& spatial, bool channels_last) {
  Dims d{n};
  if (!channels_last) d.push_back(c);
  for (int64_t s : spatial) d.push_back(s);
  if (channels_last) d.push_back(c);
  return d;
}

/// A new array with room around x, channels last in memory as x has them; and the part of it that is x's.
struct Padded {
  Array whole, inner;
  Padded(const Array& x, const Fit& fit, bool channels_last) {
    Dims sizes = spatial_of(x);
    for (int d = 0; d < sizes.size(); ++d) sizes[d] += fit.before[d] + fit.after[d];
    whole = channels_first(common::make(x.device(), x.dtype, laid_out(x.sizes[0], x.sizes[1], sizes, channels_last)), channels_last);
    inner = whole;
    for (int d = 0; d < sizes.size(); ++d) inner = common::narrow(inner, 2 + d, fit.before[d], x.sizes[2 + d]);
  }
};

/// x where padding is even, and what is left to pad; else x with its padding around it.
Array with_padding(const Array& x, const Fit& fit, Dims& rest, double value, bool channels_last) {
  rest = fit.even ? fit.before : Dims::filled(fit.before.size(), 0);
  if (fit.even) return x;
  const Padded p(x, fit, channels_last);
  record(calls::fill(p.whole, Scalar::of(x.dtype, value)));
  common::copy_to(p.inner, x);
  return p.whole;
}

// ---- convolution ----

/// TensorFlow's filter [k.., IC / groups, OC] as [OC, IC / groups, k..]; of a depthwise one [k.., C, M] as [C M, 1, k..].
Array filter_view(const Array& f, bool depthwise) {
  const int n = f.rank() - 2;
  Array w = f;
  w.sizes.clear();
  w.strides.clear();
  const int64_t ic = f.sizes[n], oc = f.sizes[n + 1];
  w.sizes.push_back(depthwise ? ic * oc : oc);
  w.strides.push_back(1);
  w.sizes.push_back(depthwise ? 1 : ic);
  w.strides.push_back(depthwise ? ic * oc : oc);
  for (int d = 0; d < n; ++d) {
    w.sizes.push_back(f.sizes[d]);
    w.strides.push_back(f.strides[d]);
  }
  return w;
}
Dims kernel_of(const Dims& filter) {
  return Dims(filter.data(), filter.size() - 2);
}

struct Convolution {
  Windows w;
  bool depthwise;

  void check(Call& c, const Array& x, const Array& weight, int input) const {
    require(x.rank() == w.n() + 2, "input must be ", w.n() + 2, "-dimensional", c.context.input(input).shape().DebugString());
    if (!depthwise)
      require(weight.sizes[1] > 0 && x.sizes[1] % weight.sizes[1] == 0,
              "input depth must be evenly divisible by filter depth: ", x.sizes[1], " vs ", weight.sizes[1]);
  }
  calls::ConvGeometry geometry(const Dims& padding, const Array& x, const Array& weight) const {
    return calls::conv_geometry(w.n(), list(w.strides), padding, list(w.dilations), x.sizes[1] / weight.sizes[1]);
  }
};

std::function<Body(const Node&)> conv(bool depthwise) {
  return [depthwise](const Node& node) {
    return [k = Convolution{Windows(node), depthwise}](Call& c) {
      const Array x = channels_first(c.in(0), k.w.channels_last), filter = c.in(1);
      const Array weight = filter_view(filter, k.depthwise);
      k.check(c, x, weight, 0);
      const Fit fit(k.w, spatial_of(x), kernel_of(filter.sizes));
      const Array y = c.out(0, laid_out(x.sizes[0], weight.sizes[0], fit.out, k.w.channels_last));
      if (y.elements() == 0) return;
      c.record([=] {
        if (x.elements() == 0) return record(calls::fill(y, 0.0));
        Dims padding;
        const Array src = with_padding(x, fit, padding, 0, k.w.channels_last), dst = channels_first(y, k.w.channels_last);
        record(calls::Conv{.dst = dst, .src = src, .weight = weight, .bias = {}, .geometry = k.geometry(padding, x, weight)});
      });
    };
  };
}

std::function<Body(const Node&)> conv_input_grad(bool depthwise) {
  return [depthwise](const Node& node) {
    return [k = Convolution{Windows(node), depthwise}](Call& c) {
      const Array filter = c.in(1), dy = channels_first(c.in(2), k.w.channels_last);
      const Array weight = filter_view(filter, k.depthwise);
      Dims sizes = list(c.host_list(0));
      if (sizes.size() == k.w.n()) sizes = laid_out(dy.sizes[0], weight.sizes[1], sizes, k.w.channels_last);
      const Array dx_out = c.out(0, sizes), dx = channels_first(dx_out, k.w.channels_last);
      k.check(c, dx, weight, 2);
      if (dx.elements() == 0) return;
      const Fit fit(k.w, spatial_of(dx), kernel_of(filter.sizes));
      c.record([=] {
        if (dy.elements() == 0) return record(calls::fill(dx, 0.0));
        if (fit.even)
          return record(
              calls::ConvSrcGrad{.dsrc = dx, .ddst = dy, .weight = weight, .bias = {}, .geometry = k.geometry(fit.before, dx, weight)});
        const Padded p(dx, fit, k.w.channels_last);
        const Dims none = Dims::filled(k.w.n(), 0);
        record(calls::ConvSrcGrad{.dsrc = p.whole, .ddst = dy, .weight = weight, .bias = {}, .geometry = k.geometry(none, dx, weight)});
        common::copy_to(dx, p.inner);
      });
    };
  };
}

std::function<Body(const Node&)> conv_filter_grad(bool depthwise) {
  return [depthwise](const Node& node) {
    return [k = Convolution{Windows(node), depthwise}](Call& c) {
      const Array x = channels_first(c.in(0), k.w.channels_last), dy = channels_first(c.in(2), k.w.channels_last);
      const Dims sizes = list(c.host_list(1));
      const Array dfilter = c.out(0, sizes), dweight = filter_view(dfilter, k.depthwise);
      k.check(c, x, dweight, 0);
      if (dfilter.elements() == 0) return;
      const Fit fit(k.w, spatial_of(x), kernel_of(sizes));
      c.record([=] {
        if (dy.elements() == 0 || x.elements() == 0) return record(calls::fill(dfilter, 0.0));
        Dims padding;
        const Array src = with_padding(x, fit, padding, 0, k.w.channels_last);
        record(calls::ConvWeightGrad{.dweight = dweight, .ddst = dy, .src = src, .geometry = k.geometry(padding, x, dweight)});
      });
    };
  };
}

// ---- pooling ----

calls::Window window_of(const Windows& w, const Dims& padding) {
  return calls::window(w.n(), list(w.kernel), list(w.strides), padding);
}
constexpr double kLowest = -std::numeric_limits<double>::infinity();

Body max_pool(const Node& node) {
  return [w = Windows(node)](Call& c) {
    const Array x = channels_first(c.in(0), w.channels_last);
    require(x.rank() == w.n() + 2, "tensor_in must be ", w.n() + 2, "-dimensional");
    const Fit fit(w, spatial_of(x), list(w.kernel));
    const Array y_out = c.out(0, laid_out(x.sizes[0], x.sizes[1], fit.out, w.channels_last)), y = channels_first(y_out, w.channels_last);
    if (y.elements() == 0) return;
    c.record([=] {
      Dims padding;
      const Array src = with_padding(x, fit, padding, kLowest, w.channels_last), places = common::make(x.device(), DType::I64, y.sizes);
      record(calls::MaxPool{.dst = y, .indices = places, .src = src, .window = window_of(w, padding)});
    });
  };
}

/// Operands: x, y, dy. Where each maximum was is found again.
Body max_pool_grad(const Node& node) {
  return [w = Windows(node)](Call& c) {
    const Array x = channels_first(c.in(0), w.channels_last), dy = channels_first(c.in(2), w.channels_last);
    const Fit fit(w, spatial_of(x), list(w.kernel));
    const Array dx = channels_first(c.out(0, c.sizes(0)), w.channels_last);
    if (dx.elements() == 0) return;
    c.record([=] {
      Dims padding;
      const Array src = with_padding(x, fit, padding, kLowest, w.channels_last);
      const Array most = common::make(x.device(), x.dtype, dy.sizes), places = common::make(x.device(), DType::I64, dy.sizes);
      const calls::Window window = window_of(w, padding);
      record(calls::MaxPool{.dst = most, .indices = places, .src = src, .window = window});
      if (fit.even) return record(calls::MaxPoolGrad{.dsrc = dx, .ddst = dy, .indices = places, .window = window});
      const Padded p(dx, fit, w.channels_last);
      record(calls::MaxPoolGrad{.dsrc = p.whole, .ddst = dy, .indices = places, .window = window});
      common::copy_to(dx, p.inner);
    });
  };
}

/// Where padding is uneven: how many elements each window has.
Array window_counts(const Windows& w, const Array& x, const Fit& fit) {
  Array one = common::full(x.device(), x.dtype, laid_out(1, 1, spatial_of(x), false), 1);
  Dims padding;
  const Array padded = with_padding(one, fit, padding, 0, false);
  const Array counts = common::make(x.device(), x.dtype, laid_out(1, 1, fit.out, false));
  record(calls::AvgPool{.dst = counts, .src = padded, .window = window_of(w, padding), .count_include_pad = true, .divisor = 1});
  return counts;
}

/// The mean of what a window has of the image.
Body avg_pool(const Node& node) {
  return [w = Windows(node)](Call& c) {
    const Array x = channels_first(c.in(0), w.channels_last);
    require(x.rank() == w.n() + 2, "tensor_in must be ", w.n() + 2, "-dimensional");
    const Fit fit(w, spatial_of(x), list(w.kernel));
    const Array y = channels_first(c.out(0, laid_out(x.sizes[0], x.sizes[1], fit.out, w.channels_last)), w.channels_last);
    if (y.elements() == 0) return;
    c.record([=] {
      if (fit.even)
        return record(calls::AvgPool{.dst = y, .src = x, .window = window_of(w, fit.before), .count_include_pad = false, .divisor = 0});
      Dims padding;
      const Array src = with_padding(x, fit, padding, 0, w.channels_last), sum = common::make(x.device(), x.dtype, y.sizes);
      record(calls::AvgPool{.dst = sum, .src = src, .window = window_of(w, padding), .count_include_pad = true, .divisor = 1});
      const Array counts = window_counts(w, x, fit);
      record(calls::Pointwise(ANYGPU_OP("div"), x.dtype).out(y).in(sum).in(counts));
    });
  };
}

/// Operands: the shape of x, dy.
Body avg_pool_grad(const Node& node) {
  return [w = Windows(node)](Call& c) {
    const Dims sizes = list(c.host_list(0));
    const Array dy = channels_first(c.in(1), w.channels_last), dx = channels_first(c.out(0, sizes), w.channels_last);
    if (dx.elements() == 0) return;
    const Fit fit(w, spatial_of(dx), list(w.kernel));
    c.record([=] {
      if (fit.even)
        return record(
            calls::AvgPoolGrad{.dsrc = dx, .ddst = dy, .window = window_of(w, fit.before), .count_include_pad = false, .divisor = 0});
      const Array each = dy / window_counts(w, dx, fit);
      const Padded p(dx, fit, w.channels_last);
      const Dims none = Dims::filled(w.n(), 0);
      record(calls::AvgPoolGrad{.dsrc = p.whole, .ddst = each, .window = window_of(w, none), .count_include_pad = true, .divisor = 1});
      common::copy_to(dx, p.inner);
    });
  };
}

}  // namespace

void register_windows() {
  add("Conv2D", {{"T", kFloats}}, conv(false));
  add("Conv2DBackpropInput", {{"T", kFloats}}, {"input_sizes"}, conv_input_grad(false));
  add("Conv2DBackpropFilter", {{"T", kFloats}}, {"filter_sizes"}, conv_filter_grad(false));
  add("Conv3D", {{"T", kFloats}}, conv(false));
  add("Conv3DBackpropInputV2", {{"T", kFloats}, {"Tshape", kIndex}}, {"input_sizes"}, conv_input_grad(false));
  add("Conv3DBackpropFilterV2", {{"T", kFloats}}, {"filter_sizes"}, conv_filter_grad(false));
  add("DepthwiseConv2dNative", {{"T", kFloats}}, conv(true));
  add("DepthwiseConv2dNativeBackpropInput", {{"T", kFloats}}, {"input_sizes"}, conv_input_grad(true));
  add("DepthwiseConv2dNativeBackpropFilter", {{"T", kFloats}}, {"filter_sizes"}, conv_filter_grad(true));
  add("MaxPool", {{"T", kFloats}}, max_pool);
  add("MaxPoolGrad", {{"T", kFloats}}, max_pool_grad);
  add("MaxPool3D", {{"T", kFloats}}, max_pool);
  add("MaxPool3DGrad", {{"T", kFloats}}, max_pool_grad);
  add("AvgPool", {{"T", kFloats}}, avg_pool);
  add("AvgPoolGrad", {{"T", kFloats}}, {"orig_input_shape"}, avg_pool_grad);
  add("AvgPool3D", {{"T", kFloats}}, avg_pool);
  add("AvgPool3DGrad", {{"T", kFloats}}, {"orig_input_shape"}, avg_pool_grad);
}

}  // namespace anygpu::tensorflow_frontend
