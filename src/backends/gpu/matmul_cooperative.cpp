#include "matmul_cooperative.h"

#include <algorithm>

#include "core/numbers.h"
#include "halves.h"

namespace anygpu::gpu {
namespace {

constexpr CooperativeTile kTiles[] = {{4, 4}, {2, 4}, {4, 2}, {2, 2}, {1, 2}, {2, 1}, {1, 1}};
constexpr int64_t kPartsDown = 2, kPartsAcross = 2, kParts = kPartsDown * kPartsAcross;
/// Words behind each line in shared memory: lines begin in different banks, at whole 16 bytes.
constexpr int64_t kPad = 4;
constexpr double kBusy = 16384;  // invocations that keep a GPU busy
constexpr int kLhsArray = 0, kRhsArray = 1, kSumArray = 2;

// Words of MatmulParams.
constexpr int kM = 0, kN = 1, kK = 2, kRowTile = 3, kBatch = 4, kOffset = 5, kRow = 9, kColumn = 13, kBatches = 17, kBatchStride = 18;

uint32_t word(int64_t v) {
  return static_cast<uint32_t>(v);
}

// Of a form: elements of a subgroup, and words of a line in shared memory, two elements each.
int64_t part_m(const CooperativeForm& f) {
  return f.rows * f.size_m;
}
int64_t part_n(const CooperativeForm& f) {
  return f.columns * f.size_n;
}
bool lhs_along_k(const CooperativeForm& f) {
  return f.stages.lhs < 2;
}
bool rhs_along_k(const CooperativeForm& f) {
  return f.stages.rhs < 2;
}
int64_t lhs_line(const CooperativeForm& f) {
  return (lhs_along_k(f) ? f.k() : f.m()) / 2 + kPad;
}
int64_t rhs_line(const CooperativeForm& f) {
  return (rhs_along_k(f) ? f.k() : f.n()) / 2 + kPad;
}
int64_t lhs_words(const CooperativeForm& f) {
  return lhs_line(f) * (lhs_along_k(f) ? f.m() : f.k());
}
int64_t rhs_words(const CooperativeForm& f) {
  return rhs_line(f) * (rhs_along_k(f) ? f.n() : f.k());
}
int64_t sum_words(const CooperativeForm& f) {
  return kParts * f.size_m * f.size_n;
}

CooperativeForm form_of(const MatmulProblem& p, const CooperativeTile& t, const Capabilities& can) {
  CooperativeForm f{};
  f.rows = t.rows, f.columns = t.columns;
  f.size_m = can.cooperative_m, f.size_n = can.cooperative_n, f.size_k = can.cooperative_k;
  f.invocations = kParts * can.subgroup_size;
  f.stages = stages_of(p);
  f.dst_kind = kind_of(p.arrays[kDst].operand.dtype);
  f.bias = p.count > kBias;
  f.bias_kind = f.bias ? kind_of(p.arrays[kBias].operand.dtype) : 0;
  return f;
}

/// One kernel under construction.
class Emitting {
 public:
  Emitting(Builder& b, const CooperativeForm& f) : f_(f), b_(b) {}

  void run() {
    b_.share_with_matrices();
    b_.shared_length(kLhsArray, word(lhs_words(f_)));
    b_.shared_length(kRhsArray, word(rhs_words(f_)));
    b_.shared_length(kSumArray, word(sum_words(f_)));
    local_ = b_.local_index(), subgroup_ = b_.subgroup(), subgroups_ = b_.subgroups();
    const Value z = b_.param(kBatch) + b_.group(2), inner = z % b_.param(kBatches), outer = z / b_.param(kBatches);
    for (int i = 0; i < 4; ++i)
      at_[i] = b_.param(kOffset + i) + outer * b_.param(kBatchStride + i) + inner * b_.param(kBatchStride + 4 + i);
    row_ = (b_.param(kRowTile) + b_.group(1)) * number(f_.m());
    column_ = b_.group(0) * number(f_.n());
    for (int64_t i = 0; i < f_.rows * f_.columns; ++i) sums_.push_back(b_.matrix_variable(sum_));
    // Subgroups may be fewer than parts, or more: what a device says of their size is not what every shader gets.
    b_.loop(number(0), number(kParts), subgroups_, [&](Value pass) { part(pass); });
  }

 private:
  /// Of a tile: how many elements, the first and the last in the array, and the stride there.
  struct Axis {
    int64_t count;
    Value first, limit, stride;
  };

