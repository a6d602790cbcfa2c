// Attention and its gradient: odd strides, masks, tails, shared heads, rows that see nothing.
#include <cmath>
#include <limits>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Named;
using ir::NamedKind;
using ir::Operand;

constexpr double kInf = std::numeric_limits<double>::infinity();

struct Shape {
  int64_t batch, heads, kv_heads, queries, keys, depth, width;
};

const Shape kShapes[] = {
    {1, 1, 1, 1, 1, 1, 1},     {2, 3, 3, 7, 5, 4, 6},     {1, 2, 2, 33, 33, 16, 16}, {2, 2, 1, 40, 65, 32, 32}, {1, 6, 2, 17, 129, 8, 24},
    {1, 1, 1, 65, 31, 64, 64}, {1, 2, 2, 3, 140, 80, 40}, {1, 1, 1, 130, 130, 5, 3}, {1, 4, 2, 32, 64, 32, 64}, {3, 1, 1, 16, 16, 1, 1},
};

enum class Mask { None, Float, FloatOfKeys, Bool, BoolOfQueriesAndKeys };

/// The mask, with some -inf, on a smaller array that repeats.
Operand mask_of(Maker& m, Case& c, DType t, const Shape& s, Mask kind, Layout layout) {
  Dims sizes{s.batch, s.heads, s.queries, s.keys};
  const Dims all = sizes;
  if (kind == Mask::FloatOfKeys) sizes[1] = sizes[2] = 1;
  if (kind == Mask::BoolOfQueriesAndKeys) sizes[0] = sizes[1] = 1;
  const bool floats = kind == Mask::Float || kind == Mask::FloatOfKeys;
  std::vector<double> values(product(sizes));
  for (double& v : values) v = floats ? (m.chance(0.2) ? -kInf : m.uniform(-2, 2)) : m.chance(0.7);
  // A query that sees nothing.
  if (kind == Mask::Float || kind == Mask::Bool) std::fill_n(values.begin(), s.keys, floats ? -kInf : 0.0);
  Operand o = m.input(c, floats ? t : DType::Bool, sizes, layout, values);
  for (int d = 0; d < 4; ++d)
    if (sizes[d] != all[d]) o.strides[d] = 0;
  o.sizes = all;
  return o;
}

/// The forward, and the gradient of what it gave.
Case attention_case(Maker& m, DType t, const Shape& s, Mask mask, bool causal, Layout layout, Fill fill, bool gradient) {
  Case c;
  const DType k = compute_type(t);
  const auto terms = static_cast<double>(s.depth + s.keys + s.queries * s.heads / s.kv_heads);
  const Tolerance of_output{4, 64 * epsilon(k) + 2 * epsilon(t)},
      of_gradient{8, 32 * terms * epsilon(k) + 4 * terms * epsilon(t) * (t != k)};
  auto input = [&](int64_t heads, int64_t rows, int64_t columns) { return m.input(c, t, {s.batch, heads, rows, columns}, layout, fill); };
  Named n{NamedKind::Attention, {}, {}, "attention"};
  n.attrs.scale = 1 / std::sqrt(static_cast<double>(s.depth));
  n.attrs.causal = causal;
  const Operand dst = m.output(c, t, {s.batch, s.heads, s.queries, s.width}, layout, of_output),
                logsumexp = m.output(c, k, {s.batch, s.heads, s.queries}, layout, of_output), q = input(s.heads, s.queries, s.depth),
                key = input(s.kv_heads, s.keys, s.depth), value = input(s.kv_heads, s.keys, s.width);
  n.operands = {dst, logsumexp, q, key, value};
  if (mask != Mask::None) n.operands.push_back(mask_of(m, c, t, s, mask, layout));
  c.steps.emplace_back(n);
  c.name = "attention_" + std::string(name_of(t)) + "_" + std::to_string(s.batch) + "b" + std::to_string(s.heads) + "h" +
           std::to_string(s.kv_heads) + "kv" + std::to_string(s.queries) + "t" + std::to_string(s.keys) + "s" + std::to_string(s.depth) +
           "d" + std::to_string(s.width) + "e_mask" + std::to_string(static_cast<int>(mask)) + (causal ? "_causal" : "") +
           (layout == Layout::Odd ? "_odd" : "");
  if (gradient) {
    Named g{NamedKind::AttentionGrad, {}, n.attrs, "attention_grad"};
    g.operands = {m.output(c, t, q.sizes, layout, of_gradient), m.output(c, t, key.sizes, layout, of_gradient),
                  m.output(c, t, value.sizes, layout, of_gradient)};
    g.operands.push_back(input(s.heads, s.queries, s.width));
    for (const Operand& o : {q, key, value, dst, logsumexp}) g.operands.push_back(o);
    if (mask != Mask::None) g.operands.push_back(n.operands[5]);
    c.steps.emplace_back(g);
  }
  return c;
}

TEST_P(Conformance, Attention) {
  Maker m(320);
  int n = 0;
  for (const Shape& s : kShapes) {
    for (Mask mask : {Mask::None, Mask::Float, Mask::FloatOfKeys, Mask::Bool, Mask::BoolOfQueriesAndKeys}) {
      for (bool causal : {false, true}) {
        for (Layout layout : {Layout::Dense, Layout::Odd}) {
          if (kSanitized && n++ % 3) continue;  // each shape with 6 or 7 of the 20, each of the 20 with some shape
          CHECK_NAMED(attention_case(m, DType::F32, s, mask, causal, layout, Fill::Plain, true));
        }
      }
    }
  }
}

