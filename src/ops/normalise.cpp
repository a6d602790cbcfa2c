// Normalisation over batches, layers, groups, and by root mean square, with gradients.
//
// Each is one loop nest of several reductions: mean, then squared distance from it, then use. The variance is taken in two passes, so that
// a large mean does not drown it.
#include <cmath>

#include "ops/tables.h"
#include "ops/window.h"

namespace anygpu::ops {

using ir::Operand;
using ir::ReduceKind;
using ir::Val;

namespace {

Val sum(Val v) {
  return reduce(ReduceKind::Sum, v);
}

/// Optional operands, in the order of the operator's comment: bit i of `present` says whether the i-th was passed.
class Optionals {
 public:
  Optionals(const Lowering& l, int first, int64_t present) : l_(l), at_(first), present_(present) {}
  /// The i-th, or null.
  const Operand* operator[](int i) const {
    if (!(present_ >> i & 1)) return nullptr;
    int at = at_;
    for (int j = 0; j < i; ++j) at += present_ >> j & 1;
    return &l_.view(at);
  }

 private:
  const Lowering& l_;
  int at_;
  int64_t present_;
};

/// A vector of C seen along dimension 1 of an array of this rank.
Operand channels(const Operand& o, int rank) {
  Operand r = o;
  while (r.rank() < rank - 1) r = unsqueezed(r, r.rank());
  return r;
}

/// How many elements the dimensions of `mask` have, of v's type.
Val extent(Val v, const Dims& sizes, uint32_t mask) {
  int64_t n = 1;
  for (int d = 0; d < sizes.size(); ++d)
    if (mask >> d & 1) n *= sizes[d];
  return size_like(v, n);
}

/// Training: statistics of the batch.
/// views: y, save_mean[C], save_invstd[C], [new running_mean[C], new running_var[C]], x[N,C,..], then those that are there of: weight,
/// bias, old running_mean, old running_var. attrs: which of the four are there (bits). scalars: momentum, eps.
void lower_batch_norm(Lowering& l) {
  const int64_t present = l.attr(0);
  const bool running = present & 4;
  const int x_at = running ? 5 : 3;
  const Operand& x = l.view(x_at);
  const int rank = x.rank();
  Optionals o(l, x_at + 1, present);
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;

  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val squares = sum(centred * centred);
  Val var = squares / n;
  Val invstd = 1.0 / sqrt(var + loop.scalar(1, t));
  Val y = centred * invstd;
  if (o[0]) y = y * loop.load(channels(*o[0], rank), t);
  if (o[1]) y = y + loop.load(channels(*o[1], rank), t);
  loop.store(l.view(0), y);
  loop.store(channels(l.view(1), rank), mean);
  loop.store(channels(l.view(2), rank), invstd);
  if (running) {
    Val momentum = loop.scalar(0, t), keep = 1.0 - momentum;
    Val unbiased = squares / (n - 1.0);
    loop.store(channels(l.view(3), rank), keep * loop.load(channels(*o[2], rank), t) + momentum * mean);
    loop.store(channels(l.view(4), rank), keep * loop.load(channels(*o[3], rank), t) + momentum * unbiased);
  }
  loop.done();
}

/// Evaluation: statistics that were kept. views: y, x[N,C,..], running_mean[C], running_var[C], then those there of: weight, bias.
/// attrs: which are there. scalars: eps.
void lower_batch_norm_eval(Lowering& l) {
  const Operand& x = l.view(1);
  const int rank = x.rank();
  Optionals o(l, 4, l.attr(0));
  const DType t = compute_type(x.dtype);
  Loop loop(l, x.sizes);
  Val invstd = 1.0 / sqrt(loop.load(channels(l.view(3), rank), t) + loop.scalar(0, t));
  Val y = (loop.load(x, t) - loop.load(channels(l.view(2), rank), t)) * invstd;
  if (o[0]) y = y * loop.load(channels(*o[0], rank), t);
  if (o[1]) y = y + loop.load(channels(*o[1], rank), t);
  loop.store(l.view(0), y);
  loop.done();
}

/// views: those outputs that attrs[1] asks for (bits) of grad of x, of weight, of bias; then grad of y, x, mean[C], and invstd[C] (train)
/// or running_var[C] (evaluation), weight if attrs[0]. attrs[2]: whether in training. scalars: eps.
void lower_batch_norm_grad(Lowering& l) {
  Optionals out(l, 0, l.attr(1));
  int at = __builtin_popcountll(static_cast<uint64_t>(l.attr(1)));
  const Operand &dy = l.view(at), &x = l.view(at + 1), &mean_of = l.view(at + 2), &spread = l.view(at + 3);
  const bool train = l.attr(2);
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;

  Loop loop(l, x.sizes, mask);
  Val g = loop.load(dy, t);
  Val n = extent(g, x.sizes, mask);
  Val centred = loop.load(x, t) - loop.load(channels(mean_of, rank), t);
  Val s = loop.load(channels(spread, rank), t);
  Val invstd = train ? s : 1.0 / sqrt(s + loop.scalar(0, t));
  Val total = sum(g);
  Val dot = sum(g * centred);
  if (out[1]) loop.store(channels(*out[1], rank), dot * invstd);
  if (out[2]) loop.store(channels(*out[2], rank), total);
  if (out[0]) {
    Val scale = l.attr(0) ? invstd * loop.load(channels(l.view(at + 4), rank), t) : invstd;
    Val dx = train ? g - total / n - centred * (invstd * invstd * (dot / n)) : g;
    loop.store(*out[0], dx * scale);
  }
  loop.done();
}

/// The batch's mean and inverse deviation alone. views: mean[C], invstd[C], x[N,C,..]. scalars: eps
void lower_batch_norm_stats(Lowering& l) {
  const Operand& x = l.view(2);
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  loop.store(channels(l.view(0), rank), mean);
  loop.store(channels(l.view(1), rank), 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(0, t)));
  loop.done();
}

/// views: y, mean and rstd (y's sizes, 1 in the normalised dimensions), x, then those there of: weight, bias (the normalised sizes).
/// attrs: which are there, number of normalised dimensions. scalars: eps
void lower_layer_norm(Lowering& l) {
  const Operand& x = l.view(3);
  const int rank = x.rank(), n_dims = static_cast<int>(l.attr(1));
  Optionals o(l, 4, l.attr(0));
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(rank - n_dims, n_dims);
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val rstd = 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(0, t));
  Val y = centred * rstd;
  if (o[0]) y = y * loop.load(*o[0], t);
  if (o[1]) y = y + loop.load(*o[1], t);
  loop.store(l.view(0), y);
  loop.store(l.view(1), mean);
  loop.store(l.view(2), rstd);
  loop.done();
}

