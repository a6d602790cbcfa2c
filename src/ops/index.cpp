// Reading and writing at computed places. An index out of range fails the kernel and touches nothing: with Fault::IndexOutOfRange
// (IndexError in PyTorch), or, in gather and scatter, as PyTorch has it, with Fault::OutOfBounds (RuntimeError).
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

/// `i` checked against [0, n), or [-n, n) where it may wrap.
Place checked(Loop& loop, Val i, int64_t n, bool wraps, Fault fault = Fault::IndexOutOfRange) {
  i = cast(i, DType::I64);
  if (wraps) i = select(i < 0.0, i + loop.size(n), i);
  Val ok = check((i >= 0.0) & (i < loop.size(n)), fault);
  return {select(ok, i, loop.i64(0)), ok};
}

/// `value * alpha` where the call has a scalar alpha.
Val scaled(Lowering& l, Loop& loop, Val value, DType dst) {
  if (!l.scalars()) return value;
  const DType t = compute_type(dst);
  if (t == DType::Bool) return cast(value, t) & loop.scalar(0, t);
  return cast(value, t) * loop.scalar(0, t);
}

/// `o` restricted to the loop's extents, with no step along `dim`.
Operand without(Operand o, int dim, const Dims& sizes) {
  o.sizes = sizes;
  o.strides[dim] = 0;
  return o;
}

// ---- along one dimension: one index for each element ----

/// views: dst, src, index (dst's sizes; other dimensions of src may be longer). attrs: dim.
/// dst[i, j] = src[i, index[i, j]] for dim = 1
void lower_gather(Lowering& l) {
  const int dim = static_cast<int>(l.attr(0));
  const Operand& src = l.view(1);
  Loop loop(l, l.view(0).sizes);
  Place p = checked(loop, loop.load(l.view(2)), src.sizes[dim], false, Fault::OutOfBounds);
  loop.store(l.view(0), loop.load_beside(without(src, dim, loop.sizes()), p.at * loop.size(src.strides[dim])));
  loop.done();
}

/// views: dst (also read), index, src (index's sizes or more). attrs: dim, Combine, whether negative indices wrap. Scalar 0, if given:
/// alpha. dst[i, index[i, j]] op= alpha * src[i, j] for dim = 1
void lower_scatter(Lowering& l) {
  const int dim = static_cast<int>(l.attr(0));
  const Operand& dst = l.view(0);
  Loop loop(l, l.view(1).sizes);
  Place p = checked(loop, loop.load(l.view(1)), dst.sizes[dim], l.attr(2) != 0, l.attr(2) ? Fault::IndexOutOfRange : Fault::OutOfBounds);
  Operand src = l.view(2);
  src.sizes = loop.sizes();
  Val v = scaled(l, loop, loop.load(src), dst.dtype);
  loop.store_beside(without(dst, dim, loop.sizes()), p.at * loop.size(dst.strides[dim]), v, static_cast<Combine>(l.attr(1)), p.ok);
  loop.may_repeat();
  loop.done();
}

/// views: dst (also read), index. attrs: dim, Combine, whether negative indices wrap. Scalar 0: the value, of dst's compute type.
void lower_scatter_value(Lowering& l) {
  const int dim = static_cast<int>(l.attr(0));
  const Operand& dst = l.view(0);
  Loop loop(l, l.view(1).sizes);
  Place p = checked(loop, loop.load(l.view(1)), dst.sizes[dim], l.attr(2) != 0, l.attr(2) ? Fault::IndexOutOfRange : Fault::OutOfBounds);
  Val v = loop.scalar(0, compute_type(dst.dtype));
  loop.store_beside(without(dst, dim, loop.sizes()), p.at * loop.size(dst.strides[dim]), v, static_cast<Combine>(l.attr(1)), p.ok);
  loop.may_repeat();
  loop.done();
}

// ---- several adjacent dimensions indexed together, as in NumPy ----

/// Places in `o` [before.., x_1 .. x_k, after..] under a loop over [before.., I.., after..]; the k indices are views from `first`,
/// each of the rank of I, broadcast to it.
struct Advanced {
  Operand operand;  ///< strides over the loop, 0 along I
  Val offset, ok;
};
Advanced advanced(Lowering& l, Loop& loop, const Operand& o, int first, int before, bool wraps) {
  const int k = l.views() - first, after = o.rank() - before - k, rank = loop.sizes().size();
  const int indexed = rank - before - after;
  Advanced r{o, {}, {}};
  r.operand.sizes = loop.sizes();
  r.operand.strides = Dims::filled(rank, 0);
  for (int d = 0; d < before; ++d) r.operand.strides[d] = o.strides[d];
  for (int d = 0; d < after; ++d) r.operand.strides[before + indexed + d] = o.strides[before + k + d];
  for (int i = 0; i < k; ++i) {
    Operand index = l.view(first + i);
    for (int d = 0; d < before; ++d) index = unsqueezed(index, 0);
    for (int d = 0; d < after; ++d) index = unsqueezed(index, index.rank());
    Place p = checked(loop, loop.load(index), o.sizes[before + i], wraps);
    Val term = p.at * loop.size(o.strides[before + i]);
    r.offset = i ? r.offset + term : term;
    r.ok = i ? r.ok & p.ok : p.ok;
  }
  return r;
}

