#include "ir/normalise.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "ir/loop_nest.h"
#include "ir/rewriter.h"

namespace anygpu::ir {
namespace {

class Normaliser : LoopNest {
 public:
  explicit Normaliser(const Generic& g) : LoopNest(g), name_(g.name) {}

  /// False: there is nothing to run.
  bool prune() { return simplify(); }

  // The access that walks the most dimensions leads; stores before loads, so that writes stream.
  void sort_by_memory() {
    std::vector<int> accesses(accesses_.size()), weight(accesses_.size());
    std::iota(accesses.begin(), accesses.end(), 0);
    for (size_t a = 0; a < accesses_.size(); ++a)
      for (const Dim& d : dims_) weight[a] += d.strides[a] != 0 && d.size > 1 ? 2 : 0;
    for (const Store& s : stores_) weight[s.access] += 1;
    std::stable_sort(accesses.begin(), accesses.end(), [&](int a, int b) { return weight[a] > weight[b]; });
    auto before = [&](int x, int y) {
      for (int a : accesses) {
        const int64_t sx = std::abs(dims_[x].strides[a]), sy = std::abs(dims_[y].strides[a]);
        if (sx != sy) return sx > sy;
      }
      return false;
    };
    std::vector<int> order(dims_.size());
    std::iota(order.begin(), order.end(), 0);
    // Insertion sort: `before` need not be a strict weak order when accesses disagree.
    for (size_t i = 1; i < order.size(); ++i)
      for (size_t j = i; j > 0 && before(order[j], order[j - 1]); --j) std::swap(order[j], order[j - 1]);
    permute(order);
  }

  void join() { collapse(); }

  Generic generic() const {
    Generic g;
    g.name = name_;
    g.args = args_;
    for (size_t d = 0; d < dims_.size(); ++d) {
      g.sizes.push_back(dims_[d].size);
      g.reduce |= static_cast<uint32_t>(dims_[d].reduces) << d;
    }
    for (size_t a = 0; a < accesses_.size(); ++a) {
      g.accesses.push_back({accesses_[a].slot, accesses_[a].dtype, accesses_[a].offset, {}});
      for (const Dim& d : dims_) g.accesses.back().strides.push_back(d.strides[a]);
    }
    const Rewriter rewritten(nodes_, [&](int, const Node& n) { return g.body.add(n); });
    for (const Store& s : stores_) g.stores.push_back(rewritten(s));
    g.order = order_;
    for (size_t l = 0; l < g.order.loops.size(); ++l) {
      std::vector<int>& loop = g.order.loops[l];
      loop.clear();
      for (size_t d = 0; d < dims_.size(); ++d)
        if (dims_[d].loop == static_cast<int>(l)) loop.push_back(static_cast<int>(d));
      std::sort(loop.begin(), loop.end(), [&](int x, int y) { return dims_[x].place < dims_[y].place; });
    }
    return g;
  }

 private:
  std::string name_;
};

/// The index of an old dimension, from those of its parts.
Val index_over(const std::vector<DimPart>& parts, int64_t dim, Body& body) {
  Val sum{};
  for (size_t k = 0; k < parts.size(); ++k) {
    if (parts[k].dim != dim) continue;
    Val v = index(body, static_cast<int>(k));
    if (parts[k].unit != 1) v = v * size(body, DType::I64, parts[k].unit);
    sum = sum.body ? sum + v : v;
  }
  return sum.body ? sum : constant(body, DType::I64, int64_t{0});
}

}  // namespace

void prune(Generic& g) {
  Normaliser n(g);
  if (n.prune()) g = n.generic();
}

void normalise(Generic& g) {
  Normaliser n(g);
  if (!n.prune()) return;
  n.sort_by_memory();
  n.join();
  g = n.generic();
}

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
      std::sort(loop.begin() + static_cast<int64_t>(first), loop.end(), [&](int x, int y) { return parts[x].unit > parts[y].unit; });
    }
  }
  for (size_t k = 0; k < parts.size(); ++k) {
    r.sizes.push_back(parts[k].size);
    if (parts[k].reduce) r.reduce |= 1u << k;
  }
  for (const Access& a : g.accesses) {
    Access b = a;
    b.strides.clear();
    for (const DimPart& p : parts) b.strides.push_back(p.dim < 0 || p.size == 1 ? 0 : a.strides[p.dim] * p.unit);
    r.accesses.push_back(b);
  }
  const Rewriter rewritten(
      g.body.nodes(), [&](int, const Node& n) { return n.op == ExprOp::Index ? index_over(parts, n.imm.i, r.body).id : r.body.add(n); });
  for (const Store& s : g.stores) r.stores.push_back(rewritten(s));
  return r;
}

}  // namespace anygpu::ir
