// A matrix product as its kernels see it: up to two batch dimensions, which way round, and which loads take four elements at once.
#pragma once

#include "ir/named.h"

namespace anygpu::gpu {

enum MatmulOperand : int { kDst = 0, kLhs = 1, kRhs = 2, kBias = 3 };

/// A stack of matrices in a slot. Strides in elements; 0 where it repeats.
struct Matrices {
  ir::Operand operand;
  Dims batch;
  int64_t row = 0, column = 0;
};

struct MatmulProblem {
  Dims batch;
  int64_t m, n, k;
  Matrices arrays[4];  ///< by MatmulOperand
  int count;           ///< 4 with a bias, else 3
};

/// With as few batch dimensions as there can be: neighbours are joined, and those that rhs does not vary along are rows.
MatmulProblem problem_of(const ir::Named&);

/// dst^T = rhs^T @ lhs^T.
void transpose(MatmulProblem&);
/// Turned round where neighbours in memory are rows of dst, not columns.
void along_rows(MatmulProblem&);

/// Which loads and stores take four elements at once: constants of the kernels. lhs: 1: four of k; 2: four rows. rhs: 1: four columns;
/// 2: four of k. dst: 1: four columns; 2: four rows. 0: none.
struct Fours {
  uint32_t lhs, rhs, dst;
};
Fours fours_of(const MatmulProblem&);

/// How kernels that stage tiles load the factors, each of which has k and another side. 1: four along k at once; 2: four along the side;
/// else any strides, and neighbouring invocations take neighbours 0: along k; 3: along the side.
struct Stages {
  uint32_t lhs, rhs;
};
Stages stages_of(const MatmulProblem&);

}  // namespace anygpu::gpu
