// The geometry of windows that slide over space: convolution, pooling, unfolding.
#pragma once

#include <vector>

#include "anygpu/calls/window.h"
#include "ops/op.h"

namespace anygpu::ops {

/// The windows of a call.
struct Window : calls::Window {
  int n;

  explicit Window(const calls::Window& w) : calls::Window(w), n(w.n()) {}
  int64_t reach(int d) const { return calls::reach(kernel[d], dilation[d]); }
};

/// Whether no window leaves an input of these sizes (spatial, n of them).
bool windows_inside(const Window&, const int64_t* in, const int64_t* out);

/// `o[.., i..]` as `[.., o.., k..]`: element (o, k) is the input under tap k of window o. Only where windows_inside().
ir::Operand windowed(const ir::Operand& o, const Window&, const int64_t* out);

/// The operand with a batch dimension in front if it lacks one: rank n + 2.
ir::Operand batched(const ir::Operand& o, int n);

/// [outer.., a.., b..]
Dims joined(std::initializer_list<Dims> parts);
/// sizes[from .. from + n)
Dims slice(const Dims&, int from, int n);
/// Bits from .. from + n.
inline uint32_t bits(int from, int n) {
  return ((1u << n) - 1) << from;
}

// ---- index arithmetic, on i64; bounds are sizes ----
inline ir::Val clamp(ir::Val v, int64_t lo, int64_t hi) {
  return min(max(v, size_like(v, lo)), size_like(v, hi));
}
/// lo <= v < hi
inline ir::Val within(ir::Val v, int64_t lo, int64_t hi) {
  return (v >= size_like(v, lo)) & (v < size_like(v, hi));
}
/// Conjunction over several; true for none.
ir::Val all_of(Loop&, const std::vector<ir::Val>&);
/// Row-major position of `index` in an array of these sizes.
ir::Val flat_index(Loop&, const std::vector<ir::Val>& index, const int64_t* sizes);

/// Fills the operand with a constant.
void fill(Lowering&, const ir::Operand&, double value);
/// dst = src, cast.
void copy(Lowering&, const ir::Operand& dst, const ir::Operand& src);

}  // namespace anygpu::ops
