// How the operands of an iterator become a recorded call.
#include "pointwise.h"

namespace anygpu::torch_frontend {

namespace {

/// TensorIterator asserts on a common dtype that it has not inferred; only 2.13 lets one ask.
struct Peek : at::TensorIteratorBase {
  static at::ScalarType common_dtype_of(const at::TensorIteratorBase& iter) { return iter.*(&Peek::common_dtype_); }
};

calls::Pointwise made(const Op& op, at::ScalarType compute, c10::ArrayRef<Scalar> scalars, c10::ArrayRef<int64_t> attrs) {
  calls::Pointwise call = pointwise(op, compute);
  for (const Scalar& s : scalars) call.scalar(s);
  for (int64_t a : attrs) call.attr(a);
  return call;
}

/// An input, which may be a CPU number.
void input(calls::Pointwise& call, const at::TensorBase& t, const at::TensorBase& like) {
  if (is_cpu_number(t)) {
    call.in(to_scalar(t, call.compute()));
  } else {
    TORCH_CHECK(is_anygpu(t), "Expected all tensors to be on the same device, but found at least two devices, ", like.device(), " and ",
                t.device(), "!");
    call.in(t);
  }
}

/// The operands over the iterator's own dimensions, which are fewer where neighbours could be joined: the way of tensors of more dimensions
/// than a View has.
void record_coalesced(calls::Pointwise& call, at::TensorIteratorBase& iter) {
  std::vector<View> views;
  views.reserve(static_cast<size_t>(iter.ntensors()));
  for (int i = 0; i < iter.ntensors(); ++i) {
    const at::TensorBase& t = iter.tensor_base(i);
    if (is_cpu_number(t)) {
      input(call, t, iter.output_base(0));
      continue;
    }
    at::DimVector sizes, strides;
    for (int d = iter.ndim() - 1; d >= 0; --d) {
      sizes.push_back(iter.shape()[static_cast<size_t>(d)]);
      strides.push_back(iter.strides(i)[static_cast<size_t>(d)] / iter.element_size(i));
    }
    views.push_back(restrided(t, sizes, strides));
    i < iter.noutputs() ? call.out(views.back()) : call.in(views.back());
  }
  record(call);
}

/// Adds the iterator's operands.
void add_operands(calls::Pointwise& call, at::TensorIteratorBase& iter) {
  for (int i = 0; i < iter.noutputs(); ++i) call.out(iter.output_base(i));
  for (int i = 0; i < iter.ninputs(); ++i) input(call, iter.input_base(i), iter.output_base(0));
}

}  // namespace

at::ScalarType compute_dtype(const at::TensorIteratorBase& iter) {
  at::ScalarType t = Peek::common_dtype_of(iter);
  if (t != at::ScalarType::Undefined) return t;
  return iter.ninputs() ? iter.input_dtype(0) : iter.dtype(0);
}

void record_iter(calls::Pointwise&& call, at::TensorIteratorBase& iter) {
  if (C10_UNLIKELY(iter.output_base(0).dim() > kMaxRank)) return record_coalesced(call, iter);
  add_operands(call, iter);
  record(call);
}

void record_iter(const Op& op, at::TensorIteratorBase& iter, at::ScalarType compute, c10::ArrayRef<Scalar> scalars,
                 c10::ArrayRef<int64_t> attrs) {
  record_iter(made(op, compute, scalars, attrs), iter);
}

void record_iter(const Op& op, at::TensorIteratorBase& iter, c10::ArrayRef<Scalar> scalars, c10::ArrayRef<int64_t> attrs) {
  record_iter(op, iter, compute_dtype(iter), scalars, attrs);
}

void record_iter_with(const Op& op, at::TensorIteratorBase& iter, c10::ArrayRef<at::Scalar> numbers) {
  calls::Pointwise call = pointwise(op, compute_dtype(iter));
  add_operands(call, iter);
  for (const at::Scalar& s : numbers) call.in(to_scalar(s, compute_type(call.compute())));
  record(call);
}

void record_pointwise(calls::Pointwise&& call, int outputs, c10::ArrayRef<at::Tensor> tensors) {
  if (C10_UNLIKELY(tensors[0].dim() > kMaxRank)) {
    at::TensorIteratorConfig config;
    config.check_all_same_dtype(false).set_check_mem_overlap(false).resize_outputs(false).allow_cpu_scalars(true);
    for (size_t i = 0; i < tensors.size(); ++i)
      if (static_cast<int>(i) < outputs)
        config.add_output(tensors[i]);
      else
        config.add_const_input(tensors[i]);
    at::TensorIterator iter = config.build();
    return record_iter(std::move(call), iter);
  }
  for (size_t i = 0; i < tensors.size(); ++i)
    if (static_cast<int>(i) < outputs)
      call.out(tensors[i]);
    else
      input(call, tensors[i], tensors[0]);
  record(call);
}

void record_pointwise(const Op& op, int outputs, c10::ArrayRef<at::Tensor> tensors, at::ScalarType compute, c10::ArrayRef<Scalar> scalars,
                      c10::ArrayRef<int64_t> attrs) {
  record_pointwise(made(op, compute, scalars, attrs), outputs, tensors);
}

}  // namespace anygpu::torch_frontend