TEST_P(Conformance, AttentionOfOtherTypes) {
  Maker m(321);
  for (DType t : {DType::F64, DType::BF16, DType::F16}) {
    for (const Shape& s : {kShapes[1], kShapes[3]}) {
      for (Mask mask : {Mask::None, Mask::Float, Mask::Bool})
        CHECK_NAMED(attention_case(m, t, s, mask, mask == Mask::None, Layout::Odd, Fill::Unit, t == DType::F64));
    }
  }
}

/// The layout of a transformer's layer: q, k and v are slices of one array [batch, t, 3, heads, d], the result is [batch, t, heads, d].
TEST_P(Conformance, AttentionInOneArray) {
  Maker m(322);
  for (int64_t d : {32, 24}) {
    const int64_t batch = 2, t = 70, heads = 3, row = 3 * heads * d;
    Case c;
    c.name = "attention_in_one_array_" + std::to_string(d);
    const Tolerance tolerance{4, 2e-4};
    const Operand qkv = m.input(c, DType::F32, {batch, t, 3, heads, d}, Layout::Dense, Fill::Plain),
                  dqkv = m.output(c, DType::F32, {batch, t, 3, heads, d}, Layout::Dense, tolerance);
    auto part = [&](Operand o, int i) {
      o.offset += i * heads * d;
      o.sizes = {batch, heads, t, d};
      o.strides = {t * row, d, row, 1};
      return o;
    };
    auto merged = [&](Operand o) {
      o.sizes = {batch, heads, t, d};
      o.strides = {t * heads * d, d, heads * d, 1};
      return o;
    };
    const Dims flat{batch, t, heads, d};
    const Operand dst = merged(m.output(c, DType::F32, flat, Layout::Dense, tolerance)),
                  grad = merged(m.input(c, DType::F32, flat, Layout::Dense, Fill::Plain)),
                  logsumexp = m.output(c, DType::F32, {batch, heads, t}, Layout::Dense, tolerance);
    Named n{NamedKind::Attention, {dst, logsumexp, part(qkv, 0), part(qkv, 1), part(qkv, 2)}, {}, "attention"};
    n.attrs.scale = 0.2;
    n.attrs.causal = true;
    Named g{NamedKind::AttentionGrad,
            {part(dqkv, 0), part(dqkv, 1), part(dqkv, 2), grad, part(qkv, 0), part(qkv, 1), part(qkv, 2), dst, logsumexp},
            n.attrs,
            "attention_grad"};
    c.steps = {n, g};
    CHECK_NAMED(c);
  }
}

/// Keys and values whose rows are pages apart, or that are transposed, for many queries: a backend may copy them first.
TEST_P(Conformance, AttentionOfKeysFarApart) {
  Maker m(325);
  for (bool transposed : {false, true}) {
    const int64_t heads = 2, t = 300, keys = 70, d = 12;
    Case c;
    c.name = transposed ? "attention_transposed" : "attention_far_apart";
    const Tolerance tolerance{8, 1e-3};
    auto far = [&](int64_t rows) {
      Operand o = transposed ? m.input(c, DType::F32, {1, heads, d, rows}, Layout::Dense, Fill::Plain)
                             : m.input(c, DType::F32, {1, heads, rows, 1024}, Layout::Dense, Fill::Plain);
      if (transposed) std::swap(o.strides[2], o.strides[3]);
      o.sizes = {1, heads, rows, d};
      return o;
    };
    const Operand q = far(t), k = far(keys), v = far(keys), grad = far(t);
    const Operand dst = m.output(c, DType::F32, q.sizes, Layout::Dense, tolerance),
                  logsumexp = m.output(c, DType::F32, {1, heads, t}, Layout::Dense, tolerance);
    Named n{NamedKind::Attention, {dst, logsumexp, q, k, v}, {}, "attention"};
    n.attrs.scale = 0.3;
    n.attrs.causal = transposed;
    auto gradient = [&](const Operand& o) { return m.output(c, DType::F32, o.sizes, Layout::Dense, tolerance); };
    Named g{NamedKind::AttentionGrad, {gradient(q), gradient(k), gradient(v), grad, q, k, v, dst, logsumexp}, n.attrs, "attention_grad"};
    c.steps = {n, g};
    CHECK_NAMED(c);
  }
}

/// NaN stays in the rows that it belongs to; large scores do not overflow.
TEST_P(Conformance, AttentionOfSpecialValues) {
  Maker m(323);
  for (int special = 0; special < 3; ++special) {
    Case c = attention_case(m, DType::F32, {1, 1, 1, 40, 50, 8, 8}, Mask::None, special == 2, Layout::Dense, Fill::Plain, false);
    const auto& n = std::get<Named>(c.steps[0]);
    auto* q = reinterpret_cast<float*>(c.slots[n.operands[2].slot].bytes.data()) + n.operands[2].offset;
    if (special == 0) q[3 * 8 + 1] = std::numeric_limits<float>::quiet_NaN();
    if (special == 1) {
      for (int i = 0; i < 40 * 8; ++i) q[i] *= 300;
      c.slots[n.operands[0].slot].tolerance = {1e4, 1e-3};
      c.slots[n.operands[1].slot].tolerance = {64, 1e-3};
    }
    if (special == 2) q[5 * 8] = static_cast<float>(-kInf);
    c.name += "_special" + std::to_string(special);
    CHECK_NAMED(c);
  }
}

TEST_P(Conformance, AttentionWithoutKeysOrQueries) {
  Maker m(324);
  CHECK_NAMED(attention_case(m, DType::F32, {2, 2, 2, 5, 0, 4, 4}, Mask::None, false, Layout::Dense, Fill::Plain, true));
  CHECK_NAMED(attention_case(m, DType::F32, {2, 2, 2, 0, 5, 4, 4}, Mask::None, true, Layout::Dense, Fill::Plain, true));
}

}  // namespace
}  // namespace anygpu::conformance
