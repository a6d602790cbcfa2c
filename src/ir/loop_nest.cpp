#include "ir/loop_nest.h"

#include <algorithm>
#include <numeric>

#include "ir/stages.h"

namespace anygpu::ir {
namespace {

/// What a Reduce over nothing gives: of an index, the greatest.
Node result_of_nothing(const Node& reduce) {
  const auto kind = is_arg_kind(reduce) ? ReduceKind::Min : static_cast<ReduceKind>(reduce.imm.i);
  return {ExprOp::Const, reduce.type, -1, -1, -1, identity(kind, reduce.type, static_cast<int>(8 * size_of(reduce.type)))};
}

}  // namespace

LoopNest::LoopNest(const Generic& g) {
  for (int d = 0; d < g.rank(); ++d) {
    Dim dim{g.sizes[d], g.reduces(d)};
    for (const Access& a : g.accesses) dim.strides.push_back(a.strides[d]);
    dim.from.push_back(d);
    dims_.push_back(dim);
  }
  nodes_ = g.body.nodes();
  if (rounds_in_reduction(nodes_)) order_ = g.order;
  for (size_t l = 0; l < order_.loops.size(); ++l) {
    for (size_t p = 0; p < order_.loops[l].size(); ++p) {
      Dim& d = dims_[order_.loops[l][p]];
      d.loop = static_cast<int>(l), d.place = static_cast<int>(p);
    }
  }
  stores_ = g.stores;
  full_ = stored_at_every_index(g);
  for (const Access& a : g.accesses) accesses_.push_back({a.slot, a.dtype, a.offset});
}

std::vector<Node::Imm> take_sizes(std::vector<Node>& nodes) {
  std::vector<Node::Imm> sizes;
  for (Node& n : nodes) {
    if (n.op != ExprOp::Size) continue;
    sizes.push_back(n.imm);
    n.imm.i = static_cast<int64_t>(sizes.size()) - 1;
  }
  return sizes;
}

bool LoopNest::simplify() {
  for (const Dim& d : dims_) {
    if (d.size == 0 && !d.reduces) return false;
  }
  drop_empty_reduction();
  drop_small_dims();
  drop_reduction_of_nothing();
  drop_unused();
  find_indexed();
  return !stores_.empty() || std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.op == ExprOp::Check; });
}

// Per node, over the dimensions as they now are.
std::vector<uint32_t> LoopNest::node_dims() const {
  std::vector<uint32_t> dims(nodes_.size());
  for (size_t i = 0; i < nodes_.size(); ++i) {
    const Node& n = nodes_[i];
    for_each_operand(n, [&](int id) { dims[i] |= dims[id]; });
    if (n.op == ExprOp::Reduce) dims[i] &= ~reduction_mask();
    if (n.op == ExprOp::Index) dims[i] |= 1u << n.imm.i;
    if (n.op == ExprOp::Load) dims[i] |= nonzero(n.a);
  }
  return dims;
}
uint32_t LoopNest::reduction_mask() const {
  uint32_t mask = 0;
  for (size_t d = 0; d < dims_.size(); ++d) mask |= static_cast<uint32_t>(dims_[d].reduces) << d;
  return mask;
}
uint32_t LoopNest::nonzero(int access) const {
  uint32_t mask = 0;
  for (size_t d = 0; d < dims_.size(); ++d) mask |= static_cast<uint32_t>(dims_[d].strides[access] != 0) << d;
  return mask;
}
bool LoopNest::has_reduce() const {
  return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.op == ExprOp::Reduce; });
}

void LoopNest::remove_dim(int d) {
  dims_.erase(dims_.begin() + d);
  for (Node& n : nodes_) {
    if (n.op != ExprOp::Index) continue;
    if (n.imm.i == d) {
      n = Node{ExprOp::Const, DType::I64};
    } else if (n.imm.i > d) {
      --n.imm.i;
    }
  }
}

// A reduction over no index: each Reduce is its identity, and nothing that varies is ever met.
void LoopNest::drop_empty_reduction() {
  if (std::none_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.size == 0; })) return;
  const std::vector<uint32_t> depends = node_dims();
  const uint32_t reduce = reduction_mask();
  for (size_t i = stores_.size(); i-- > 0;) {
    if (full_[i]) stores_.erase(stores_.begin() + i), full_.erase(full_.begin() + i);
  }
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].op == ExprOp::Reduce) {
      nodes_[i] = result_of_nothing(nodes_[i]);
    } else if (depends[i] & reduce) {
      nodes_[i] = Node{ExprOp::Const, nodes_[i].type};  // not reachable any more; a Check would be a root
    }
  }
  for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
    if (dims_[d].reduces) remove_dim(d);
  }
}

