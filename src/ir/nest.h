// For the lowering of Nameds: a Generic under construction.
#pragma once

#include "ir/named.h"

namespace anygpu::ir {

/// A Generic under construction: dimensions are appended, then accesses name a stride for each of them.
struct Nest {
  Generic g;

  explicit Nest(const Named& n) { g.name = n.name.empty() ? name_of(n.kind) : n.name; }

  int parallel(int64_t size) {
    g.sizes.push_back(size);
    return g.rank() - 1;
  }
  int reduction(int64_t size) {
    g.reduce |= 1u << g.rank();
    return parallel(size);
  }

  /// Strides are 0 until set. Ask only when all dimensions are there.
  int access(const Operand& o) {
    g.accesses.push_back({o.slot, o.dtype, o.offset, Dims::filled(g.rank(), 0)});
    return static_cast<int>(g.accesses.size()) - 1;
  }
  void stride(int access, int dim, int64_t elements) { g.accesses[access].strides[dim] = elements; }

  Val index(int dim) { return ir::index(g.body, dim); }
  Val i64(int64_t v) { return constant(g.body, DType::I64, v); }
  /// A number that follows from sizes or strides: a parameter of the kernel, not a constant in it.
  Val size(int64_t v) { return ir::size(g.body, DType::I64, v); }
  Val load(int access) { return ir::load(g.body, g.accesses[access].dtype, access); }
  Val load(int access, Val offset) { return ir::load(g.body, g.accesses[access].dtype, access, offset); }
  Val yes() { return constant(g.body, DType::Bool, int64_t{1}); }

  void store(int access, Val v) { g.stores.push_back({access, cast(v, g.accesses[access].dtype).id}); }
};

/// A channel dimension of an operand, split into groups and the channels of one group.
inline void stride_grouped(Nest& nest, int access, int group, int channel, const Operand& o, int dim, int64_t groups) {
  nest.stride(access, group, o.sizes[dim] / groups * o.strides[dim]);
  nest.stride(access, channel, o.strides[dim]);
}

/// What arithmetic on t is lowered to: bool has none of its own, u8 holds it.
inline DType arithmetic_type(DType t) {
  return t == DType::Bool ? DType::U8 : compute_type(t);
}

std::vector<Step> lower_scan(const Named&, const MakeTemp&);
std::vector<Step> lower_sort(const Named&, const MakeTemp&);
std::vector<Step> lower_attention(const Named&, const MakeTemp&);
std::vector<Step> lower_attention_grad(const Named&, const MakeTemp&);

}  // namespace anygpu::ir
