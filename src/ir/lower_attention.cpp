// Attention and its gradient as Generics: all scores lie in memory.
#include <limits>

#include "ir/nest.h"

namespace anygpu::ir {
namespace {

/// A loop over batch, head of k and v, query heads that share it, and whatever dimensions follow.
struct Heads : Nest {
  int b, kv, group;
  Heads(const Named& n, const Operand& q, const Operand& k, bool sums_group = false)
      : Nest(n), b(parallel(q.sizes[0])), kv(parallel(k.sizes[1])) {
    const int64_t shared = k.sizes[1] ? q.sizes[1] / k.sizes[1] : 0;
    group = sums_group ? reduction(shared) : parallel(shared);
  }

  /// Operand [B, H or Hkv, x, y], or without y: x along dimension `i`, y along `j`.
  int at(const Operand& o, int64_t kv_heads, int i, int j = -1) {
    const int a = access(o);
    stride(a, b, o.strides[0]);
    if (o.sizes[1] == kv_heads) {
      stride(a, kv, o.strides[1]);  // k or v, or groups of one
    } else {
      stride(a, kv, o.sizes[1] / kv_heads * o.strides[1]);
      stride(a, group, o.strides[1]);
    }
    stride(a, i, o.strides[2]);
    if (j >= 0) stride(a, j, o.strides[3]);
    return a;
  }
};

struct Problem {
  const Named& n;
  const Operand &q, &k, &v;
  Operand mask;
  DType c;
  int64_t kv_heads, queries, keys;

  Problem(const Named& n, int first, int mask_at)
      : n(n),
        q(n.operands[first]),
        k(n.operands[first + 1]),
        v(n.operands[first + 2]),
        c(compute_type(q.dtype)),
        kv_heads(k.sizes[1]),
        queries(q.sizes[2]),
        keys(k.sizes[2]) {
    if (static_cast<int>(n.operands.size()) > mask_at) mask = n.operands[mask_at];
  }

  /// dst[B, H, T, S] = scale * q @ k^T + mask
  Generic scores(const Operand& dst) const {
    Heads nest(n, q, k);
    const int t = nest.parallel(queries), s = nest.parallel(keys), d = nest.reduction(q.sizes[3]);
    const int out = nest.at(dst, kv_heads, t, s), left = nest.at(q, kv_heads, t, d), right = nest.at(k, kv_heads, s, d);
    Body& body = nest.g.body;
    const Val hidden = constant(body, c, -std::numeric_limits<double>::infinity());
    Val x = reduce(ReduceKind::Sum, cast(nest.load(left), c) * cast(nest.load(right), c)) * ir::size(body, c, n.attrs.scale);
    if (mask.slot >= 0) {
      const Val m = nest.load(nest.at(mask, kv_heads, t, s));
      x = mask.dtype == DType::Bool ? select(m, x, hidden) : x + cast(m, c);
    }
    if (n.attrs.causal) x = select(nest.index(s) <= nest.index(t), x, hidden);
    nest.store(out, x);
    return nest.g;
  }

