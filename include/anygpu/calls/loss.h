// Calls of losses that pick by class index, and of connectionist temporal classification. (Pointwise losses are calls of Pointwise.)
// x[N,C,s..] has its classes in dimension 1; x[C] with a scalar target is a batch of one. Targets are i64 or u8; one out of range fails the
// kernel.
#pragma once

#include <vector>

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// What becomes of the losses of a batch. Numbered as in PyTorch.
enum class Batch { None, Mean, Sum };

/// Negative log-likelihood. Mean divides by the total weight.
template <class S = Making>
struct NllLoss {
  static constexpr std::string_view name = "nll_loss";
  View<S> loss;          ///< target's sizes, or a scalar
  View<S> total_weight;  ///< a scalar
  View<S> x, target;     ///< [N,C,s..], [N,s..]
  Maybe<S> weight;       ///< [C]
  Batch batch;
  Whole<S> ignored;  ///< the class that does not count

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.loss, c.total_weight);
    f.inputs(c.x, c.target, c.weight);
    f.attrs(c.batch);
    f.scalars(c.ignored);
  }
};

template <class S = Making>
struct NllLossGrad {
  static constexpr std::string_view name = "nll_loss_grad";
  View<S> dx, dloss, target, total_weight;
  Maybe<S> weight;
  Batch batch;
  Whole<S> ignored;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx);
    f.inputs(c.dloss, c.target, c.total_weight, c.weight);
    f.attrs(c.batch);
    f.scalars(c.ignored);
  }
};

/// Multi-class hinge: max(0, margin - x[target] + x[c])^p over the other classes, divided by their number.
template <class S = Making>
struct MultiMarginLoss {
  static constexpr std::string_view name = "multi_margin_loss";
  View<S> loss;       ///< [N], or a scalar
  View<S> x, target;  ///< [N,C], [N]
  Maybe<S> weight;    ///< [C]
  Batch batch;
  int64_t p;  ///< 1 or 2
  Real<S> margin;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.loss);
    f.inputs(c.x, c.target, c.weight);
    f.attrs(c.batch, c.p);
    f.scalars(c.margin);
  }
};

template <class S = Making>
struct MultiMarginLossGrad {
  static constexpr std::string_view name = "multi_margin_loss_grad";
  View<S> dx, dloss, x, target;
  Maybe<S> weight;
  Batch batch;
  int64_t p;
  Real<S> margin;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx);
    f.inputs(c.dloss, c.x, c.target, c.weight);
    f.attrs(c.batch, c.p);
    f.scalars(c.margin);
  }
};

/// Multi-label hinge. The labels of a row end at the first -1.
template <class S = Making>
struct MultilabelMarginLoss {
  static constexpr std::string_view name = "multilabel_margin_loss";
  View<S> loss;       ///< [N], or a scalar
  View<S> is_target;  ///< [N,C]
  View<S> x, target;  ///< [N,C]
  Batch batch;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.loss, c.is_target);
    f.inputs(c.x, c.target);
    f.attrs(c.batch);
  }
};

template <class S = Making>
struct MultilabelMarginLossGrad {
  static constexpr std::string_view name = "multilabel_margin_loss_grad";
  View<S> dx, dloss, x, target;
  Batch batch;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dx);
    f.inputs(c.dloss, c.x, c.target);
    f.attrs(c.batch);
  }
};

// ---- connectionist temporal classification (Graves et al., 2006) ----

/// The batch: all targets lie in one row, that of sample n from starts[n] on.
template <class S = Making>
struct CtcLoss {
  static constexpr std::string_view name = "ctc_loss";
  View<S> loss;           ///< [N]
  View<S> log_alpha;      ///< [N,T,2 * longest target + 1]
  View<S> log_probs;      ///< [T,N,C]
  View<S> labels;         ///< [sum of lengths, or more], i32 or i64
  View<S> starts;         ///< [N], i64, as the lengths
  View<S> input_lengths;  ///< [N], each at most T
  View<S> target_lengths;
  Whole<S> blank;  ///< its class

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.loss, c.log_alpha);
    f.inputs(c.log_probs, c.labels, c.starts, c.input_lengths, c.target_lengths);
    f.scalars(c.blank);
  }
};

template <class S = Making>
struct CtcLossGrad {
  static constexpr std::string_view name = "ctc_loss_grad";
  View<S> dlog_probs;  ///< [T,N,C]
  View<S> dloss, loss, log_alpha;
  View<S> log_probs, labels, starts, input_lengths, target_lengths;
  bool zero_infinity;  ///< whether an infinite loss has gradient 0
  Whole<S> blank;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dlog_probs);
    f.inputs(c.dloss, c.loss, c.log_alpha, c.log_probs, c.labels, c.starts, c.input_lengths, c.target_lengths);
    f.attrs(c.zero_infinity);
    f.scalars(c.blank);
  }
};

/// Where each sample's labels begin, in elements of one row of all targets: `stride` apart where the targets are a matrix of rows that long,
/// else (0) one after another. `longest`: the longest target.
struct CtcStarts {
  std::vector<int64_t> starts;
  int64_t total = 0, longest = 0;
};
inline CtcStarts ctc_starts(std::span<const int64_t> lengths, int64_t stride = 0) {
  CtcStarts s;
  for (size_t i = 0; i < lengths.size(); ++i) {
    s.starts.push_back(stride ? static_cast<int64_t>(i) * stride : s.total);
    s.total += lengths[i];
    s.longest = std::max(s.longest, lengths[i]);
  }
  return s;
}

}  // namespace anygpu::calls
