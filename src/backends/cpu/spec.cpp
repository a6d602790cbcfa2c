#include "spec.h"

#include <cstring>

namespace anygpu::cpu {

using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

uint32_t KernelSpec::reduction_mask() const {
  uint32_t mask = 0;
  for (int d = first_reduction(); d < rank(); ++d) mask |= 1u << d;
  return mask;
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
    : rank(spec.rank()), accesses(static_cast<int>(spec.accesses.size())), args(0), partials(Stages(spec).partials) {
  for (const Node& n : spec.nodes) {
    if (n.op == ExprOp::Arg) args = std::max(args, static_cast<int>(n.imm.i) + 1);
  }
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
  std::vector<int> needs(n, 0);  // the first stage in which a node can be computed
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
      partial[i] = partials;
      const auto kind = static_cast<ReduceKind>(node.imm.i);
      partials += kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin ? 2 : 1;
    }
    varies[i] = (dims[i] & reduce) != 0;
  }
  // Checks that are no stage's operands would be forgotten otherwise.
  std::vector<int> operands;
  for (const Node& node : nodes) {
    if (node.op == ExprOp::Reduce) operands.push_back(node.a), operands.push_back(node.b);
  }
  const std::vector<bool> met = reachable(nodes, operands);
  for (size_t i = 0; i < n; ++i) {
    if (nodes[i].op == ExprOp::Check && !met[i]) (varies[i] ? full_checks : post_checks).push_back(static_cast<int>(i));
  }
  full = !full_checks.empty(), post = !post_checks.empty();
  for (bool f : spec.store_full) (f ? full : post) = true;
  if (full && count == 1 && full_checks.empty()) {
    std::vector<int> roots;
    bool plain = true;
    for (size_t i = 0; i < spec.stores.size(); ++i) {
      const ir::Store& s = spec.stores[i];
      if (!spec.store_full[i]) continue;
      plain &= s.index < 0 && s.combine == ir::Combine::None;
      roots.push_back(s.value), roots.push_back(s.guard);
    }
    const std::vector<bool> needed = reachable(nodes, roots);
    for (size_t i = 0; i < nodes.size(); ++i) plain &= !(needed[i] && nodes[i].op == ExprOp::Reduce);
    if (plain) stores_in_stage = true, full = false;
  }
}

}  // namespace anygpu::cpu
