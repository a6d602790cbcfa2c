// Normalisation: batch, layer, group, root mean square, weight.
#include <ATen/native/layer_norm.h>
#include <ATen/ops/linalg_vector_norm.h>

#include "anygpu/calls/norm.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

using at::IntArrayRef;
using at::Tensor;
using OptTensor = std::optional<Tensor>;
using Three = std::tuple<Tensor, Tensor, Tensor>;

bool half(const Tensor& t) {
  return at::isReducedFloatingType(t.scalar_type());
}

/// The memory format of a batch norm's result and gradient, as PyTorch's fast and slow kernels for the CPU choose it.
at::MemoryFormat format_of(const Tensor& x) {
  const at::MemoryFormat last = x.dim() == 5 ? at::MemoryFormat::ChannelsLast3d : at::MemoryFormat::ChannelsLast;
  if (x.is_contiguous()) return at::MemoryFormat::Contiguous;
  return x.is_contiguous(last) ? last : x.suggest_memory_format();
}
at::MemoryFormat format_of(const Tensor& x, const Tensor& grad) {
  const at::MemoryFormat format = x.suggest_memory_format();
  return format == grad.suggest_memory_format() && grad.is_contiguous(format_of(grad)) ? format_of(x) : format;
}

/// The dtype of parameters and statistics: float where a half-precision input comes with float parameters, else the input's.
at::ScalarType parameter_type(const Tensor& x, std::initializer_list<const OptTensor*> parameters) {
  for (const OptTensor* p : parameters) {
    if (!given(*p)) continue;
    if (half(x) && (*p)->scalar_type() == at::kFloat) return at::kFloat;
    if ((*p)->scalar_type() != x.scalar_type()) throw Refused("parameters of another dtype than the input's");
  }
  return x.scalar_type();
}

// ---- batch ----

void batch_norm_into(const Tensor& y, const Tensor& mean, const Tensor& invstd, const Tensor& x, const OptTensor& weight,
                     const OptTensor& bias, const OptTensor& running_mean, const OptTensor& running_var, double momentum, double eps) {
  const bool running = given(running_mean) && given(running_var);
  const calls::MaybeView kept_mean = running ? running_mean : calls::MaybeView(), kept_var = running ? running_var : calls::MaybeView();
  record(calls::BatchNorm{.y = y,
                          .mean = mean,
                          .invstd = invstd,
                          .new_running_mean = kept_mean,
                          .new_running_var = kept_var,
                          .x = x,
                          .weight = weight,
                          .bias = bias,
                          .running_mean = kept_mean,
                          .running_var = kept_var,
                          .momentum = momentum,
                          .eps = eps});
}

void batch_norm_eval_into(const Tensor& y, const Tensor& x, const OptTensor& weight, const OptTensor& bias, const Tensor& running_mean,
                          const Tensor& running_var, double eps) {
  record(calls::BatchNormEval{
      .y = y, .x = x, .running_mean = running_mean, .running_var = running_var, .weight = weight, .bias = bias, .eps = eps});
}

Three batch_norm(const Tensor& x, const OptTensor& weight, const OptTensor& bias, const OptTensor& running_mean,
                 const OptTensor& running_var, bool training, double momentum, double eps) {
  want_float(x);
  TORCH_CHECK(x.dim() >= 2, "batch_norm: expected an input of at least 2 dimensions, got ", x.dim());
  const auto type = parameter_type(x, {&weight, &bias, &running_mean, &running_var});
  Tensor y = empty_in(format_of(x), x.sizes(), x);
  if (!training) {
    TORCH_CHECK(given(running_mean) && given(running_var), "Expected running_mean and running_var to be defined when training=False");
    if (x.numel()) batch_norm_eval_into(y, x, weight, bias, *running_mean, *running_var, eps);
    return {y, empty({0}, type, x), empty({0}, type, x)};
  }
  Tensor mean = empty({x.size(1)}, type, x), invstd = empty({x.size(1)}, type, x);
  if (x.numel() == 0) return {y, mean.zero_(), invstd.zero_()};
  batch_norm_into(y, mean, invstd, x, weight, bias, running_mean, running_var, momentum, eps);
  return {y, mean, invstd};
}

