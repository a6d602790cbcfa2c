#include "matmul_problem.h"

#include <algorithm>
#include <cstdlib>

namespace anygpu::gpu {
namespace {

void join_batch_dims(MatmulProblem& p) {
  for (int d = p.batch.size() - 2; d >= 0; --d) {
    bool joins = true;
    for (int i = 0; i < p.count; ++i) joins = joins && p.arrays[i].batch[d] == p.arrays[i].batch[d + 1] * p.batch[d + 1];
    if (!joins) continue;
    p.batch[d] *= p.batch[d + 1];
    p.batch.erase(d + 1);
    for (int i = 0; i < p.count; ++i) p.arrays[i].batch.erase(d);
  }
}

/// Batch dimensions that rhs does not vary along are rows, from the innermost: [B, T, K] @ [K, N] is one product of B*T rows.
void batch_to_rows(MatmulProblem& p) {
  while (!p.batch.empty() && p.arrays[kRhs].batch.back() == 0) {
    const int d = p.batch.size() - 1;
    for (int i : {kDst, kLhs, kBias})
      if (i < p.count && p.m != 1 && p.arrays[i].batch[d] != p.arrays[i].row * p.m) return;
    for (int i = 0; i < p.count; ++i) {
      if (p.m == 1 && i != kRhs) p.arrays[i].row = p.arrays[i].batch[d];
      p.arrays[i].batch.pop_back();
    }
    p.m *= p.batch[d];
    p.batch.pop_back();
  }
}

/// Whether four neighbours along a dimension of stride `along` are one aligned load, wherever the other strides lead. Where the slot
/// begins is a multiple of 16 bytes (Backend::allocate).
bool in_fours(const Matrices& a, int64_t along, int64_t across, int64_t extent) {
  if (along != 1 || across % 4 != 0 || extent % 4 != 0 || a.operand.offset % 4 != 0) return false;
  return std::all_of(a.batch.begin(), a.batch.end(), [](int64_t s) { return s % 4 == 0; });
}

}  // namespace

MatmulProblem problem_of(const ir::Named& named) {
  const ir::Operand& dst = named.operands[kDst];
  const int rank = dst.rank();
  MatmulProblem p{{}, dst.sizes[rank - 2], dst.sizes[rank - 1], named.operands[kLhs].sizes[rank - 1], {}, 3};
  if (named.operands.size() > kBias && named.operands[kBias].slot >= 0) p.count = 4;
  for (int d = 0; d < rank - 2; ++d)
    if (dst.sizes[d] != 1) p.batch.push_back(dst.sizes[d]);
  for (int i = 0; i < p.count; ++i) {
    const ir::Operand& o = named.operands[static_cast<size_t>(i)];
    Matrices& a = p.arrays[i];
    a.operand = o;
    auto stride = [&](int d) { return o.sizes[d] == 1 ? 0 : o.strides[d]; };
    for (int d = 0; d < rank - 2; ++d)
      if (dst.sizes[d] != 1) a.batch.push_back(stride(d));
    a.row = stride(rank - 2);
    a.column = stride(rank - 1);
  }
  join_batch_dims(p);
  batch_to_rows(p);
  return p;
}

void transpose(MatmulProblem& p) {
  std::swap(p.arrays[kLhs], p.arrays[kRhs]);
  std::swap(p.m, p.n);
  for (Matrices& a : p.arrays) std::swap(a.row, a.column);
}

void along_rows(MatmulProblem& p) {
  if (p.arrays[kDst].row == 1 && p.arrays[kDst].column != 1) transpose(p);
}

Fours fours_of(const MatmulProblem& p) {
  const Matrices &l = p.arrays[kLhs], &r = p.arrays[kRhs], &d = p.arrays[kDst];
  auto which = [](bool first, bool second) { return first ? 1u : second ? 2u : 0u; };
  return {which(in_fours(l, l.column, l.row, p.k), in_fours(l, l.row, l.column, p.m)),
          which(in_fours(r, r.column, r.row, p.n), in_fours(r, r.row, r.column, p.k)),
          which(in_fours(d, d.column, d.row, p.n), in_fours(d, d.row, d.column, p.m))};
}

Stages stages_of(const MatmulProblem& p) {
  auto stage = [](bool along_k, bool along_side, int64_t k_stride, int64_t side_stride) {
    if (along_k || along_side) return along_k ? 1u : 2u;
    return side_stride != 0 && std::abs(side_stride) < std::abs(k_stride) ? 3u : 0u;
  };
  const Matrices &l = p.arrays[kLhs], &r = p.arrays[kRhs];
  const Fours fours = fours_of(p);
  return {stage(fours.lhs == 1, fours.lhs == 2, l.column, l.row), stage(fours.rhs == 2, fours.rhs == 1, r.row, r.column)};
}

}  // namespace anygpu::gpu
