#include "kernel.h"

namespace anygpu::vulkan {

using ir::ExprOp;
using ir::Node;

std::string KernelSpec::key() const {
  std::string k;
  auto put = [&](int64_t v, int bytes) { k.append(reinterpret_cast<const char*>(&v), bytes); };  // little-endian hosts only
  put(parallel, 1), put(sequential, 1), put(reduction, 1), put(static_cast<int>(shape), 1), put(local, 2), put(elements, 1);
  put(neighbours | flat_reduction << 1, 1), put(lanes, 2), put(split_dim, 1), put(phase, 1);
  put(bindings, 2), put(scratch, 2), put(faults, 2), put(params, 2);
  put(accesses.size(), 2), put(nodes.size(), 4), put(stores.size(), 2);
  for (const KernelAccess& a : accesses)
    put(static_cast<int>(a.dtype), 1), put(a.nonzero, 4), put(a.binding, 2), put(a.unit | a.alone << 1, 1);
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

std::vector<bool> reachable(const std::vector<Node>& nodes, const std::vector<int>& roots) {
  std::vector<bool> wanted(nodes.size());
  for (int r : roots) {
    if (r >= 0) wanted[r] = true;
  }
  for (int i = static_cast<int>(nodes.size()) - 1; i >= 0; --i) {
    if (wanted[i] && nodes[i].op != ExprOp::Reduce) ir::for_each_operand(nodes[i], [&](int id) { wanted[id] = true; });
  }
  return wanted;
}

Stages::Stages(const KernelSpec& spec) {
  const auto& nodes = spec.nodes;
  const size_t n = nodes.size();
  const uint32_t reduce = spec.reduction_mask();
  of_reduce.assign(n, -1), partial.assign(n, -1), varies.assign(n, false), dims.assign(n, 0);
  std::vector<int> needs(n, 0), operands;
  for (size_t i = 0; i < n; ++i) {
    const Node& node = nodes[i];
    ir::for_each_operand(node, [&](int id) {
      dims[i] |= dims[id];
      needs[i] = std::max(needs[i], needs[id]);
    });
    if (node.op == ExprOp::Index) dims[i] |= 1u << node.imm.i;
    if (node.op == ExprOp::Load) dims[i] |= spec.accesses[node.a].nonzero;
    if (node.op == ExprOp::Reduce) {
      dims[i] &= ~reduce;
      of_reduce[i] = needs[i]++;
      count = std::max(count, needs[i]);
      partial[i] = static_cast<int>(partial_types.size());
      partial_types.push_back(nodes[node.a].type);
      if (is_arg_kind(node)) partial_types.push_back(DType::I64);
      operands.push_back(node.a), operands.push_back(node.b);
    }
    varies[i] = (dims[i] & reduce) != 0;
  }
  const std::vector<bool> met = reachable(nodes, operands);
  for (size_t i = 0; i < n; ++i) {
    if (nodes[i].op == ExprOp::Check && !met[i]) (varies[i] ? full_checks : once_checks).push_back(static_cast<int>(i));
  }
  full = !full_checks.empty(), once = !once_checks.empty();
  for (const KernelStore& s : spec.stores) (s.full ? full : once) = true;
  if (!full || count != 1 || !full_checks.empty()) return;
  std::vector<int> roots;
  bool plain = true;
  for (const KernelStore& s : spec.stores) {
    if (!s.full) continue;
    plain &= s.store.index < 0 && s.store.combine == ir::Combine::None;
    roots.push_back(s.store.value), roots.push_back(s.store.guard);
  }
  const std::vector<bool> needed = reachable(nodes, roots);
  for (size_t i = 0; i < n; ++i) plain &= !(needed[i] && nodes[i].op == ExprOp::Reduce);
  if (plain) stores_in_stage = true, full = false;
}

}  // namespace anygpu::vulkan
