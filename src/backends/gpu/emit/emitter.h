// Emitter: a KernelSpec to operations of a Builder. Files: emitter.cpp loops and scopes, emit_expr.cpp nodes, emit_memory.cpp loads and
// stores, emit_reduce.cpp accumulators.
#pragma once

#include <array>
#include <map>

#include "backends/gpu/builder.h"
#include "kernel.h"

namespace anygpu::gpu {

using Values = std::vector<Value>;

/// How a value of dtype t lies in a register: small integers extended to u32, halves as their bits.
Type register_type(DType t, bool narrow);

/// What four neighbours have loaded together.
struct Fours {
  Values bases;                         // per access, of the first
  std::map<int, Builder::Four> texels;  // per access
};

class Emitter {
 public:
  Emitter(Builder&, const KernelSpec&, const Capabilities&);
  /// What its params are, word by word.
  std::vector<Param> run();

 private:
  /// Where some dimensions have an index. Values known here hold in all scopes inside of it.
  struct Scope {
    const Scope* outside = nullptr;
    Fours* fours = nullptr;  // of the four neighbours that it is one of, number `element`
    int element = 0;
    uint32_t bound = 0;
    Values values;                                            // per node
    std::map<int, Value> indices;                             // of the dimensions bound here
    Values bases;                                             // per access: its address, as far as dimensions are bound
    std::map<std::vector<int>, std::array<Value, 4>> blocks;  // of Philox
    std::map<std::pair<int, int>, Values> loops;              // what is carried, for a Repeat's (last Next, condition)
  };
  struct Accumulator {
    int node;
    ir::ReduceKind kind;
    DType type;
    Type value, index;  // in registers
    bool pair;          // a value and its index
    bool narrow;
  };

  // ---- loops ----
  void pointwise();
  void reduction();
  void reduce_row(Scope& row);
  Scope outermost();
  Scope bind(const Scope& outside, const std::map<int, Value>& indices);
  /// Indices of dimensions [begin, end) from a flattened one.
  std::map<int, Value> place(Value flat, int begin, int end);
  void settle(Scope&, const std::vector<bool>& wanted);
  void in_order(Scope&, const std::function<void(Scope&)>& body);
  using Body = std::function<void(const std::vector<Scope>& elements)>;  // one, or four neighbours
  void each_reduced(Scope&, const std::vector<bool>& wanted, const Body&);
  void each_reduced_from(Scope&, int d, const std::vector<bool>& wanted, const Body&);
  Value group_index();
  std::vector<bool> wanted_by_stores(bool full) const;

  // ---- nodes ----
  Value known(const Scope&, int id) const;
  Value operand(const Scope&, int id) const;
  Value index_of(const Scope&, int d) const;
  Value emit(Scope&, int id);
  Value constant(const ir::Node&, bool narrow);
  Value argument(const ir::Node&, bool narrow);
  Value arithmetic(ir::ExprOp, DType, Value x, Value y);
  Value integer_arithmetic(ir::ExprOp, DType, Value x, Value y, bool in_64);
  Value integer_power(Value base, Value exponent);
  Value integer_divide(bool remainder, bool is_unsigned, Value x, Value y);
  Value compare(ir::ExprOp, DType, Value x, Value y);
  Value extremum(bool greatest, DType, Value x, Value y);
  Value cast(Value, DType from, DType to, bool to_narrow);
  Value float_to_integer(Value, bool in_64);
  Value bits_cast(Value, DType from, DType to);
  Value wrap(DType, Value);
  Value is_nan(Value);
  Value philox(Scope&, const ir::Node&);
  Value repeat(Scope&, const ir::Node&);
  /// value: what is told where the condition does not hold, or none.
  void check(const ir::Node&, Value condition, Value value);
  DType type_of(int id) const { return spec_.nodes[id].type; }
  bool narrow(int id) const { return spec_.narrow[id]; }

  // ---- memory ----
  Value load(const Scope&, const ir::Node&, bool narrow);
  Value load_at(int access, Value address);
  Value from_memory(DType, Value raw);
  Value to_memory(DType, Value);
  void store(const Scope&, const KernelStore&);
  void store_all(const std::vector<Scope>& elements, bool full);
  void store_owned(const KernelStore&, const std::vector<Scope>& elements, Value first, Value count_active);
  void write(int access, Value address, Value raw);
  void write_packed(int access, Value address, Value raw);
  Value combine(ir::Combine, DType, Value old, Value value);
  void combine_atomically(const KernelStore&, Value address, Value value);
  bool packs(DType) const;

  // ---- accumulators ----
  std::vector<Accumulator> accumulators(int stage) const;
  Values identities(const std::vector<Accumulator>&);
  Values join(const Accumulator&, const Values& x, const Values& y);
  Values join_all(const std::vector<Accumulator>&, const Values& x, const Values& y);
  Values join_lanes(const std::vector<Accumulator>&, Values);
  void stage(Scope& row, int stage);
  void store_partials(const std::vector<Accumulator>&, const Values&);
  void load_results(Scope& row, int stage);
  void know_results(Scope&, const std::vector<Accumulator>&, const Values&);

  Value param(Param);

  const KernelSpec& spec_;
  const Capabilities& caps_;
  const ir::Stages stages_;
  const std::vector<bool> erf_of_sum_;  // per node: an erf that is only ever added to 1
  Builder& b_;
  std::vector<Param> params_;
  std::map<int, Value> param_values_;
  Value local_, lane_, row_, active_, chunk_;
};

}  // namespace anygpu::gpu
