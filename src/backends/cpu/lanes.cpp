#include "lanes.h"

#include <algorithm>
#include <cstdlib>
#include <optional>

#include "backends/cpu/library/library.h"
#include "backends/cpu/tile/kernels.h"
#include "generic_step.h"

namespace anygpu::cpu {
namespace {

// Steps above these have work for all threads by themselves.
constexpr double kMostMultiplications = 1 << 23;
constexpr int64_t kMostElements = 1 << 16;
constexpr size_t kFewestSteps = 4;

/// What a step touches of a slot: row 0 the bytes [low, high), row r those `row` bytes times r further on.
struct Rows {
  int32_t slot;
  bool write;
  int64_t row, low, high;
};

/// Where the rows of a step are: a dimension of a Generic, or a Matmul's m.
struct Found {
  int dim;
  std::vector<Rows> touches;
};

Rows rows_of(int32_t slot, DType t, bool write, int64_t offset, int64_t row_stride, const Dims& sizes, const Dims& strides, int skip) {
  Rows r{slot, write, row_stride * size_of(t), offset, offset + 1};
  for (int d = 0; d < sizes.size(); ++d) {
    if (d == skip) continue;
    const int64_t span = strides[d] * (sizes[d] - 1);
    (span < 0 ? r.low : r.high) += span;
  }
  r.low *= size_of(t);
  r.high *= size_of(t);
  return r;
}

/// Whether lanes that hold different rows never meet in what x and y touch.
bool apart(const Rows& x, const Rows& y, int64_t rows) {
  if (x.slot != y.slot || !(x.write || y.write)) return true;
  auto end = [&](const Rows& r, bool last) {
    const int64_t span = r.row * (rows - 1);
    return last ? r.high + std::max<int64_t>(span, 0) : r.low + std::min<int64_t>(span, 0);
  };
  if (end(x, true) <= end(y, false) || end(y, true) <= end(x, false)) return true;
  return x.row == y.row && std::max(x.high, y.high) - std::min(x.low, y.low) <= std::abs(x.row);
}

bool is_plain(const ir::Generic& g) {
  for (const ir::Node& n : g.body.nodes()) {
    const bool computed_address = n.op == ir::ExprOp::Load && n.b >= 0;
    if (n.op == ir::ExprOp::Check || n.op == ir::ExprOp::Index || computed_address) return false;
  }
  for (const ir::Store& s : g.stores) {
    if (s.index >= 0 || s.combine != ir::Combine::None) return false;
  }
  return true;
}

class Finder {
 public:
  explicit Finder(int64_t rows) : rows_(rows) {}

  /// Whether the step joins the run; if so, where its rows are.
  std::optional<int> add(const ir::Step& step) {
    if (const auto* g = std::get_if<ir::Generic>(&step)) {
      if (!is_plain(*g) || product(g->sizes) > kMostElements) return std::nullopt;
      for (int d = 0; d < g->rank(); ++d) {
        if (g->sizes[d] == rows_ && !g->reduces(d) && joins(touches_of(*g, d))) return d;
      }
      return std::nullopt;
    }
    const auto& n = std::get<ir::Named>(step);
    if (rows_of_matmul(n) != rows_ || !joins(touches_of(n))) return std::nullopt;
    return 0;
  }

  /// m of a matmul that lanes do, else 0.
  static int64_t rows_of_matmul(const ir::Named& n) {
    if (n.kind != ir::NamedKind::Matmul || n.operands[0].dtype != DType::F32 || n.operands[0].rank() != 2) return 0;
    const ir::Operand &dst = n.operands[0], &lhs = n.operands[1];
    const double work = static_cast<double>(product(dst.sizes)) * static_cast<double>(lhs.sizes[1]);
    if (dst.sizes[1] < 2 || dst.strides[1] != 1 || work > kMostMultiplications || lhs.sizes[1] == 0) return 0;
    if (n.operands.size() > 3 && n.operands[3].slot >= 0 && n.operands[3].strides[1] != 1) return 0;
    return dst.sizes[0];
  }

 private:
  std::vector<Rows> touches_of(const ir::Generic& g, int dim) const {
    std::vector<Rows> all;
    for (size_t i = 0; i < g.accesses.size(); ++i) {
      const ir::Access& a = g.accesses[i];
      bool write = false;
      for (const ir::Store& s : g.stores) write |= s.access == static_cast<int32_t>(i);
      all.push_back(rows_of(a.slot, a.dtype, write, a.offset, a.strides[dim], g.sizes, a.strides, dim));
    }
    return all;
  }

