#include "backends/cpu/library/rows.h"

namespace anygpu::cpu {

Rows::Rows(const std::vector<ir::Operand>& operands, int axis, int order) {
  const ir::Operand& leader = operands[order];
  int given = static_cast<int>(operands.size());
  auto stride = [&](int i, int d) { return i >= given || operands[i].slot < 0 ? 0 : operands[i].strides[d]; };
  for (int i = 0; i < kOperands && i < given; ++i) offset_[i] = operands[i].slot < 0 ? 0 : operands[i].offset;
  if (leader.rank() == 0) return;
  length_ = leader.sizes[axis];
  for (int i = 0; i < kOperands; ++i) step_[i] = stride(i, axis);
  for (int d = 0; d < leader.rank(); ++d) {
    if (d == axis || leader.sizes[d] == 1) continue;
    count_ *= leader.sizes[d];
    int at = 0;
    while (at < sizes_.size() && strides_[order][at] >= leader.strides[d]) ++at;
    sizes_.insert(at, leader.sizes[d]);
    for (int i = 0; i < kOperands; ++i) strides_[i].insert(at, stride(i, d));
  }
  // Dimensions that all operands step through as one become one.
  for (int d = sizes_.size() - 2; d >= 0; --d) {
    bool joins = true;
    for (int i = 0; i < kOperands; ++i) joins = joins && strides_[i][d] == strides_[i][d + 1] * sizes_[d + 1];
    if (!joins) continue;
    sizes_[d] *= sizes_[d + 1];
    sizes_.erase(d + 1);
    for (int i = 0; i < kOperands; ++i) {
      strides_[i][d] = strides_[i][d + 1];
      strides_[i].erase(d + 1);
    }
  }
}

}  // namespace anygpu::cpu
