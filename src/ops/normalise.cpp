// Normalisation over batches, layers, groups, and by root mean square, with gradients.
//
// Each is one loop nest of several reductions: mean, then squared distance from it, then use. The variance is taken in two passes, so that
// a large mean does not drown it.
#include <cmath>

#include "anygpu/calls/norm.h"
#include "ops/call.h"
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

void lower_batch_norm(Lowering& l, const calls::BatchNorm<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;

  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val squares = sum(centred * centred);
  Val var = squares / n;
  Val invstd = 1.0 / sqrt(var + loop.scalar(c.eps, t));
  Val y = centred * invstd;
  if (c.weight) y = y * loop.load(channels(*c.weight, rank), t);
  if (c.bias) y = y + loop.load(channels(*c.bias, rank), t);
  loop.store(c.y, y);
  loop.store(channels(c.mean, rank), mean);
  loop.store(channels(c.invstd, rank), invstd);
  if (c.running_mean && c.running_var) {
    Val momentum = loop.scalar(c.momentum, t), keep = 1.0 - momentum;
    Val unbiased = squares / (n - 1.0);
    loop.store(channels(*c.new_running_mean, rank), keep * loop.load(channels(*c.running_mean, rank), t) + momentum * mean);
    loop.store(channels(*c.new_running_var, rank), keep * loop.load(channels(*c.running_var, rank), t) + momentum * unbiased);
  }
  loop.done();
}

/// The two of running statistics go together.
void check_batch_norm(const CallArgs& call, const calls::BatchNorm<>& c) {
  const bool all = c.running_mean && c.running_var && c.new_running_mean && c.new_running_var;
  if (!all && (c.running_mean || c.running_var || c.new_running_mean || c.new_running_var))
    throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] some of the running statistics are absent, and some are not");
}

void lower_batch_norm_eval(Lowering& l, const calls::BatchNormEval<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  Loop loop(l, x.sizes);
  Val invstd = 1.0 / sqrt(loop.load(channels(c.running_var, rank), t) + loop.scalar(c.eps, t));
  Val y = (loop.load(x, t) - loop.load(channels(c.running_mean, rank), t)) * invstd;
  if (c.weight) y = y * loop.load(channels(*c.weight, rank), t);
  if (c.bias) y = y + loop.load(channels(*c.bias, rank), t);
  loop.store(c.y, y);
  loop.done();
}

void lower_batch_norm_grad(Lowering& l, const calls::BatchNormGrad<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;

  Loop loop(l, x.sizes, mask);
  Val g = loop.load(c.dy, t);
  Val n = extent(g, x.sizes, mask);
  Val centred = loop.load(x, t) - loop.load(channels(c.mean, rank), t);
  Val s = loop.load(channels(c.spread, rank), t);
  Val invstd = c.train ? s : 1.0 / sqrt(s + loop.scalar(c.eps, t));
  Val total = sum(g);
  Val dot = sum(g * centred);
  if (c.dweight) loop.store(channels(*c.dweight, rank), dot * invstd);
  if (c.dbias) loop.store(channels(*c.dbias, rank), total);
  if (c.dx) {
    Val scale = c.weight ? invstd * loop.load(channels(*c.weight, rank), t) : invstd;
    Val dx = c.train ? g - total / n - centred * (invstd * invstd * (dot / n)) : g;
    loop.store(*c.dx, dx * scale);
  }
  loop.done();
}

void lower_batch_norm_stats(Lowering& l, const calls::BatchNormStats<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank();
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(0, rank) & ~2u;
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  loop.store(channels(c.mean, rank), mean);
  loop.store(channels(c.invstd, rank), 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(c.eps, t)));
  loop.done();
}

void lower_layer_norm(Lowering& l, const calls::LayerNorm<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank(), n_dims = static_cast<int>(c.dims);
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(rank - n_dims, n_dims);
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val n = extent(v, x.sizes, mask);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val rstd = 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(c.eps, t));
  Val y = centred * rstd;
  if (c.weight) y = y * loop.load(*c.weight, t);
  if (c.bias) y = y + loop.load(*c.bias, t);
  loop.store(c.y, y);
  loop.store(c.mean, mean);
  loop.store(c.rstd, rstd);
  loop.done();
}