  Value number(int64_t v) { return b_.u32(word(v)); }
  Value least(Value x, Value y) { return b_.op(Op::Least, Type::U32, {x, y}); }

  void part(Value pass) {
    const Value mine = pass + subgroup_, works = mine < number(kParts);
    for (const Id s : sums_) b_.matrix_clear(s, sum_);
    b_.loop(number(0), b_.param(kK), number(f_.k()), [&](Value k) {
      const Axis m{f_.m(), row_, b_.param(kM), b_.param(kRow + kLhs)}, n{f_.n(), column_, b_.param(kN), b_.param(kColumn + kRhs)};
      const Axis lhs_k{f_.k(), k, b_.param(kK), b_.param(kColumn + kLhs)}, rhs_k{f_.k(), k, b_.param(kK), b_.param(kRow + kRhs)};
      b_.barrier();
      stage(kLhs, kLhsArray, f_.stages.lhs, m, lhs_k);
      stage(kRhs, kRhsArray, f_.stages.rhs, n, rhs_k);
      b_.barrier();
      b_.if_(works, [&] { multiply(mine); });
    });
    for (int64_t i = 0; i < f_.rows; ++i)
      for (int64_t j = 0; j < f_.columns; ++j) {
        b_.barrier();
        b_.if_(works, [&] {
          b_.matrix_store(sums_[static_cast<size_t>(i * f_.columns + j)], sum_, kSumArray, subgroup_ * number(f_.size_m * f_.size_n),
                          word(f_.size_n));
        });
        b_.barrier();
        store(pass, i, j);
      }
  }

  /// A tile of a factor into shared memory: lines of pairs, along k or along the side as they lie in memory. Past the edge: zeros.
  void stage(int operand, int array, uint32_t how, const Axis& side, const Axis& k) {
    const bool along_k = how < 2, whole = how == 1 || how == 2;  // whole: a pair is a word there, too
    const Axis &line = along_k ? side : k, &pair = along_k ? k : side;
    const int64_t pairs = pair.count / 2, all = line.count * pairs;
    for (int64_t done = 0; done < all; done += f_.invocations) {
      const Value w = local_ + number(done), l = w / number(pairs), p = w % number(pairs);
      const Value row = line.first + l, column = pair.first + p * number(2);
      auto word_at = [&](Value c, Value last) {
        const Value e = at_[operand] + least(row, line.limit - number(1)) * line.stride + least(c, last) * pair.stride;
        return std::pair(b_.load(operand, Type::U32, e >> 1), e);
      };
      auto inside = [&](Value c, Value v) { return b_.select((row < line.limit) & (c < pair.limit), v, number(0)); };
      auto half = [&](Value c) {
        const auto [v, e] = word_at(c, pair.limit - number(1));
        return inside(c, (v >> ((e & number(1)) << 4)) & number(0xffff));
      };
      const Value v = whole ? inside(column, word_at(column, pair.limit - number(2)).first) : half(column) | half(column + number(1)) << 16;
      auto put = [&] { b_.shared_store(array, v, l * number(pairs + kPad) + p); };
      if (done + f_.invocations <= all)
        put();
      else
        b_.if_(w < number(all), put);
    }
  }

  void multiply(Value mine) {
    const Value first_m = mine / number(kPartsAcross) * number(part_m(f_)), first_n = mine % number(kPartsAcross) * number(part_n(f_));
    auto place = [&](bool along_k, int64_t line, Value side, int64_t k) {
      return along_k ? side * number(line) + number(k / 2) : number(k * line) + (side >> 1);
    };
    for (int64_t k = 0; k < f_.k(); k += f_.size_k) {
      std::vector<Id> a, b;
      for (int64_t i = 0; i < f_.rows; ++i)
        a.push_back(b_.matrix_load(a_, kLhsArray, place(lhs_along_k(f_), lhs_line(f_), first_m + number(i * f_.size_m), k),
                                   word(lhs_line(f_)), !lhs_along_k(f_)));
      for (int64_t j = 0; j < f_.columns; ++j)
        b.push_back(b_.matrix_load(b_type_, kRhsArray, place(rhs_along_k(f_), rhs_line(f_), first_n + number(j * f_.size_n), k),
                                   word(rhs_line(f_)), rhs_along_k(f_)));
      for (size_t i = 0; i < a.size(); ++i)
        for (size_t j = 0; j < b.size(); ++j) b_.matrix_multiply(sums_[i * b.size() + j], sum_, a[i], b[j]);
    }
  }