std::tuple<Tensor&, Tensor&, Tensor&> batch_norm_out(const Tensor& x, const OptTensor& weight, const OptTensor& bias,
                                                     const OptTensor& running_mean, const OptTensor& running_var, bool training,
                                                     double momentum, double eps, Tensor& out, Tensor& mean, Tensor& invstd) {
  auto [y, m, s] = batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps);
  resize_out(out, y.sizes());
  out.copy_(y);
  if (training) {
    resize_out(mean, m.sizes());
    mean.copy_(m);
    resize_out(invstd, s.sizes());
    invstd.copy_(s);
  }
  return {out, mean, invstd};
}

Three batch_norm_legit(const Tensor& x, const OptTensor& weight, const OptTensor& bias, Tensor& running_mean, Tensor& running_var,
                       bool training, double momentum, double eps) {
  return batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps);
}
std::tuple<Tensor&, Tensor&, Tensor&> batch_norm_legit_out(const Tensor& x, const OptTensor& weight, const OptTensor& bias,
                                                           Tensor& running_mean, Tensor& running_var, bool training, double momentum,
                                                           double eps, Tensor& out, Tensor& mean, Tensor& invstd) {
  return batch_norm_out(x, weight, bias, running_mean, running_var, training, momentum, eps, out, mean, invstd);
}
Three batch_norm_no_stats(const Tensor& x, const OptTensor& weight, const OptTensor& bias, bool training, double momentum, double eps) {
  return batch_norm(x, weight, bias, {}, {}, training, momentum, eps);
}
std::tuple<Tensor&, Tensor&, Tensor&> batch_norm_no_stats_out(const Tensor& x, const OptTensor& weight, const OptTensor& bias,
                                                              bool training, double momentum, double eps, Tensor& out, Tensor& mean,
                                                              Tensor& invstd) {
  return batch_norm_out(x, weight, bias, {}, {}, training, momentum, eps, out, mean, invstd);
}

std::tuple<Tensor, Tensor, Tensor, Tensor> batch_norm_with_update(const Tensor& x, const OptTensor& weight, const OptTensor& bias,
                                                                  Tensor& running_mean, Tensor& running_var, double momentum, double eps) {
  auto [y, mean, invstd] = batch_norm(x, weight, bias, running_mean, running_var, true, momentum, eps);
  return {y, mean, invstd, empty({0}, at::kByte, x)};
}
std::tuple<Tensor&, Tensor&, Tensor&, Tensor&> batch_norm_with_update_out(const Tensor& x, const OptTensor& weight, const OptTensor& bias,
                                                                          Tensor& running_mean, Tensor& running_var, double momentum,
                                                                          double eps, Tensor& out, Tensor& mean, Tensor& invstd,
                                                                          Tensor& reserve) {
  batch_norm_out(x, weight, bias, running_mean, running_var, true, momentum, eps, out, mean, invstd);
  return {out, mean, invstd, reserve};
}

Three batch_norm_backward(const Tensor& grad, const Tensor& x, const OptTensor& weight, const OptTensor& running_mean,
                          const OptTensor& running_var, const OptTensor& save_mean, const OptTensor& save_invstd, bool train, double eps,
                          std::array<bool, 3> mask) {
  Tensor dx, dw, db;
  const auto type = given(weight) ? weight->scalar_type() : x.scalar_type();
  if (mask[0]) dx = empty_in(format_of(x, grad), x.sizes(), x);
  if (mask[1]) dw = empty({x.size(1)}, type, x);
  if (mask[2]) db = empty({x.size(1)}, type, x);
  if (x.numel() == 0) {
    for (Tensor* t : {&dw, &db})
      if (t->defined()) t->zero_();
    return {dx, dw, db};
  }
  const int outputs = mask[0] + mask[1] + mask[2];
  if (!outputs) return {dx, dw, db};
  const OptTensor &mean = train ? save_mean : running_mean, &spread = train ? save_invstd : running_var;
  TORCH_CHECK(given(mean) && given(spread), "native_batch_norm_backward: the statistics are not there");
  record(calls::BatchNormGrad{.dx = dx,
                              .dweight = dw,
                              .dbias = db,
                              .dy = grad,
                              .x = x,
                              .mean = *mean,
                              .spread = *spread,
                              .weight = weight,
                              .train = train,
                              .eps = eps});
  return {dx, dw, db};
}

