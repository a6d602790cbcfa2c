// Stages: in which pass over its reduction dimensions a kernel can compute each Reduce. The same for every backend that emits code.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/generic.h"

namespace anygpu::ir {

/// Of a Reduce node: whether its result is an index.
bool is_arg_kind(const Node& reduce);
/// Whether some Reduce rounds, so that the order in which it meets its operands shows in the result: sums and products of floats.
bool rounds_in_reduction(const std::vector<Node>&);
/// What an accumulator of values of type t starts as, as a constant of that type; `bits`: of an integer, as it is held. The index that an
/// ArgMax or ArgMin starts with is the greatest.
Node::Imm identity(ReduceKind, DType t, int bits);

/// Per node: whether `roots` need it without passing through a Reduce. Roots of -1 are none.
std::vector<bool> reachable(const std::vector<Node>&, const std::vector<int>& roots);

/// A stage holds Reduces that need only what earlier stages gave. Nodes are marked by what they need.
struct Stages {
  int count = 0;
  std::vector<int> of_reduce;  ///< per node: the stage of a Reduce, else -1
  std::vector<bool> varies;    ///< per node: with a reduction dimension, outside of any Reduce
  std::vector<uint32_t> dims;  ///< per node: the dimensions whose index it depends on; of what a loop computes, those of its result
  std::vector<int> loop;       ///< per node: loops_of
  std::vector<int> partial;    ///< per node: number of a Reduce's array of partial results, else -1; ArgMax and ArgMin take two
  int partials = 0;
  std::vector<int> full_checks, once_checks;  ///< Checks that no stage meets: in the loops, and once per parallel index
  bool full = false;                          ///< something is stored or checked at every index of the reduction
  bool once = false;                          ///< something is stored or checked once per parallel index
  /// What is stored at every index needs no Reduce, and there is one stage: it is stored where that stage meets the index, so that its
  /// value is computed once. `full` is false then.
  bool stores_in_stage = false;

  /// `nonzero`: per access, bit d: its stride along dimension d is not 0. `reduce`: bit d: d is a reduction dimension. `store_full`: per
  /// store, whether it is made at every index of the reduction.
  Stages(const std::vector<Node>& nodes, const std::vector<uint32_t>& nonzero, uint32_t reduce, const std::vector<Store>& stores,
         const std::vector<bool>& store_full);

  /// Nodes that are computed in each iteration of a Repeat's loop, in order, without its Carries and Nexts.
  std::vector<int> iteration(const std::vector<Node>&, const Node& repeat) const;
  /// Calls f(id) for each node that must be known before `n` is computed: its operands, or those of the loop that it is the result of.
  template <class F>
  void for_each_input(const std::vector<Node>& nodes, const Node& n, F&& f) const {
    if (n.op != ExprOp::Repeat) return for_each_operand(n, f);
    for (size_t i = 0; i < nodes.size(); ++i) {
      if (loop[i] != n.a) continue;
      for_each_operand(nodes[i], [&](int id) {
        if (loop[id] != n.a) f(id);
      });
    }
    if (loop[n.b] != n.a) f(n.b);
  }
};

}  // namespace anygpu::ir