/// views: those outputs that attrs[1] asks for of grad of x, of weight, of bias; then grad of y, x, mean, rstd, weight if attrs[0].
/// attrs[2]: number of normalised dimensions.
void lower_layer_norm_grad(Lowering& l) {
  Optionals out(l, 0, l.attr(1));
  int at = __builtin_popcountll(static_cast<uint64_t>(l.attr(1)));
  const Operand &dy = l.view(at), &x = l.view(at + 1), &mean = l.view(at + 2), &rstd = l.view(at + 3);
  const int rank = x.rank(), n_dims = static_cast<int>(l.attr(2));
  const DType t = compute_type(x.dtype);
  const uint32_t inner = bits(rank - n_dims, n_dims);
  if (out[0]) {
    Loop loop(l, x.sizes, inner);
    Val g = loop.load(dy, t);
    Val n = extent(g, x.sizes, inner);
    if (l.attr(0)) g = g * loop.load(l.view(at + 4), t);
    Val r = loop.load(rstd, t);
    Val hat = (loop.load(x, t) - loop.load(mean, t)) * r;
    loop.store(*out[0], r * (g - sum(g) / n - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (out[1] || out[2]) {
    Loop loop(l, x.sizes, bits(0, rank - n_dims));
    Val g = loop.load(dy, t);
    Val hat = (loop.load(x, t) - loop.load(mean, t)) * loop.load(rstd, t);
    if (out[1]) loop.store(*out[1], sum(g * hat));
    if (out[2]) loop.store(*out[2], sum(g));
    loop.done();
  }
}

/// views: y[N,G,D,S], mean[N,G,1,1], rstd[N,G,1,1], x[N,G,D,S], then those there of: weight[G,D,1], bias[G,D,1]. attrs: which. scalars: eps
void lower_group_norm(Lowering& l) {
  const Operand& x = l.view(3);
  Optionals o(l, 4, l.attr(0));
  const DType t = compute_type(x.dtype);
  Loop loop(l, x.sizes, 0b1100);
  Val v = loop.load(x, t);
  Val n = size_like(v, x.sizes[2] * x.sizes[3]);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val rstd = 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(0, t));
  Val y = centred * rstd;
  if (o[0]) y = y * loop.load(*o[0], t);
  if (o[1]) y = y + loop.load(*o[1], t);
  loop.store(l.view(0), y);
  loop.store(l.view(1), mean);
  loop.store(l.view(2), rstd);
  loop.done();
}

/// views: those outputs that attrs[1] asks for of grad of x[N,G,D,S], of weight[G,D,1], of bias[G,D,1]; then grad of y, x, mean, rstd,
/// weight if attrs[0]
void lower_group_norm_grad(Lowering& l) {
  Optionals out(l, 0, l.attr(1));
  int at = __builtin_popcountll(static_cast<uint64_t>(l.attr(1)));
  const Operand &dy = l.view(at), &x = l.view(at + 1), &mean = l.view(at + 2), &rstd = l.view(at + 3);
  const DType t = compute_type(x.dtype);
  if (out[0]) {
    Loop loop(l, x.sizes, 0b1100);
    Val g = loop.load(dy, t);
    Val n = size_like(g, x.sizes[2] * x.sizes[3]);
    if (l.attr(0)) g = g * loop.load(l.view(at + 4), t);
    Val r = loop.load(rstd, t);
    Val hat = (loop.load(x, t) - loop.load(mean, t)) * r;
    loop.store(*out[0], r * (g - sum(g) / n - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (out[1] || out[2]) {
    Loop loop(l, x.sizes, 0b1001);
    Val g = loop.load(dy, t);
    Val hat = (loop.load(x, t) - loop.load(mean, t)) * loop.load(rstd, t);
    if (out[1]) loop.store(*out[1], sum(g * hat));
    if (out[2]) loop.store(*out[2], sum(g));
    loop.done();
  }
}

/// views: y, rstd (1 in the normalised dimensions), x, weight if attrs[0]. attrs[1]: number of normalised dimensions. scalars: eps
void lower_rms_norm(Lowering& l) {
  const Operand& x = l.view(2);
  const int rank = x.rank(), n_dims = static_cast<int>(l.attr(1));
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(rank - n_dims, n_dims);
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val rstd = 1.0 / sqrt(sum(v * v) / extent(v, x.sizes, mask) + loop.scalar(0, t));
  Val y = v * rstd;
  if (l.attr(0)) y = y * loop.load(l.view(3), t);
  loop.store(l.view(0), y);
  loop.store(l.view(1), rstd);
  loop.done();
}

/// views: those outputs that attrs[1] asks for of grad of x, of weight; then grad of y, x, rstd, weight if attrs[0]. attrs[2]: number of
/// normalised dimensions.
void lower_rms_norm_grad(Lowering& l) {
  Optionals out(l, 0, l.attr(1));
  int at = __builtin_popcountll(static_cast<uint64_t>(l.attr(1)));
  const Operand &dy = l.view(at), &x = l.view(at + 1), &rstd = l.view(at + 2);
  const int rank = x.rank(), n_dims = static_cast<int>(l.attr(2));
  const DType t = compute_type(x.dtype);
  const uint32_t inner = bits(rank - n_dims, n_dims);
  if (out[0]) {
    Loop loop(l, x.sizes, inner);
    Val g = loop.load(dy, t);
    Val n = extent(g, x.sizes, inner);
    if (l.attr(0)) g = g * loop.load(l.view(at + 3), t);
    Val r = loop.load(rstd, t);
    Val hat = loop.load(x, t) * r;
    loop.store(*out[0], r * (g - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (out[1]) {
    Loop loop(l, x.sizes, bits(0, rank - n_dims));
    loop.store(*out[1], sum(loop.load(dy, t) * loop.load(x, t) * loop.load(rstd, t)));
    loop.done();
  }
}

/// Weight normalisation, arXiv:1602.07868: w = g * v / |v|, the norm over all but one dimension.
/// views: w, norms (1 in all dimensions but that one), v, g (as norms). attrs: the dimension
void lower_weight_norm(Lowering& l) {
  const Operand& v = l.view(2);
  const DType t = compute_type(v.dtype);
  Loop loop(l, v.sizes, bits(0, v.rank()) & ~(1u << l.attr(0)));
  Val x = loop.load(v, t);
  Val norm = sqrt(sum(x * x));
  loop.store(l.view(0), x * (loop.load(l.view(3), t) / norm));
  loop.store(l.view(1), norm);
  loop.done();
}

/// views: grad of v, grad of g, grad of w, v, g, norms. attrs: the dimension
void lower_weight_norm_grad(Lowering& l) {
  const Operand& v = l.view(3);
  const DType t = compute_type(v.dtype);
  Loop loop(l, v.sizes, bits(0, v.rank()) & ~(1u << l.attr(0)));
  Val dw = loop.load(l.view(2), t), x = loop.load(v, t), g = loop.load(l.view(4), t), norm = loop.load(l.view(5), t);
  Val dot = sum(dw * x);
  loop.store(l.view(1), dot / norm);
  loop.store(l.view(0), (g / norm) * (dw - x * (dot / (norm * norm))));
  loop.done();
}

}  // namespace

OpTable normalisations() {
  static const Op table[] = {
      {"batch_norm", nullptr, lower_batch_norm, 3},
      {"batch_norm_running", nullptr, lower_batch_norm, 5},
      {"batch_norm_eval", nullptr, lower_batch_norm_eval},
      {"batch_norm_grad_1", nullptr, lower_batch_norm_grad, 1},
      {"batch_norm_grad_2", nullptr, lower_batch_norm_grad, 2},
      {"batch_norm_grad_3", nullptr, lower_batch_norm_grad, 3},
      {"batch_norm_stats", nullptr, lower_batch_norm_stats, 2},
      {"layer_norm", nullptr, lower_layer_norm, 3},
      {"layer_norm_grad_1", nullptr, lower_layer_norm_grad, 1},
      {"layer_norm_grad_2", nullptr, lower_layer_norm_grad, 2},
      {"layer_norm_grad_3", nullptr, lower_layer_norm_grad, 3},
      {"group_norm", nullptr, lower_group_norm, 3},
      {"group_norm_grad_1", nullptr, lower_group_norm_grad, 1},
      {"group_norm_grad_2", nullptr, lower_group_norm_grad, 2},
      {"group_norm_grad_3", nullptr, lower_group_norm_grad, 3},
      {"rms_norm", nullptr, lower_rms_norm, 2},
      {"rms_norm_grad_1", nullptr, lower_rms_norm_grad, 1},
      {"rms_norm_grad_2", nullptr, lower_rms_norm_grad, 2},
      {"weight_norm", nullptr, lower_weight_norm, 2},
      {"weight_norm_grad", nullptr, lower_weight_norm_grad, 2},
  };
  return table;
}

}  // namespace anygpu::ops
