// torch.autocast("anygpu"): which operators take their arguments in the lower precision, which in f32, by PyTorch's own lists. The kernels are
// boxed, one a policy instead of one an operator: a cast is an operator of its own, and fuses with what reads it.
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include "tensor.h"

namespace anygpu::torch_frontend {

namespace {

using at::Tensor;
using at::autocast::CastPolicy;
using torch::jit::Stack;

at::ScalarType lower_precision() {
  return at::autocast::get_lower_precision_fp_from_device_type(kType);
}

/// Calls f(IValue&) for each argument of the call on top of the stack.
template <class F>
void for_each_argument(const c10::OperatorHandle& op, Stack& stack, F&& f) {
  const size_t count = op.schema().arguments().size();
  for (size_t i = stack.size() - count; i < stack.size(); ++i) f(stack[i]);
}

/// Calls f(Tensor) for each tensor of an argument, and puts what it returns in its place.
template <class F>
void map_tensors(c10::IValue& v, F&& f) {
  if (v.isTensor()) {
    if (v.toTensor().defined()) v = f(v.toTensor());
  } else if (v.isTensorList()) {
    c10::List<Tensor> cast;
    for (const Tensor& t : v.toTensorVector()) cast.push_back(f(t));
    v = std::move(cast);
  }
}

void cast_all(const c10::OperatorHandle& op, Stack& stack, at::ScalarType type) {
  for_each_argument(op, stack, [&](c10::IValue& v) {
    map_tensors(v, [&](const Tensor& t) { return at::autocast::cached_cast(type, t, kType); });
  });
}

/// The widest of the arguments' types and the lower precision; doubles do not count.
at::ScalarType widest(const c10::OperatorHandle& op, Stack& stack) {
  at::ScalarType type = lower_precision();
  for_each_argument(op, stack, [&](c10::IValue& v) {
    map_tensors(v, [&](const Tensor& t) {
      type = at::autocast::prioritize(type, t, kType);
      return t;
    });
  });
  return type;
}

/// Sums and softmax: the result is f32, unless the call says what it is. The arguments stay: the operator widens as it reads.
void ask_for_float(const c10::OperatorHandle& op, Stack& stack) {
  const auto& arguments = op.schema().arguments();
  const size_t first = stack.size() - arguments.size();
  if (!stack[first].isTensor() || !at::autocast::is_eligible(stack[first].toTensor(), kType)) return;
  for (size_t i = 0; i < arguments.size(); ++i)
    if (arguments[i].name() == "dtype" && stack[first + i].isNone()) stack[first + i] = static_cast<int64_t>(at::kFloat);
}

template <CastPolicy policy>
void autocast(const c10::OperatorHandle& op, Stack* stack) {
  c10::impl::ExcludeDispatchKeyGuard once(c10::DispatchKey::AutocastPrivateUse1);
  if constexpr (policy == CastPolicy::lower_precision_fp) cast_all(op, *stack, lower_precision());
  if constexpr (policy == CastPolicy::fp32) cast_all(op, *stack, at::kFloat);
  if constexpr (policy == CastPolicy::promote) cast_all(op, *stack, widest(op, *stack));
  if constexpr (policy == CastPolicy::fp32_set_opt_dtype) ask_for_float(op, *stack);
  op.callBoxed(stack);
}

template <CastPolicy policy>
void autocast_by(torch::Library& m, const char* name, const char* overload = "") {
  const std::string full = *overload ? std::string(name) + "." + overload : name;
  m.impl(full.c_str(), torch::CppFunction::makeFromBoxedFunction<&autocast<policy>>());
}

void banned(const c10::OperatorHandle&, Stack*) {
  TORCH_CHECK(false,
              "torch.nn.functional.binary_cross_entropy and torch.nn.BCELoss are unsafe to autocast.\n"
              "Many models use a sigmoid layer right before the binary cross entropy layer.\n"
              "In this case, combine the two layers using torch.nn.functional.binary_cross_entropy_with_logits\n"
              "or torch.nn.BCEWithLogitsLoss.  binary_cross_entropy_with_logits and BCEWithLogits are\n"
              "safe to autocast.");
}

// The lists give (name) or (name, overload).
#define ANYGPU_TEXT_1(name) #name
#define ANYGPU_TEXT_2(name, overload) #name, #overload
#define ANYGPU_PICK(_1, _2, which, ...) which
#define ANYGPU_TEXT(...) ANYGPU_PICK(__VA_ARGS__, ANYGPU_TEXT_2, ANYGPU_TEXT_1)(__VA_ARGS__)
#define ANYGPU_LOWER(...) autocast_by<CastPolicy::lower_precision_fp>(m, ANYGPU_TEXT(__VA_ARGS__));
#define ANYGPU_FLOAT(...) autocast_by<CastPolicy::fp32>(m, ANYGPU_TEXT(__VA_ARGS__));
#define ANYGPU_FLOAT_RESULT(...) autocast_by<CastPolicy::fp32_set_opt_dtype>(m, ANYGPU_TEXT(__VA_ARGS__));
#define ANYGPU_WIDEST(...) autocast_by<CastPolicy::promote>(m, ANYGPU_TEXT(__VA_ARGS__));

TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(ANYGPU_LOWER)
  AT_FORALL_FP32(ANYGPU_FLOAT)
  AT_FORALL_FP32_SET_OPT_DTYPE(ANYGPU_FLOAT_RESULT)
  AT_FORALL_PROMOTE(ANYGPU_WIDEST)
  m.impl("binary_cross_entropy", torch::CppFunction::makeFromBoxedFunction<&banned>());
}

}  // namespace
}  // namespace anygpu::torch_frontend

namespace at::autocast {  // for the names in PyTorch's macros
namespace {

TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE(KERNEL_DIFFERENT_REDISPATCH_SIGNATURE_PRIVATEUSEONE)
}

}  // namespace
}  // namespace at::autocast
