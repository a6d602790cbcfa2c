// Softmax, its logarithm, and their gradients, along one dimension.
#include <cmath>
#include <limits>

#include "ops/tables.h"

namespace anygpu::ops {

using ir::ReduceKind;
using ir::Val;

namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

uint32_t bit(const Lowering& l) {
  return l.view(0).rank() == 0 ? 0 : 1u << l.attr(0);
}

/// views: dst, src. attrs: dimension. A row of only -inf gives NaN, as in PyTorch; with `safe` it gives 0.
template <bool logarithm, bool safe>
void lower_softmax(Lowering& l) {
  const DType t = compute_type(l.view(0).dtype);
  Loop loop(l, l.view(1).sizes, bit(l));
  Val x = loop.load(l.view(1), t);
  Val top = reduce(ReduceKind::Max, x);
  if (safe) top = select(top == -kInf, like(top, 0), top);
  Val shifted = x - top;
  Val e = exp(shifted);
  Val sum = reduce(ReduceKind::Sum, e);
  Val y = logarithm ? shifted - log(sum) : e / sum;
  if (safe) y = select(sum == 0.0, like(y, 0), y);
  loop.store(l.view(0), y);
  loop.done();
}

/// views: grad of src, grad of dst, dst. attrs: dimension
template <bool logarithm>
void lower_softmax_grad(Lowering& l) {
  const DType t = compute_type(l.view(1).dtype);
  Loop loop(l, l.view(0).sizes, bit(l));
  Val g = loop.load(l.view(1), t), y = loop.load(l.view(2), t);
  loop.store(l.view(0), logarithm ? g - exp(y) * reduce(ReduceKind::Sum, g) : (g - reduce(ReduceKind::Sum, g * y)) * y);
  loop.done();
}

/// views: dst, src, mask (bool, true where the element takes no part; broadcasts). attrs: dimension. A row with no element gives NaN.
void lower_masked_softmax(Lowering& l) {
  const DType t = compute_type(l.view(0).dtype);
  Loop loop(l, l.view(1).sizes, bit(l));
  Val masked = loop.load(l.view(2), DType::Bool);
  Val x = loop.load(l.view(1), t);
  Val top = reduce(ReduceKind::Max, select(masked, like(x, -kInf), x));
  Val e = select(masked, like(x, 0), exp(x - top));
  loop.store(l.view(0), e / reduce(ReduceKind::Sum, e));
  loop.done();
}

/// views: grad of src, grad of dst, dst, mask. attrs: dimension
void lower_masked_softmax_grad(Lowering& l) {
  const DType t = compute_type(l.view(0).dtype);
  Loop loop(l, l.view(0).sizes, bit(l));
  Val masked = loop.load(l.view(3), DType::Bool);
  Val g = loop.load(l.view(1), t), y = loop.load(l.view(2), t);
  Val zero = like(g, 0);
  Val dot = reduce(ReduceKind::Sum, select(masked, zero, g * y));
  loop.store(l.view(0), select(masked, zero, (g - dot) * y));
  loop.done();
}

}  // namespace

OpTable softmaxes() {
  static const Op table[] = {
      {"softmax", nullptr, lower_softmax<false, false>},           {"safe_softmax", nullptr, lower_softmax<false, true>},
      {"log_softmax", nullptr, lower_softmax<true, false>},        {"softmax_grad", nullptr, lower_softmax_grad<false>},
      {"log_softmax_grad", nullptr, lower_softmax_grad<true>},     {"masked_softmax", nullptr, lower_masked_softmax},
      {"masked_softmax_grad", nullptr, lower_masked_softmax_grad},
  };
  return table;
}

}  // namespace anygpu::ops