void LoopNest::drop_small_dims() {
  for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
    if (dims_[d].size == 1) remove_dim(d);
  }
}

// A reduction over one index is its operand; dimensions that reduce nothing are parallel.
void LoopNest::drop_reduction_of_nothing() {
  if (reduction_mask() == 0 && has_reduce()) {
    std::vector<int> same(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      Node& n = nodes_[i];
      same[i] = static_cast<int>(i);
      if (n.op == ExprOp::Load) {
        if (n.b >= 0) n.b = same[n.b];
      } else {
        const int count = arity(n);
        if (count > 0) n.a = same[n.a];
        if (count > 1) n.b = same[n.b];
        if (count > 2) n.c = same[n.c];
      }
      if (n.op == ExprOp::Reduce) {
        same[i] = is_arg_kind(n) ? n.b : n.a;
        n = Node{ExprOp::Const, n.type};
      }
    }
    for (Store& s : stores_) {
      s.value = same[s.value];
      if (s.index >= 0) s.index = same[s.index];
      if (s.guard >= 0) s.guard = same[s.guard];
    }
  }
  if (has_reduce() || reduction_mask() == 0) return;
  if (std::find(full_.begin(), full_.end(), false) != full_.end()) return;  // some are stored once per parallel index
  for (Dim& d : dims_) d.reduces = false;
}

void LoopNest::drop_unused() {
  std::vector<bool> used(nodes_.size());
  auto use = [&](int id) {
    if (id >= 0) used[id] = true;
  };
  for (const Store& s : stores_) use(s.value), use(s.index), use(s.guard);
  for (int i = static_cast<int>(nodes_.size()) - 1; i >= 0; --i) {
    if (nodes_[i].op == ExprOp::Check) used[i] = true;
    if (used[i]) for_each_operand(nodes_[i], use);
  }
  std::vector<int> node_at(nodes_.size(), -1), access_at(accesses_.size(), -1);
  std::vector<Node> nodes;
  auto keep_access = [&](int a) {
    if (access_at[a] < 0) access_at[a] = kept_accesses_++;
    return access_at[a];
  };
  for (size_t i = 0; i < nodes_.size(); ++i) {
    if (!used[i]) continue;
    Node n = nodes_[i];
    if (n.op == ExprOp::Load) {
      n.a = keep_access(n.a);
      if (n.b >= 0) n.b = node_at[n.b];
    } else {
      const int count = arity(n);
      n.a = count > 0 ? node_at[n.a] : -1;
      n.b = count > 1 ? node_at[n.b] : -1;
      n.c = count > 2 ? node_at[n.c] : -1;
    }
    node_at[i] = static_cast<int>(nodes.size());
    nodes.push_back(n);
  }
  for (Store& s : stores_) {
    s.access = keep_access(s.access);
    s.value = node_at[s.value];
    if (s.index >= 0) s.index = node_at[s.index];
    if (s.guard >= 0) s.guard = node_at[s.guard];
  }
  nodes_ = std::move(nodes);
  std::vector<Place> accesses(kept_accesses_);
  for (size_t a = 0; a < access_at.size(); ++a) {
    if (access_at[a] < 0) continue;
    accesses[access_at[a]] = accesses_[a];
  }
  for (Dim& d : dims_) {
    std::vector<int64_t> strides(kept_accesses_);
    for (size_t a = 0; a < access_at.size(); ++a) {
      if (access_at[a] >= 0) strides[access_at[a]] = d.strides[a];
    }
    d.strides = std::move(strides);
  }
  accesses_ = std::move(accesses);
}

void LoopNest::find_sequential(const std::vector<bool>& ordered) {
  const std::vector<uint32_t> depends = node_dims();
  uint32_t sequential = 0;
  for (size_t i = 0; i < stores_.size(); ++i) {
    const Store& s = stores_[i];
    if (!ordered[i]) continue;
    const uint32_t space = full_[i] ? ~0u : ~reduction_mask();
    if (s.index >= 0) sequential |= depends[s.index] & space;
    sequential |= ~nonzero(s.access) & space;
    if (s.combine != Combine::None && overlaps(s.access, space)) sequential |= space;
  }
  for (size_t d = 0; d < dims_.size(); ++d) dims_[d].sequential = sequential >> d & 1;
}

