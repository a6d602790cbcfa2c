// How the operands of an iterator become a recorded call.
#include "pointwise.h"

namespace anygpu::torch_frontend {

namespace {

/// TensorIterator asserts on a common dtype that it has not inferred; only 2.13 lets one ask.
struct Peek : at::TensorIteratorBase {
  static at::ScalarType common_dtype_of(const at::TensorIteratorBase& iter) { return iter.*(&Peek::common_dtype_); }
};

/// Operands, scalars and attrs of one call.
struct IteratedCall {
  c10::SmallVector<Operand, 8> operands;
  c10::SmallVector<Scalar, 8> scalars;
  c10::SmallVector<int64_t, 4> attrs;
  c10::SmallVector<Scalar, 4> numbers;
  uint32_t mask = 0;
  at::ScalarType compute;

  IteratedCall(at::ScalarType compute, c10::ArrayRef<Scalar> s, c10::ArrayRef<int64_t> a) : scalars(s.begin(), s.end()), compute(compute) {
    attrs.push_back(0);
    attrs.append(a.begin(), a.end());
  }
  void input(int i, const at::TensorBase& t, const at::TensorBase& like) {
    if (is_cpu_number(t)) {
      mask |= 1u << i;
      numbers.push_back(to_scalar(t, dtype_of(compute)));
    } else {
      TORCH_CHECK(is_anygpu(t), "Expected all tensors to be on the same device, but found at least two devices, ", like.device(), " and ",
                  t.device(), "!");
      operands.emplace_back(t);
    }
  }
  void input(int i, const at::Scalar& s) {
    mask |= 1u << i;
    numbers.push_back(to_scalar(s, compute_type(dtype_of(compute))));
  }
  void record(const Op& op) {
    attrs[0] = pointwise_attr(compute, mask);
    scalars.append(numbers.begin(), numbers.end());
    torch_frontend::record(op, operands, scalars, attrs);
  }
};

/// The operands over the iterator's own dimensions, which are fewer where neighbours could be joined: the way of tensors of more dimensions
/// than a View has.
void record_coalesced(const Op& op, at::TensorIteratorBase& iter, IteratedCall& call) {
  std::vector<View> views;
  views.reserve(static_cast<size_t>(iter.ntensors()));
  for (int i = 0; i < iter.ntensors(); ++i) {
    const at::TensorBase& t = iter.tensor_base(i);
    if (is_cpu_number(t)) {
      call.input(i - iter.noutputs(), t, iter.output_base(0));
      continue;
    }
    at::DimVector sizes, strides;
    for (int d = iter.ndim() - 1; d >= 0; --d) {
      sizes.push_back(iter.shape()[static_cast<size_t>(d)]);
      strides.push_back(iter.strides(i)[static_cast<size_t>(d)] / iter.element_size(i));
    }
    views.push_back(restrided(t, sizes, strides));
    call.operands.emplace_back(views.back());
  }
  call.record(op);
}

}  // namespace

at::ScalarType compute_dtype(const at::TensorIteratorBase& iter) {
  at::ScalarType t = Peek::common_dtype_of(iter);
  if (t != at::ScalarType::Undefined) return t;
  return iter.ninputs() ? iter.input_dtype(0) : iter.dtype(0);
}

void record_iter(const Op& op, at::TensorIteratorBase& iter, at::ScalarType compute, c10::ArrayRef<Scalar> scalars,
                 c10::ArrayRef<int64_t> attrs) {
  IteratedCall call(compute, scalars, attrs);
  if (C10_UNLIKELY(iter.output_base(0).dim() > kMaxRank)) return record_coalesced(op, iter, call);
  for (int i = 0; i < iter.noutputs(); ++i) call.operands.emplace_back(iter.output_base(i));
  for (int i = 0; i < iter.ninputs(); ++i) call.input(i, iter.input_base(i), iter.output_base(0));
  call.record(op);
}

void record_iter(const Op& op, at::TensorIteratorBase& iter, c10::ArrayRef<Scalar> scalars, c10::ArrayRef<int64_t> attrs) {
  record_iter(op, iter, compute_dtype(iter), scalars, attrs);
}

void record_iter_with(const Op& op, at::TensorIteratorBase& iter, c10::ArrayRef<at::Scalar> numbers) {
  IteratedCall call(compute_dtype(iter), {}, {});
  for (int i = 0; i < iter.noutputs(); ++i) call.operands.emplace_back(iter.output_base(i));
  int i = 0;
  for (; i < iter.ninputs(); ++i) call.input(i, iter.input_base(i), iter.output_base(0));
  for (const at::Scalar& s : numbers) call.input(i++, s);
  call.record(op);
}

void record_pointwise(const Op& op, int outputs, c10::ArrayRef<at::Tensor> tensors, at::ScalarType compute, c10::ArrayRef<Scalar> scalars,
                      c10::ArrayRef<int64_t> attrs) {
  if (C10_UNLIKELY(tensors[0].dim() > kMaxRank)) {
    at::TensorIteratorConfig config;
    config.check_all_same_dtype(false).set_check_mem_overlap(false).resize_outputs(false).allow_cpu_scalars(true);
    for (size_t i = 0; i < tensors.size(); ++i)
      if (static_cast<int>(i) < outputs)
        config.add_output(tensors[i]);
      else
        config.add_const_input(tensors[i]);
    at::TensorIterator iter = config.build();
    return record_iter(op, iter, compute, scalars, attrs);
  }
  IteratedCall call(compute, scalars, attrs);
  int i = 0;
  for (const at::Tensor& t : tensors) {
    if (i < outputs)
      call.operands.emplace_back(t);
    else
      call.input(i - outputs, t, tensors[0]);
    ++i;
  }
  call.record(op);
}

}  // namespace anygpu::torch_frontend
