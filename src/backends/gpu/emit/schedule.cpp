// Which dimension becomes what. See kernel.h for the shapes that come out.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "anygpu/error.h"
#include "core/numbers.h"
#include "ir/loop_nest.h"
#include "kernel.h"
#include "narrow.h"

namespace anygpu::gpu {
namespace {

using ir::Combine;
using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

constexpr int64_t kLocal = 64;            // invocations of a workgroup
constexpr int64_t kWideRow = 32;          // last dimensions below which rows waste a workgroup
constexpr int64_t kShortReduction = 16;   // reductions below which one invocation does each
constexpr int64_t kEnoughGroups = 64;     // workgroups that keep a device busy
constexpr int64_t kChunkElements = 4096;  // least length of a chunk, in elements
constexpr int64_t kRowsOfSoftware = 16;   // rows that fill a processor's vectors
// Shaders count in u32. What a workgroup does beyond the end, and a loop's last step, must not begin from 0 again.
constexpr int64_t kMostIndices = (int64_t{1} << 32) - (int64_t{1} << 28);
constexpr int64_t kMostSteps = 50000;  // of all loops of an invocation: lavapipe ends them after 65535, without a word

class Scheduler : private ir::LoopNest {
 public:
  Scheduler(const ir::Generic& g, const Target& caps) : ir::LoopNest(g), caps_(caps) {}

  Schedule run(const ir::Generic& g) {
    out_.nothing = !simplify();
    if (out_.nothing) return out_;
    out_.args = args_;
    share_stores();
    sort();
    collapse(kMostIndices);
    lay_out();
    if (reduction_mask()) {
      share_out_reduction(g.name);
    } else {
      share_out_pointwise();
    }
    require_counts(g.name);
    bind();
    if (caps_.texel_loads) load_texels();
    estimate();
    return out_;
  }

 private:
  // Of what may meet in one element, what atomics can combine in any order need no order.
  void share_stores() {
    std::vector<bool> ordered, any;
    for (size_t i = 0; i < stores_.size(); ++i) {
      const ir::Store& s = stores_[i];
      const DType t = accesses_[s.access].dtype;
      const bool wide = size_of(t) == 8 && !(t == DType::I64 && s.combine == Combine::Add);
      const uint32_t space = ((1u << dims_.size()) - 1) & (full_[i] ? ~0u : ~reduction_mask());
      const bool repeats = s.combine == Combine::None && s.index < 0 && (space & ~nonzero(s.access));  // the last one stays
      const bool exact = s.combine != Combine::None && (!is_float(t) || s.combine == Combine::Max || s.combine == Combine::Min);
      ordered.push_back((s.combine != Combine::None && wide) || repeats || (s.in_order && !exact));
    }
    find_sequential(ordered);
    for (size_t i = 0; i < stores_.size(); ++i) {
      const ir::Store& s = stores_[i];
      const uint32_t space = full_[i] ? ~0u : ~reduction_mask();
      const uint32_t all = ((1u << dims_.size()) - 1) & space;
      const bool meets = s.index >= 0 || (all & ~nonzero(s.access)) || overlaps(s.access, space);
      atomic_.push_back(s.combine != Combine::None && !ordered[i] && meets);
    }
  }

  void lay_out() {
    if (dims_.empty()) {  // a scalar: one dimension of one index
      dims_.push_back({1});
      dims_[0].strides.assign(accesses_.size(), 0);
    }
    KernelSpec& spec = out_.spec;
    const bool ordered_reduction = std::any_of(dims_.begin(), dims_.end(), [](const Dim& d) { return d.reduces && d.sequential; });
    for (const Dim& d : dims_) ++(d.reduces ? spec.reduction : d.sequential ? spec.sequential : spec.parallel);
    ordered_reduction_ = ordered_reduction;
    spec.nodes = nodes_;
    for (size_t i = 0; i < stores_.size(); ++i) {
      spec.stores.push_back({stores_[i], full_[i] && reduction_mask() != 0, false, static_cast<bool>(atomic_[i])});
    }
    for (size_t a = 0; a < accesses_.size(); ++a) {
      Schedule::Place place{accesses_[a].slot, accesses_[a].offset, {}};
      for (const Dim& d : dims_) place.strides.push_back(d.strides[a]);
      out_.places.push_back(place);
      spec.accesses.push_back({accesses_[a].dtype, nonzero(static_cast<int>(a))});
    }
    for (const Dim& d : dims_) out_.sizes.push_back(d.size);
    spec.narrow = narrow_nodes(spec, out_.sizes);
    out_.numbers = ir::take_sizes(spec.nodes);
  }

