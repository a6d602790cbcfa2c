// Temporaries between convolutions in the layout that the library computes in. What one writes and the next reads is then reordered by
// neither, and the Generics between them walk it as it lies.
//
// Of a dense [N, C, spatial..] with planes of P = product(spatial) elements, each b planes are stored as [P, b] instead of [b, P]. So an
// element's place is written with three digits, in units of 1, P and b*P, of which the lower two change places. A Generic follows if each
// of its dimensions steps one digit only; a dimension that crosses a border is split there first.
#include <algorithm>

#include "runtime/plan.h"

namespace anygpu {

using ir::Generic;

namespace {

struct Blocks {
  int64_t block = 0, plane = 0;  // 0: the slot stays as strides say
  DType dtype = DType::F32;
  int64_t whole() const { return block * plane; }
};

/// The units in which dimension d of an access must be split, appended; false where splitting does not help.
bool split_points(const ir::Access& a, const Generic& g, int d, const Blocks& to, std::vector<int64_t>& units) {
  const int64_t stride = a.strides[d], n = g.sizes[d];
  if (stride == 0 || n == 1) return true;
  if (stride < 0) return false;
  for (int64_t border : {to.plane, to.whole()}) {
    if (stride >= border || stride * (n - 1) < border) continue;
    if (border % stride != 0 || n % (border / stride) != 0) return false;
    units.push_back(border / stride);
  }
  return true;
}

/// An access after splitting, in the new layout; false where a digit would carry.
bool remap(ir::Access& a, const Dims& sizes, const Blocks& to) {
  int64_t low = a.offset % to.plane, middle = a.offset % to.whole() / to.plane;
  const int64_t high = a.offset / to.whole() * to.whole();
  if (a.offset < 0) return false;
  a.offset = high + low * to.block + middle;
  for (int d = 0; d < sizes.size(); ++d) {
    int64_t& stride = a.strides[d];
    if (sizes[d] <= 1 || stride == 0) continue;
    if (stride < to.plane) {
      low += stride * (sizes[d] - 1);
      stride *= to.block;
    } else if (stride < to.whole()) {
      if (stride % to.plane != 0) return false;
      middle += stride / to.plane * (sizes[d] - 1);
      stride /= to.plane;
    } else if (stride % to.whole() != 0) {
      return false;
    }
  }
  return low < to.plane && middle < to.block;
}

class Blocker {
 public:
  Blocker(std::vector<ir::Step>& steps, const std::vector<Slot>& slots, const Backend& backend)
      : steps_(steps), slots_(slots), backend_(backend), blocks_(slots.size()), refused_(slots.size()) {}

  void run() {
    for (const ir::Step& s : steps_) {
      if (const auto* n = std::get_if<ir::Named>(&s)) ask(*n);
    }
    // Those that others cannot follow are refused, until none is left.
    std::vector<Generic> moved;
    do {
      again_ = false;
      moved.clear();
      for (const ir::Step& s : steps_) {
        if (const auto* n = std::get_if<ir::Named>(&s)) hold_to(*n);
      }
      for (const ir::Step& s : steps_) {
        const auto* g = std::get_if<Generic>(&s);
        if (g && touches_blocks(*g)) moved.push_back(follow(*g));
      }
    } while (again_);
    size_t next = 0;
    for (ir::Step& s : steps_) {
      if (auto* n = std::get_if<ir::Named>(&s)) {
        for (ir::Operand& o : n->operands) {
          if (o.slot >= 0) o.block = blocks_of(o.slot).block;
        }
      } else if (auto& g = std::get<Generic>(s); touches_blocks(g)) {
        g = std::move(moved[next++]);
        ir::normalise(g);
      }
    }
  }

 private:
  Blocks& blocks_of(int32_t slot) { return blocks_[static_cast<size_t>(slot)]; }
  void refuse(int32_t slot) {
    again_ |= blocks_of(slot).block != 0;
    blocks_of(slot) = {};
    refused_[static_cast<size_t>(slot)] = true;
  }