  std::vector<Rows> touches_of(const ir::Named& n) const {
    std::vector<Rows> all;
    for (size_t i = 0; i < n.operands.size(); ++i) {
      const ir::Operand& o = n.operands[i];
      if (o.slot < 0) continue;
      const bool shared = i == 2;  // the right factor: every row reads all of it
      const int64_t row = shared || o.sizes[0] == 1 ? 0 : o.strides[0];
      all.push_back(rows_of(o.slot, o.dtype, i == 0, o.offset, row, o.sizes, o.strides, shared ? -1 : 0));
    }
    return all;
  }

  bool joins(std::vector<Rows> touches) {
    for (size_t i = 0; i < touches.size(); ++i) {
      for (size_t j = i; j < touches.size(); ++j) {
        if (!apart(touches[i], touches[j], rows_)) return false;
      }
      const auto slot = static_cast<size_t>(touches[i].slot);
      if (slot >= seen_.size()) continue;
      for (const Rows& before : seen_[slot]) {
        if (!apart(touches[i], before, rows_)) return false;
      }
    }
    for (const Rows& t : touches) {
      if (static_cast<size_t>(t.slot) >= seen_.size()) seen_.resize(static_cast<size_t>(t.slot) + 1);
      seen_[static_cast<size_t>(t.slot)].push_back(t);
    }
    return true;
  }

  int64_t rows_;
  std::vector<std::vector<Rows>> seen_;  // by slot
};

ir::Generic slice(const ir::Generic& g, int dim, int64_t first, int64_t count) {
  ir::Generic part = g;
  part.sizes[dim] = count;
  for (ir::Access& a : part.accesses) a.offset += a.strides[dim] * first;
  return part;
}

/// A right factor, packed once a run for all lanes.
struct Packed {
  ir::Operand matrix;
  int64_t floats, at;  // at: first float in the scratch
  bool same(const ir::Operand& o) const {
    return o.slot == matrix.slot && o.offset == matrix.offset && o.sizes == matrix.sizes && o.strides == matrix.strides;
  }
};

struct LaneMatmul {
  int64_t rows;
  ir::Operand dst, lhs, bias;
  size_t packed;
};

struct LaneStep {
  std::unique_ptr<GenericStep> generic;
  LaneMatmul matmul;
};

float* address(const Memory* slots, const ir::Operand& o) {
  const Memory& m = slots[o.slot];
  return reinterpret_cast<float*>(static_cast<char*>(m.handle) + m.offset) + o.offset;
}

class RowLanes final : public Lanes {
 public:
  RowLanes(std::span<const ir::Step> steps, const std::vector<int>& dims, int64_t rows) : steps_(steps.size()) {
    const int64_t lanes = std::min<int64_t>(library().threads(), rows);
    lanes_.resize(static_cast<size_t>(lanes));
    for (int64_t l = 0; l < lanes; ++l) {
      const int64_t first = rows * l / lanes, count = rows * (l + 1) / lanes - first;
      for (size_t i = 0; i < steps.size(); ++i) {
        LaneStep made;
        if (const auto* g = std::get_if<ir::Generic>(&steps[i]))
          made.generic = std::make_unique<GenericStep>(slice(*g, dims[i], first, count));
        else
          made.matmul = lane_of(std::get<ir::Named>(steps[i]), first, count);
        lanes_[static_cast<size_t>(l)].push_back(std::move(made));
      }
    }
  }

  size_t steps() const override { return steps_; }

  void wait() override {
    for (auto& lane : lanes_) {
      for (LaneStep& s : lane) {
        if (s.generic) s.generic->wait();
      }
    }
  }

  void run(const Bindings& bindings, StepTime* times) override {
    thread_local std::vector<float> scratch;  // kept: fresh pages cost more than packing does
    if (scratch.size() < static_cast<size_t>(floats_) + 16) scratch.resize(static_cast<size_t>(floats_) + 16);
    float* packed = reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(scratch.data()) + 63) / 64 * 64);
    for (const Packed& p : packed_) pack(p, bindings.slots.data(), packed + p.at);
    parallel_for(library(), static_cast<int64_t>(lanes_.size()), 1, [&](int64_t begin, int64_t end) {
      for (int64_t l = begin; l < end; ++l) {
        StepTime* mine = l == 0 ? times : nullptr;
        for (const LaneStep& s : lanes_[static_cast<size_t>(l)]) {
          const double start = mine ? now_us() : 0;
          if (s.generic)
            s.generic->run(library(), bindings);  // without Checks, it has no faults
          else
            multiply(s.matmul, bindings.slots.data(), packed);
          if (mine) *mine++ = {start, now_us()};
        }
      }
    });
  }