/// views: dst [before.., I.., after..], src [before.., x_1 .. x_k, after..], indices 1 .. k. attrs: rank of `before`, whether negative
/// indices wrap.
void lower_index(Lowering& l) {
  Loop loop(l, l.view(0).sizes);
  Advanced a = advanced(l, loop, l.view(1), 2, static_cast<int>(l.attr(0)), l.attr(1) != 0);
  loop.store(l.view(0), loop.load_beside(a.operand, a.offset));
  loop.done();
}

/// views: dst [before.., x_1 .. x_k, after..] (also read), values [before.., I.., after..], indices. attrs: rank of `before`, whether
/// negative indices wrap, Combine. Scalar 0, if given: alpha.
void lower_index_put(Lowering& l) {
  Loop loop(l, l.view(1).sizes);
  Advanced a = advanced(l, loop, l.view(0), 2, static_cast<int>(l.attr(0)), l.attr(1) != 0);
  Val v = scaled(l, loop, loop.load(l.view(1)), l.view(0).dtype);
  loop.store_beside(a.operand, a.offset, v, static_cast<Combine>(l.attr(2)), a.ok);
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

/// views: dst, src (any shape), index (dst's sizes). Negative indices wrap.
void lower_take(Lowering& l) {
  const Operand& src = l.view(1);
  Loop loop(l, l.view(0).sizes);
  Place p = checked(loop, loop.load(l.view(2)), product(src.sizes), true);
  loop.store(l.view(0), loop.load_beside(point(src, loop.sizes()), offset_of_position(loop, src, p.at)));
  loop.done();
}

/// views: dst (any shape, also read), src, index (src's sizes). attrs: Combine. Negative indices wrap.
void lower_put(Lowering& l) {
  const Operand& dst = l.view(0);
  Loop loop(l, l.view(2).sizes);
  Place p = checked(loop, loop.load(l.view(2)), product(dst.sizes), true);
  loop.store_beside(point(dst, loop.sizes()), offset_of_position(loop, dst, p.at), loop.load(l.view(1)), static_cast<Combine>(l.attr(0)),
                    p.ok);
  loop.may_repeat();
  loop.done();
}

// ---- compaction: what a mask selects, in row-major order ----

/// views: dst (i64, contiguous, [elements of src]), src. How many of the elements up to here are not 0.
void lower_count_before(Lowering& l) {
  Operand marks = l.temp(DType::I64, l.view(1).sizes);
  Loop loop(l, l.view(1).sizes);
  loop.store(marks, loop.load(l.view(1), DType::Bool));
  loop.done();
  ir::Named n{ir::NamedKind::Scan, {l.view(0), reshaped(marks, l.view(0).sizes), {}}, {}, {}};
  n.attrs.scan = ir::ScanKind::Sum;
  l.add(std::move(n));
}

/// views: dst [count, rank of src] (i64), src, counts (of count_before). Rows beyond dst's size are dropped.
void lower_nonzero(Lowering& l) {
  const Operand &dst = l.view(0), &src = l.view(1);
  Loop loop(l, src.sizes);
  Val at = loop.load(reshaped(l.view(2), src.sizes)) - 1.0;
  Val kept = loop.load(src, DType::Bool) & (at < loop.size(dst.sizes[0]));
  for (int d = 0; d < src.rank(); ++d)
    loop.store_beside(point(selected(dst, 1, d), loop.sizes()), at * loop.size(dst.strides[0]), loop.index(d), Combine::None, kept);
  loop.done();
}

/// views: dst [count], src, mask, counts of the mask; src and mask of one shape.
void lower_compress(Lowering& l) {
  const Operand &dst = l.view(0), &src = l.view(1);
  Loop loop(l, src.sizes);
  Val at = loop.load(reshaped(l.view(3), src.sizes)) - 1.0;
  Val kept = loop.load(l.view(2), DType::Bool) & (at < loop.size(dst.sizes[0]));
  loop.store_beside(point(dst, loop.sizes()), at * loop.size(dst.strides[0]), loop.load(src), Combine::None, kept);
  loop.done();
}

/// views: dst (also read), mask, counts of the mask, src [n] (contiguous). The inverse of compress; src must have enough elements.
void lower_expand(Lowering& l) {
  const Operand &dst = l.view(0), &src = l.view(3);
  Loop loop(l, dst.sizes);
  Val kept = loop.load(l.view(1), DType::Bool);
  Val at = loop.load(reshaped(l.view(2), dst.sizes)) - 1.0;
  Val enough = check((!kept) | (at < loop.size(product(src.sizes))), Fault::BadArgument);
  Val read = select(kept & enough, at, loop.i64(0));
  if (product(src.sizes))
    loop.store(dst, select(kept, cast(loop.load_beside(point(src, loop.sizes()), read), dst.dtype), loop.load(dst)));
  else
    loop.store(dst, select(enough, loop.load(dst), loop.load(dst)));
  loop.done();
}

// ---- rearrangement ----

/// views: dst, src. attrs: mask of the dimensions to reverse.
void lower_flip(Lowering& l) {
  Operand src = l.view(1);
  for (int d = 0; d < src.rank(); ++d) {
    if (!(l.attr(0) >> d & 1) || src.sizes[d] < 2) continue;
    src.offset += (src.sizes[d] - 1) * src.strides[d];
    src.strides[d] = -src.strides[d];
  }
  Loop loop(l, l.view(0).sizes);
  loop.store(l.view(0), loop.load(src));
  loop.done();
}

/// views: dst, src. attrs: dims. Scalars: for each of the dims, a shift in [0, size).
void lower_roll(Lowering& l) {
  Loop loop(l, l.view(0).sizes);
  std::vector<Val> at;
  for (int d = 0; d < loop.sizes().size(); ++d) at.push_back(loop.index(d));
  for (int i = 0; i < l.attrs(); ++i) {
    const int d = static_cast<int>(l.attr(i));
    Val from = at[d] - loop.scalar(i, DType::I64);
    at[d] = select(from < 0.0, from + loop.size(loop.sizes()[d]), from);
  }
  loop.store(l.view(0), loop.load_at(l.view(1), at));
  loop.done();
}

/// views: dst, then the parts, in order. attrs: dim. Parts are cast to dst's dtype.
void lower_cat(Lowering& l) {
  const int dim = static_cast<int>(l.attr(0));
  int64_t start = 0;
  for (int i = 1; i < l.views(); ++i) {
    const int64_t length = l.view(i).sizes[dim];
    Loop loop(l, l.view(i).sizes);
    loop.store(narrowed(l.view(0), dim, start, length), loop.load(l.view(i)));
    loop.done();
    start += length;
  }
}
void check_cat(const CallArgs& call) {
  int64_t total = 0;
  for (size_t i = 1; i < call.views.size(); ++i) {
    if (call.views[i].rank != call.views[0].rank) throw Error(ErrorKind::Value, "[cat] operands of several ranks");
    total += call.views[i].sizes[call.attrs[0]];
  }
  if (total != call.views[0].sizes[call.attrs[0]])
    throw Error(ErrorKind::Value,
                "[cat] parts of " + std::to_string(total) + " in a result of " + std::to_string(call.views[0].sizes[call.attrs[0]]));
}

/// views: dst [rows, width], grad [n.., width], index [n..], and, if given, counts [rows] (i64): how often each row is looked up.
/// Scalar 0: the row that takes no gradient, or -1.
void lower_embedding_backward(Lowering& l) {
  const Operand &dst = l.view(0), &grad = l.view(1);
  Loop zero(l, dst.sizes);
  zero.store(dst, zero.f(dst.dtype, 0));
  zero.done();
  Loop loop(l, grad.sizes);
  const int last = loop.sizes().size() - 1;
  Val i = cast(loop.load(unsqueezed(l.view(2), last)), DType::I64);
  Val padding = i == loop.scalar(0, DType::I64);
  Val ok = check(padding | ((i >= 0.0) & (i < loop.size(dst.sizes[0]))), Fault::IndexOutOfRange);
  Val row = select(ok & !padding, i, loop.i64(0));
  Val g = loop.load(grad);
  if (l.views() > 3) {
    const DType t = compute_type(dst.dtype);
    g = cast(g, t) / cast(loop.load_beside(point(l.view(3), loop.sizes()), row), t);
  }
  Operand to = point(dst, loop.sizes());
  to.strides[last] = dst.strides[1];
  loop.store_beside(to, row * loop.size(dst.strides[0]), g, Combine::Add, ok & !padding);
  loop.done();
}

}  // namespace

OpTable indexing() {
  static const Op table[] = {
      {"gather", nullptr, lower_gather},
      {"scatter", nullptr, lower_scatter},
      {"scatter_value", nullptr, lower_scatter_value},
      {"index", nullptr, lower_index},
      {"index_put", nullptr, lower_index_put},
      {"take", nullptr, lower_take},
      {"put", nullptr, lower_put},
      {"count_before", nullptr, lower_count_before},
      {"nonzero", nullptr, lower_nonzero},
      {"compress", nullptr, lower_compress},
      {"expand", nullptr, lower_expand},
      {"flip", nullptr, lower_flip},
      {"roll", nullptr, lower_roll},
      {"cat", check_cat, lower_cat},
      {"embedding_backward", nullptr, lower_embedding_backward},
  };
  return table;
}

}  // namespace anygpu::ops
