// Calls of resizing, sampling at coordinates, and padding, over the last n dimensions of [N,C,i..].
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

enum class Resize { Nearest, NearestExact, Linear, Cubic };

/// Nearest: floor(o * scale). NearestExact: floor((o + 1/2) * scale). Linear and Cubic: at (o + 1/2) * scale - 1/2, or, with align_corners, at
/// o * scale. Cubic convolution takes a = -3/4.
template <class S = Making>
struct Upsample {
  static constexpr std::string_view name = "upsample";
  View<S> dst, src;  ///< [N,C,o..], [N,C,i..]
  Resize mode;
  bool align_corners;
  std::array<Real<S>, 3> scales;  ///< input elements per output element in each of the n dimensions; the rest is of no account

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.mode, c.align_corners);
    f.scalars(c.scales);
  }
};

template <class S = Making>
struct UpsampleGrad {
  static constexpr std::string_view name = "upsample_grad";
  View<S> dsrc, ddst;  ///< [N,C,i..], [N,C,o..]
  Resize mode;
  bool align_corners;
  std::array<Real<S>, 3> scales;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst);
    f.attrs(c.mode, c.align_corners);
    f.scalars(c.scales);
  }
};

/// Filters that grow with the scale where the image shrinks. Cubic takes a = -1/2.
enum class Filter { Triangle, Cubic, Lanczos };

/// Half the width of a filter, in input elements, at a scale of 1.
constexpr int filter_support(Filter f) {
  return f == Filter::Triangle ? 1 : f == Filter::Cubic ? 2 : 3;
}
/// The most elements that a filter takes of `in` of them, rounded up to a power of two: a size that only shapes the loop need not follow the
/// scale.
inline int64_t filter_taps(Filter f, double scale, int64_t in) {
  const double wide = filter_support(f) * (scale > 1 ? scale : 1);
  int64_t half = static_cast<int64_t>(wide);
  if (static_cast<double>(half) < wide) ++half;
  int64_t taps = 1;
  while (taps < 2 * half + 1) taps *= 2;
  return std::min(taps, std::max<int64_t>(in, 1));
}

/// Resizing of [N,C,ih,iw] to [N,C,oh,ow] with a filter, along w first.
template <class S = Making>
struct UpsampleFiltered {
  static constexpr std::string_view name = "upsample_filtered";
  View<S> dst, src;
  Filter filter;
  int64_t taps_h, taps_w;    ///< filter_taps()
  Real<S> scale_h, scale_w;  ///< input elements per output element

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.filter, c.taps_h, c.taps_w);
    f.scalars(c.scale_h, c.scale_w);
  }
};

template <class S = Making>
struct UpsampleFilteredGrad {
  static constexpr std::string_view name = "upsample_filtered_grad";
  View<S> dsrc, ddst;
  Filter filter;
  int64_t taps_h, taps_w;
  Real<S> scale_h, scale_w;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst);
    f.attrs(c.filter, c.taps_h, c.taps_w);
    f.scalars(c.scale_h, c.scale_w);
  }
};

// ---- at coordinates ----

/// Numbered as in PyTorch.
enum class Sampling { Bilinear, Nearest, Bicubic };
enum class Outside { Zeros, Border, Reflection };

/// Coordinates in [-1, 1], from edge to edge, or with align_corners from centre to centre; the last dimension of the grid names the innermost
/// first.
template <class S = Making>
struct GridSample {
  static constexpr std::string_view name = "grid_sample";
  View<S> dst;   ///< [N,C,o..]
  View<S> src;   ///< [N,C,i..]
  View<S> grid;  ///< [N,o..,n]
  Sampling sampling;
  Outside outside;
  bool align_corners;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.grid);
    f.attrs(c.sampling, c.outside, c.align_corners);
  }
};

template <class S = Making>
struct GridSampleSrcGrad {
  static constexpr std::string_view name = "grid_sample_src_grad";
  View<S> dsrc, ddst, grid;
  Sampling sampling;
  Outside outside;
  bool align_corners;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst, c.grid);
    f.attrs(c.sampling, c.outside, c.align_corners);
  }
};

template <class S = Making>
struct GridSampleGridGrad {
  static constexpr std::string_view name = "grid_sample_grid_grad";
  View<S> dgrid, ddst, src, grid;
  Sampling sampling;
  Outside outside;
  bool align_corners;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dgrid);
    f.inputs(c.ddst, c.src, c.grid);
    f.attrs(c.sampling, c.outside, c.align_corners);
  }
};

// ---- padding by reflection, or by repeating the border (by a constant: fill and copy) ----

template <class S = Making>
struct Pad {
  static constexpr std::string_view name = "pad";
  View<S> dst, src;  ///< [.., o..], [.., i..]
  bool reflect;      ///< else the border is repeated
  Dims before;       ///< elements added before each of the last n dimensions; may be negative

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.reflect, c.before);
  }
};

template <class S = Making>
struct PadGrad {
  static constexpr std::string_view name = "pad_grad";
  View<S> dsrc, ddst;
  bool reflect;
  Dims before;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dsrc);
    f.inputs(c.ddst);
    f.attrs(c.reflect, c.before);
  }
};

}  // namespace anygpu::calls
