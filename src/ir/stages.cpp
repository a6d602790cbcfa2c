#include "ir/stages.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace anygpu::ir {

bool is_arg_kind(const Node& reduce) {
  const auto kind = static_cast<ReduceKind>(reduce.imm.i);
  return kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin;
}

bool rounds_in_reduction(const std::vector<Node>& nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [](const Node& n) {
    const auto kind = static_cast<ReduceKind>(n.imm.i);
    return n.op == ExprOp::Reduce && is_float(n.type) && (kind == ReduceKind::Sum || kind == ReduceKind::Prod);
  });
}

Node::Imm identity(ReduceKind kind, DType t, int bits) {
  const bool f = is_float(t), is_unsigned = t == DType::U8;
  auto number = [&](double real, int64_t integer) {
    Node::Imm imm{.i = integer};
    if (f) imm.f = real;
    return imm;
  };
  switch (kind) {
    case ReduceKind::Prod:
    case ReduceKind::All:
      return number(1, 1);
    case ReduceKind::Max:
    case ReduceKind::ArgMax:
      return number(-INFINITY, is_unsigned ? 0 : std::numeric_limits<int64_t>::min() >> (64 - bits));
    case ReduceKind::Min:
    case ReduceKind::ArgMin:
      return number(INFINITY, is_unsigned ? 255 : std::numeric_limits<int64_t>::max() >> (64 - bits));
    case ReduceKind::Sum:
    case ReduceKind::Any:
      break;
  }
  return number(0, 0);
}

std::vector<bool> reachable(const std::vector<Node>& nodes, const std::vector<int>& roots) {
  std::vector<bool> wanted(nodes.size());
  for (int r : roots) {
    if (r >= 0) wanted[r] = true;
  }
  for (int i = static_cast<int>(nodes.size()) - 1; i >= 0; --i) {
    if (wanted[i] && nodes[i].op != ExprOp::Reduce) for_each_operand(nodes[i], [&](int id) { wanted[id] = true; });
  }
  return wanted;
}

Stages::Stages(const std::vector<Node>& nodes, const std::vector<uint32_t>& nonzero, uint32_t reduce, const std::vector<Store>& stores,
               const std::vector<bool>& store_full) {
  const size_t n = nodes.size();
  loop = loops_of(nodes);
  of_reduce.assign(n, -1), partial.assign(n, -1), varies.assign(n, false), dims.assign(n, 0);
  std::vector<int> needs(n, 0);  // the first stage in which a node can be computed
  std::vector<int> operands;     // of Reduces
  for (size_t i = 0; i < n; ++i) {
    const Node& node = nodes[i];
    for_each_operand(node, [&](int id) {
      dims[i] |= dims[id];
      needs[i] = std::max(needs[i], needs[id]);
    });
    if (node.op == ExprOp::Index) dims[i] |= 1u << node.imm.i;
    if (node.op == ExprOp::Load) dims[i] |= nonzero[node.a];
    if (node.op == ExprOp::Reduce) {
      dims[i] &= ~reduce;
      of_reduce[i] = needs[i]++;
      count = std::max(count, needs[i]);
      partial[i] = partials;
      partials += is_arg_kind(node) ? 2 : 1;
      operands.push_back(node.a), operands.push_back(node.b);
    }
    varies[i] = (dims[i] & reduce) != 0;
  }
  for (size_t i = n; i-- > 0;) {  // all of a loop is computed where its result is
    if (nodes[i].op != ExprOp::Repeat) continue;
    for (size_t j = 0; j < i; ++j) {
      if (loop[j] == nodes[i].a) dims[j] = dims[i], varies[j] = varies[i];
    }
  }
  // Checks that are no stage's operands would be forgotten otherwise.
  const std::vector<bool> met = reachable(nodes, operands);
  for (size_t i = 0; i < n; ++i) {
    if (nodes[i].op == ExprOp::Check && !met[i]) (varies[i] ? full_checks : once_checks).push_back(static_cast<int>(i));
  }
  full = !full_checks.empty(), once = !once_checks.empty();
  for (bool f : store_full) (f ? full : once) = true;
  if (!full || count != 1 || !full_checks.empty()) return;
  std::vector<int> roots;
  bool plain = true;
  for (size_t i = 0; i < stores.size(); ++i) {
    const Store& s = stores[i];
    if (!store_full[i]) continue;
    plain &= s.index < 0 && s.combine == Combine::None;
    roots.push_back(s.value), roots.push_back(s.guard);
  }
  const std::vector<bool> needed = reachable(nodes, roots);
  for (size_t i = 0; i < n; ++i) plain &= !(needed[i] && nodes[i].op == ExprOp::Reduce);
  if (plain) stores_in_stage = true, full = false;
}

std::vector<int> Stages::iteration(const std::vector<Node>& nodes, const Node& repeat) const {
  std::vector<int> inside;
  for (size_t i = 0; i < nodes.size(); ++i) {
    if (loop[i] == repeat.a && nodes[i].op != ExprOp::Carry && nodes[i].op != ExprOp::Next) inside.push_back(static_cast<int>(i));
  }
  return inside;
}

}  // namespace anygpu::ir
