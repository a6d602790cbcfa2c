// LoopNest: a Generic on its way to a kernel, or to a simpler Generic (normalise.h). Loops that do nothing are dropped, those that may not
// run in any order are found, the rest is sorted by stride and collapsed: what every backend's schedule begins with.
#pragma once

#include <vector>

#include "ir/generic.h"

namespace anygpu::ir {

/// Takes the numbers out of Size nodes, which then hold their places among them, as Args do. Floats as f64.
std::vector<Node::Imm> take_sizes(std::vector<Node>&);

/// Backends derive from it, and go on with what it holds.
class LoopNest {
 protected:
  struct Dim {
    int64_t size;
    bool reduces = false, sequential = false, indexed = false;
    std::vector<int64_t> strides;  // per access
    std::vector<int> from;         // the Generic's dimensions that it walks, outermost first
    int loop = -1, place = 0;      // in the Generic's ReductionOrder
  };
  struct Place {
    int32_t slot = -1;
    DType dtype;
    int64_t offset = 0;  // elements
  };

  explicit LoopNest(const Generic&);

  /// Drops empty reductions, dimensions of size 1, reductions of nothing, unused nodes and accesses. False: there is nothing to run.
  bool simplify();
  /// Marks dimensions along which two indices may meet in one element through a store for which `ordered` holds: they run in order.
  void find_sequential(const std::vector<bool>& ordered);
  /// Parallel dimensions, then sequential, then reducing; each kind by stride, but for those whose order matters.
  void sort();
  /// Joins neighbours that one loop can walk, of no more than `most` indices. Call after sort().
  void collapse(int64_t most = INT64_MAX);

  /// Per node, the dimensions whose index it depends on, as they now are.
  std::vector<uint32_t> node_dims() const;
  uint32_t reduction_mask() const;
  uint32_t nonzero(int access) const;
  bool has_reduce() const;
  void remove_dim(int d);
  void permute(const std::vector<int>& order);
  /// Whether strides alone may lead two indices to one element (windows that overlap).
  bool overlaps(int access, uint32_t space) const;

  std::vector<Dim> dims_;
  std::vector<Node> nodes_;
  std::vector<Store> stores_;
  std::vector<bool> full_;  // per store: stored_at_every_index
  std::vector<Place> accesses_;
  std::vector<int32_t> args_;  // Generic::args
  ReductionOrder order_;       // fixed where it is to be obeyed

 private:
  void drop_empty_reduction();
  void drop_small_dims();
  void drop_reduction_of_nothing();
  void drop_unused();
  void find_indexed();
  void close_gaps();
  /// Positive: x should be outside of y. Stores decide first.
  int compare(const Dim& x, const Dim& y) const;
};

}  // namespace anygpu::ir
