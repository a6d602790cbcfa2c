// Reading what is contiguous along another dimension than the vector's: squares of lanes x lanes elements, transposed in registers.
#include "emitter.h"

namespace anygpu::cpu {
namespace {

/// How far ahead of the square at hand one is asked for; 1 and 4 were slower.
constexpr int kSquaresAhead = 2;

/// rows[i][j] to rows[j][i], in log2(n) rounds: blocks beside the diagonal change places, of 1, 2, 4, ... elements.
void transpose(IrBuilder& b, Values& rows) {
  const int n = static_cast<int>(rows.size());
  for (int s = 1; s < n; s *= 2) {
    Values low, high;
    for (int j = 0; j < n; ++j) {
      low.push_back(b.constant(b.i32, j & s ? n + j - s : j));
      high.push_back(b.constant(b.i32, j & s ? n + j : j + s));
    }
    const Value low_mask = LLVMConstVector(low.data(), n), high_mask = LLVMConstVector(high.data(), n);
    for (int i = 0; i < n; ++i) {
      if (i & s) continue;
      const Value x = rows[i], y = rows[i + s];
      rows[i] = LLVMBuildShuffleVector(b.b, x, y, low_mask, "");
      rows[i + s] = LLVMBuildShuffleVector(b.b, x, y, high_mask, "");
    }
  }
}

}  // namespace

// Where fewer than `lanes` indices are left of the tile dimension, the square begins earlier. Rows past the vector dimension's end
// are its last one again.
void Emitter::read_squares(Scope& scope) {
  const int n = spec_.lanes;
  const Lanes& lanes = *scope.lanes;
  for (int a = 0; a < layout_.accesses; ++a) {
    if (spec_.accesses[a].inner != Inner::Transposed) continue;
    const Type element = storage_type(spec_.accesses[a].dtype), row_type = b_.vec(element, n);
    const int bytes = b_.bits_of(element) / 8;
    Value& square = squares_[a];
    if (!square) square = b_.stack(LLVMArrayType(row_type, n));
    const Value start = b_.element(scope.pointers[a], element, square_first_), stride = parameter(layout_.stride(a, vector_));
    Values rows;
    for (int i = 0; i < n; ++i) {
      Value at = b_.index(i);
      if (lanes.active) at = b_.select(b_.icmp(LLVMIntSLT, at, lanes.active), at, b_.sub(lanes.active, b_.index(1)));
      rows.push_back(b_.load(row_type, b_.element(start, element, b_.mul(b_.add(lanes.index, at), stride)), bytes));
    }
    // A line a row, and rows far from each other: no order that a prefetcher foresees. After the loads, which must not wait for it.
    for (int i = 0; i < n; ++i)
      b_.prefetch(b_.element(start, element, b_.mul(b_.add(lanes.index, b_.index(kSquaresAhead * n + i)), stride)));
    transpose(b_, rows);
    for (int i = 0; i < n; ++i) b_.store(rows[i], b_.element(square, row_type, b_.index(i)), bytes);
  }
}

Value Emitter::load_from_square(const Scope& scope, int access) {
  const Type element = storage_type(spec_.accesses[access].dtype), row_type = b_.vec(element, spec_.lanes);
  const Value row = b_.sub(index_of(scope, spec_.outer - 1, 1), square_first_);
  return b_.load(row_type, b_.element(squares_[access], row_type, row), b_.bits_of(element) / 8);
}

void Emitter::squares(Scope& scope, Value group) {
  const std::vector<bool> everything(spec_.nodes.size(), true);
  const int d = spec_.outer - 1;
  const Value n = b_.index(spec_.lanes), size = parameter(layout_.size(d));
  auto least = [&](Value x, Value y) { return b_.select(b_.icmp(LLVMIntSLT, x, y), x, y); };
  const Value first = b_.mul(group, n), end = least(b_.add(first, n), size);
  square_first_ = least(first, b_.sub(size, n));
  vector_loop(scope, block_.first, block_.second, {}, [&](Scope& vector, const Values&) {
    read_squares(vector);
    settle(vector, everything);
    b_.loop(first, end, b_.index(1), {}, [&](Value i, const Values&) {
      Scope inside = enter(vector, d, i);
      settle(inside, everything);
      row(inside, Part::All, 0, nullptr, nullptr);
      return Values{};
    });
    return Values{};
  });
}

}  // namespace anygpu::cpu
