// Reading and writing at computed places. An index out of range fails the kernel and touches nothing: with Fault::IndexOutOfRange
// (IndexError in PyTorch), or, in gather and scatter, as PyTorch has it, with Fault::OutOfBounds (RuntimeError).
#include "anygpu/calls/index.h"
#include "ops/call.h"
#include "ops/tables.h"

namespace anygpu::ops {

using ir::Combine;
using ir::Fault;
using ir::Operand;
using ir::Val;

namespace {

struct Place {
  Val at;  ///< in range, always
  Val ok;  ///< whether the index was
};

/// `i` checked against [0, n), or [-n, n) where it may wrap. dim: that n is the size of; -1: n counts all elements.
Place checked(Loop& loop, Val i, int64_t n, int dim, bool wraps, Fault fault = Fault::IndexOutOfRange) {
  i = cast(i, DType::I64);
  const Val given = i;
  if (wraps) i = select(i < 0.0, i + loop.size(n), i);
  Val ok = check((i >= 0.0) & (i < loop.size(n)), fault, given, loop.size(n), dim);
  return {select(ok, i, loop.i64(0)), ok};
}

/// calls' as the IR's.
Combine combined(calls::Combine c) {
  static_assert(static_cast<int>(calls::Combine::Add) == static_cast<int>(Combine::Add) &&
                static_cast<int>(calls::Combine::Mul) == static_cast<int>(Combine::Mul) &&
                static_cast<int>(calls::Combine::Max) == static_cast<int>(Combine::Max) &&
                static_cast<int>(calls::Combine::Min) == static_cast<int>(Combine::Min));
  return static_cast<Combine>(c);
}

/// `o` restricted to the loop's extents, with no step along `dim`.
Operand without(Operand o, int dim, const Dims& sizes) {
  o.sizes = sizes;
  o.strides[dim] = 0;
  return o;
}

// ---- along one dimension: one index for each element ----

void lower_gather(Lowering& l, const calls::Gather<Reading>& c) {
  const int dim = static_cast<int>(c.dim);
  const Operand& src = c.src;
  Loop loop(l, c.dst.sizes);
  Place p = checked(loop, loop.load(c.index), src.sizes[dim], dim, false, Fault::OutOfBounds);
  loop.store(c.dst, loop.load_beside(without(src, dim, loop.sizes()), p.at * loop.size(src.strides[dim])));
  loop.done();
}

/// Stores `v` at the indices of a Scatter or ScatterValue.
void scatter(Loop& loop, const auto& c, Val v) {
  const int dim = static_cast<int>(c.dim);
  Place p = checked(loop, loop.load(c.index), c.dst.sizes[dim], dim, c.wraps, c.wraps ? Fault::IndexOutOfRange : Fault::OutOfBounds);
  loop.store_beside(without(c.dst, dim, loop.sizes()), p.at * loop.size(c.dst.strides[dim]), v, combined(c.combine), p.ok);
  loop.may_repeat();
  loop.done();
}

void lower_scatter(Lowering& l, const calls::Scatter<Reading>& c) {
  Loop loop(l, c.index.sizes);
  Operand src = c.src;
  src.sizes = loop.sizes();
  scatter(loop, c, loop.load(src));
}

void lower_scatter_value(Lowering& l, const calls::ScatterValue<Reading>& c) {
  Loop loop(l, c.index.sizes);
  scatter(loop, c, loop.scalar(c.value, compute_type(c.dst.dtype)));
}

// ---- several adjacent dimensions indexed together, as in NumPy ----

/// Places in `o` [before.., x_1 .. x_k, after..] under a loop over [before.., I.., after..].
struct Advanced {
  Operand operand;  ///< strides over the loop, 0 along I
  Val offset, ok;
};
Advanced advanced(Loop& loop, const Operand& o, const auto& c) {
  const int before = static_cast<int>(c.before), k = static_cast<int>(c.indices.size());
  const int after = o.rank() - before - k, rank = loop.sizes().size();
  const int indexed = rank - before - after;
  Advanced r{o, {}, {}};
  r.operand.sizes = loop.sizes();
  r.operand.strides = Dims::filled(rank, 0);
  for (int d = 0; d < before; ++d) r.operand.strides[d] = o.strides[d];
  for (int d = 0; d < after; ++d) r.operand.strides[before + indexed + d] = o.strides[before + k + d];
  for (int i = 0; i < k; ++i) {
    Operand index = c.indices[static_cast<size_t>(i)];
    for (int d = 0; d < before; ++d) index = unsqueezed(index, 0);
    for (int d = 0; d < after; ++d) index = unsqueezed(index, index.rank());
    Place p = checked(loop, loop.load(index), o.sizes[before + i], before + i, c.wraps);
    Val term = p.at * loop.size(o.strides[before + i]);
    r.offset = i ? r.offset + term : term;
    r.ok = i ? r.ok & p.ok : p.ok;
  }
  return r;
}

void lower_index(Lowering& l, const calls::Index<Reading>& c) {
  Loop loop(l, c.dst.sizes);
  Advanced a = advanced(loop, c.src, c);
  loop.store(c.dst, loop.load_beside(a.operand, a.offset));
  loop.done();
}

void lower_index_put(Lowering& l, const calls::IndexPut<Reading>& c) {
  Loop loop(l, c.values.sizes);
  Advanced a = advanced(loop, c.dst, c);
  Val v = loop.load(c.values);
  if (c.scaled) {
    const DType t = compute_type(c.dst.dtype);
    Val alpha = loop.scalar(c.alpha, t);
    v = t == DType::Bool ? cast(v, t) & alpha : cast(v, t) * alpha;
  }
  loop.store_beside(a.operand, a.offset, v, combined(c.combine), a.ok);
  loop.may_repeat();
  loop.done();
}

// ---- by position in row-major order ----

/// Element offset of the `at`-th element of `o`, in row-major order of its sizes.
Val offset_of_position(Loop& loop, const Operand& o, Val at) {
  int64_t below = 1;
  bool dense = true;
  for (int d = o.rank() - 1; d >= 0; --d) {
    dense = dense && (o.sizes[d] == 1 || o.strides[d] == below);
    below *= o.sizes[d];
  }
  if (dense) return at;
  Val offset = loop.i64(0);
  for (int d = o.rank() - 1; d >= 0; --d) {
    if (o.sizes[d] == 1) continue;
    offset = offset + (at % loop.i64(o.sizes[d])) * loop.size(o.strides[d]);
    at = at / loop.i64(o.sizes[d]);
  }
  return offset;
}

/// `o` as a place of no extent in the loop: what a computed offset is added to.
Operand point(const Operand& o, const Dims& sizes) {
  Operand r = o;
  r.sizes = sizes;
  r.strides = Dims::filled(sizes.size(), 0);
  return r;
}

void lower_take(Lowering& l, const calls::Take<Reading>& c) {
  const Operand& src = c.src;
  Loop loop(l, c.dst.sizes);
  Place p = checked(loop, loop.load(c.index), product(src.sizes), -1, true);
  loop.store(c.dst, loop.load_beside(point(src, loop.sizes()), offset_of_position(loop, src, p.at)));
  loop.done();
}

void lower_put(Lowering& l, const calls::Put<Reading>& c) {
  const Operand& dst = c.dst;
  Loop loop(l, c.index.sizes);
  Place p = checked(loop, loop.load(c.index), product(dst.sizes), -1, true);
  loop.store_beside(point(dst, loop.sizes()), offset_of_position(loop, dst, p.at), loop.load(c.src), combined(c.combine), p.ok);
  loop.may_repeat();
  loop.done();
}

// ---- compaction: what a mask selects, in row-major order ----

void lower_count_before(Lowering& l, const calls::CountBefore<Reading>& c) {
  Operand marks = l.temp(DType::I64, c.src.sizes);
  Loop loop(l, c.src.sizes);
  loop.store(marks, loop.load(c.src, DType::Bool));
  loop.done();
  ir::Named n{ir::NamedKind::Scan, {c.dst, reshaped(marks, c.dst.sizes), {}}, {}, {}};
  n.attrs.scan = ir::ScanKind::Sum;
  l.add(std::move(n));
}

void lower_nonzero(Lowering& l, const calls::Nonzero<Reading>& c) {
  const Operand &dst = c.dst, &src = c.src;
  Loop loop(l, src.sizes);
  Val at = loop.load(reshaped(c.before, src.sizes)) - 1.0;
  Val kept = loop.load(src, DType::Bool) & (at < loop.size(dst.sizes[0]));
  for (int d = 0; d < src.rank(); ++d)
    loop.store_beside(point(selected(dst, 1, d), loop.sizes()), at * loop.size(dst.strides[0]), loop.index(d), Combine::None, kept);
  loop.done();
}

void lower_compress(Lowering& l, const calls::Compress<Reading>& c) {
  const Operand &dst = c.dst, &src = c.src;
  Loop loop(l, src.sizes);
  Val at = loop.load(reshaped(c.before, src.sizes)) - 1.0;
  Val kept = loop.load(c.mask, DType::Bool) & (at < loop.size(dst.sizes[0]));
  loop.store_beside(point(dst, loop.sizes()), at * loop.size(dst.strides[0]), loop.load(src), Combine::None, kept);
  loop.done();
}

void lower_expand(Lowering& l, const calls::Expand<Reading>& c) {
  const Operand &dst = c.dst, &src = c.src;
  Loop loop(l, dst.sizes);
  Val kept = loop.load(c.mask, DType::Bool);
  Val at = loop.load(reshaped(c.before, dst.sizes)) - 1.0;
  Val enough = check((!kept) | (at < loop.size(product(src.sizes))), Fault::BadArgument);
  Val read = select(kept & enough, at, loop.i64(0));
  if (product(src.sizes))
    loop.store(dst, select(kept, cast(loop.load_beside(point(src, loop.sizes()), read), dst.dtype), loop.load(dst)));
  else
    loop.store(dst, select(enough, loop.load(dst), loop.load(dst)));
  loop.done();
}

// ---- rearrangement ----

void lower_flip(Lowering& l, const calls::Flip<Reading>& c) {
  Operand src = c.src;
  for (int d = 0; d < src.rank(); ++d) {
    if (!(c.mask >> d & 1) || src.sizes[d] < 2) continue;
    src.offset += (src.sizes[d] - 1) * src.strides[d];
    src.strides[d] = -src.strides[d];
  }
  Loop loop(l, c.dst.sizes);
  loop.store(c.dst, loop.load(src));
  loop.done();
}

void lower_roll(Lowering& l, const calls::Roll<Reading>& c) {
  Loop loop(l, c.dst.sizes);
  std::vector<Val> at;
  for (int d = 0; d < loop.sizes().size(); ++d) at.push_back(loop.index(d));
  for (int i = 0; i < c.dims.size(); ++i) {
    const int d = static_cast<int>(c.dims[i]);
    Val from = at[d] - loop.scalar(c.shifts + i, DType::I64);
    at[d] = select(from < 0.0, from + loop.size(loop.sizes()[d]), from);
  }
  loop.store(c.dst, loop.load_at(c.src, at));
  loop.done();
}

void lower_cat(Lowering& l, const calls::Cat<Reading>& c) {
  const int dim = static_cast<int>(c.dim);
  int64_t start = 0;
  for (const Operand& part : c.parts) {
    const int64_t length = part.sizes[dim];
    Loop loop(l, part.sizes);
    loop.store(narrowed(c.dst, dim, start, length), loop.load(part));
    loop.done();
    start += length;
  }
}
void check_cat(const CallArgs&, const calls::Cat<>& c) {
  int64_t total = 0;
  for (const ViewArg& part : c.parts) {
    if (part.rank != c.dst.rank) throw Error(ErrorKind::Value, "[cat] operands of several ranks");
    total += part.sizes[c.dim];
  }
  if (total != c.dst.sizes[c.dim])
    throw Error(ErrorKind::Value, "[cat] parts of " + std::to_string(total) + " in a result of " + std::to_string(c.dst.sizes[c.dim]));
}

void lower_embedding_grad(Lowering& l, const calls::EmbeddingGrad<Reading>& c) {
  const Operand &dst = c.dst, &grad = c.grad;
  Loop zero(l, dst.sizes);
  zero.store(dst, zero.f(dst.dtype, 0));
  zero.done();
  Loop loop(l, grad.sizes);
  const int last = loop.sizes().size() - 1;
  Val i = cast(loop.load(unsqueezed(c.index, last)), DType::I64);
  Val padding = i == loop.scalar(c.padding, DType::I64);
  Val ok = check(padding | ((i >= 0.0) & (i < loop.size(dst.sizes[0]))), Fault::IndexOutOfRange, i, loop.size(dst.sizes[0]), 0);
  Val row = select(ok & !padding, i, loop.i64(0));
  Val g = loop.load(grad);
  if (c.counts) {
    const DType t = compute_type(dst.dtype);
    g = cast(g, t) / cast(loop.load_beside(point(*c.counts, loop.sizes()), row), t);
  }
  Operand to = point(dst, loop.sizes());
  to.strides[last] = dst.strides[1];
  loop.store_beside(to, row * loop.size(dst.strides[0]), g, Combine::Add, ok & !padding);
  loop.done();
}

}  // namespace

OpTable indexing() {
  static const Op table[] = {
      entry<calls::Gather, lower_gather>(),
      entry<calls::Scatter, lower_scatter>(),
      entry<calls::ScatterValue, lower_scatter_value>(),
      entry<calls::Index, lower_index>(),
      entry<calls::IndexPut, lower_index_put>(),
      entry<calls::Take, lower_take>(),
      entry<calls::Put, lower_put>(),
      entry<calls::CountBefore, lower_count_before>(),
      entry<calls::Nonzero, lower_nonzero>(),
      entry<calls::Compress, lower_compress>(),
      entry<calls::Expand, lower_expand>(),
      entry<calls::Flip, lower_flip>(),
      entry<calls::Roll, lower_roll>(),
      entry<calls::Cat, lower_cat, check_cat>(),
      entry<calls::EmbeddingGrad, lower_embedding_grad>(),
  };
  return table;
}

}  // namespace anygpu::ops
