// Reductions over a mask of dimensions. Destinations are keepdim-shaped: the source's rank, size 1 where reduced.
#include "ops/tables.h"

namespace anygpu::ops {

using ir::ReduceKind;
using ir::Val;

namespace {

DType compute_attr(Lowering& l) {
  return compute_type(static_cast<DType>(l.attr(0)));
}
uint32_t mask_attr(Lowering& l) {
  return static_cast<uint32_t>(l.attr(1));
}

/// How many elements fall on one result, of v's type.
Val reduced_count(Val v, const Dims& sizes, uint32_t mask) {
  double n = 1;
  for (int d = 0; d < sizes.size(); ++d)
    if (mask >> d & 1) n *= static_cast<double>(sizes[d]);
  return size_like(v, n);
}

/// Max and Min of bool are Any and All.
Val extremum(ReduceKind kind, Val v) {
  if (v.type() == DType::Bool) kind = kind == ReduceKind::Max ? ReduceKind::Any : ReduceKind::All;
  return reduce(kind, v);
}

/// The sum of bools is whether there is one, their product whether all are: + and * of PyTorch's bool.
Val combined(ReduceKind kind, Val v) {
  if (v.type() == DType::Bool && kind == ReduceKind::Sum) kind = ReduceKind::Any;
  if (v.type() == DType::Bool && kind == ReduceKind::Prod) kind = ReduceKind::All;
  return reduce(kind, v);
}

/// Position among the reduced elements, in row-major order.
Val position(Loop& loop, uint32_t mask) {
  Val at = loop.i64(0);
  int64_t stride = 1;
  for (int d = loop.sizes().size() - 1; d >= 0; --d) {
    if (!(mask >> d & 1)) continue;
    if (loop.sizes()[d] != 1) {
      Val term = stride == 1 ? loop.index(d) : loop.index(d) * loop.size(stride);
      at = stride == 1 ? term : at + term;
    }
    stride *= loop.sizes()[d];
  }
  return at;
}

/// reduce_arg of `v`, which may be bool.
Val position_of(Loop& loop, ReduceKind kind, Val v, uint32_t mask) {
  if (v.type() == DType::Bool) v = cast(v, DType::I32);
  return reduce_arg(kind, v, position(loop, mask));
}

/// views: dst, src. attrs: compute dtype, mask of reduced dimensions.
template <ReduceKind kind>
void lower_reduce(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  Val v = loop.load(l.view(1), compute_attr(l));
  loop.store(l.view(0), kind == ReduceKind::Max || kind == ReduceKind::Min ? extremum(kind, v) : combined(kind, v));
  loop.done();
}

/// views: dst, src. attrs: compute dtype, mask.
void lower_mean(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  Val v = loop.load(l.view(1), compute_attr(l));
  loop.store(l.view(0), reduce(ReduceKind::Sum, v) / reduced_count(v, loop.sizes(), mask_attr(l)));
  loop.done();
}

/// As sum, with NaN as 0.
void lower_nansum(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  Val v = loop.load(l.view(1), compute_type(l.view(1).dtype));
  if (is_float(v.type())) v = select(isnan(v), like(v, 0), v);
  v = cast(v, compute_attr(l));
  loop.store(l.view(0), combined(ReduceKind::Sum, v));
  loop.done();
}

/// views: dst (i64), src. attrs: unused, mask.
void lower_count_nonzero(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  loop.store(l.view(0), reduce(ReduceKind::Sum, cast(loop.load(l.view(1), DType::Bool), DType::I64)));
  loop.done();
}

/// views: dst (bool or u8), src. attrs: unused, mask.
template <ReduceKind kind>
void lower_logical(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  loop.store(l.view(0), reduce(kind, loop.load(l.view(1), DType::Bool)));
  loop.done();
}

/// views: dst (i64), src. attrs: unused, mask. Position in row-major order over the reduced dimensions; the first of equals.
template <ReduceKind kind>
void lower_arg(Lowering& l) {
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  Val v = loop.load(l.view(1), compute_type(l.view(1).dtype));
  loop.store(l.view(0), position_of(loop, kind, v, mask_attr(l)));
  loop.done();
}

/// views: values, indices (i64), src. attrs: unused, mask of one dimension. The value is loaded from where the index says: one
/// reduction is vectorised where two are not.
template <ReduceKind kind>
void lower_extremum_with_index(Lowering& l) {
  const ir::Operand& src = l.view(2);
  Loop loop(l, src.sizes, mask_attr(l));
  Val at = position_of(loop, kind, loop.load(src, compute_type(src.dtype)), mask_attr(l));
  ir::Operand row = src;
  Val stride = loop.i64(1);
  for (int d = 0; d < src.rank(); ++d) {
    if (!(mask_attr(l) >> d & 1)) continue;
    stride = loop.size(src.strides[d]);
    row.strides[d] = 0;
  }
  loop.store(l.view(0), loop.load_beside(row, at * stride));
  loop.store(l.view(1), at);
  loop.done();
}

/// views: min, max, src. attrs: unused, mask.
void lower_aminmax(Lowering& l) {
  Loop loop(l, l.view(2).sizes, mask_attr(l));
  Val v = loop.load(l.view(2), compute_type(l.view(2).dtype));
  loop.store(l.view(0), extremum(ReduceKind::Min, v));
  loop.store(l.view(1), extremum(ReduceKind::Max, v));
  loop.done();
}

/// views: var, (mean,) src. attrs: compute dtype, mask, whether to take the root. Scalar 0: correction.
/// Two passes: sum((x - mean)^2) / max(0, n - correction).
void lower_var(Lowering& l) {
  const ir::Operand& src = l.view(l.op.outputs);
  const DType t = compute_attr(l);
  Loop loop(l, src.sizes, mask_attr(l));
  Val x = loop.load(src, t);
  Val n = reduced_count(x, src.sizes, mask_attr(l));
  Val mean = reduce(ReduceKind::Sum, x) / n;
  Val d = x - mean;
  Val v = reduce(ReduceKind::Sum, d * d) / max(n - loop.scalar(0, t), 0.0);
  loop.store(l.view(0), l.attr(2) ? sqrt(v) : v);
  if (l.op.outputs > 1) loop.store(l.view(1), mean);
  loop.done();
}

/// views: dst, src. attrs: compute dtype, mask, which of these norms: 0, 1, 2, inf, -inf, p (scalar 0).
enum class NormKind : int64_t { Zero, One, Two, Inf, NegInf, P };
void lower_vector_norm(Lowering& l) {
  const DType t = compute_attr(l);
  Loop loop(l, l.view(1).sizes, mask_attr(l));
  Val x = loop.load(l.view(1), t);
  auto sum = [](Val v) { return reduce(ReduceKind::Sum, v); };
  Val r;
  switch (static_cast<NormKind>(l.attr(2))) {
    case NormKind::Zero:
      r = sum(cast(x != 0.0, t));
      break;
    case NormKind::One:
      r = sum(abs(x));
      break;
    case NormKind::Two:
      r = sqrt(sum(x * x));
      break;
    case NormKind::Inf:
      r = reduce(ReduceKind::Max, abs(x));
      break;
    case NormKind::NegInf:
      r = reduce(ReduceKind::Min, abs(x));
      break;
    case NormKind::P: {
      Val p = loop.scalar(0, t);
      r = pow(sum(pow(abs(x), p)), 1.0 / p);
    }
  }
  loop.store(l.view(0), r);
  loop.done();
}

/// views: dst (bool, one element), a, b of equal sizes. attrs: compute dtype. Whether all elements are equal.
void lower_equal(Lowering& l) {
  const DType t = compute_attr(l);
  Loop loop(l, l.view(1).sizes, (1u << l.view(1).rank()) - 1);
  loop.store(l.view(0), reduce(ReduceKind::All, loop.load(l.view(1), t) == loop.load(l.view(2), t)));
  loop.done();
}

/// A destination must have the source's rank, size 1 where the mask says so, else the source's size.
void check_reduce(const CallArgs& call) {
  const ViewArg& src = call.views[static_cast<size_t>(call.op.outputs)];
  for (int o = 0; o < call.op.outputs; ++o) {
    const ViewArg& dst = call.views[static_cast<size_t>(o)];
    bool fits = dst.rank == src.rank;
    for (int d = 0; fits && d < src.rank; ++d) fits = dst.sizes[d] == (call.attrs[1] >> d & 1 ? 1 : src.sizes[d]);
    if (!fits) throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] a result is not the reduced shape of the operand");
  }
}

}  // namespace