  /// dst[B, H, x, y] = sum over z of a[.., x, z] * b[.., z, y]; of b's transpose, or a's, where it is said. Sums over the query heads
  /// that share dst where dst has the heads of k and v.
  Generic product(const Operand& dst, const Operand& a, bool a_transposed, const Operand& b) const {
    Heads nest(n, q, k, dst.sizes[1] == kv_heads && q.sizes[1] != kv_heads);
    const int x = nest.parallel(dst.sizes[2]), y = nest.parallel(dst.sizes[3]), z = nest.reduction(b.sizes[2]);
    const int out = nest.at(dst, kv_heads, x, y);
    const int left = a_transposed ? nest.at(a, kv_heads, z, x) : nest.at(a, kv_heads, x, z);
    const int right = nest.at(b, kv_heads, z, y);
    nest.store(out, reduce(ReduceKind::Sum, cast(nest.load(left), c) * cast(nest.load(right), c)));
    return nest.g;
  }
};

Val finite_or_zero(Val x) {
  return select(x == -std::numeric_limits<double>::infinity(), like(x, 0), x);
}

}  // namespace

std::vector<Generic> lower_attention(const Named& n, const MakeTemp& temp) {
  const Problem p(n, 2, 5);
  const Operand &dst = n.operands[0], &logsumexp = n.operands[1];
  const Dims square{dst.sizes[0], dst.sizes[1], p.queries, p.keys};
  const Operand scores = temp(p.c, square), weights = temp(p.c, square);

  Nest softmax(n);
  for (int d = 0; d < 3; ++d) softmax.parallel(square[d]);
  softmax.reduction(p.keys);
  const int in = softmax.access(scores), out = softmax.access(weights);
  for (int d = 0; d < 4; ++d) {
    softmax.stride(in, d, scores.strides[d]);
    softmax.stride(out, d, weights.strides[d]);
  }
  const Val x = softmax.load(in);
  const Val top = finite_or_zero(reduce(ReduceKind::Max, x));
  const Val e = exp(x - top), sum = reduce(ReduceKind::Sum, e);
  softmax.store(out, select(sum == 0.0, like(e, 0), e / sum));
  if (logsumexp.slot >= 0) {
    const int lse = softmax.access(logsumexp);
    for (int d = 0; d < 3; ++d) softmax.stride(lse, d, logsumexp.strides[d]);
    softmax.store(lse, top + log(sum));
  }
  return {p.scores(scores), softmax.g, p.product(dst, weights, false, p.v)};
}

std::vector<Generic> lower_attention_grad(const Named& n, const MakeTemp& temp) {
  const Problem p(n, 4, 9);
  const Operand &dq = n.operands[0], &dk = n.operands[1], &dv = n.operands[2], &grad = n.operands[3], &dst = n.operands[7],
                &logsumexp = n.operands[8];
  const Dims square{dst.sizes[0], dst.sizes[1], p.queries, p.keys};
  const Operand scores = temp(p.c, square), weights = temp(p.c, square), dscores = temp(p.c, square);
  const Operand delta = temp(p.c, {square[0], square[1], square[2]});

  // weights = exp(scores - logsumexp)
  Nest softmax(n);
  for (int d = 0; d < 4; ++d) softmax.parallel(square[d]);
  const int in = softmax.access(scores), out = softmax.access(weights), lse = softmax.access(logsumexp);
  for (int d = 0; d < 4; ++d) {
    softmax.stride(in, d, scores.strides[d]);
    softmax.stride(out, d, weights.strides[d]);
    if (d < 3) softmax.stride(lse, d, logsumexp.strides[d]);
  }
  softmax.store(out, exp(softmax.load(in) - finite_or_zero(softmax.load(lse))));

  // delta = sum over E of grad * dst
  Nest dot(n);
  for (int d = 0; d < 3; ++d) dot.parallel(square[d]);
  dot.reduction(dst.sizes[3]);
  const int a = dot.access(grad), b = dot.access(dst), to = dot.access(delta);
  for (int d = 0; d < 4; ++d) {
    dot.stride(a, d, grad.strides[d]);
    dot.stride(b, d, dst.strides[d]);
    if (d < 3) dot.stride(to, d, delta.strides[d]);
  }
  dot.store(to, reduce(ReduceKind::Sum, cast(dot.load(a), p.c) * cast(dot.load(b), p.c)));

  // dscores = weights * (grad @ v^T - delta) * scale
  Heads nest(n, p.q, p.k);
  const int t = nest.parallel(p.queries), s = nest.parallel(p.keys), e = nest.reduction(p.v.sizes[3]);
  const int left = nest.at(grad, p.kv_heads, t, e), right = nest.at(p.v, p.kv_heads, s, e), w = nest.at(weights, p.kv_heads, t, s),
            d = nest.at(delta, p.kv_heads, t), ds = nest.at(dscores, p.kv_heads, t, s);
  const Val dp = reduce(ReduceKind::Sum, cast(nest.load(left), p.c) * cast(nest.load(right), p.c));
  nest.store(ds, nest.load(w) * (dp - nest.load(d)) * ir::size(nest.g.body, p.c, n.attrs.scale));

  return {p.scores(scores),
          softmax.g,
          dot.g,
          nest.g,
          p.product(dq, dscores, false, p.k),
          p.product(dk, dscores, true, p.q),
          p.product(dv, weights, true, grad)};
}

}  // namespace anygpu::ir
