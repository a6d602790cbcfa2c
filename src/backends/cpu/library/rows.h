// The nameds of this folder that need no library: scans and sorts, row by row.
#pragma once

#include <memory>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {

bool supports_scan(const ir::Named&);
bool supports_sort(const ir::Named&);
std::unique_ptr<PreparedNamed> prepare_scan(const ir::Named&, CpuLibrary&);
std::unique_ptr<PreparedNamed> prepare_sort(const ir::Named&, CpuLibrary&);

/// Where the rows along one axis of up to three equally shaped operands start.
class Rows {
 public:
  static constexpr int kOperands = 3;

  /// Absent operands (slot -1) have all strides 0. The rows of `order`, an operand's number, are visited in the order of its memory.
  Rows(const std::vector<ir::Operand>& operands, int axis, int order);

  int64_t count() const { return count_; }
  int64_t length() const { return length_; }
  /// Elements between neighbours of a row.
  int64_t step(int operand) const { return step_[operand]; }

  /// The innermost other dimension: rows r, r + 1, ... up to its end lie line_step(operand) elements apart.
  int64_t line() const { return sizes_.empty() ? 1 : sizes_.back(); }
  int64_t line_step(int operand) const { return sizes_.empty() ? 0 : strides_[operand].back(); }

  /// Element offset of row r of `operand`, its Operand::offset included.
  int64_t start(int operand, int64_t r) const {
    int64_t at = offset_[operand];
    for (int d = sizes_.size() - 1; d >= 0; --d) {
      at += r % sizes_[d] * strides_[operand][d];
      r /= sizes_[d];
    }
    return at;
  }

 private:
  int64_t count_ = 1, length_ = 1;
  int64_t step_[kOperands] = {}, offset_[kOperands] = {};
  Dims sizes_, strides_[kOperands];
};

template <class T>
T* data_of(const ir::Operand& o, const Memory* slots) {
  return o.slot < 0 ? nullptr : reinterpret_cast<T*>(static_cast<char*>(slots[o.slot].handle) + slots[o.slot].offset);
}

}  // namespace anygpu::cpu