OpTable reductions() {
  static const Op table[] = {
      {"sum", check_reduce, lower_reduce<ReduceKind::Sum>},
      {"prod", check_reduce, lower_reduce<ReduceKind::Prod>},
      {"amax", check_reduce, lower_reduce<ReduceKind::Max>},
      {"amin", check_reduce, lower_reduce<ReduceKind::Min>},
      {"mean", check_reduce, lower_mean},
      {"nansum", check_reduce, lower_nansum},
      {"count_nonzero", check_reduce, lower_count_nonzero},
      {"any", check_reduce, lower_logical<ReduceKind::Any>},
      {"all", check_reduce, lower_logical<ReduceKind::All>},
      {"argmax", check_reduce, lower_arg<ReduceKind::ArgMax>},
      {"argmin", check_reduce, lower_arg<ReduceKind::ArgMin>},
      {"max_with_index", check_reduce, lower_extremum_with_index<ReduceKind::ArgMax>, 2},
      {"min_with_index", check_reduce, lower_extremum_with_index<ReduceKind::ArgMin>, 2},
      {"aminmax", check_reduce, lower_aminmax, 2},
      {"var", check_reduce, lower_var},
      {"var_mean", check_reduce, lower_var, 2},
      {"vector_norm", check_reduce, lower_vector_norm},
      {"equal", nullptr, lower_equal},
  };
  return table;
}

}  // namespace anygpu::ops
