// Which loop goes where. See spec.h for the order that comes out.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "jit.h"
#include "spec.h"

namespace anygpu::cpu {
namespace {

using ir::Combine;
using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

constexpr int64_t kStreamBytes = 32 << 20;   // of a store: more than the last cache keeps for who reads it next
constexpr int64_t kBlockBytes = 32 << 10;    // of one operand: a unit of pointwise work
constexpr int64_t kTile = 16, kTiles = 128;  // least and most elements of the vector dimension in a tile of a transpose
constexpr int64_t kWorthAThread = 1 << 16;   // element operations below which a second thread is not woken
constexpr int64_t kEnoughUnits = 48;         // units that many cores share well
constexpr int64_t kEnoughRows = 24;          // below which a long reduction is split: its stages then meet memory, not the cache, each time
constexpr int64_t kChunkElements = 1 << 14;  // least length of a chunk of a split reduction
constexpr int64_t kWideColumns = 128;        // columns up to which accumulators are kept in registers
constexpr int64_t kLongEnough = 32;          // rows below which they are kept there in any case
constexpr int64_t kColumnBlock = 1 << 14;    // columns whose accumulators stay in the second cache; rows are read on in one piece
constexpr int64_t kLongestColumn = 1 << 12;  // additions in a row into one accumulator, where a column can be split

bool is_arg_kind(const Node& n) {
  return n.imm.i == static_cast<int>(ReduceKind::ArgMax) || n.imm.i == static_cast<int>(ReduceKind::ArgMin);
}

/// What a Reduce over nothing gives.
Node identity(const Node& reduce) {
  Node n{ExprOp::Const, reduce.type};
  const bool f = is_float(reduce.type);
  const int bits = static_cast<int>(8 * size_of(reduce.type));
  const bool is_unsigned = reduce.type == DType::U8;
  const int64_t least = is_unsigned ? 0 : std::numeric_limits<int64_t>::min() >> (64 - bits);
  const int64_t greatest = is_unsigned ? 255 : std::numeric_limits<int64_t>::max() >> (64 - bits);
  switch (static_cast<ReduceKind>(reduce.imm.i)) {
    case ReduceKind::Prod:
      f ? void(n.imm.f = 1) : void(n.imm.i = 1);
      break;
    case ReduceKind::Max:
      f ? void(n.imm.f = -INFINITY) : void(n.imm.i = least);
      break;
    case ReduceKind::Min:
      f ? void(n.imm.f = INFINITY) : void(n.imm.i = greatest);
      break;
    case ReduceKind::All:
      n.imm.i = 1;
      break;
    case ReduceKind::ArgMax:
    case ReduceKind::ArgMin:
      n.imm.i = std::numeric_limits<int64_t>::max();
      break;
    default:
      break;
  }
  return n;
}

struct Dim {
  int64_t size;
  bool reduces = false, sequential = false, indexed = false;
  std::vector<int64_t> strides;  // per access
};

class Scheduler {
 public:
  explicit Scheduler(const ir::Generic& g) {
    for (int d = 0; d < g.rank(); ++d) {
      Dim dim{g.sizes[d], g.reduces(d)};
      for (const ir::Access& a : g.accesses) dim.strides.push_back(a.strides[d]);
      dims_.push_back(dim);
    }
    nodes_ = g.body.nodes();
    const std::vector<bool> varies = ir::varies_in_reduction(g);
    for (const ir::Store& s : g.stores) {
      bool full = varies[s.value];
      for (int d = 0; d < g.rank(); ++d) full = full || (g.reduces(d) && g.accesses[s.access].strides[d] != 0);
      stores_.push_back(s);
      full_.push_back(full);
    }
    for (const ir::Access& a : g.accesses) {
      accesses_.push_back({a.dtype});
      places_.push_back({a.slot, a.offset, {}});
    }
    out_.launch.args = g.args;
  }

  Schedule run() {
    for (const Dim& d : dims_) out_.nothing |= d.size == 0 && !d.reduces;
    if (out_.nothing) return out_;
    drop_empty_reduction();
    drop_small_dims();
    drop_reduction_of_nothing();
    drop_unused();
    if (stores_.empty() && std::none_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.op == ExprOp::Check; })) {
      out_.nothing = true;
      return out_;
    }
    find_sequential();
    find_indexed();
    sort();
    collapse();
    choose_vector();
    lay_out();
    choose_lanes();
    choose_streams();
    share_out();
    return out_;
  }

