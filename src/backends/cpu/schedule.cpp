// Which loop goes where. See spec.h for the order that comes out.
#include <algorithm>
#include <cmath>

#include "core/numbers.h"
#include "ir/loop_nest.h"
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
constexpr int64_t kMostSquare = 16;          // lanes of a square that is turned in registers
constexpr int64_t kWorthSquares = 1 << 14;   // elements of a transpose below which they are gathered
constexpr int64_t kSquaresBlock = 512;       // elements of the vector dimension in a unit with squares: rows are read on for a while
constexpr int64_t kWorthAThread = 1 << 16;   // element operations below which a second thread is not woken
constexpr int64_t kFewIndices = 1 << 16;     // up to which one masked body takes little longer than two
constexpr int64_t kEnoughUnits = 48;         // units that many cores share well
constexpr int64_t kEnoughRows = 24;          // below which a long reduction is split: its stages then meet memory, not the cache, each time
constexpr int64_t kChunkElements = 1 << 14;  // least length of a chunk of a split reduction
constexpr int64_t kSumRegisters = 2;         // that a sum along the vector dimension is kept in, in registers of f32
constexpr int64_t kUnitColumns = 64;         // columns that are taken for one unit, where chunks are counted
constexpr int64_t kWideColumns = 128;        // columns up to which accumulators are kept in registers
constexpr int64_t kLongEnough = 32;          // rows below which they are kept there in any case
constexpr int64_t kColumnBlock = 1 << 14;    // columns whose accumulators stay in the second cache; rows are read on in one piece
constexpr int64_t kLongestColumn = 1 << 12;  // additions in a row into one accumulator, where a column can be split

class Scheduler : private ir::LoopNest {
 public:
  /// fixing: to find an order that is to be fixed.
  explicit Scheduler(const ir::Generic& g, bool fixing = false) : ir::LoopNest(g), by_sizes_(fixing || order_.fixed()) {}

  /// The order in which sums are taken, after run().
  ir::ReductionOrder order() const {
    ir::ReductionOrder order;
    const KernelSpec& spec = out_.spec;
    if (out_.nothing || !ir::rounds_in_reduction(nodes_) || any_sequential()) return order;
    for (int d = spec.first_reduction(); d < spec.rank(); ++d) order.loops.push_back(dims_[d].from);
    order.lanes = spec.vector_reduces;
    if (out_.launch.chunks > 1) order.split = spec.split_dim - spec.first_reduction(), order.chunk = out_.launch.chunk;
    return order;
  }

  Schedule run() {
    out_.nothing = !simplify();
    if (out_.nothing) return out_;
    out_.launch.args = args_;
    find_sequential(std::vector<bool>(stores_.size(), true));
    sort();
    collapse();
    choose_vector();
    lay_out();
    choose_lanes();
    choose_squares();
    choose_streams();
    share_out();
    return out_;
  }

 private:
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
    const bool ordered = order_.fixed() && !any_sequential();
    if (ordered && order_.lanes && dims_.back().loop + 1 == static_cast<int>(order_.loops.size())) {
      vector_ = static_cast<int>(dims_.size()) - 1;
      return;
    }
    double best = 0;
    for (int d = static_cast<int>(dims_.size()) - 1; d >= 0; --d) {
      if (ordered && dims_[d].reduces && !dims_[0].reduces) continue;  // parallel ones stand first
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
    spec.columns = !vector.reduces && !any_sequential() && vector.size > kWideColumns && reduced >= kLongEnough;
    spec.vector_sequential = vector.sequential;
    permute(order);
    for (size_t a = 0; a < accesses_.size(); ++a) {
      const int64_t inner = dims_[spec.vector_dim()].strides[a];
      spec.accesses.push_back({accesses_[a].dtype, nonzero(static_cast<int>(a)),
                               inner == 0   ? Inner::Fixed
                               : inner == 1 ? Inner::Contiguous
                                            : Inner::Strided});
      LaunchAccess place{accesses_[a].slot, accesses_[a].offset, {}};
      for (const Dim& d : dims_) place.strides.push_back(d.strides[a]);
      out_.launch.accesses.push_back(place);
    }
    spec.nodes = nodes_;
    out_.launch.numbers = ir::take_sizes(spec.nodes);
    spec.stores = stores_;
    for (bool full : full_) spec.store_full.push_back(full && reduction_mask() != 0);
    for (const Dim& d : dims_) out_.launch.sizes.push_back(d.size);
  }

