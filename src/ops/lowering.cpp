#include "anygpu/error.h"
#include "ops/op.h"

namespace anygpu::ops {

using ir::Operand;
using ir::Val;

Operand Lowering::temp(DType dtype, const Dims& sizes) {
  Operand o;
  o.slot = sink_.new_slot(product(sizes) * size_of(dtype));
  o.dtype = dtype;
  o.sizes = sizes;
  o.strides = contiguous_strides(sizes);
  return o;
}

void Lowering::add(ir::Generic g) {
  if (g.name.empty()) g.name = op.name;
  sink_.add(std::move(g));
}

void Lowering::add(ir::Named n) {
  if (n.name.empty()) n.name = op.name;
  sink_.add(std::move(n));
}

Loop::Loop(Lowering& lowering, const Dims& sizes, uint32_t reduce) : lowering_(lowering) {
  g_.sizes = sizes;
  g_.reduce = reduce;
}

int Loop::access(const Operand& o, const Dims& strides) {
  for (size_t i = 0; i < g_.accesses.size(); ++i) {
    const ir::Access& a = g_.accesses[i];
    if (a.slot == o.slot && a.dtype == o.dtype && a.offset == o.offset && a.strides == strides) return static_cast<int>(i);
  }
  g_.accesses.push_back({o.slot, o.dtype, o.offset, strides});
  return static_cast<int>(g_.accesses.size()) - 1;
}

/// Strides of `o` over the loop's dimensions: 0 where it repeats.
static Dims strides_over(const Operand& o, const Dims& sizes) {
  int lead = sizes.size() - o.rank();
  if (lead < 0)
    throw Error(ErrorKind::Internal,
                "[loop] an operand of rank " + std::to_string(o.rank()) + " in a loop of rank " + std::to_string(sizes.size()));
  Dims strides = Dims::filled(sizes.size(), 0);
  for (int d = 0; d < o.rank(); ++d) {
    if (o.sizes[d] == sizes[lead + d]) {
      strides[lead + d] = o.sizes[d] == 1 ? 0 : o.strides[d];
    } else if (o.sizes[d] != 1) {
      throw Error(ErrorKind::Internal,
                  "[loop] an operand of size " + std::to_string(o.sizes[d]) + " in a loop of size " + std::to_string(sizes[lead + d]));
    }
  }
  return strides;
}

Val Loop::load(const Operand& o) {
  return ir::load(g_.body, o.dtype, access(o, strides_over(o, g_.sizes)));
}

Val Loop::offset_of(const Operand& o, std::span<const Val> index) {
  Val at = i64(0);
  bool first = true;
  for (size_t d = 0; d < index.size(); ++d) {
    if (o.sizes[static_cast<int>(d)] == 1) continue;
    int64_t stride = o.strides[static_cast<int>(d)];
    Val term = stride == 1 ? index[d] : index[d] * size(stride);
    at = first ? term : at + term;
    first = false;
  }
  return at;
}

Val Loop::load_at(const Operand& o, std::span<const Val> index) {
  return ir::load(g_.body, o.dtype, access(o, Dims::filled(g_.sizes.size(), 0)), offset_of(o, index));
}
Val Loop::load_at(const Operand& o, std::initializer_list<Val> index) {
  return load_at(o, std::span(index.begin(), index.size()));
}

Val Loop::scalar(int i, DType type) {
  int32_t which = lowering_.scalar(i);
  size_t position = 0;
  while (position < g_.args.size() && g_.args[position] != which) ++position;
  if (position == g_.args.size()) g_.args.push_back(which);
  return ir::arg(g_.body, type, static_cast<int>(position));
}

void Loop::store(const Operand& o, Val v) {
  ir::Store s;
  s.access = access(o, strides_over(o, g_.sizes));
  s.value = cast(v, o.dtype).id;
  g_.stores.push_back(s);
}

void Loop::store_moved(const Operand& o, const Dims& strides, Val offset, Val v, ir::Combine combine, Val guard) {
  ir::Store s;
  s.access = access(o, strides);
  s.value = cast(v, o.dtype).id;
  s.index = offset.id;
  s.guard = guard.id;
  s.combine = combine;
  s.in_order = lowering_.in_order && combine != ir::Combine::None;
  g_.stores.push_back(s);
}

void Loop::store_at(const Operand& o, std::span<const Val> index, Val v, ir::Combine combine, Val guard) {
  store_moved(o, Dims::filled(g_.sizes.size(), 0), offset_of(o, index), v, combine, guard);
}
void Loop::store_at(const Operand& o, std::initializer_list<Val> index, Val v, ir::Combine combine, Val guard) {
  store_at(o, std::span(index.begin(), index.size()), v, combine, guard);
}

Val Loop::load_beside(const Operand& o, Val offset) {
  return ir::load(g_.body, o.dtype, access(o, strides_over(o, g_.sizes)), offset);
}
void Loop::store_beside(const Operand& o, Val offset, Val v, ir::Combine combine, Val guard) {
  store_moved(o, strides_over(o, g_.sizes), offset, v, combine, guard);
}

void Loop::done() {
  lowering_.add(std::move(g_));
}

Operand permuted(const Operand& o, std::initializer_list<int> dims) {
  Operand r = o;
  int i = 0;
  for (int d : dims) {
    r.sizes[i] = o.sizes[d];
    r.strides[i++] = o.strides[d];
  }
  return r;
}

Operand transposed(const Operand& o, int a, int b) {
  Operand r = o;
  std::swap(r.sizes[a], r.sizes[b]);
  std::swap(r.strides[a], r.strides[b]);
  return r;
}

Operand unsqueezed(const Operand& o, int dim) {
  Operand r = o;
  r.sizes.insert(dim, 1);
  r.strides.insert(dim, 0);
  return r;
}

Operand selected(const Operand& o, int dim, int64_t index) {
  Operand r = o;
  r.offset += index * o.strides[dim];
  r.sizes.erase(dim);
  r.strides.erase(dim);
  return r;
}

Operand narrowed(const Operand& o, int dim, int64_t start, int64_t length) {
  Operand r = o;
  r.offset += start * o.strides[dim];
  r.sizes[dim] = length;
  return r;
}

Operand reshaped(const Operand& o, const Dims& sizes) {
  if (product(sizes) != product(o.sizes) || !(o.strides == contiguous_strides(o.sizes)))
    throw Error(ErrorKind::Internal, "[reshaped] wants a contiguous operand and as many elements");
  Operand r = o;
  r.sizes = sizes;
  r.strides = contiguous_strides(sizes);
  return r;
}

Dims kept(const Dims& sizes, uint32_t mask) {
  Dims r = sizes;
  for (int d = 0; d < r.size(); ++d)
    if (mask >> d & 1) r[d] = 1;
  return r;
}

}  // namespace anygpu::ops
