// Calls of normalisation. x[N,C,..] has its channels in dimension 1. Statistics and parameters are of x's dtype, or f32 where x is half.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// Batch normalisation in training, by the statistics of the batch. If there are running statistics, they move towards the batch's by
/// `momentum`: `new_*` may be the old ones themselves.
template <class S = Making>
struct BatchNorm {
  static constexpr std::string_view name = "batch_norm";
  View<S> y, mean, invstd;            ///< y: as x. mean, invstd: [C], the batch's
  Maybe<S> new_running_mean, new_running_var;
  View<S> x;                          ///< [N,C,..], not empty
  Maybe<S> weight, bias;              ///< [C]
  Maybe<S> running_mean, running_var; ///< [C], both or none, as the new ones
  Real<S> momentum, eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.y, c.mean, c.invstd, c.new_running_mean, c.new_running_var);
    f.inputs(c.x, c.weight, c.bias, c.running_mean, c.running_var);
    f.scalars(c.momentum, c.eps);
  }
};

/// ... in evaluation, by statistics that were kept.
template <class S = Making>
struct BatchNormEval {
  static constexpr std::string_view name = "batch_norm_eval";
  View<S> y, x;                       ///< [N,C,..]
  View<S> running_mean, running_var;  ///< [C]
  Maybe<S> weight, bias;              ///< [C]
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.y);
    f.inputs(c.x, c.running_mean, c.running_var, c.weight, c.bias);
    f.scalars(c.eps);
  }
};

/// The gradients that are asked for, at least one.
template <class S = Making>
struct BatchNormGrad {
  static constexpr std::string_view name = "batch_norm_grad";
  Maybe<S> dx, dweight, dbias;  ///< as x, [C], [C]
  View<S> dy, x;                ///< [N,C,..]
  View<S> mean, spread;         ///< [C]; spread: invstd in training, running_var in evaluation
  Maybe<S> weight;              ///< [C]
  bool train;                   ///< whether y was made by the batch's own statistics
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx, c.dweight, c.dbias);
    f.inputs(c.dy, c.x, c.mean, c.spread, c.weight);
    f.attrs(c.train);
    f.scalars(c.eps);
  }
};

/// The batch's mean and inverse deviation alone.
template <class S = Making>
struct BatchNormStats {
  static constexpr std::string_view name = "batch_norm_stats";
  View<S> mean, invstd;  ///< [C]
  View<S> x;             ///< [N,C,..]
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.mean, c.invstd);
    f.inputs(c.x);
    f.scalars(c.eps);
  }
};

/// Normalisation over the last `dims` dimensions.
template <class S = Making>
struct LayerNorm {
  static constexpr std::string_view name = "layer_norm";
  View<S> y, mean, rstd;  ///< y: as x. mean, rstd: x's sizes, 1 where normalised
  View<S> x;
  Maybe<S> weight, bias;  ///< the normalised sizes
  int64_t dims;
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.y, c.mean, c.rstd);
    f.inputs(c.x, c.weight, c.bias);
    f.attrs(c.dims);
    f.scalars(c.eps);
  }
};

/// The gradients that are asked for, at least one.
template <class S = Making>
struct LayerNormGrad {
  static constexpr std::string_view name = "layer_norm_grad";
  Maybe<S> dx, dweight, dbias;
  View<S> dy, x, mean, rstd;  ///< as LayerNorm's
  Maybe<S> weight;
  int64_t dims;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx, c.dweight, c.dbias);
    f.inputs(c.dy, c.x, c.mean, c.rstd, c.weight);
    f.attrs(c.dims);
  }
};

/// Normalisation over groups of channels: N batches, G groups of D channels, S places.
template <class S = Making>
struct GroupNorm {
  static constexpr std::string_view name = "group_norm";
  View<S> y;              ///< [N,G,D,S]
  View<S> mean, rstd;     ///< [N,G,1,1]
  View<S> x;              ///< [N,G,D,S]
  Maybe<S> weight, bias;  ///< [G,D,1]
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.y, c.mean, c.rstd);
    f.inputs(c.x, c.weight, c.bias);
    f.scalars(c.eps);
  }
};

/// The gradients that are asked for, at least one.
template <class S = Making>
struct GroupNormGrad {
  static constexpr std::string_view name = "group_norm_grad";
  Maybe<S> dx, dweight, dbias;  ///< [N,G,D,S], [G,D,1], [G,D,1]
  View<S> dy, x;                ///< [N,G,D,S]
  View<S> mean, rstd;           ///< [N,G,1,1]
  Maybe<S> weight;              ///< [G,D,1]

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx, c.dweight, c.dbias);
    f.inputs(c.dy, c.x, c.mean, c.rstd, c.weight);
  }
};

/// Normalisation by the root mean square of the last `dims` dimensions.
template <class S = Making>
struct RmsNorm {
  static constexpr std::string_view name = "rms_norm";
  View<S> y, rstd;  ///< y: as x. rstd: x's sizes, 1 where normalised
  View<S> x;
  Maybe<S> weight;  ///< the normalised sizes
  int64_t dims;
  Real<S> eps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.y, c.rstd);
    f.inputs(c.x, c.weight);
    f.attrs(c.dims);
    f.scalars(c.eps);
  }
};

/// The gradients that are asked for, at least one.
template <class S = Making>
struct RmsNormGrad {
  static constexpr std::string_view name = "rms_norm_grad";
  Maybe<S> dx, dweight;
  View<S> dy, x, rstd;  ///< as RmsNorm's
  Maybe<S> weight;
  int64_t dims;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx, c.dweight);
    f.inputs(c.dy, c.x, c.rstd, c.weight);
    f.attrs(c.dims);
  }
};

/// Weight normalisation, arXiv:1602.07868: w = g * v / |v|, the norm over all dimensions but one.
template <class S = Making>
struct WeightNorm {
  static constexpr std::string_view name = "weight_norm";
  View<S> w, norms;  ///< w: as v. norms: v's sizes along `dim`, else 1
  View<S> v, g;      ///< g: as norms
  int64_t dim;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.w, c.norms);
    f.inputs(c.v, c.g);
    f.attrs(c.dim);
  }
};

template <class S = Making>
struct WeightNormGrad {
  static constexpr std::string_view name = "weight_norm_grad";
  View<S> dv, dg;
  View<S> dw, v, g, norms;  ///< as WeightNorm's
  int64_t dim;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dv, c.dg);
    f.inputs(c.dw, c.v, c.g, c.norms);
    f.attrs(c.dim);
  }
};

}  // namespace anygpu::calls
