// Emitter: one KernelSpec to LLVM IR. emit_loops.cpp has the loop nests, emit_expr.cpp the nodes, emit_memory.cpp loads and
// stores, emit_transpose.cpp loads of squares, emit_reduce.cpp the accumulators, vector_math.cpp the functions of floats.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "ir_builder.h"
#include "jit.h"
#include "kernel.h"
#include "spec.h"

namespace anygpu::cpu {

class Emitter {
 public:
  Emitter(IrBuilder&, const KernelSpec&, const Isa&);
  /// All functions of the kernel, with names that begin with `prefix`.
  KernelCode run(const std::string& prefix);

 private:
  enum class Part { All, Stage, Join, Full, Post };

  /// Where the vector dimension stands: `index` of lane 0, and which lanes are in range (null: all).
  struct Lanes {
    Value index = nullptr, active = nullptr, mask = nullptr;
  };

  /// The inside of a loop: what is known there and not outside.
  struct Scope {
    const Scope* outside = nullptr;
    uint32_t bound = 0;                         // dimensions whose index is known
    const Lanes* lanes = nullptr;               // within the loop over the vector dimension
    Values values, splats;                      // per node; null: not here
    Values pointers;                            // per access: base + the bound dimensions but for the vector's
    std::map<int, Value> indices;               // per dimension bound here
    std::map<std::vector<int>, Values> blocks;  // Philox: the four words for (counter, key, stream);
                                                // Repeat: what is carried, for (last Next, condition)
  };
  using Inside = std::function<Values(Scope&, const Values&)>;

  // Loops.
  void function(Part, int stage, const std::string& name);
  void unit(Scope&, Part, int stage, Value row, Value block, Value chunk);
  void row(Scope&, Part, int stage, Value row, Value chunk);
  void full(Scope&, Value row, Value chunk);
  void post(Scope&);
  /// The loops over reduction dimensions, from d inwards; only those before `end`, if it is one of them.
  Values nest(Scope&, int d, Value chunk, const std::vector<bool>& wanted, const Values& carried, const Inside&, int end = -1);
  Values vector_loop(Scope&, Value lo, Value hi, const Values& carried, const Inside&);
  /// Whole vectors over the block, past its end if need be: for partial results, which are padded.
  void padded_loop(Scope&, const std::function<void(Scope&)>&);
  Scope enter(const Scope& outside, int d, Value index, const Lanes* lanes = nullptr);
  Value parameter(int word);
  Value pointer_parameter(int word);
  std::pair<Value, Value> range(int d, Value chunk);

  // Nodes.
  /// Emits the wanted nodes that can be computed here and are not known yet.
  void settle(Scope&, const std::vector<bool>& wanted);
  Value emit(Scope&, int id);
  Value repeat(Scope&, int id);
  Value known(const Scope&, int id) const;
  /// A known node with as many lanes as asked for.
  Value operand(const Scope&, int id, int lanes);
  int lanes_of(int id) const { return stages_.dims[id] >> vector_ & 1 ? spec_.lanes : 1; }
  DType type_of(int id) const { return spec_.nodes[id].type; }
  Type value_type(DType) const;
  Value constant(DType, int lanes, const ir::Node::Imm&);
  Value cast(Value, DType from, DType to);
  Value bits_cast(Value, DType from, DType to);
  Value arithmetic(const ir::Node&, Value x, Value y);
  Value compare(ir::ExprOp, DType, Value x, Value y);
  Value extremum(bool greatest, DType, Value x, Value y);
  Value divide(const ir::Node&, Value x, Value y);
  Value index_of(const Scope&, int d, int lanes);
  Value philox(Scope&, const ir::Node&, int lanes);
  void check(Scope&, const ir::Node&, Value condition);
  /// result[i] = helper(x[i], y[i]) by a function written in C++: void(void* result, const void* x, const void* y, int64_t n).
  Value by_helper(const std::string& helper, Type element, Value x, Value y);

  // Memory. F16 and BF16 are f32 in registers, Bool is i1.
  Type storage_type(DType) const;
  Value decode(Value stored, DType);
  Value encode(Value, DType);
  Value load(Scope&, const ir::Node&, int lanes);
  void store(Scope&, const ir::Store&);
  void store_one(Scope&, const ir::Store&);
  Value load_contiguous(Type, Value pointer, const Lanes&);
  void store_contiguous(Value, Value pointer, const Lanes&, Value mask, bool streams);
  Value gather(Type, Value pointer, Value offsets, const Lanes&);
  void scatter_by_helper(const ir::Store&, Value pointer, Value value, Value offsets, const Lanes&, Value mask);
  Value combine(ir::Combine, DType, Value old, Value value);
  Value spill(Value);

  // Squares: what Inner::Transposed reads. `group`: of so many indices of the tile dimension as there are lanes.
  void squares(Scope&, Value group);
  void read_squares(Scope&);
  Value load_from_square(const Scope&, int access);

  // Reductions.
  struct Accumulator {
    int node;
    ir::ReduceKind kind;
    DType type;  // of what is reduced
    int lanes;
    bool pair;  // value and index
  };
  std::vector<Accumulator> accumulators(int stage) const;
  std::vector<int> operands_of(const std::vector<Accumulator>&) const;
  Values identities(const std::vector<Accumulator>&);
  Values join(const Accumulator&, const Values& x, const Values& y);
  Values join_across(const Accumulator&, Values acc);
  Values accumulate(Scope&, const std::vector<Accumulator>&, const Values& now);
  void stage(Scope&, int stage, Value row, Value chunk);
  /// Nodes that a stage's loop needs, for its accumulators and for what it stores on the way.
  std::vector<bool> wanted_by(const std::vector<Accumulator>&) const;
  void store_in_stage(Scope& inside);
  void stage_in_memory(Scope&, int stage, Value row, Value chunk);
  void join_chunks(Scope&, int stage, Value row);
  /// The results of all stages before `stages`, where they were left in memory.
  void load_results(Scope&, int stages, Value row);
  void know_results(Scope&, const std::vector<Accumulator>&, const Values& results);
  void store_partials(Scope&, const std::vector<Accumulator>&, Value row, Value chunk, const Values& results);
  Values load_partials(Scope&, const std::vector<Accumulator>&, Value row, Value chunk);
  Value partial_pointer(const Scope&, int array, Type, Value row, Value chunk);

  IrBuilder& b_;
  const KernelSpec& spec_;
  const Isa& isa_;
  const ParameterLayout layout_;
  const ir::Stages stages_;
  const int vector_;
  std::map<int, Value> parameters_;
  std::pair<Value, Value> block_;  // the unit's range of the vector dimension, where it is parallel
  std::vector<bool> wants_splat_;
  std::map<int, Value> squares_;  // per access: lanes x lanes elements on the stack
  Value group_ = nullptr;         // the unit's, where there are squares
  Value square_first_ = nullptr;  // the tile dimension's index at which they begin
};

/// f(x) or f(x, y) for floats; x and y are f32 or f64, scalars or vectors. Null where there is no vector code for it: the caller
/// then calls libm for each lane. Errors are stated in vector_math.cpp.
Value vector_function(IrBuilder&, const Isa&, ir::ExprOp, Value x, Value y);

}  // namespace anygpu::cpu