 private:
  LaneMatmul lane_of(const ir::Named& n, int64_t first, int64_t count) {
    LaneMatmul m{count, n.operands[0], n.operands[1], {}, 0};
    if (n.operands.size() > 3 && n.operands[3].slot >= 0) {
      m.bias = n.operands[3];
      if (m.bias.sizes[0] == 1) m.bias.strides[0] = 0;
      m.bias.offset += m.bias.strides[0] * first;
    }
    m.dst.offset += m.dst.strides[0] * first;
    m.lhs.offset += m.lhs.strides[0] * first;
    while (m.packed < packed_.size() && !packed_[m.packed].same(n.operands[2])) ++m.packed;
    if (m.packed == packed_.size()) {
      const ir::Operand& b = n.operands[2];
      const int64_t floats = (tile::kernels().packed_floats(b.sizes[0], b.sizes[1]) + 15) / 16 * 16;
      packed_.push_back({b, floats, floats_});
      floats_ += floats;
    }
    return m;
  }

  static void pack(const Packed& p, const Memory* slots, float* to) {
    const tile::Kernels& k = tile::kernels();
    const int64_t depth = p.matrix.sizes[0], columns = p.matrix.sizes[1], panels = (columns + k.width - 1) / k.width;
    const float* from = address(slots, p.matrix);
    const int64_t grain = std::max<int64_t>(1, 32768 / (depth * k.width));
    parallel_for(library(), panels, grain, [&](int64_t begin, int64_t end) {
      const int64_t first = begin * k.width, count = std::min(columns, end * k.width) - first;
      k.pack(depth, count, {from + first * p.matrix.strides[1], p.matrix.strides[0], p.matrix.strides[1]}, to + first * depth);
    });
  }

  void multiply(const LaneMatmul& m, const Memory* slots, const float* packed) const {
    const tile::Matrix lhs{address(slots, m.lhs), m.lhs.strides[0], m.lhs.strides[1]};
    const tile::Matrix init{m.bias.slot >= 0 ? address(slots, m.bias) : nullptr, m.bias.slot >= 0 ? m.bias.strides[0] : 0, 1};
    tile::kernels().multiply(m.rows, m.dst.sizes[1], m.lhs.sizes[1], lhs, packed + packed_[m.packed].at, init, address(slots, m.dst),
                             m.dst.strides[0]);
  }

  size_t steps_;
  std::vector<std::vector<LaneStep>> lanes_;
  std::vector<Packed> packed_;
  int64_t floats_ = 0;
};

/// Where the rows of each step of the run are: empty where there is none.
std::vector<int> find(std::span<const ir::Step> steps, int64_t& rows) {
  // The first few steps say how many rows there are.
  rows = 0;
  for (size_t i = 0; i < std::min<size_t>(steps.size(), 3) && rows == 0; ++i) {
    if (const auto* n = std::get_if<ir::Named>(&steps[i])) rows = Finder::rows_of_matmul(*n);
  }
  if (rows == 0) return {};
  Finder finder(rows);
  std::vector<int> dims;
  size_t matmuls = 0;
  while (dims.size() < steps.size()) {
    const std::optional<int> dim = finder.add(steps[dims.size()]);
    if (!dim) break;
    matmuls += std::holds_alternative<ir::Named>(steps[dims.size()]);
    dims.push_back(*dim);
  }
  if (dims.size() < kFewestSteps || matmuls < 2) return {};
  return dims;
}

}  // namespace

size_t lanes_from(std::span<const ir::Step> steps) {
  int64_t rows = 0;
  return find(steps, rows).size();
}

std::unique_ptr<Lanes> make_lanes(std::span<const ir::Step> steps) {
  int64_t rows = 0;
  const std::vector<int> dims = find(steps, rows);
  return std::make_unique<RowLanes>(steps.first(dims.size()), dims, rows);
}

}  // namespace anygpu::cpu
