// Changing a Generic's dimensions without changing what it does: splitting, reordering, collapsing, pruning.
#include <algorithm>
#include <numeric>
#include <utility>

#include "runtime/plan.h"

namespace anygpu {

using ir::ExprOp;
using ir::Generic;
using ir::Node;

namespace {

/// Whether field b of this op names a node (it does wherever it is set; Load's a is an access).
bool a_is_node(ExprOp op) {
  return op != ExprOp::Load;
}

void remap(Node& n, const std::vector<int32_t>& to) {
  if (a_is_node(n.op) && n.a >= 0) n.a = to[static_cast<size_t>(n.a)];
  if (n.b >= 0) n.b = to[static_cast<size_t>(n.b)];
  if (n.c >= 0) n.c = to[static_cast<size_t>(n.c)];
}

void remap(ir::Store& s, const std::vector<int32_t>& to) {
  s.value = to[static_cast<size_t>(s.value)];
  if (s.index >= 0) s.index = to[static_cast<size_t>(s.index)];
  if (s.guard >= 0) s.guard = to[static_cast<size_t>(s.guard)];
}

/// Whether dimension y comes right after x in one loop of the order, or neither is in any.
bool follows(const ir::ReductionOrder& order, int x, int y) {
  for (const std::vector<int>& loop : order.loops) {
    const auto at = std::find(loop.begin(), loop.end(), x);
    if (at != loop.end()) return at + 1 != loop.end() && at[1] == y;
    if (std::find(loop.begin(), loop.end(), y) != loop.end()) return false;
  }
  return true;
}

/// Dimension d is one with that before it.
void join_with_last(ir::ReductionOrder& order, int d) {
  for (std::vector<int>& loop : order.loops) {
    std::erase(loop, d);
    for (int& of : loop) of -= of > d;
  }
}

}  // namespace

Generic over_dims(const Generic& g, const std::vector<DimPart>& parts) {
  Generic r;
  r.name = g.name;
  r.args = g.args;
  r.order = g.order;
  for (std::vector<int>& loop : r.order.loops) {
    const std::vector<int> old = std::exchange(loop, {});
    for (int d : old) {
      const size_t first = loop.size();
      for (size_t k = 0; k < parts.size(); ++k)
        if (parts[k].dim == d) loop.push_back(static_cast<int>(k));
      std::sort(loop.begin() + static_cast<int64_t>(first), loop.end(),
                [&](int x, int y) { return parts[static_cast<size_t>(x)].unit > parts[static_cast<size_t>(y)].unit; });
    }
  }
  for (size_t k = 0; k < parts.size(); ++k) {
    r.sizes.push_back(parts[k].size);
    if (parts[k].reduce) r.reduce |= 1u << k;
  }
  for (const ir::Access& a : g.accesses) {
    ir::Access b = a;
    b.strides.clear();
    for (const DimPart& p : parts) b.strides.push_back(p.dim < 0 || p.size == 1 ? 0 : a.strides[p.dim] * p.unit);
    r.accesses.push_back(b);
  }
  std::vector<int32_t> to(static_cast<size_t>(g.body.size()));
  for (int i = 0; i < g.body.size(); ++i) {
    Node n = g.body[i];
    if (n.op == ExprOp::Index) {
      ir::Val sum{};
      for (size_t k = 0; k < parts.size(); ++k) {
        if (parts[k].dim != n.imm.i) continue;
        ir::Val v = ir::index(r.body, static_cast<int>(k));
        if (parts[k].unit != 1) v = v * ir::size(r.body, DType::I64, parts[k].unit);
        sum = sum.body ? sum + v : v;
      }
      if (!sum.body) sum = ir::constant(r.body, DType::I64, int64_t{0});
      to[static_cast<size_t>(i)] = sum.id;
    } else {
      remap(n, to);
      to[static_cast<size_t>(i)] = r.body.add(n);
    }
  }
  for (ir::Store s : g.stores) {
    remap(s, to);
    r.stores.push_back(s);
  }
  return r;
}

void prune(Generic& g) {
  std::vector<bool> need(static_cast<size_t>(g.body.size()));
  for (const ir::Store& s : g.stores)
    for (int32_t n : {s.value, s.index, s.guard})
      if (n >= 0) need[static_cast<size_t>(n)] = true;
  for (int i = g.body.size() - 1; i >= 0; --i) {
    const Node& n = g.body[i];
    if (n.op == ExprOp::Check) need[static_cast<size_t>(i)] = true;
    if (!need[static_cast<size_t>(i)]) continue;
    for (int32_t x : {a_is_node(n.op) ? n.a : -1, n.b, n.c})
      if (x >= 0) need[static_cast<size_t>(x)] = true;
  }
  Generic r;
  r.name = std::move(g.name);
  r.sizes = g.sizes;
  r.reduce = g.reduce;
  r.order = std::move(g.order);
  std::vector<int32_t> to(static_cast<size_t>(g.body.size()), -1), access_to(g.accesses.size(), -1);
  auto keep_access = [&](int32_t a) {
    if (access_to[static_cast<size_t>(a)] < 0) {
      access_to[static_cast<size_t>(a)] = static_cast<int32_t>(r.accesses.size());
      r.accesses.push_back(g.accesses[static_cast<size_t>(a)]);
    }
    return access_to[static_cast<size_t>(a)];
  };
  // Over one element or none of the dimensions a reduction is its operand; left in, fusion would spread it over the other's dimensions.
  int64_t reduced = 1;
  for (int d = 0; d < g.rank(); ++d) reduced *= g.reduces(d) ? g.sizes[d] : 1;
  for (int i = 0; i < g.body.size(); ++i) {
    if (!need[static_cast<size_t>(i)]) continue;
    Node n = g.body[i];
    remap(n, to);
    if (n.op == ExprOp::Reduce && reduced == 1) {
      to[static_cast<size_t>(i)] = n.b >= 0 ? n.b : n.a;
      continue;
    }
    if (n.op == ExprOp::Load) n.a = keep_access(n.a);
    if (n.op == ExprOp::Arg) {
      int32_t which = g.args[static_cast<size_t>(n.imm.i)];
      auto it = std::find(r.args.begin(), r.args.end(), which);
      n.imm.i = it - r.args.begin();
      if (it == r.args.end()) r.args.push_back(which);
    }
    to[static_cast<size_t>(i)] = r.body.add(n);
  }
  for (ir::Store s : g.stores) {
    remap(s, to);
    s.access = keep_access(s.access);
    r.stores.push_back(s);
  }
  g = std::move(r);
}

void canonicalise(Generic& g) {
  prune(g);
  int rank = g.rank();
  uint32_t indexed = 0;
  for (const Node& n : g.body.nodes())
    if (n.op == ExprOp::Index) indexed |= 1u << n.imm.i;

  // The access that walks the most dimensions leads; stores before loads, so that writes stream.
  std::vector<int> order_of_access(g.accesses.size());
  std::iota(order_of_access.begin(), order_of_access.end(), 0);
  std::vector<int> weight(g.accesses.size());
  for (size_t a = 0; a < g.accesses.size(); ++a)
    for (int d = 0; d < rank; ++d) weight[a] += g.accesses[a].strides[d] != 0 && g.sizes[d] > 1 ? 2 : 0;
  for (const ir::Store& s : g.stores) weight[static_cast<size_t>(s.access)] += 1;
  std::stable_sort(order_of_access.begin(), order_of_access.end(),
                   [&](int a, int b) { return weight[static_cast<size_t>(a)] > weight[static_cast<size_t>(b)]; });

  std::vector<int> dims;
  for (int d = 0; d < rank; ++d)
    if (g.sizes[d] != 1) dims.push_back(d);
  auto before = [&](int x, int y) {
    for (int a : order_of_access) {
      int64_t sx = std::abs(g.accesses[static_cast<size_t>(a)].strides[x]), sy = std::abs(g.accesses[static_cast<size_t>(a)].strides[y]);
      if (sx != sy) return sx > sy;
    }
    return false;
  };
  // Insertion sort: `before` need not be a strict weak order when accesses disagree.
  for (size_t i = 1; i < dims.size(); ++i)
    for (size_t j = i; j > 0 && before(dims[j], dims[j - 1]); --j) std::swap(dims[j], dims[j - 1]);

  // Collapse neighbours that every access sees as one run.
  std::vector<DimPart> parts;
  for (int d : dims) parts.push_back({d, 1, g.sizes[d], g.reduces(d)});
  Generic r = over_dims(g, parts);
  uint32_t index_new = 0;
  for (size_t k = 0; k < parts.size(); ++k) index_new |= (indexed >> parts[k].dim & 1) << k;
  for (int d = r.rank() - 2; d >= 0; --d) {
    bool one = r.reduces(d) == r.reduces(d + 1) && !(index_new >> d & 3) && follows(r.order, d, d + 1);
    for (const ir::Access& a : r.accesses) one = one && a.strides[d] == a.strides[d + 1] * r.sizes[d + 1];
    if (!one) continue;
    r.sizes[d] *= r.sizes[d + 1];
    r.sizes.erase(d + 1);
    join_with_last(r.order, d + 1);
    uint32_t low = (1u << (d + 1)) - 1;
    r.reduce = (r.reduce & low) | (r.reduce >> 1 & ~low);
    index_new = (index_new & low) | (index_new >> 1 & ~low);
    for (ir::Access& a : r.accesses) {
      a.strides[d] = a.strides[d + 1];
      a.strides.erase(d + 1);
    }
    // Index nodes of later dimensions move down by one.
    ir::Body body;
    std::vector<int32_t> to(static_cast<size_t>(r.body.size()));
    bool moved = false;
    for (const Node& n : r.body.nodes()) moved |= n.op == ExprOp::Index && n.imm.i > d;
    if (moved) {
      for (int i = 0; i < r.body.size(); ++i) {
        Node n = r.body[i];
        remap(n, to);
        if (n.op == ExprOp::Index && n.imm.i > d) --n.imm.i;
        to[static_cast<size_t>(i)] = body.add(n);
      }
      for (ir::Store& s : r.stores) remap(s, to);
      r.body = std::move(body);
    }
  }
  g = std::move(r);
}

}  // namespace anygpu