  /// Matrix (i, j) of every part of this pass, from shared memory, where it was put by subgroups, by all invocations.
  void store(Value pass, int64_t i, int64_t j) {
    const int64_t size = f_.size_m * f_.size_n, all = sum_words(f_);
    for (int64_t done = 0; done < all; done += f_.invocations) {
      const Value t = local_ + number(done), slot = t / number(size), inner = t % number(size), part = pass + slot;
      const Value row = row_ + part / number(kPartsAcross) * number(part_m(f_)) + number(i * f_.size_m) + inner / number(f_.size_n);
      const Value column = column_ + part % number(kPartsAcross) * number(part_n(f_)) + number(j * f_.size_n) + inner % number(f_.size_n);
      const Value there = (slot < least(subgroups_, number(kParts))) & (part < number(kParts));
      b_.if_(there & (row < b_.param(kM)) & (column < b_.param(kN)),
             [&] { store_one(b_.shared_load(Type::F32, kSumArray, t), row, column); });
    }
  }

  Value element(int operand, Value row, Value column) {
    return at_[operand] + row * b_.param(kRow + operand) + column * b_.param(kColumn + operand);
  }

  void store_one(Value v, Value row, Value column) {
    if (f_.bias && !f_.adds) {
      const Value e = element(kBias, row, column);
      if (f_.bias_kind) {
        const Value both = b_.load(kBias, Type::U32, e >> 1);
        v = v + decode_half(f_.bias_kind == 2, (both >> ((e & number(1)) << 4)) & number(0xffff));
      } else {
        v = v + b_.bits(b_.load(kBias, Type::U32, e), Type::F32);
      }
    }
    const Value e = element(kDst, row, column);
    if (f_.dst_kind) {
      b_.store_narrow(kDst, Type::U16, encode_half(f_.dst_kind == 2, v), e);
    } else {
      if (f_.adds) v = v + b_.bits(b_.load(kDst, Type::U32, e), Type::F32);
      b_.store(kDst, b_.bits(v, Type::U32), e);
    }
  }

  const CooperativeForm& f_;
  Builder& b_;
  const MatrixType a_{MatrixType::A, word(f_.size_m), word(f_.size_k)}, b_type_{MatrixType::B, word(f_.size_k), word(f_.size_n)},
      sum_{MatrixType::Sum, word(f_.size_m), word(f_.size_n)};
  Value local_, subgroup_, subgroups_, at_[4], row_, column_;
  std::vector<Id> sums_;
};

}  // namespace

std::string CooperativeTile::name() const {
  return "cooperative " + std::to_string(rows) + "x" + std::to_string(columns);
}

int64_t CooperativeForm::m() const {
  return kPartsDown * part_m(*this);
}

int64_t CooperativeForm::n() const {
  return kPartsAcross * part_n(*this);
}

int64_t CooperativeForm::k() const {
  return std::max<int64_t>(32, 2 * size_k);
}

int64_t CooperativeForm::shared_bytes() const {
  return 4 * (lhs_words(*this) + rhs_words(*this) + sum_words(*this));
}

CooperativeForm cooperative_form(MatmulProblem& p, const CooperativeTile& t, const Capabilities& can) {
  along_rows(p);  // neighbouring invocations store neighbours
  return form_of(p, t, can);
}

void emit(Builder& b, const CooperativeForm& f) {
  Emitting(b, f).run();
}

std::vector<CooperativeTile> cooperative_tiles(const MatmulProblem& p, const Capabilities& can) {
  std::vector<std::pair<double, CooperativeTile>> fit;
  for (const CooperativeTile& t : kTiles) {
    const CooperativeForm f = form_of(p, t, can);
    if (f.invocations > std::min(can.max_invocations, can.max_group_size[0]) || f.shared_bytes() > can.shared_bytes) continue;
    const auto groups =
        static_cast<double>(round_up<int64_t>(p.m, f.m()) / f.m() * (round_up<int64_t>(p.n, f.n()) / f.n()) * product(p.batch));
    const double idle = std::max(1.0, kBusy / (groups * static_cast<double>(f.invocations)));
    const double loads = 32 / static_cast<double>(f.m()) + 32 / static_cast<double>(f.n());
    fit.emplace_back(groups * static_cast<double>(f.m() * f.n()) * (1 + loads) * idle, t);
  }
  std::stable_sort(fit.begin(), fit.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  std::vector<CooperativeTile> tiles;
  for (const auto& [cost, t] : fit) tiles.push_back(t);
  return tiles;
}

}  // namespace anygpu::gpu