// Whether strides alone may lead two indices to one element (windows that overlap).
bool LoopNest::overlaps(int access, uint32_t space) const {
  std::vector<std::pair<int64_t, int64_t>> steps;  // |stride|, size
  for (size_t d = 0; d < dims_.size(); ++d) {
    if (space >> d & 1 && dims_[d].strides[access]) steps.push_back({std::abs(dims_[d].strides[access]), dims_[d].size});
  }
  std::sort(steps.begin(), steps.end());
  int64_t reach = 0;
  for (const auto& [stride, size] : steps) {
    if (stride <= reach) return true;
    reach += stride * (size - 1);
  }
  return false;
}

void LoopNest::find_indexed() {
  for (const Node& n : nodes_) {
    if (n.op == ExprOp::Index) dims_[n.imm.i].indexed = true;
  }
}

void LoopNest::permute(const std::vector<int>& order) {
  std::vector<Dim> dims;
  std::vector<int> place(dims_.size());
  for (size_t i = 0; i < order.size(); ++i) {
    dims.push_back(dims_[order[i]]);
    place[order[i]] = static_cast<int>(i);
  }
  dims_ = std::move(dims);
  for (Node& n : nodes_) {
    if (n.op == ExprOp::Index) n.imm.i = place[n.imm.i];
  }
}

// Positive: x should be outside of y. Stores decide first.
int LoopNest::compare(const Dim& x, const Dim& y) const {
  auto by = [&](int a) {
    const int64_t p = std::abs(x.strides[a]), q = std::abs(y.strides[a]);
    return p == 0 || q == 0 || p == q ? 0 : p > q ? 1 : -1;
  };
  for (const Store& s : stores_) {
    if (const int c = by(s.access)) return c;
  }
  for (size_t a = 0; a < accesses_.size(); ++a) {
    if (const int c = by(static_cast<int>(a))) return c;
  }
  return 0;
}

// Parallel dimensions, then sequential, then reducing; each kind by stride, but for those whose order matters.
void LoopNest::sort() {
  std::vector<int> order(dims_.size());
  std::iota(order.begin(), order.end(), 0);
  auto kind = [&](int d) { return dims_[d].reduces ? 2 : dims_[d].sequential ? 1 : 0; };
  std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return kind(x) < kind(y); });
  const bool ordered_reduction = std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.sequential; });
  if (order_.fixed() && !ordered_reduction) {
    const auto reducing = std::find_if(order.begin(), order.end(), [&](int d) { return kind(d) == 2; });
    std::stable_sort(reducing, order.end(),
                     [&](int x, int y) { return std::pair(dims_[x].loop, dims_[x].place) < std::pair(dims_[y].loop, dims_[y].place); });
  }
  // Insertion sort: compare() knows no order where strides are 0, so only neighbours that it knows change places.
  for (size_t i = 1; i < order.size(); ++i) {
    for (size_t j = i; j > 0 && kind(order[j - 1]) == kind(order[j]) && kind(order[j]) != 1; --j) {
      if (kind(order[j]) == 2 && (ordered_reduction || order_.fixed())) break;
      if (compare(dims_[order[j - 1]], dims_[order[j]]) >= 0) break;
      std::swap(order[j - 1], order[j]);
    }
  }
  permute(order);
}

void LoopNest::collapse(int64_t most) {
  for (int d = static_cast<int>(dims_.size()) - 2; d >= 0; --d) {
    Dim &x = dims_[d], &y = dims_[d + 1];
    if (x.reduces != y.reduces || x.sequential != y.sequential || x.indexed || y.indexed || x.size > most / y.size) continue;
    if (x.loop != y.loop) continue;
    bool joins = true;
    for (size_t a = 0; a < accesses_.size(); ++a) joins &= x.strides[a] == y.strides[a] * y.size;
    if (!joins) continue;
    y.size *= x.size;
    y.from.insert(y.from.begin(), x.from.begin(), x.from.end());
    remove_dim(d);
  }
}

}  // namespace anygpu::ir
