// Random numbers. PyTorch's native functions check and shape; the seed and the counters are taken when an operator is recorded.
#include "random.h"

#include <ATen/MemoryOverlap.h>
#include <ATen/NativeFunctions.h>
#include <ATen/native/TensorFactories.h>
#include <ATen/native/UnaryOps.h>

#include <cmath>

#include "anygpu/calls/random.h"
#include "arrays.h"
#include "frontends/common/sampling.h"
#include "pointwise.h"

namespace at::native {
using namespace anygpu;
using namespace anygpu::torch_frontend;
namespace {

using Gen = std::optional<Generator>;

/// One counter an element.
Philox state_for(const TensorBase& out, const Gen& gen) {
  return philox_of(gen, out.get_device(), static_cast<uint64_t>(std::max<int64_t>(out.numel(), 1)));
}
Philox state_for(const TensorIteratorBase& iter, const Gen& gen) {
  return state_for(iter.output_base(0), gen);
}
REGISTER_PRIVATEUSE1_DISPATCH(
    uniform_stub, +[](TensorIteratorBase& iter, const double from, const double to, Gen gen) {
      record_iter(calls::random_uniform(state_for(iter, gen), type_of(iter), from, to), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    normal_stub, +[](const TensorBase& self, const double mean, const double std, Gen gen) {
      at::assert_no_internal_overlap(self);
      if (self.numel() == 0) return;
      want_float(self);
      record(calls::random_normal(state_for(self, gen), dtype_of(self.scalar_type()), mean, std).out(self));
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    log_normal_stub, +[](TensorIteratorBase& iter, const double mean, const double std, Gen gen) {
      record_iter(calls::random_log_normal(state_for(iter, gen), type_of(iter), mean, std), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    exponential_stub, +[](TensorIteratorBase& iter, const double rate, Gen gen) {
      record_iter(calls::random_exponential(state_for(iter, gen), type_of(iter), rate), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    cauchy_stub, +[](TensorIteratorBase& iter, const double median, const double sigma, Gen gen) {
      record_iter(calls::random_cauchy(state_for(iter, gen), type_of(iter), median, sigma), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    geometric_stub, +[](TensorIteratorBase& iter, const double p, Gen gen) {
      want_numbers(iter);
      record_iter(calls::random_geometric(state_for(iter, gen), type_of(iter), p), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    bernoulli_scalar_stub, +[](const TensorBase& self, const double p, Gen gen) {
      at::assert_no_internal_overlap(self);
      record_pointwise(calls::random_bernoulli(state_for(self, gen), dtype_of(self.scalar_type()), p), 1, {Tensor(self)});
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    bernoulli_tensor_stub, +[](const TensorBase& self, const TensorBase& probs, Gen gen) {
      if (self.numel() == 0) return;
      at::assert_no_internal_overlap(self);
      at::assert_no_partial_overlap(self, probs);
      want_float(probs);
      Tensor p = Tensor(probs).to(self.device());
      ScalarType t = at::isFloatingType(p.scalar_type()) ? p.scalar_type() : kFloat;
      record_pointwise(calls::random_bernoulli_of(state_for(self, gen), dtype_of(t)), 1, {Tensor(self), p});
    })

REGISTER_PRIVATEUSE1_DISPATCH(
    random_from_to_stub, +[](TensorIteratorBase& iter, const uint64_t range, const int64_t base, Gen gen) {
      record_iter(calls::random_integer(state_for(iter, gen), type_of(iter), base, range), iter);
    })
REGISTER_PRIVATEUSE1_DISPATCH(
    random_full_64_bits_range_stub,
    +[](TensorIteratorBase& iter, Gen gen) { record_iter(calls::random_bits(state_for(iter, gen), type_of(iter)), iter); })
REGISTER_PRIVATEUSE1_DISPATCH(
    random_stub, +[](TensorIteratorBase& iter, Gen gen) {
      // 0 to the greatest integer that the dtype holds, or holds exactly
      int64_t count = 0;
      switch (iter.dtype()) {
        case kBool:
          count = 2;
          break;
        case kByte:
          count = 256;
          break;
        case kChar:
          count = 128;
          break;
        case kShort:
          count = 1 << 15;
          break;
        case kInt:
          count = int64_t{1} << 31;
          break;
        case kLong:
          count = INT64_MAX;
          break;
        case kHalf:
          count = (1 << 11) + 1;
          break;
        case kBFloat16:
          count = (1 << 8) + 1;
          break;
        case kFloat:
          count = (1 << 24) + 1;
          break;
        default:
          count = (int64_t{1} << 53) + 1;
      }
      record_iter(calls::random_integer(state_for(iter, gen), type_of(iter), 0, static_cast<uint64_t>(count)), iter);
    })

REGISTER_PRIVATEUSE1_DISPATCH(
    multinomial_with_replacement_stub, +[](Tensor& result, const Tensor& self, int64_t n, Gen gen) {
      const Tensor rows = self.dim() == 1 ? self.unsqueeze(0) : self;
      const auto distribution = composed([&] { return common::distribution_of(array_of(rows)); });
      const Philox p = philox_of(gen, result.get_device(), static_cast<uint64_t>(std::max<int64_t>(rows.size(0) * n, 1)));
      const Tensor picked = tensor_of(composed([&] { return common::multinomial(distribution, n, p); }));
      result.copy_(self.dim() == 1 ? picked.squeeze(0) : picked);
    })

/// Asks at once, as the CPU does: the error has the user's line.
void assert_now(const Tensor& condition, std::string_view message) {
  TORCH_CHECK(condition.item<bool>(), message);
}
void assert_silently(const Tensor& condition) {
  TORCH_CHECK(condition.item<bool>(), "Expected Tensor with single nonzero value, but got zero");
}
Tensor assert_functionally(const Tensor& condition, std::string_view message, const Tensor& token) {
  assert_now(condition, message);
  return token.clone();
}

Tensor& random_permutation(int64_t n, Gen gen, Tensor& out) {
  TORCH_CHECK(n >= 0, "n must be non-negative, got", n);
  TORCH_CHECK(!gen || gen->device().type() == out.device().type(), "Expected a '", out.device(), "' generator device but found '",
              gen->device(), "'");
  if (out.scalar_type() == kBool) throw Refused("randperm of bool");
  check_supported_max_int_with_precision(n, out);
  out.resize_({n});
  if (n == 0) return out;
  Tensor keys = torch_frontend::empty(IntArrayRef{n}, kLong, out).random_(0, INT64_MAX, gen);
  return out.copy_(std::get<1>(keys.sort()));
}

// ---- dropout and randomised leaky relu ----

std::tuple<Tensor, Tensor> dropout_forward(const Tensor& x, double p, std::optional<bool> train) {
  TORCH_CHECK(p >= 0 && p <= 1, "dropout probability has to be between 0 and 1, but got ", p);
  if (train && !*train) {
    Tensor ones = torch_frontend::empty_like(x, kBool);
    ones.fill_(true);
    return {x.clone(), ones};
  }
  if (!at::isFloatingType(x.scalar_type())) throw Refused("dropout of what is no float");
  Tensor y = torch_frontend::iterated_like(x), mask = torch_frontend::empty_like(x, kBool);
  if (x.numel()) {
    record_pointwise(calls::dropout(state_for(x, std::nullopt), dtype_of(x.scalar_type()), 1 - p), 2, {y, mask, x});
  }
  return {y, mask};
}
Tensor dropout_backward(const Tensor& dy, const Tensor& mask, double scale) {
  if (!dy.is_floating_point() || mask.scalar_type() != kBool || dy.sizes() != mask.sizes()) return dy.mul(mask).mul(scale);
  Tensor dx = torch_frontend::iterated_like(dy, mask, dy.scalar_type());
  record_pointwise(calls::dropout_grad(dtype_of(dy.scalar_type()), scale), 1, {dx, dy, mask});
  return dx;
}

Tensor& rrelu_to(const Tensor& x, Tensor& noise, const at::Scalar& lower, const at::Scalar& upper, bool training, Gen gen, Tensor& out) {
  TORCH_CHECK(x.sym_sizes() == noise.sym_sizes(), "noise tensor shape must match self tensor shape. Got self.shape = ", x.sizes(),
              " noise.shape = ", noise.sizes());
  double low = lower.to<double>(), high = upper.to<double>();
  if (!training) return at::leaky_relu_out(out, x, (low + high) / 2);
  torch_frontend::resize_out(out, x.sizes());
  if (!x.numel()) return out;
  record_pointwise(calls::rrelu(state_for(x, gen), dtype_of(x.scalar_type()), low, high), 2, {out, noise, x});
  return out;
}
Tensor rrelu(const Tensor& x, Tensor& noise, const at::Scalar& lower, const at::Scalar& upper, bool training, Gen gen) {
  Tensor out = torch_frontend::empty(x.sizes(), x);
  return rrelu_to(x, noise, lower, upper, training, gen, out);
}
Tensor& rrelu_in_place(Tensor& x, Tensor& noise, const at::Scalar& lower, const at::Scalar& upper, bool training, Gen gen) {
  return rrelu_to(x, noise, lower, upper, training, gen, x);
}

#define AS(type, name) static_cast<type>(name)
using Into = Tensor&;
using In = const Tensor&;

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::uniform_, AS(Into(*)(Into, double, double, Gen), uniform_)>(m);
  on<at::_ops::normal_, AS(Into(*)(Into, double, double, Gen), normal_)>(m);
  on<_ops::normal_Tensor_float, AS(Tensor(*)(In, double, Gen), normal)>(m);
  on<_ops::normal_Tensor_float_out, AS(Into(*)(In, double, Gen, Into), normal_out)>(m);
  on<_ops::normal_float_Tensor, AS(Tensor(*)(double, In, Gen), normal)>(m);
  on<_ops::normal_float_Tensor_out, AS(Into(*)(double, In, Gen, Into), normal_out)>(m);
  on<_ops::normal_Tensor_Tensor, AS(Tensor(*)(In, In, Gen), normal)>(m);
  on<_ops::normal_Tensor_Tensor_out, AS(Into(*)(In, In, Gen, Into), normal_out)>(m);
  on<_ops::log_normal_, log_normal_>(m);
  on<_ops::exponential_, exponential_>(m);
  on<_ops::cauchy_, cauchy_>(m);
  on<_ops::geometric_, geometric_>(m);
  on<_ops::bernoulli_out, bernoulli_out>(m);
  on<_ops::bernoulli__Tensor, AS(Into(*)(Into, In, Gen), bernoulli_)>(m);
  on<_ops::bernoulli__float, AS(Into(*)(Into, double, Gen), bernoulli_)>(m);
  on<_ops::random_, AS(Into(*)(Into, Gen), random_)>(m);
  on<_ops::random__to, AS(Into(*)(Into, int64_t, Gen), random_)>(m);
  on<_ops::random__from, AS(Into(*)(Into, int64_t, std::optional<int64_t>, Gen), random_)>(m);
  m.impl("_assert_async", assert_silently);
  m.impl("_assert_async.msg", assert_now);
  m.impl("_functional_assert_async.msg", assert_functionally);
  on<_ops::multinomial, multinomial>(m);
  on<_ops::multinomial_out, multinomial_out>(m);
  on<_ops::randperm_generator_out, random_permutation>(m);
  on<_ops::native_dropout, dropout_forward>(m);
  on<_ops::native_dropout_backward, dropout_backward>(m);
  on<_ops::rrelu_with_noise, rrelu>(m);
  on<_ops::rrelu_with_noise_out, rrelu_to>(m);
  on<_ops::rrelu_with_noise_, rrelu_in_place>(m);
}

}  // namespace
}  // namespace at::native
