// Reductions over a mask of dimensions.
#include "anygpu/calls/reduce.h"
#include "ops/call.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::ReduceKind;
using ir::Val;

namespace {

/// The reduced dimensions of a call.
uint32_t mask_of(const auto& call) {
  return static_cast<uint32_t>(call.mask);
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

using Reduce = calls::Reduce<Reading>;

template <ReduceKind kind>
void lower_reduce(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  Val v = loop.load(c.src, compute_type(c.compute));
  loop.store(c.dst, kind == ReduceKind::Max || kind == ReduceKind::Min ? extremum(kind, v) : combined(kind, v));
  loop.done();
}

void lower_mean(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  Val v = loop.load(c.src, compute_type(c.compute));
  loop.store(c.dst, reduce(ReduceKind::Sum, v) / reduced_count(v, loop.sizes(), mask_of(c)));
  loop.done();
}

void lower_nansum(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  Val v = loop.load(c.src, compute_type(c.src.dtype));
  if (is_float(v.type())) v = select(isnan(v), like(v, 0), v);
  v = cast(v, compute_type(c.compute));
  loop.store(c.dst, combined(ReduceKind::Sum, v));
  loop.done();
}

void lower_count_nonzero(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  loop.store(c.dst, reduce(ReduceKind::Sum, cast(loop.load(c.src, DType::Bool), DType::I64)));
  loop.done();
}

template <ReduceKind kind>
void lower_logical(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  loop.store(c.dst, reduce(kind, loop.load(c.src, DType::Bool)));
  loop.done();
}

template <ReduceKind kind>
void lower_arg(Lowering& l, const Reduce& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  Val v = loop.load(c.src, compute_type(c.src.dtype));
  loop.store(c.dst, position_of(loop, kind, v, mask_of(c)));
  loop.done();
}

/// The value is loaded from where the index says: one reduction is vectorised where two are not.
template <ReduceKind kind>
void lower_extremum_with_index(Lowering& l, const calls::ReduceWithIndex<Reading>& c) {
  const ir::Operand& src = c.src;
  Loop loop(l, src.sizes, mask_of(c));
  Val at = position_of(loop, kind, loop.load(src, compute_type(src.dtype)), mask_of(c));
  ir::Operand row = src;
  Val stride = loop.i64(1);
  for (int d = 0; d < src.rank(); ++d) {
    if (!(mask_of(c) >> d & 1)) continue;
    stride = loop.size(src.strides[d]);
    row.strides[d] = 0;
  }
  loop.store(c.values, loop.load_beside(row, at * stride));
  loop.store(c.indices, at);
  loop.done();
}

void lower_aminmax(Lowering& l, const calls::AMinMax<Reading>& c) {
  Loop loop(l, c.src.sizes, mask_of(c));
  Val v = loop.load(c.src, compute_type(c.src.dtype));
  loop.store(c.min, extremum(ReduceKind::Min, v));
  loop.store(c.max, extremum(ReduceKind::Max, v));
  loop.done();
}

void lower_var(Lowering& l, const calls::Var<Reading>& c) {
  const DType t = compute_type(c.compute);
  Loop loop(l, c.src.sizes, mask_of(c));
  Val x = loop.load(c.src, t);
  Val n = reduced_count(x, c.src.sizes, mask_of(c));
  Val mean = reduce(ReduceKind::Sum, x) / n;
  Val d = x - mean;
  Val v = reduce(ReduceKind::Sum, d * d) / max(n - loop.scalar(c.correction, t), 0.0);
  loop.store(c.var, c.root ? sqrt(v) : v);
  if (c.mean) loop.store(*c.mean, mean);
  loop.done();
}

void lower_vector_norm(Lowering& l, const calls::VectorNorm<Reading>& c) {
  const DType t = compute_type(c.compute);
  Loop loop(l, c.src.sizes, mask_of(c));
  Val x = loop.load(c.src, t);
  auto sum = [](Val v) { return reduce(ReduceKind::Sum, v); };
  Val r;
  switch (c.norm) {
    case calls::Norm::Zero:
      r = sum(cast(x != 0.0, t));
      break;
    case calls::Norm::One:
      r = sum(abs(x));
      break;
    case calls::Norm::Two:
      r = sqrt(sum(x * x));
      break;
    case calls::Norm::Inf:
      r = reduce(ReduceKind::Max, abs(x));
      break;
    case calls::Norm::NegInf:
      r = reduce(ReduceKind::Min, abs(x));
      break;
    case calls::Norm::P: {
      Val p = loop.scalar(c.p, t);
      r = pow(sum(pow(abs(x), p)), 1.0 / p);
    }
  }
  loop.store(c.dst, r);
  loop.done();
}

void lower_equal(Lowering& l, const calls::Equal<Reading>& c) {
  const DType t = compute_type(c.compute);
  Loop loop(l, c.a.sizes, (1u << c.a.rank()) - 1);
  loop.store(c.dst, reduce(ReduceKind::All, loop.load(c.a, t) == loop.load(c.b, t)));
  loop.done();
}

/// A destination must have the source's rank, size 1 where the mask says so, else the source's size.
void check_kept(const CallArgs& call, const ViewArg& dst, const ViewArg& src, uint64_t mask) {
  bool fits = dst.rank == src.rank;
  for (int d = 0; fits && d < src.rank; ++d) fits = dst.sizes[d] == (mask >> d & 1 ? 1 : src.sizes[d]);
  if (!fits) throw Error(ErrorKind::Value, "[" + std::string(call.op.name) + "] a result is not the reduced shape of the operand");
}
/// The first outputs of every reduction, all that are there, are results.
template <class C>
void check_reduce(const CallArgs& call, const C& c) {
  for (int32_t o = 0; o < call.op.outputs; ++o)
    if (const ViewArg& dst = call.views[static_cast<size_t>(o)]) check_kept(call, dst, c.src, c.mask);
}

template <auto lower>
constexpr Op row(calls::Reduction kind) {
  return entry<calls::Reduce, lower, check_reduce<calls::Reduce<>>>(kind);
}
template <auto lower>
constexpr Op row(calls::Extremum kind) {
  return entry<calls::ReduceWithIndex, lower, check_reduce<calls::ReduceWithIndex<>>>(kind);
}

}  // namespace

OpTable reductions() {
  using R = calls::Reduction;
  static const Op table[] = {
      row<lower_reduce<ReduceKind::Sum>>(R::Sum),
      row<lower_reduce<ReduceKind::Prod>>(R::Prod),
      row<lower_reduce<ReduceKind::Max>>(R::Max),
      row<lower_reduce<ReduceKind::Min>>(R::Min),
      row<lower_mean>(R::Mean),
      row<lower_nansum>(R::NanSum),
      row<lower_count_nonzero>(R::CountNonzero),
      row<lower_logical<ReduceKind::Any>>(R::Any),
      row<lower_logical<ReduceKind::All>>(R::All),
      row<lower_arg<ReduceKind::ArgMax>>(R::ArgMax),
      row<lower_arg<ReduceKind::ArgMin>>(R::ArgMin),
      row<lower_extremum_with_index<ReduceKind::ArgMax>>(calls::Extremum::Max),
      row<lower_extremum_with_index<ReduceKind::ArgMin>>(calls::Extremum::Min),
      entry<calls::AMinMax, lower_aminmax, check_reduce<calls::AMinMax<>>>(),
      entry<calls::Var, lower_var, check_reduce<calls::Var<>>>(),
      entry<calls::VectorNorm, lower_vector_norm, check_reduce<calls::VectorNorm<>>>(),
      entry<calls::Equal, lower_equal>(),
  };
  return table;
}

}  // namespace anygpu::ops
