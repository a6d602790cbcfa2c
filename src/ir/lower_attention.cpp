// Attention and its gradient as matrix products, with a softmax between them: all scores lie in memory.
#include <limits>

#include "ir/nest.h"

namespace anygpu::ir {
namespace {

Operand transposed(Operand o) {
  const int r = o.rank();
  std::swap(o.sizes[r - 2], o.sizes[r - 1]), std::swap(o.strides[r - 2], o.strides[r - 1]);
  return o;
}

/// A Generic over [B, H, T, S], or what of them an operand has.
struct Square : Nest {
  Square(const Named& n, const Dims& sizes, bool reduces_last) : Nest(n) {
    for (int d = 0; d < 4; ++d) d == 3 && reduces_last ? reduction(sizes[d]) : parallel(sizes[d]);
  }
  int at(const Operand& o) {
    const int a = access(o);
    for (int d = 0; d < o.rank(); ++d) stride(a, d, o.strides[d]);
    return a;
  }
  Val load(const Operand& o, DType t) { return cast(Nest::load(at(o)), t); }
};

struct Problem {
  const Named& n;
  const Operand &q, &k, &v;
  Operand mask;
  DType c;
  int64_t shared;  ///< heads of q that go with one of k and v
  Dims square;     ///< [B, H, T, S]

  Problem(const Named& n, int first, int mask_at)
      : n(n),
        q(n.operands[first]),
        k(n.operands[first + 1]),
        v(n.operands[first + 2]),
        c(compute_type(q.dtype)),
        shared(k.sizes[1] ? q.sizes[1] / k.sizes[1] : 1),
        square{q.sizes[0], q.sizes[1], q.sizes[2], k.sizes[2]} {
    if (static_cast<int>(n.operands.size()) > mask_at) mask = n.operands[mask_at];
  }

  /// Of q's heads, or of k's and v's, which repeat: [B, heads of k and v, heads that share them, x, y]
  Operand grouped(Operand o) const {
    if (shared == 1) return o;
    const bool repeats = o.sizes[1] != q.sizes[1];
    o.sizes = {o.sizes[0], k.sizes[1], shared, o.sizes[2], o.sizes[3]};
    o.strides = {o.strides[0], repeats ? o.strides[1] : shared * o.strides[1], repeats ? 0 : o.strides[1], o.strides[2], o.strides[3]};
    return o;
  }

  /// dst = a @ b, each of q's heads by itself.
  Named product(const Operand& dst, const Operand& a, const Operand& b) const {
    return {NamedKind::Matmul, {grouped(dst), grouped(a), grouped(b)}, {}, n.name};
  }

  /// dst = a^T @ b, summed over the heads that share dst. a and b have T rows.
  void add_sum_over_shared(std::vector<Step>& steps, const Operand& dst, const Operand& a, const Operand& b, const MakeTemp& temp) const {
    const bool one_sum = a.strides[1] == a.sizes[2] * a.strides[2] && b.strides[1] == b.sizes[2] * b.strides[2];
    if (shared == 1 || one_sum) {
      auto rows_of_all = [&](Operand o) {
        o.sizes[1] /= shared, o.strides[1] *= shared, o.sizes[2] *= shared;
        return o;
      };
      const Operand left = shared == 1 ? a : rows_of_all(a), right = shared == 1 ? b : rows_of_all(b);
      steps.push_back(Named{NamedKind::Matmul, {dst, transposed(left), right}, {}, n.name});
      return;
    }
    const Operand each = temp(c, {dst.sizes[0], a.sizes[1], dst.sizes[2], dst.sizes[3]});
    steps.push_back(product(each, transposed(a), b));
    const Operand from = grouped(each);
    Nest sum(n);
    for (int d = 0; d < 5; ++d) d == 2 ? sum.reduction(from.sizes[d]) : sum.parallel(from.sizes[d]);
    const int in = sum.access(from), out = sum.access(dst);
    for (int d = 0; d < 5; ++d) {
      sum.stride(in, d, from.strides[d]);
      if (d != 2) sum.stride(out, d, dst.strides[d < 2 ? d : d - 1]);
    }
    sum.store(out, reduce(ReduceKind::Sum, sum.load(in)));
    steps.push_back(sum.g);
  }

  /// scale * products + mask, -inf where a query sees no key
  Val scores(Square& nest, const Operand& products) const {
    const Val hidden = constant(nest.g.body, c, -std::numeric_limits<double>::infinity());
    Val x = nest.load(products, c) * ir::size(nest.g.body, c, n.attrs.scale);
    if (mask.slot >= 0) x = mask.dtype == DType::Bool ? select(nest.load(mask, DType::Bool), x, hidden) : x + nest.load(mask, c);
    if (n.attrs.causal) x = select(nest.index(3) <= nest.index(2), x, hidden);
    return x;
  }
};

Val finite_or_zero(Val x) {
  return select(x == -std::numeric_limits<double>::infinity(), like(x, 0), x);
}

}  // namespace

std::vector<Step> lower_attention(const Named& n, const MakeTemp& temp) {
  const Problem p(n, 2, 5);
  const Operand &dst = n.operands[0], &logsumexp = n.operands[1];
  const Operand products = temp(p.c, p.square), weights = temp(p.c, p.square);

  Square softmax(n, p.square, true);
  const Val x = p.scores(softmax, products);
  const Val top = finite_or_zero(reduce(ReduceKind::Max, x));
  const Val e = exp(x - top), sum = reduce(ReduceKind::Sum, e);
  softmax.store(softmax.at(weights), select(sum == 0.0, like(e, 0), e / sum));
  if (logsumexp.slot >= 0) softmax.store(softmax.at(logsumexp), top + log(sum));
  return {p.product(products, p.q, transposed(p.k)), softmax.g, p.product(dst, weights, p.v)};
}

std::vector<Step> lower_attention_grad(const Named& n, const MakeTemp& temp) {
  const Problem p(n, 4, 9);
  const Operand &dq = n.operands[0], &dk = n.operands[1], &dv = n.operands[2], &grad = n.operands[3], &dst = n.operands[7],
                &logsumexp = n.operands[8];
  const Operand products = temp(p.c, p.square), weights = temp(p.c, p.square), dweights = temp(p.c, p.square),
                dscores = temp(p.c, p.square), delta = temp(p.c, {p.square[0], p.square[1], p.square[2]});

  Square dot(n, dst.sizes, true);  // delta = sum over E of grad * dst
  dot.store(dot.at(delta), reduce(ReduceKind::Sum, dot.load(grad, p.c) * dot.load(dst, p.c)));

  Square softmax(n, p.square, false);  // weights = exp(scores - logsumexp); dscores = weights * (dweights - delta) * scale
  const Val w = exp(p.scores(softmax, products) - finite_or_zero(softmax.load(logsumexp, p.c)));
  const Val ds = w * (softmax.load(dweights, p.c) - softmax.load(delta, p.c)) * ir::size(softmax.g.body, p.c, n.attrs.scale);
  softmax.store(softmax.at(weights), w);
  softmax.store(softmax.at(dscores), ds);

  std::vector<Step> steps{p.product(products, p.q, transposed(p.k)), p.product(dweights, grad, transposed(p.v)), dot.g, softmax.g,
                          p.product(dq, dscores, p.k)};
  p.add_sum_over_shared(steps, dk, dscores, p.q, temp);
  p.add_sum_over_shared(steps, dv, weights, grad, temp);
  return steps;
}

}  // namespace anygpu::ir