 private:
  // Per node, over the dimensions as they now are.
  std::vector<uint32_t> node_dims() const {
    std::vector<uint32_t> dims(nodes_.size());
    for (size_t i = 0; i < nodes_.size(); ++i) {
      const Node& n = nodes_[i];
      ir::for_each_operand(n, [&](int id) { dims[i] |= dims[id]; });
      if (n.op == ExprOp::Reduce) dims[i] &= ~reduction_mask();
      if (n.op == ExprOp::Index) dims[i] |= 1u << n.imm.i;
      if (n.op == ExprOp::Load) dims[i] |= nonzero(n.a);
    }
    return dims;
  }
  uint32_t reduction_mask() const {
    uint32_t mask = 0;
    for (size_t d = 0; d < dims_.size(); ++d) mask |= static_cast<uint32_t>(dims_[d].reduces) << d;
    return mask;
  }
  uint32_t nonzero(int access) const {
    uint32_t mask = 0;
    for (size_t d = 0; d < dims_.size(); ++d) mask |= static_cast<uint32_t>(dims_[d].strides[access] != 0) << d;
    return mask;
  }
  bool has_reduce() const {
    return std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.op == ExprOp::Reduce; });
  }

  void remove_dim(int d) {
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
  void drop_empty_reduction() {
    if (std::none_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.size == 0; })) return;
    const std::vector<uint32_t> depends = node_dims();
    const uint32_t reduce = reduction_mask();
    for (size_t i = stores_.size(); i-- > 0;) {
      if (full_[i]) stores_.erase(stores_.begin() + i), full_.erase(full_.begin() + i);
    }
    for (size_t i = 0; i < nodes_.size(); ++i) {
      if (nodes_[i].op == ExprOp::Reduce) {
        nodes_[i] = identity(nodes_[i]);
      } else if (depends[i] & reduce) {
        nodes_[i] = Node{ExprOp::Const, nodes_[i].type};  // not reachable any more; a Check would be a root
      }
    }
    for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
      if (dims_[d].reduces) remove_dim(d);
    }
  }

  void drop_small_dims() {
    for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
      if (dims_[d].size == 1) remove_dim(d);
    }
  }

  // A reduction over one index is its operand; dimensions that reduce nothing are parallel.
  void drop_reduction_of_nothing() {
    if (reduction_mask() == 0 && has_reduce()) {
      std::vector<int> same(nodes_.size());
      for (size_t i = 0; i < nodes_.size(); ++i) {
        Node& n = nodes_[i];
        same[i] = static_cast<int>(i);
        if (n.op == ExprOp::Load) {
          if (n.b >= 0) n.b = same[n.b];
        } else {
          const int count = n.op == ExprOp::Reduce && n.b >= 0 ? 2 : ir::arity(n.op);
          if (count > 0) n.a = same[n.a];
          if (count > 1) n.b = same[n.b];
          if (count > 2) n.c = same[n.c];
        }
        if (n.op == ExprOp::Reduce) {
          same[i] = is_arg_kind(n) ? n.b : n.a;
          n = Node{ExprOp::Const, n.type};
        }
      }
      for (ir::Store& s : stores_) {
        s.value = same[s.value];
        if (s.index >= 0) s.index = same[s.index];
        if (s.guard >= 0) s.guard = same[s.guard];
      }
    }
    if (has_reduce() || reduction_mask() == 0) return;
    if (std::find(full_.begin(), full_.end(), false) != full_.end()) return;  // some are stored once per parallel index
    for (Dim& d : dims_) d.reduces = false;
  }

  void drop_unused() {
    std::vector<bool> used(nodes_.size());
    auto use = [&](int id) {
      if (id >= 0) used[id] = true;
    };
    for (const ir::Store& s : stores_) use(s.value), use(s.index), use(s.guard);
    for (int i = static_cast<int>(nodes_.size()) - 1; i >= 0; --i) {
      if (nodes_[i].op == ExprOp::Check) used[i] = true;
      if (used[i]) ir::for_each_operand(nodes_[i], use);
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
        const int count = n.op == ExprOp::Reduce && n.b >= 0 ? 2 : ir::arity(n.op);
        n.a = count > 0 ? node_at[n.a] : -1;
        n.b = count > 1 ? node_at[n.b] : -1;
        n.c = count > 2 ? node_at[n.c] : -1;
      }
      node_at[i] = static_cast<int>(nodes.size());
      nodes.push_back(n);
    }
    for (ir::Store& s : stores_) {
      s.access = keep_access(s.access);
      s.value = node_at[s.value];
      if (s.index >= 0) s.index = node_at[s.index];
      if (s.guard >= 0) s.guard = node_at[s.guard];
    }
    nodes_ = std::move(nodes);
    std::vector<SpecAccess> accesses(kept_accesses_);
    std::vector<LaunchAccess> places(kept_accesses_);
    for (size_t a = 0; a < access_at.size(); ++a) {
      if (access_at[a] < 0) continue;
      accesses[access_at[a]] = accesses_[a];
      places[access_at[a]] = places_[a];
    }
    for (Dim& d : dims_) {
      std::vector<int64_t> strides(kept_accesses_);
      for (size_t a = 0; a < access_at.size(); ++a) {
        if (access_at[a] >= 0) strides[access_at[a]] = d.strides[a];
      }
      d.strides = std::move(strides);
    }
    accesses_ = std::move(accesses);
    places_ = std::move(places);
  }

  // Where two indices of the space may store to one element, their dimensions run in order on one thread.
  void find_sequential() {
    const std::vector<uint32_t> depends = node_dims();
    uint32_t sequential = 0;
    for (size_t i = 0; i < stores_.size(); ++i) {
      const ir::Store& s = stores_[i];
      const uint32_t space = full_[i] ? ~0u : ~reduction_mask();
      if (s.index >= 0) sequential |= depends[s.index] & space;
      sequential |= ~nonzero(s.access) & space;
      if (s.combine != Combine::None && overlaps(s.access, space)) sequential |= space;
    }
    for (size_t d = 0; d < dims_.size(); ++d) dims_[d].sequential = sequential >> d & 1;
  }

  // Whether strides alone may lead two indices to one element (windows that overlap).
  bool overlaps(int access, uint32_t space) const {
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

  void find_indexed() {
    for (const Node& n : nodes_) {
      if (n.op == ExprOp::Index) dims_[n.imm.i].indexed = true;
    }
  }

  void permute(const std::vector<int>& order) {
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
  int compare(const Dim& x, const Dim& y) const {
    auto by = [&](int a) {
      const int64_t p = std::abs(x.strides[a]), q = std::abs(y.strides[a]);
      return p == 0 || q == 0 || p == q ? 0 : p > q ? 1 : -1;
    };
    for (const ir::Store& s : stores_) {
      if (const int c = by(s.access)) return c;
    }
    for (size_t a = 0; a < accesses_.size(); ++a) {
      if (const int c = by(static_cast<int>(a))) return c;
    }
    return 0;
  }

  // Parallel dimensions, then sequential, then reducing; each kind by stride, but for those whose order matters.
  void sort() {
    std::vector<int> order(dims_.size());
    std::iota(order.begin(), order.end(), 0);
    auto kind = [&](int d) { return dims_[d].reduces ? 2 : dims_[d].sequential ? 1 : 0; };
    std::stable_sort(order.begin(), order.end(), [&](int x, int y) { return kind(x) < kind(y); });
    const bool ordered_reduction = std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.sequential; });
    // Insertion sort: compare() knows no order where strides are 0, so only neighbours that it knows change places.
    for (size_t i = 1; i < order.size(); ++i) {
      for (size_t j = i; j > 0 && kind(order[j - 1]) == kind(order[j]) && kind(order[j]) != 1; --j) {
        if (kind(order[j]) == 2 && ordered_reduction) break;
        if (compare(dims_[order[j - 1]], dims_[order[j]]) >= 0) break;
        std::swap(order[j - 1], order[j]);
      }
    }
    permute(order);
  }

  void collapse() {
    for (int d = static_cast<int>(dims_.size()) - 2; d >= 0; --d) {
      Dim &x = dims_[d], &y = dims_[d + 1];
      if (x.reduces != y.reduces || x.sequential != y.sequential || x.indexed || y.indexed) continue;
      bool joins = true;
      for (size_t a = 0; a < accesses_.size(); ++a) joins &= x.strides[a] == y.strides[a] * y.size;
      if (!joins) continue;
      y.size *= x.size;
      remove_dim(d);
    }
  }

  // The dimension along which most is contiguous; a sequential one only if there is no other.
  void choose_vector() {
    if (dims_.empty()) {  // a scalar: one dimension of one index
      dims_.push_back({1});
      dims_[0].strides.assign(accesses_.size(), 0);
    }
    const std::vector<uint32_t> depends = node_dims();
    int last_sequential = -1;
    for (size_t d = 0; d < dims_.size(); ++d) {
      if (dims_[d].sequential) last_sequential = static_cast<int>(d);
    }
    const bool ordered_reduction = std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.sequential; });
    // What is walked often weighs more: a vector of channels must not decide for the images that it scales.
    std::vector<double> walked(accesses_.size(), 1);
    for (size_t a = 0; a < accesses_.size(); ++a) {
      for (const Dim& d : dims_) walked[a] *= d.strides[a] != 0 ? static_cast<double>(d.size) : 1;
    }
    const double most = walked.empty() ? 1 : *std::max_element(walked.begin(), walked.end());
    auto score = [&](int d) {
      const Dim& dim = dims_[d];
      double s = 0;
      std::vector<bool> stored(accesses_.size());
      for (const ir::Store& st : stores_) stored[st.access] = true;
      for (size_t a = 0; a < accesses_.size(); ++a) {
        const int64_t stride = dim.strides[a];
        const double weight = stored[a] ? 3 : 2;
        s += (stride == 1 ? weight : stride == 0 ? 0.5 : -weight) * std::max(walked[a] / most, 0.01);
      }
      for (const Node& n : nodes_) {
        if (n.op == ExprOp::Load && n.b >= 0 && depends[n.b] >> d & 1) s -= dims_[d].strides[n.a] == 1 ? 3 : 1;
      }
      if (dim.sequential) s -= 1000;
      if (dim.size < 8) s -= 4.0 * (8 - dim.size) / 8;
      return s;
    };
    vector_ = -1;
    double best = 0;
    for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
      if (dims_[d].sequential && d != last_sequential) continue;
      if (dims_[d].reduces && ordered_reduction && d != static_cast<int>(dims_.size()) - 1) continue;
      const double s = score(d);
      if (vector_ < 0 || s > best) vector_ = d, best = s;
    }
  }

  /// The dimension along which something is contiguous that is strided along the vector dimension, or -1. Pointwise work only.
  int tile_dim() const {
    for (const Dim& d : dims_) {
      if (d.reduces || d.sequential) return -1;
    }
    for (size_t a = 0; a < accesses_.size(); ++a) {
      if (std::abs(dims_[vector_].strides[a]) <= 1 || dims_[vector_].size < 8) continue;
      for (size_t d = 0; d < dims_.size(); ++d) {
        if (std::abs(dims_[d].strides[a]) == 1 && dims_[d].size >= 8) return static_cast<int>(d);
      }
    }
    return -1;
  }

  /// So many elements that their lines stay in the first cache (64 sets of 8 lines): a stride of 4096 bytes meets one set only.
  int64_t tile_length() const {
    int64_t length = kTiles;
    for (size_t a = 0; a < accesses_.size(); ++a) {
      const int64_t stride = std::abs(dims_[out_.spec.vector_dim()].strides[a]) * size_of(accesses_[a].dtype);
      if (stride > 64) length = std::min(length, 8 * 4096 / (stride & -stride));
    }
    return std::max(length, kTile);
  }

  void lay_out() {
    KernelSpec& spec = out_.spec;
    std::vector<int> order;
    const Dim vector = dims_[vector_];
    auto append = [&](auto&& is_kind, int& count) {
      for (size_t d = 0; d < dims_.size(); ++d) {
        if (static_cast<int>(d) != vector_ && is_kind(dims_[d])) order.push_back(static_cast<int>(d)), ++count;
      }
    };
    append([](const Dim& d) { return !d.reduces && !d.sequential; }, spec.outer);
    const int tile = tile_dim();
    if (tile >= 0) {
      order.erase(std::find(order.begin(), order.end(), tile));
      order.push_back(tile);
      spec.tiled = true;
    }
    append([](const Dim& d) { return !d.reduces && d.sequential; }, spec.sequential);
    if (!vector.reduces) order.push_back(vector_);
    append([](const Dim& d) { return d.reduces; }, spec.reduction);
    if (vector.reduces) order.push_back(vector_);
    spec.vector_reduces = vector.reduces;
    int64_t reduced = 1;
    for (const Dim& d : dims_) reduced *= d.reduces ? d.size : 1;
    const bool any_sequential = std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.sequential; });
    spec.columns = !vector.reduces && !any_sequential && vector.size > kWideColumns && reduced >= kLongEnough;
    spec.vector_sequential = vector.sequential;
    permute(order);
    for (size_t a = 0; a < accesses_.size(); ++a) {
      const int64_t inner = dims_[spec.vector_dim()].strides[a];
      accesses_[a].nonzero = nonzero(static_cast<int>(a));
      accesses_[a].inner = inner == 0 ? Inner::Fixed : inner == 1 ? Inner::Contiguous : Inner::Strided;
      for (const Dim& d : dims_) places_[a].strides.push_back(d.strides[a]);
    }
    spec.accesses = accesses_;
    spec.nodes = nodes_;
    spec.stores = stores_;
    for (bool full : full_) spec.store_full.push_back(full && reduction_mask() != 0);
    out_.launch.accesses = places_;
    for (const Dim& d : dims_) out_.launch.sizes.push_back(d.size);
  }

  static bool is_heavy(const Node& n) {
    return (n.op >= ExprOp::Exp && n.op <= ExprOp::Lgamma) || n.op == ExprOp::Pow || n.op == ExprOp::Atan2 || n.op == ExprOp::Philox ||
           n.op == ExprOp::Hypot || n.op == ExprOp::Rem || (n.op == ExprOp::Div && !is_float(n.type));
  }

  // One register of the type that most is computed in, times as many registers as hide latency and fill the line.
  void choose_lanes() {
    KernelSpec& spec = out_.spec;
    const Stages stages(spec);
    const int v = spec.vector_dim();
    const int64_t n = out_.launch.sizes[v];
    int64_t widest = 1;
    bool narrow = false, heavy = false, strided = false;
    int cost = 0, accumulators = 0;
    for (size_t i = 0; i < spec.nodes.size(); ++i) {
      const Node& node = spec.nodes[i];
      if (node.op == ExprOp::Reduce) accumulators += 1 + is_arg_kind(node);
      if (!(stages.dims[i] >> v & 1)) continue;
      const int64_t bytes = size_of(compute_type(node.type));
      widest = std::max(widest, bytes);
      narrow |= bytes == 4 && node.op != ExprOp::Const;
      heavy |= is_heavy(node);
      strided |=
          node.op == ExprOp::Load && (spec.accesses[node.a].inner == Inner::Strided || (node.b >= 0 && stages.dims[node.b] >> v & 1));
      ++cost;
    }
    if (narrow && widest == 8) widest = 4;  // a few i64 among f32 take two registers
    const int64_t one = std::max<int64_t>(host_isa().vector_bytes / widest, 2);
    int64_t registers = 1;
    if (!heavy && !strided && !spec.vector_sequential) {
      if (spec.vector_reduces && accumulators) {
        registers = accumulators * cost <= 12 ? 4 : 2;
      } else if (accumulators && !spec.columns) {
        registers = accumulators == 1 && cost <= 8 ? 8 : accumulators <= 2 && cost <= 16 ? 4 : 2;
      } else {
        registers = spec.columns ? (cost <= 6 ? 4 : cost <= 16 ? 2 : 1) : cost <= 6 ? 4 : cost <= 16 ? 2 : 1;
      }
      if (widest == 1) registers = std::min<int64_t>(registers, 2);
    }
    int64_t lanes = one * registers;
    while (lanes > one && lanes / 2 >= n) lanes /= 2;
    while (lanes > 2 && lanes / 2 >= n && !host_isa().masks) lanes /= 2;
    spec.lanes = n == 1 ? 1 : static_cast<int>(lanes);
    // Whether n is a multiple of the lanes is left to run time: one kernel for all sizes.
    spec.tail = spec.lanes == 1                                                                                  ? Tail::None
                : n <= spec.lanes || (accumulators && !spec.vector_reduces && !spec.columns && host_isa().masks) ? Tail::Only
                                                                                                                 : Tail::Some;
  }

  // A store past the caches spares reading the lines that it fills: a third of the traffic of y = f(x).
  void choose_streams() {
    KernelSpec& spec = out_.spec;
    const int64_t line = 64;
    for (const ir::Store& s : spec.stores) {
      const LaunchAccess& place = out_.launch.accesses[s.access];
      const int64_t bytes = size_of(spec.accesses[s.access].dtype);
      int64_t written = bytes;
      bool streams = s.index < 0 && s.guard < 0 && s.combine == Combine::None && spec.accesses[s.access].inner == Inner::Contiguous &&
                     spec.lanes * bytes % host_isa().vector_bytes == 0 && place.offset * bytes % line == 0;
      for (int d = 0; d < spec.rank(); ++d) {
        if (place.strides[d] == 0) continue;
        written *= out_.launch.sizes[d];
        streams &= d == spec.vector_dim() || place.strides[d] * bytes % line == 0;
      }
      // What is read here too is in the cache already.
      for (size_t a = 0; a < out_.launch.accesses.size(); ++a) {
        streams &= static_cast<int32_t>(a) == s.access ? !is_loaded(s.access) : out_.launch.accesses[a].slot != place.slot;
      }
      spec.store_streams.push_back(streams && written >= kStreamBytes);
    }
  }
  bool is_loaded(int access) const {
    return std::any_of(nodes_.begin(), nodes_.end(), [&](const Node& n) { return n.op == ExprOp::Load && n.a == access; });
  }

  void share_out() {
    KernelSpec& spec = out_.spec;
    Launch& launch = out_.launch;
    const int v = spec.vector_dim();
    const int64_t n = launch.sizes[v], lanes = spec.lanes;
    int64_t ordered = 1, reduced = 1;
    for (int d = 0; d < spec.outer; ++d) launch.rows *= launch.sizes[d];
    for (int d = spec.outer; d < spec.outer + spec.sequential; ++d) ordered *= launch.sizes[d];
    for (int d = spec.first_reduction(); d < spec.rank(); ++d) reduced *= launch.sizes[d];
    int cost = 1;
    for (const Node& node : spec.nodes) cost += is_heavy(node) ? 8 : node.op == ExprOp::Load || node.op == ExprOp::Const ? 0 : 1;

    if (!spec.vector_reduces) {
      auto round = [&](int64_t x) { return std::max<int64_t>((x + lanes - 1) / lanes, 1) * lanes; };
      launch.block = round(n);
      if (spec.tiled) {
        launch.block = std::min(launch.block, round(tile_length()));
      } else if (spec.columns) {
        launch.block = std::min(launch.block, round(kColumnBlock));
      } else if (spec.reduction > 0) {
        launch.block = lanes;
      } else if (!spec.vector_sequential) {
        const int64_t wanted =
            ordered > 1 ? round(n / kEnoughUnits) : round(std::max<int64_t>(kBlockBytes / 4 / std::max(1, cost / 8), lanes));
        launch.block = std::min(launch.block, wanted);
      }
      launch.blocks = (n + launch.block - 1) / launch.block;
    }

    int64_t units = launch.rows * launch.blocks;
    const bool any_sequential =
        spec.sequential || spec.vector_sequential || std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.sequential; });
    if (reduced > 1 && !any_sequential) {
      // Along the longest reduction dimension. The numbers depend on sizes alone.
      int split = spec.first_reduction();
      for (int d = split; d < spec.rank(); ++d) {
        if (launch.sizes[d] > launch.sizes[split]) split = d;
      }
      const int64_t work = reduced * (spec.vector_reduces ? 1 : std::min(n, launch.block));  // of one unit, in elements
      int64_t chunks = 1;
      if (units < kEnoughRows) chunks = std::min((kEnoughUnits + units - 1) / units, work / kChunkElements);
      if (!spec.vector_reduces) chunks = std::max(chunks, reduced / kLongestColumn);
      chunks = std::min(chunks, launch.sizes[split]);
      if (chunks > 1) {
        launch.chunk = (launch.sizes[split] + chunks - 1) / chunks;
        if (split == v) launch.chunk = (launch.chunk + lanes - 1) / lanes * lanes;
        launch.chunks = (launch.sizes[split] + launch.chunk - 1) / launch.chunk;
        if (launch.chunks > 1) spec.split_dim = split;
      }
      if (spec.split_dim < 0) launch.chunk = 0, launch.chunks = 1;
      if (spec.columns && spec.split_dim < 0) spec.split_dim = split, launch.chunk = launch.sizes[split];
    }
    units *= launch.chunks;
    double total = static_cast<double>(cost) * ordered;
    for (int d = 0; d < spec.rank(); ++d) {
      if (d < spec.outer || d >= spec.outer + spec.sequential) total *= static_cast<double>(launch.sizes[d]);
    }
    launch.grain = std::max<int64_t>(1, static_cast<int64_t>(kWorthAThread * units / std::max(total, 1.0)));
  }

  std::vector<Dim> dims_;
  std::vector<Node> nodes_;
  std::vector<ir::Store> stores_;
  std::vector<bool> full_;  // per store: at every index of the reduction, not once per parallel index
  std::vector<SpecAccess> accesses_;
  std::vector<LaunchAccess> places_;
  int kept_accesses_ = 0;
  int vector_ = -1;
  Schedule out_;
};

}  // namespace

Schedule schedule(const ir::Generic& g) {
  return Scheduler(g).run();
}

}  // namespace anygpu::cpu