Three batch_norm_new_backward(const Tensor& grad, const Tensor& x, const Tensor& weight, const OptTensor& running_mean,
                              const OptTensor& running_var, const OptTensor& save_mean, const OptTensor& save_var, bool update, double eps,
                              std::array<bool, 3> mask, const Tensor& reserve) {
  return batch_norm_backward(grad, x, weight, running_mean, running_var, save_mean, save_var, update, eps, mask);
}

std::tuple<Tensor, Tensor> batch_norm_stats(const Tensor& x, double eps) {
  want_float(x);
  const auto type = half(x) ? at::kFloat : x.scalar_type();
  Tensor mean = empty({x.size(1)}, type, x), invstd = empty({x.size(1)}, type, x);
  record(calls::BatchNormStats{.mean = mean, .invstd = invstd, .x = x, .eps = eps});
  return {mean, invstd};
}

/// Returns mean and biased variance, and updates the running ones.
std::tuple<Tensor, Tensor> batch_norm_update_stats(const Tensor& x, const OptTensor& running_mean, const OptTensor& running_var,
                                                   double momentum) {
  want_float(x);
  c10::SmallVector<int64_t, 5> dims;
  for (int64_t d = 0; d < x.dim(); ++d)
    if (d != 1) dims.push_back(d);
  auto [var, mean] = at::var_mean(x, dims, /*unbiased=*/false);
  const double n = static_cast<double>(x.numel()) / static_cast<double>(x.size(1));
  if (given(running_mean)) running_mean->mul_(1 - momentum).add_(mean, momentum);
  if (given(running_var)) running_var->mul_(1 - momentum).add_(var, momentum * n / (n - 1));
  return {mean, var};
}

// ---- layer ----

Three layer_norm(const Tensor& x, IntArrayRef shape, const OptTensor& weight, const OptTensor& bias, double eps) {
  const Tensor none;
  const auto [m, n] = at::native::_check_layer_norm_inputs(x, shape, given(weight) ? *weight : none, given(bias) ? *bias : none);
  want_float(x);
  const auto type = parameter_type(x, {&weight, &bias});
  c10::SmallVector<int64_t, 6> stats(x.sizes().begin(), x.sizes().end());
  for (size_t d = stats.size() - shape.size(); d < stats.size(); ++d) stats[d] = 1;
  Tensor y = empty(x.sizes(), x), mean = empty(stats, type, x), rstd = empty(stats, type, x);
  if (m == 0) return {y, mean, rstd};
  if (n == 0) return {y, mean.zero_(), rstd.fill_(std::numeric_limits<double>::quiet_NaN())};
  record(calls::LayerNorm{.y = y,
                          .mean = mean,
                          .rstd = rstd,
                          .x = x,
                          .weight = weight,
                          .bias = bias,
                          .dims = static_cast<int64_t>(shape.size()),
                          .eps = eps});
  return {y, mean, rstd};
}

Three layer_norm_backward(const Tensor& grad, const Tensor& x, IntArrayRef shape, const Tensor& mean, const Tensor& rstd,
                          const OptTensor& weight, const OptTensor& bias, std::array<bool, 3> mask) {
  Tensor dx, dw, db;
  const auto type = given(weight) ? weight->scalar_type() : given(bias) ? bias->scalar_type() : x.scalar_type();
  if (mask[0]) dx = empty(x.sizes(), x);
  if (mask[1]) dw = empty(shape, type, x);
  if (mask[2]) db = empty(shape, type, x);
  const int outputs = mask[0] + mask[1] + mask[2];
  if (x.numel() == 0) {
    for (Tensor* t : {&dw, &db})
      if (t->defined()) t->zero_();
    return {dx, dw, db};
  }
  if (!outputs) return {dx, dw, db};
  record(calls::LayerNormGrad{.dx = dx,
                              .dweight = dw,
                              .dbias = db,
                              .dy = grad,
                              .x = x,
                              .mean = mean,
                              .rstd = rstd,
                              .weight = weight,
                              .dims = static_cast<int64_t>(shape.size())});
  return {dx, dw, db};
}

// ---- root mean square ----

double default_eps(const Tensor& x) {
  return x.scalar_type() == at::kDouble ? std::numeric_limits<double>::epsilon() : std::numeric_limits<float>::epsilon();
}