  int64_t product_of(int begin, int end) const {
    int64_t n = 1;
    for (int d = begin; d < end; ++d) n *= dims_[d].size;
    return n;
  }

  void mark_unit(int dim) {
    for (size_t a = 0; a < accesses_.size(); ++a) out_.spec.accesses[a].unit = dim >= 0 && dims_[dim].strides[a] == 1;
  }

  bool packs(DType t) const { return size_of(t) == 1 ? !caps_.storage8 : size_of(t) == 2 && !caps_.storage16; }

  // Whether the words of a store of 8 or 16 bits each belong to one invocation, which takes neighbours along the last parallel
  // dimension (Rows), or along all of them (Flat).
  bool owns_words(const ir::Store& s, bool rows) const {
    const KernelSpec& spec = out_.spec;
    const int64_t size = size_of(accesses_[s.access].dtype);
    if (s.index >= 0 || s.combine != Combine::None || spec.sequential || spec.parallel == 0) return false;
    const int last = spec.parallel - 1;
    if (dims_[last].strides[s.access] != 1 || accesses_[s.access].offset * size % 4) return false;
    for (int d = last - 1; d >= 0; --d) {
      const int64_t stride = dims_[d].strides[s.access];
      if (rows ? stride * size % 4 != 0 : stride != dims_[d + 1].strides[s.access] * dims_[d + 1].size) return false;
    }
    return !overlaps(s.access, ~0u) && (nonzero(s.access) == (1u << dims_.size()) - 1);
  }

  void share_out_pointwise() {
    KernelSpec& spec = out_.spec;
    const int64_t total = product_of(0, spec.parallel);
    const int last = spec.parallel - 1;
    const bool rows = spec.parallel >= 1 && (spec.parallel == 1 || dims_[last].size >= kWideRow);
    spec.shape = rows ? Shape::Rows : Shape::Flat;
    int neighbours = 1;
    for (KernelStore& s : spec.stores) {
      const DType t = accesses_[s.store.access].dtype;
      s.owned = packs(t) && owns_words(s.store, rows);
      if (s.owned) neighbours = std::max(neighbours, static_cast<int>(4 / size_of(t)));
    }
    spec.neighbours = neighbours > 1;
    spec.elements = neighbours > 1 ? neighbours : spec.sequential || total < 64 * kLocal ? 1 : 4;
    if (neighbours == 1 && (spec.nodes.size() > 60 || loop_weight() > 1000)) spec.elements = 1;
    if (caps_.texel_loads && neighbours == 1 && rows && !spec.sequential && spec.nodes.size() <= 120 && loop_weight() < 1000)
      take_fours(last);
    if (spec.fours) spec.neighbours = true, spec.elements = 4;
    for (int d = spec.parallel; d < spec.parallel + spec.sequential; ++d) out_.ordered *= dims_[d].size;
    out_.ordered_a_launch = std::clamp<int64_t>(kMostSteps / loop_weight(), 1, out_.ordered);
    spec.local = kLocal;
    mark_unit(rows ? last : -1);
    const int64_t per_group = spec.local * spec.elements;
    if (rows) {
      out_.rows = product_of(0, last);
      out_.blocks = (dims_[last].size + per_group - 1) / per_group;
      out_.groups = out_.rows * out_.blocks;
    } else {
      out_.rows = total;
      out_.groups = (total + per_group - 1) / per_group;
    }
  }

  /// Lets four neighbours along dimension d be loaded and stored at once, where that ever happens.
  void take_fours(int d) {
    if (dims_[d].size % 4) return;
    for (size_t a = 0; a < accesses_.size(); ++a) {
      bool four = size_of(accesses_[a].dtype) == 4 && dims_[d].strides[a] == 1 && accesses_[a].offset % 4 == 0;
      for (int e = 0; e < static_cast<int>(dims_.size()); ++e) four = four && (e == d || dims_[e].strides[a] % 4 == 0);
      for (const Node& n : nodes_) four = four && !(n.op == ExprOp::Load && n.b >= 0 && n.a == static_cast<int>(a));
      out_.spec.accesses[a].four = four;
      out_.spec.fours |= four;
    }
  }