  void ask(const ir::Named& n) {
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const ir::Operand& o = n.operands[i];
      if (o.slot < 0 || refused_[static_cast<size_t>(o.slot)]) continue;
      const Slot& s = slots_[static_cast<size_t>(o.slot)];
      if (s.has_bytes || s.live_after) continue;
      const int64_t block = backend_.channel_block(n, static_cast<int>(i));
      const Blocks b{block, block > 1 ? o.strides[1] : 1, o.dtype};
      if (block > 1 && s.bytes % (b.whole() * size_of(b.dtype)) == 0) blocks_of(o.slot) = b;
    }
  }

  /// Every Named must see the slot as all others do.
  void hold_to(const ir::Named& n) {
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const ir::Operand& o = n.operands[i];
      if (o.slot < 0 || blocks_of(o.slot).block == 0) continue;
      const Blocks& b = blocks_of(o.slot);
      if (backend_.channel_block(n, static_cast<int>(i)) != b.block || o.strides[1] != b.plane || o.dtype != b.dtype) refuse(o.slot);
    }
  }

  bool touches_blocks(const Generic& g) {
    return std::any_of(g.accesses.begin(), g.accesses.end(), [&](const ir::Access& a) { return blocks_of(a.slot).block != 0; });
  }

  /// The Generic over dimensions that step one digit each, on slots in their new layout. Refuses what stands in the way.
  Generic follow(const Generic& g) {
    for (const ir::Node& n : g.body.nodes()) {
      if (n.op == ir::ExprOp::Load && n.b >= 0) refuse(g.accesses[static_cast<size_t>(n.a)].slot);
    }
    for (const ir::Store& s : g.stores) {
      if (s.index >= 0) refuse(g.accesses[static_cast<size_t>(s.access)].slot);
    }
    std::vector<std::vector<int64_t>> units(static_cast<size_t>(g.rank()), std::vector<int64_t>{1});
    for (const ir::Access& a : g.accesses) {
      const Blocks b = blocks_of(a.slot);
      if (b.block == 0) continue;
      auto with = units;
      bool good = a.dtype == b.dtype;
      for (int d = 0; d < g.rank() && good; ++d) {
        auto& u = with[static_cast<size_t>(d)];
        good = split_points(a, g, d, b, u);
        std::sort(u.begin(), u.end());
        u.erase(std::unique(u.begin(), u.end()), u.end());
        for (size_t i = 1; i < u.size(); ++i) good = good && u[i] % u[i - 1] == 0;
        good = good && g.sizes[d] % u.back() == 0;
      }
      size_t rank = 0;
      for (const auto& u : with) rank += u.size();
      if (good && rank <= static_cast<size_t>(kMaxRank))
        units = std::move(with);
      else
        refuse(a.slot);
    }
    std::vector<ir::DimPart> parts;
    for (int d = 0; d < g.rank(); ++d) {
      const auto& u = units[static_cast<size_t>(d)];
      for (size_t i = u.size(); i-- > 0;) parts.push_back({d, u[i], (i + 1 < u.size() ? u[i + 1] : g.sizes[d]) / u[i], g.reduces(d)});
    }
    Generic r = ir::over_dims(g, parts);
    for (ir::Access& a : r.accesses) {
      const Blocks b = blocks_of(a.slot);
      if (b.block != 0 && !remap(a, r.sizes, b)) refuse(a.slot);
    }
    return r;
  }

  std::vector<ir::Step>& steps_;
  const std::vector<Slot>& slots_;
  const Backend& backend_;
  std::vector<Blocks> blocks_;
  std::vector<bool> refused_;
  bool again_ = false;
};

}  // namespace

void block_channels(std::vector<ir::Step>& steps, const std::vector<Slot>& slots, const Backend& backend) {
  Blocker(steps, slots, backend).run();
}

}  // namespace anygpu