std::tuple<Tensor, Tensor> rms_norm(const Tensor& x, IntArrayRef shape, const OptTensor& weight, std::optional<double> eps) {
  want_float(x);
  c10::SmallVector<int64_t, 6> stats(x.sizes().begin(), x.sizes().end());
  TORCH_CHECK(shape.size() <= stats.size(), "rms_norm: normalized_shape has more dimensions than the input");
  for (size_t d = stats.size() - shape.size(); d < stats.size(); ++d) stats[d] = 1;
  Tensor y = empty(x.sizes(), x), rstd = empty(stats, half(x) ? at::kFloat : x.scalar_type(), x);
  if (x.numel() == 0) return {y, rstd.zero_()};
  record(calls::RmsNorm{.y = y,
                        .rstd = rstd,
                        .x = x,
                        .weight = weight,
                        .dims = static_cast<int64_t>(shape.size()),
                        .eps = eps.value_or(default_eps(x))});
  return {y, rstd};
}

std::tuple<Tensor, Tensor> rms_norm_backward(const Tensor& grad, const Tensor& x, IntArrayRef shape, const Tensor& rstd,
                                             const OptTensor& weight, std::array<bool, 2> mask) {
  Tensor dx, dw;
  if (mask[0]) dx = empty(x.sizes(), x);
  if (mask[1] && given(weight)) dw = empty(weight->sizes(), *weight);
  if (x.numel() == 0) return {dx, dw.defined() ? dw.zero_() : dw};
  if (!dx.defined() && !dw.defined()) return {dx, dw};
  record(calls::RmsNormGrad{
      .dx = dx, .dweight = dw, .dy = grad, .x = x, .rstd = rstd, .weight = weight, .dims = static_cast<int64_t>(shape.size())});
  return {dx, dw};
}

// ---- group ----

/// x[N,C,*] as [N,G,C/G,*], contiguous or with channels last; v[C] as [G,C/G,1].
View grouped(const Tensor& x, int64_t n, int64_t g, int64_t d, int64_t s) {
  if (x.is_contiguous()) return restrided(x, {n, g, d, s}, {g * d * s, d * s, s, 1});
  return restrided(x, {n, g, d, s}, {g * d * s, d, 1, g * d});
}
/// None for a parameter that is absent.
View grouped(const OptTensor& v, int64_t g, int64_t d) {
  return given(v) ? restrided(*v, {g, d, 1}, {d * v->stride(0), v->stride(0), 0}) : View();
}

Three group_norm(const Tensor& input, const OptTensor& weight, const OptTensor& bias, int64_t n, int64_t c, int64_t hw, int64_t group,
                 double eps) {
  TORCH_CHECK(group > 0, "Expected num groups to be greater than 0, got ", group);
  TORCH_CHECK(c % group == 0, "Expected number of channels in input to be divisible by num_groups, but got input of shape ", input.sizes(),
              " and num_groups=", group);
  for (const OptTensor* p : {&weight, &bias})
    if (given(*p))
      TORCH_CHECK((*p)->dim() == 1 && (*p)->numel() == c,
                  "Expected weight and bias to be vectors of the number of channels in input, but got shapes ", (*p)->sizes(), " and ",
                  input.sizes());
  want_float(input);
  const auto type = parameter_type(input, {&weight, &bias});
  const at::MemoryFormat format = input.suggest_memory_format();
  const Tensor x = input.contiguous(format);
  Tensor y = empty_in(format, x.sizes(), x), mean = empty({n, group}, type, x), rstd = empty({n, group}, type, x);
  if (x.numel() == 0) return {y, mean.zero_(), rstd.fill_(std::numeric_limits<double>::quiet_NaN())};
  const int64_t d = c / group;
  const View yv = grouped(y, n, group, d, hw), xv = grouped(x, n, group, d, hw);
  const View mv = restrided(mean, {n, group, 1, 1}, {group, 1, 0, 0}), rv = restrided(rstd, {n, group, 1, 1}, {group, 1, 0, 0});
  const View wv = grouped(weight, group, d), bv = grouped(bias, group, d);
  record(calls::GroupNorm{.y = yv, .mean = mv, .rstd = rv, .x = xv, .weight = wv, .bias = bv, .eps = eps});
  return {y, mean, rstd};
}