  static bool is_heavy(const Node& n) {
    return ir::info(n.op).libm || n.op == ExprOp::Philox || n.op == ExprOp::Repeat || n.op == ExprOp::Rem ||
           (n.op == ExprOp::Div && !is_float(n.type));
  }

  // One register of the type that most is computed in, times as many registers as hide latency and fill the line.
  void choose_lanes() {
    KernelSpec& spec = out_.spec;
    const ir::Stages stages = stages_of(spec);
    const int v = spec.vector_dim();
    const int64_t n = out_.launch.sizes[v];
    int64_t widest = 1;
    bool narrow = false, heavy = false, strided = false;
    int cost = 0, accumulators = 0;
    for (size_t i = 0; i < spec.nodes.size(); ++i) {
      const Node& node = spec.nodes[i];
      if (node.op == ExprOp::Reduce) accumulators += 1 + ir::is_arg_kind(node);
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
    // Where floats are added in an order that follows from sizes alone, it does not matter what else the body computes.
    const bool sums = by_sizes_ && spec.vector_reduces && ir::rounds_in_reduction(spec.nodes);
    if (sums) widest = 4;
    const int64_t one = std::max<int64_t>(host_isa().vector_bytes / widest, 2);
    int64_t registers = 1;
    if (sums) {
      registers = kSumRegisters;
    } else if (!heavy && !strided && !spec.vector_sequential) {
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
    // One kernel for all sizes, but for this: where the lanes divide n, there is no code for a vector that is not full.
    const bool one_vector = n <= spec.lanes || (accumulators && !spec.vector_reduces && !spec.columns && host_isa().masks);
    spec.tail = spec.lanes == 1       ? Tail::None
                : one_vector          ? Tail::Only
                : n % spec.lanes == 0 ? Tail::None
                : soon_done()         ? Tail::Masked
                                      : Tail::Some;
    if (spec.tail == Tail::Masked || (spec.tail == Tail::None && spec.lanes > 1)) out_.also.push_back(Tail::Some);
    if (spec.tail == Tail::None && spec.lanes > 1 && soon_done()) out_.also.push_back(Tail::Masked);
  }

  // Masks cost a few instructions a vector, a second body costs milliseconds to compile.
  bool soon_done() const {
    int64_t indices = 1;
    for (int64_t n : out_.launch.sizes) indices *= n;
    return host_isa().masks && indices <= kFewIndices;
  }

  // Loads that walk along the tile dimension. Turning a square costs code, so only where there are many.
  void choose_squares() {
    KernelSpec& spec = out_.spec;
    const int tile = spec.outer - 1, v = spec.vector_dim();
    if (!spec.tiled || spec.lanes < 4 || spec.lanes > kMostSquare) return;
    const Dims& sizes = out_.launch.sizes;
    if (sizes[tile] < spec.lanes || sizes[tile] * sizes[v] < kWorthSquares) return;
    for (size_t a = 0; a < spec.accesses.size(); ++a) {
      const Dims& strides = out_.launch.accesses[a].strides;
      bool plain = spec.accesses[a].inner == Inner::Strided && strides[tile] == 1;
      for (const Node& n : nodes_) plain &= n.op != ExprOp::Load || n.a != static_cast<int>(a) || n.b < 0;
      for (const ir::Store& s : stores_) plain &= s.access != static_cast<int32_t>(a);
      if (plain) spec.accesses[a].inner = Inner::Transposed;
    }
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
    for (int d = 0; d < spec.outer; ++d) {
      const int64_t step = spec.has_squares() && d == spec.outer - 1 ? lanes : 1;
      launch.rows *= (launch.sizes[d] + step - 1) / step;
    }
    for (int d = spec.outer; d < spec.outer + spec.sequential; ++d) ordered *= launch.sizes[d];
    for (int d = spec.first_reduction(); d < spec.rank(); ++d) reduced *= launch.sizes[d];
    int cost = 1;
    for (const Node& node : spec.nodes) {
      const bool free = node.op == ExprOp::Load || node.op == ExprOp::Const || node.op == ExprOp::Size;
      cost += is_heavy(node) ? 8 : free ? 0 : 1;
    }

    if (!spec.vector_reduces) {
      auto round = [&](int64_t x) { return std::max<int64_t>((x + lanes - 1) / lanes, 1) * lanes; };
      launch.block = round(n);
      if (spec.has_squares()) {
        launch.block = std::min(launch.block, round(kSquaresBlock));
      } else if (spec.tiled) {
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
    if (reduced > 1 && !any_sequential()) share_out_reduction(reduced);
    units *= launch.chunks;
    double total = static_cast<double>(cost) * ordered;
    for (int d = 0; d < spec.rank(); ++d) {
      if (d < spec.outer || d >= spec.outer + spec.sequential) total *= static_cast<double>(launch.sizes[d]);
    }
    launch.grain = std::max<int64_t>(1, static_cast<int64_t>(kWorthAThread * units / std::max(total, 1.0)));
  }

  bool any_sequential() const {
    return std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.sequential; });
  }

  /// Cuts a reduction into chunks, in numbers that depend on sizes alone.
  void share_out_reduction(int64_t reduced) {
    KernelSpec& spec = out_.spec;
    Launch& launch = out_.launch;
    const int first = spec.first_reduction();
    int longest = first;
    for (int d = first; d < spec.rank(); ++d) {
      if (launch.sizes[d] > launch.sizes[longest]) longest = d;
    }
    if (order_.fixed()) {
      for (int d = first; d < spec.rank(); ++d) {
        if (order_.split >= 0 && dims_[d].loop == order_.split && launch.sizes[d] > order_.chunk) split_at(d, order_.chunk);
      }
    } else {
      const int64_t n = launch.sizes[spec.vector_dim()];
      const int64_t columns = spec.vector_reduces ? 1 : std::min(n, spec.columns || !by_sizes_ ? launch.block : kUnitColumns);
      const int64_t units = launch.rows * (spec.vector_reduces ? 1 : (n + columns - 1) / columns), work = reduced * columns;
      int64_t chunks = 1;
      if (units < kEnoughRows) chunks = std::min((kEnoughUnits + units - 1) / units, work / kChunkElements);
      if (!spec.vector_reduces) chunks = std::max(chunks, reduced / kLongestColumn);
      // Along the longest dimension, or one outside of it that is long enough: its chunks are one piece of memory.
      int split = longest;
      for (int d = first; d < longest; ++d) {
        if (chunks > 1 && launch.sizes[d] >= chunks) split = d;
      }
      chunks = std::min(chunks, launch.sizes[split]);
      if (chunks > 1) split_at(split, (launch.sizes[split] + chunks - 1) / chunks);
    }
    if (spec.columns && spec.split_dim < 0) spec.split_dim = longest, launch.chunk = launch.sizes[longest];
  }

  void split_at(int d, int64_t chunk) {
    if (d == out_.spec.vector_dim()) chunk = round_up<int64_t>(chunk, out_.spec.lanes);
    const int64_t chunks = (out_.launch.sizes[d] + chunk - 1) / chunk;
    if (chunks > 1) out_.spec.split_dim = d, out_.launch.chunk = chunk, out_.launch.chunks = chunks;
  }

  const bool by_sizes_;  // sums are taken in an order that depends on sizes alone
  int vector_ = -1;
  Schedule out_;
};

}  // namespace

Schedule schedule(const ir::Generic& g) {
  return Scheduler(g).run();
}

void fix_order(ir::Generic& g) {
  if (g.order.fixed() || !ir::rounds_in_reduction(g.body.nodes())) return;
  Scheduler scheduler(g, /*fixing=*/true);
  scheduler.run();
  g.order = scheduler.order();
}

}  // namespace anygpu::cpu
