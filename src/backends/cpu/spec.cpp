#include "spec.h"

#include <algorithm>
#include <cstring>

namespace anygpu::cpu {

using ir::ExprOp;
using ir::Node;

uint32_t KernelSpec::reduction_mask() const {
  uint32_t mask = 0;
  for (int d = first_reduction(); d < rank(); ++d) mask |= 1u << d;
  return mask;
}

bool KernelSpec::has_squares() const {
  return std::any_of(accesses.begin(), accesses.end(), [](const SpecAccess& a) { return a.inner == Inner::Transposed; });
}

std::string KernelSpec::key() const {
  std::string k;
  auto put = [&](int64_t v, int bytes) { k.append(reinterpret_cast<const char*>(&v), bytes); };  // little-endian hosts only
  put(outer, 1), put(sequential, 1), put(reduction, 1),
      put(vector_reduces | vector_sequential << 1 | static_cast<int>(tail) << 2 | columns << 4 | tiled << 5, 1), put(lanes, 2),
      put(split_dim, 1);
  put(accesses.size(), 2), put(nodes.size(), 4), put(stores.size(), 2);
  for (const SpecAccess& a : accesses) put(static_cast<int>(a.dtype), 1), put(a.nonzero, 4), put(static_cast<int>(a.inner), 1);
  for (const Node& n : nodes)
    put(static_cast<int>(n.op), 1), put(static_cast<int>(n.type), 1), put(n.a, 4), put(n.b, 4), put(n.c, 4), put(n.imm.i, 8);
  for (const ir::Store& s : stores)
    put(s.access, 4), put(s.value, 4), put(s.index, 4), put(s.guard, 4), put(static_cast<int>(s.combine), 1);
  for (size_t i = 0; i < stores.size(); ++i) put(store_full[i] | store_streams[i] << 1, 1);
  return k;
}

ParameterLayout::ParameterLayout(const KernelSpec& spec)
    : rank(spec.rank()), accesses(static_cast<int>(spec.accesses.size())), args(0), numbers(0), partials(stages_of(spec).partials) {
  for (const Node& n : spec.nodes) {
    if (n.op == ExprOp::Arg) args = std::max(args, static_cast<int>(n.imm.i) + 1);
    numbers += n.op == ExprOp::Size;
  }
}

ir::Stages stages_of(const KernelSpec& spec) {
  std::vector<uint32_t> nonzero;
  for (const SpecAccess& a : spec.accesses) nonzero.push_back(a.nonzero);
  return {spec.nodes, nonzero, spec.reduction_mask(), spec.stores, spec.store_full};
}

}  // namespace anygpu::cpu