Three group_norm_backward(const Tensor& grad, const Tensor& input, const Tensor& mean_in, const Tensor& rstd_in, const OptTensor& weight,
                          int64_t n, int64_t c, int64_t hw, int64_t group, std::array<bool, 3> mask) {
  const at::MemoryFormat format = input.suggest_memory_format();
  const Tensor dy = grad.contiguous(format), x = input.contiguous(format), mean = mean_in.contiguous(), rstd = rstd_in.contiguous();
  const auto type = given(weight) ? weight->scalar_type() : x.scalar_type();
  Tensor dx, dw, db;
  if (mask[0]) dx = empty_in(format, x.sizes(), x);
  if (mask[1]) dw = empty({c}, type, x);
  if (mask[2]) db = empty({c}, type, x);
  if (x.numel() == 0) {
    for (Tensor* t : {&dw, &db})
      if (t->defined()) t->zero_();
    return {dx, dw, db};
  }
  const int outputs = mask[0] + mask[1] + mask[2];
  if (!outputs) return {dx, dw, db};
  const int64_t d = c / group;
  const View dxv = mask[0] ? grouped(dx, n, group, d, hw) : View(), dwv = grouped(dw, group, d), dbv = grouped(db, group, d);
  const View dyv = grouped(dy, n, group, d, hw), xv = grouped(x, n, group, d, hw);
  const View mv = restrided(mean, {n, group, 1, 1}, {group, 1, 0, 0}), rv = restrided(rstd, {n, group, 1, 1}, {group, 1, 0, 0});
  const View wv = grouped(weight, group, d);
  record(calls::GroupNormGrad{
      .dx = dxv, .dweight = dwv, .dbias = dbv, .dy = dyv, .x = xv, .mean = mv, .rstd = rv, .weight = wv});
  return {dx, dw, db};
}

// ---- weight ----

std::tuple<Tensor, Tensor> weight_norm(const Tensor& v, const Tensor& g, int64_t dim) {
  want_float(v);
  Tensor w = empty(v.sizes(), v), norms = empty(g.sizes(), half(g) ? at::kFloat : g.scalar_type(), g);
  if (v.numel()) record(calls::WeightNorm{.w = w, .norms = norms, .v = v, .g = g, .dim = dim});
  return {w, norms};
}

std::tuple<Tensor, Tensor> weight_norm_backward(const Tensor& grad, const Tensor& v, const Tensor& g, const Tensor& norms, int64_t dim) {
  Tensor dv = empty(v.sizes(), v), dg = empty(g.sizes(), g);
  if (v.numel()) record(calls::WeightNormGrad{.dv = dv, .dg = dg, .dw = grad, .v = v, .g = g, .norms = norms, .dim = dim});
  return {dv, dg};
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::native_batch_norm, batch_norm>(m);
  on<at::_ops::native_batch_norm_out, batch_norm_out>(m);
  on<at::_ops::_native_batch_norm_legit, batch_norm_legit>(m);
  on<at::_ops::_native_batch_norm_legit_out, batch_norm_legit_out>(m);
  on<at::_ops::_native_batch_norm_legit_no_stats, batch_norm_no_stats>(m);
  on<at::_ops::_native_batch_norm_legit_no_stats_out, batch_norm_no_stats_out>(m);
  on<at::_ops::_batch_norm_with_update, batch_norm_with_update>(m);
  on<at::_ops::_batch_norm_with_update_out, batch_norm_with_update_out>(m);
  on<at::_ops::native_batch_norm_backward, batch_norm_backward>(m);
  on<at::_ops::batch_norm_backward, batch_norm_new_backward>(m);
  on<at::_ops::batch_norm_stats, batch_norm_stats>(m);
  on<at::_ops::batch_norm_update_stats, batch_norm_update_stats>(m);
  on<at::_ops::native_layer_norm, layer_norm>(m);
  on<at::_ops::native_layer_norm_backward, layer_norm_backward>(m);
  on<at::_ops::_fused_rms_norm, rms_norm>(m);
  on<at::_ops::_fused_rms_norm_backward, rms_norm_backward>(m);
  on<at::_ops::native_group_norm, group_norm>(m);
  on<at::_ops::native_group_norm_backward, group_norm_backward>(m);
  on<at::_ops::_weight_norm_interface, weight_norm>(m);
  on<at::_ops::_weight_norm_interface_backward, weight_norm_backward>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
