// Runs one Generic, one scalar at a time.
#pragma once

#include <span>
#include <vector>

#include "backends/interface/backend.h"
#include "backends/reference/scalar.h"

namespace anygpu::reference {

/// A Generic with its order of evaluation worked out. For each parallel index there are stages: stage s evaluates what does not
/// vary with a reduction dimension, then makes one pass over the reduction space, which feeds the Reduces that need only results
/// of stages before. The last pass makes the stores that are written at every index.
class Interpreter {
 public:
  explicit Interpreter(ir::Generic);

  /// Returns which Check has failed, of several the greatest. Throws Error(Internal) for an address outside of its slot.
  ir::FaultReport run(const Bindings&);
  const std::string& name() const { return g_.name; }

 private:
  struct Stage {
    std::vector<int> outer;    // nodes that do not vary, evaluated before the pass
    std::vector<int> inner;    // nodes evaluated at each index of the pass
    std::vector<int> reduces;  // Reduces that the pass feeds
  };
  struct Accumulator;

  void evaluate(int node);
  Value repeat(const ir::Node&);
  void write(const ir::Store&);
  char* address(int access, int64_t extra) const;
  template <class F>
  void for_each_index(const std::vector<int>& dims, F f);

  const ir::Generic g_;
  std::vector<Stage> stages_;
  std::vector<int> parallel_dims_, reduction_dims_;
  std::vector<int> loop_;                 // per node: ir::loops_of
  std::vector<ir::Store> once_, always_;  // stores made once per parallel index; at every index

  // State of one run.
  std::span<const Memory> slots_;
  std::span<const Scalar> scalars_;
  std::vector<Value> values_;
  int64_t index_[kMaxRank] = {};
  ir::FaultReport failed_;
};

/// Runs one Named by plain loops.
void run_named(const ir::Named&, const Bindings&);

/// ExprOps of one or two operands of type t, and comparisons. Public for tests.
Value apply(ir::ExprOp, DType t, Value a, Value b);
/// Word 0..3 of a block of Philox 4x32-10. The 128-bit counter is (counter, stream), low half first; the key is the 64-bit key.
uint32_t philox(uint64_t counter, uint64_t key, uint64_t stream, int word);
/// a and b combined by a Store that has a Combine. Bool: Add and Max are or, Mul and Min are and.
Value combine(ir::Combine, DType, Value a, Value b);

}  // namespace anygpu::reference