  /// Texel buffers for what is loaded, in elements of 32 bits, where invocations load differently. What is written in the same launch is
  /// read before by the invocation that writes it, unless an order or a computed place says otherwise.
  void load_texels() {
    KernelSpec& spec = out_.spec;
    std::vector<bool> barred(accesses_.size());
    for (const KernelStore& st : spec.stores)
      for (size_t a = 0; a < accesses_.size(); ++a)
        if (accesses_[a].slot == accesses_[st.store.access].slot)
          barred[a] = barred[a] || spec.sequential || ordered_reduction_ || st.store.index >= 0 || st.store.combine != Combine::None;
    std::vector<std::pair<int, bool>> kinds;  // binding, four
    const int first = spec.bindings;
    for (const Node& n : nodes_) {
      if (n.op != ExprOp::Load) continue;
      KernelAccess& a = spec.accesses[n.a];
      const bool same_for_all = n.b < 0 && (spec.shape == Shape::Rows ? !(a.nonzero >> (spec.parallel - 1) & 1) : a.nonzero == 0);
      if (a.texels >= 0 || size_of(a.dtype) != 4 || barred[n.a] || same_for_all) continue;
      auto it = std::find(kinds.begin(), kinds.end(), std::pair(a.binding, a.four));
      if (it == kinds.end()) {
        if (first + static_cast<int>(kinds.size()) + 1 >= static_cast<int>(std::min(caps_.max_bindings, 32u))) continue;
        it = kinds.insert(it, {a.binding, a.four});
      }
      a.texels = first + static_cast<int>(it - kinds.begin());
      spec.texels |= 1u << a.texels;
    }
    spec.bindings += static_cast<int>(kinds.size());
  }

  /// Whether what is read most is contiguous along reduction dimension d rather than along the last parallel one.
  bool reads_along_reduction() const {
    const KernelSpec& spec = out_.spec;
    const int inner = static_cast<int>(dims_.size()) - 1, last = spec.parallel - 1;
    double along = 0, across = 0;
    for (const Node& n : nodes_) {
      if (n.op != ExprOp::Load) continue;
      double walked = 1;
      for (const Dim& d : dims_) walked *= d.strides[n.a] ? static_cast<double>(d.size) : 1;
      if (std::abs(dims_[inner].strides[n.a]) == 1) along += walked;
      if (last >= 0 && std::abs(dims_[last].strides[n.a]) == 1) across += walked;
    }
    return along >= across;
  }

  void share_out_reduction(const std::string& name) {
    KernelSpec& spec = out_.spec;
    spec.shape = Shape::Reduce;
    spec.local = kLocal;
    const int first = spec.first_reduction(), inner = spec.rank() - 1;
    const int64_t reduced = product_of(first, spec.rank());
    out_.rows = product_of(0, spec.parallel);
    out_.ordered = product_of(spec.parallel, first);
    const bool free_order = !ordered_reduction_ && spec.sequential == 0;
    // A rasteriser on the processor pays for barriers, and reads lane by lane whatever the order: it takes a row an invocation.
    const bool alone = caps_.software && out_.rows >= kRowsOfSoftware;
    if (free_order && reduced >= kShortReduction && !alone && (reads_along_reduction() || out_.rows < 8)) {
      const int64_t most = std::min<int64_t>(kLocal, reduced >= 512 ? 64 : reduced >= 128 ? 32 : 8);
      spec.lanes = static_cast<int>(std::bit_floor(static_cast<uint64_t>(most)));
    }
    if (spec.lanes > 1 && dims_[inner].size < spec.lanes && spec.reduction > 1) spec.flat_reduction = true;
    if (caps_.texel_loads && spec.lanes == 1 && free_order && loop_weight() < 1000) take_fours(inner);
    const int64_t per_group = spec.local / spec.lanes;
    out_.groups = (out_.rows + per_group - 1) / per_group;
    const ir::Stages stages = stages_of(spec);
    const int64_t passes = std::max(stages.count + stages.full, 1);
    const int64_t longest = std::max<int64_t>(kMostSteps / (2 * loop_weight()), 1);  // elements of one invocation; nested loops count twice
    if (!free_order) {
      out_.ordered_a_launch = std::clamp<int64_t>(longest / (passes * reduced), 1, out_.ordered);
      if (passes * reduced > longest)
        throw Error(ErrorKind::NotImplemented,
                    "[" + name + "] a reduction of " + std::to_string(reduced) + " indices that must be met in order");
      return;
    }
    int split = first;
    for (int d = first; d <= inner; ++d) {
      if (dims_[d].size > dims_[split].size) split = d;
    }
    int64_t chunks = 1;
    const int64_t worth = kChunkElements / (spec.lanes > 1 ? 1 : 16);
    if (out_.groups < kEnoughGroups) chunks = std::min((kEnoughGroups + out_.groups - 1) / out_.groups, reduced / worth);
    if (spec.lanes == 1) chunks = std::max(chunks, reduced / kChunkElements);
    if (!spec.flat_reduction) chunks = std::min(chunks, dims_[split].size);
    const int64_t least = (passes * reduced / spec.lanes + longest - 1) / longest;
    if (chunks < least) {  // along one dimension it does not come apart enough
      chunks = least;
      if (chunks > dims_[split].size) spec.flat_reduction = true;
    }
    if (spec.flat_reduction) {
      spec.fours = false;
      for (KernelAccess& a : spec.accesses) a.four = false;
    }
    if (chunks <= 1) return;
    const int64_t length = spec.flat_reduction ? reduced : dims_[split].size;
    out_.chunk = (length + chunks - 1) / chunks;
    const int64_t whole = spec.fours ? 4 : spec.lanes;
    if (spec.flat_reduction || split == inner) out_.chunk = round_up(out_.chunk, whole);
    out_.chunks = (length + out_.chunk - 1) / out_.chunk;
    if (out_.chunks > 1) spec.split_dim = split;
  }