void lower_layer_norm_grad(Lowering& l, const calls::LayerNormGrad<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank(), n_dims = static_cast<int>(c.dims);
  const DType t = compute_type(x.dtype);
  const uint32_t inner = bits(rank - n_dims, n_dims);
  if (c.dx) {
    Loop loop(l, x.sizes, inner);
    Val g = loop.load(c.dy, t);
    Val n = extent(g, x.sizes, inner);
    if (c.weight) g = g * loop.load(*c.weight, t);
    Val r = loop.load(c.rstd, t);
    Val hat = (loop.load(x, t) - loop.load(c.mean, t)) * r;
    loop.store(*c.dx, r * (g - sum(g) / n - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (c.dweight || c.dbias) {
    Loop loop(l, x.sizes, bits(0, rank - n_dims));
    Val g = loop.load(c.dy, t);
    Val hat = (loop.load(x, t) - loop.load(c.mean, t)) * loop.load(c.rstd, t);
    if (c.dweight) loop.store(*c.dweight, sum(g * hat));
    if (c.dbias) loop.store(*c.dbias, sum(g));
    loop.done();
  }
}

void lower_group_norm(Lowering& l, const calls::GroupNorm<Reading>& c) {
  const Operand& x = c.x;
  const DType t = compute_type(x.dtype);
  Loop loop(l, x.sizes, 0b1100);
  Val v = loop.load(x, t);
  Val n = size_like(v, x.sizes[2] * x.sizes[3]);
  Val mean = sum(v) / n;
  Val centred = v - mean;
  Val rstd = 1.0 / sqrt(sum(centred * centred) / n + loop.scalar(c.eps, t));
  Val y = centred * rstd;
  if (c.weight) y = y * loop.load(*c.weight, t);
  if (c.bias) y = y + loop.load(*c.bias, t);
  loop.store(c.y, y);
  loop.store(c.mean, mean);
  loop.store(c.rstd, rstd);
  loop.done();
}

void lower_group_norm_grad(Lowering& l, const calls::GroupNormGrad<Reading>& c) {
  const Operand& x = c.x;
  const DType t = compute_type(x.dtype);
  if (c.dx) {
    Loop loop(l, x.sizes, 0b1100);
    Val g = loop.load(c.dy, t);
    Val n = size_like(g, x.sizes[2] * x.sizes[3]);
    if (c.weight) g = g * loop.load(*c.weight, t);
    Val r = loop.load(c.rstd, t);
    Val hat = (loop.load(x, t) - loop.load(c.mean, t)) * r;
    loop.store(*c.dx, r * (g - sum(g) / n - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (c.dweight || c.dbias) {
    Loop loop(l, x.sizes, 0b1001);
    Val g = loop.load(c.dy, t);
    Val hat = (loop.load(x, t) - loop.load(c.mean, t)) * loop.load(c.rstd, t);
    if (c.dweight) loop.store(*c.dweight, sum(g * hat));
    if (c.dbias) loop.store(*c.dbias, sum(g));
    loop.done();
  }
}

void lower_rms_norm(Lowering& l, const calls::RmsNorm<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank(), n_dims = static_cast<int>(c.dims);
  const DType t = compute_type(x.dtype);
  const uint32_t mask = bits(rank - n_dims, n_dims);
  Loop loop(l, x.sizes, mask);
  Val v = loop.load(x, t);
  Val rstd = 1.0 / sqrt(sum(v * v) / extent(v, x.sizes, mask) + loop.scalar(c.eps, t));
  Val y = v * rstd;
  if (c.weight) y = y * loop.load(*c.weight, t);
  loop.store(c.y, y);
  loop.store(c.rstd, rstd);
  loop.done();
}

void lower_rms_norm_grad(Lowering& l, const calls::RmsNormGrad<Reading>& c) {
  const Operand& x = c.x;
  const int rank = x.rank(), n_dims = static_cast<int>(c.dims);
  const DType t = compute_type(x.dtype);
  const uint32_t inner = bits(rank - n_dims, n_dims);
  if (c.dx) {
    Loop loop(l, x.sizes, inner);
    Val g = loop.load(c.dy, t);
    Val n = extent(g, x.sizes, inner);
    if (c.weight) g = g * loop.load(*c.weight, t);
    Val r = loop.load(c.rstd, t);
    Val hat = loop.load(x, t) * r;
    loop.store(*c.dx, r * (g - hat * (sum(g * hat) / n)));
    loop.done();
  }
  if (c.dweight) {
    Loop loop(l, x.sizes, bits(0, rank - n_dims));
    loop.store(*c.dweight, sum(loop.load(c.dy, t) * loop.load(x, t) * loop.load(c.rstd, t)));
    loop.done();
  }
}

void lower_weight_norm(Lowering& l, const calls::WeightNorm<Reading>& c) {
  const Operand& v = c.v;
  const DType t = compute_type(v.dtype);
  Loop loop(l, v.sizes, bits(0, v.rank()) & ~(1u << c.dim));
  Val x = loop.load(v, t);
  Val norm = sqrt(sum(x * x));
  loop.store(c.w, x * (loop.load(c.g, t) / norm));
  loop.store(c.norms, norm);
  loop.done();
}

void lower_weight_norm_grad(Lowering& l, const calls::WeightNormGrad<Reading>& c) {
  const Operand& v = c.v;
  const DType t = compute_type(v.dtype);
  Loop loop(l, v.sizes, bits(0, v.rank()) & ~(1u << c.dim));
  Val dw = loop.load(c.dw, t), x = loop.load(v, t), g = loop.load(c.g, t), norm = loop.load(c.norms, t);
  Val dot = sum(dw * x);
  loop.store(c.dg, dot / norm);
  loop.store(c.dv, (g / norm) * (dw - x * (dot / (norm * norm))));
  loop.done();
}

}  // namespace

OpTable normalisations() {
  static const Op table[] = {
      entry<calls::BatchNorm, lower_batch_norm, check_batch_norm>(),
      entry<calls::BatchNormEval, lower_batch_norm_eval>(),
      entry<calls::BatchNormGrad, lower_batch_norm_grad>(),
      entry<calls::BatchNormStats, lower_batch_norm_stats>(),
      entry<calls::LayerNorm, lower_layer_norm>(),
      entry<calls::LayerNormGrad, lower_layer_norm_grad>(),
      entry<calls::GroupNorm, lower_group_norm>(),
      entry<calls::GroupNormGrad, lower_group_norm_grad>(),
      entry<calls::RmsNorm, lower_rms_norm>(),
      entry<calls::RmsNormGrad, lower_rms_norm_grad>(),
      entry<calls::WeightNorm, lower_weight_norm>(),
      entry<calls::WeightNormGrad, lower_weight_norm_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
