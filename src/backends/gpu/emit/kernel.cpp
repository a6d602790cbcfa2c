#include "kernel.h"

namespace anygpu::gpu {

using ir::Node;

std::string KernelSpec::key() const {
  std::string k;
  auto put = [&](int64_t v, int bytes) { k.append(reinterpret_cast<const char*>(&v), bytes); };  // little-endian hosts only
  put(parallel, 1), put(sequential, 1), put(reduction, 1), put(static_cast<int>(shape), 1), put(local, 2), put(elements, 1);
  put(neighbours | flat_reduction << 1 | fours << 2 | by_address << 3, 1), put(lanes, 2), put(split_dim, 1), put(phase, 1);
  put(bindings, 2), put(scratch, 2), put(faults, 2), put(params, 2), put(texels, 4);
  put(accesses.size(), 2), put(nodes.size(), 4), put(stores.size(), 2);
  for (const KernelAccess& a : accesses)
    put(static_cast<int>(a.dtype), 1), put(a.nonzero, 4), put(a.binding, 2), put(a.texels, 2), put(a.unit | a.alone << 1 | a.four << 2, 1);
  for (size_t i = 0; i < nodes.size(); ++i) {
    const Node& n = nodes[i];
    put(static_cast<int>(n.op), 1), put(static_cast<int>(n.type), 1), put(n.a, 4), put(n.b, 4), put(n.c, 4), put(n.imm.i, 8);
    put(narrow[i], 1);
  }
  for (const KernelStore& s : stores) {
    put(s.store.access, 4), put(s.store.value, 4), put(s.store.index, 4), put(s.store.guard, 4), put(static_cast<int>(s.store.combine), 1);
    put(s.full | s.owned << 1 | s.atomic << 2, 1);
  }
  return k;
}

ir::Stages stages_of(const KernelSpec& spec) {
  std::vector<uint32_t> nonzero;
  for (const KernelAccess& a : spec.accesses) nonzero.push_back(a.nonzero);
  std::vector<ir::Store> stores;
  std::vector<bool> full;
  for (const KernelStore& s : spec.stores) stores.push_back(s.store), full.push_back(s.full);
  return {spec.nodes, nonzero, spec.reduction_mask(), stores, full};
}

}  // namespace anygpu::gpu