  /// Whatever a launch counts is a word.
  void require_counts(const std::string& name) const {
    int64_t most = std::max({out_.rows, out_.groups, out_.ordered, out_.chunk, out_.rows * out_.chunks});
    for (const int64_t size : out_.sizes) most = std::max(most, size);
    if (out_.spec.flat_reduction) most = std::max(most, product_of(out_.spec.first_reduction(), out_.spec.rank()));
    if (most > kMostIndices)
      throw Error(ErrorKind::Value, "[" + name + "] runs over " + std::to_string(most) + " indices at once; a shader counts to " +
                                        std::to_string(kMostIndices));
  }

  /// Steps of loops that one index takes, itself included.
  int64_t loop_weight() const {
    int64_t steps = 1;
    const Node* last = nullptr;  // several Repeats of one loop stand together
    for (const Node& n : nodes_) {
      if (n.op == ExprOp::Repeat && !(last && last->a == n.a && last->b == n.b)) steps += n.imm.i, last = &n;
      if (n.op == ExprOp::Rem && is_float(n.type)) steps += n.type == DType::F64 ? 200 : 40;
      if (n.op == ExprOp::Pow && !is_float(n.type)) steps += 64;
    }
    for (const KernelStore& s : out_.spec.stores) steps += s.atomic ? 16 : 0;  // where many meet, they try again
    return steps;
  }

  // One binding a slot, so that what is loaded and stored there goes through one descriptor.
  void bind() {
    KernelSpec& spec = out_.spec;
    std::vector<int32_t> slots;
    for (size_t a = 0; a < accesses_.size(); ++a) {
      auto it = std::find(slots.begin(), slots.end(), accesses_[a].slot);
      if (it == slots.end()) it = slots.insert(slots.end(), accesses_[a].slot);
      spec.accesses[a].binding = static_cast<int>(it - slots.begin());
    }
    for (KernelAccess& a : spec.accesses) {
      a.alone =
          std::count_if(spec.accesses.begin(), spec.accesses.end(), [&](const KernelAccess& o) { return o.binding == a.binding; }) == 1;
    }
    spec.bindings = static_cast<int>(slots.size());
    spec.by_address = caps_.by_address;
    const bool checks = std::any_of(nodes_.begin(), nodes_.end(), [](const Node& n) { return n.op == ExprOp::Check; });
    if (checks) spec.faults = spec.bindings++;
    if (spec.split_dim >= 0) spec.scratch = spec.bindings++;
  }

  void estimate() {
    double cost = 1;
    for (const Node& n : nodes_) {
      cost += n.op == ExprOp::Load ? 4 : ir::info(n.op).libm && ir::arity(n.op) == 1 ? 16 : n.op == ExprOp::Philox ? 64 : 1;
    }
    out_.work = cost;
    for (const Dim& d : dims_) out_.work *= static_cast<double>(std::max<int64_t>(d.size, 1));
  }

  const Target& caps_;
  std::vector<char> atomic_;
  bool ordered_reduction_ = false;
  Schedule out_;
};

}  // namespace

Schedule schedule(const ir::Generic& g, const Target& caps) {
  return Scheduler(g, caps).run(g);
}

}  // namespace anygpu::gpu
