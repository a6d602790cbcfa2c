// Tiles of shared memory: which there are, which fit a device, and a guess at the best.
#pragma once

#include <string>
#include <vector>

#include "capabilities.h"
#include "matmul_problem.h"

namespace anygpu::gpu {

/// m x n elements of dst a workgroup, k at a time; rows x columns an invocation.
struct SharedTile {
  int64_t m, n, k, rows, columns;
  int64_t invocations() const { return m / rows * (n / columns); }
  int64_t shared_bytes(int64_t element) const { return k * (m + n + 8) * element; }
  /// "64x64x16/4x8"
  std::string name() const;
};

/// Those that the device can run, computing with elements of so many bytes.
std::vector<SharedTile> tiles_of(const Capabilities&, int64_t element);

/// What the product costs in this tile; only ratios mean something.
double cost_of(const SharedTile&, const MatmulProblem&);

}  // namespace anygpu::gpu
