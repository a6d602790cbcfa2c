// Builder: one compute shader in SPIR-V 1.3 under construction.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "backends/gpu/builder.h"

namespace anygpu::vulkan::spirv {

using gpu::Atomic;
using gpu::Id;
using gpu::MatrixType;
using gpu::Op;
using gpu::Type;
using gpu::Value;
using gpu::Variable;

/// Where a shader finds its params.
struct Params {
  int push_words = 0;  ///< push constants, so many words of them
  int binding = -1;    ///< or a storage buffer
};

class Builder final : public gpu::Builder {
 public:
  Builder(int local_size, Params);

  Value u32(uint32_t) override;
  Value u64(uint64_t) override;
  Value boolean(bool) override;
  Value real(Type, double) override;

  Value op(Op, Type result, std::initializer_list<Value> operands) override;
  Value sign_extend_low(Value, int width) override;
  Wide multiply_wide(Value x, Value y) override;

  void if_(Value condition, const std::function<void()>& yes, const std::function<void()>& no = {}) override;
  void loop(Value from, Value to, Value step, const std::function<void(Value)>& body) override;
  void repeat(const std::function<Value()>& body) override;
  Variable variable(Type) override;
  Value load_from(const Variable&) override;
  void store_to(const Variable&, Value) override;
  void at_entry(const std::function<void()>& code) override;

  // Bindings are storage buffers, but those that are fetched from: uniform texel buffers.
  Value param(int word) override;
  void by_address(int binding, Value low, Value high) override;
  Value load(int binding, Type element, Value index) override;
  void store(int binding, Value value, Value index) override;
  void store_narrow(int binding, Type element, Value value, Value index) override;
  void store_four(int binding, const Four&, Value index) override;
  Four fetch(int binding, Value index) override;
  Value atomic(Atomic, int binding, Value index, Value value) override;
  Value compare_exchange(int binding, Value index, Value expected, Value desired) override;

  Value shared_load(Type, int array, Value index) override;
  void shared_store(int array, Value value, Value index) override;
  void shared_length(int array, uint32_t n) override { shared_lengths_[array] = n; }
  void barrier() override;
  Value local_index() override;
  Value group(int axis) override;
  Value subgroup() override;
  Value subgroups() override;

  // SPV_KHR_cooperative_matrix, in builder_matrix.cpp; what shares memory with them is in the Vulkan memory model, as they want it.
  void share_with_matrices() override;
  Id matrix_variable(MatrixType) override;
  void matrix_clear(Id variable, MatrixType) override;
  Id matrix_load(MatrixType, int array, Value first, uint32_t stride, bool by_columns) override;
  void matrix_multiply(Id variable, MatrixType, Id a, Id b) override;
  void matrix_store(Id variable, MatrixType, int array, Value first, uint32_t stride) override;

  bool preserves_specials() const override { return !preserved_.empty(); }

  /// 32-bit (64-bit) floats keep infinities, NaN and the sign of zeros, where the device can be told so.
  void preserve_specials(int width);
  /// And subnormal numbers.
  void preserve_denormals(int width);
  /// The finished module. `bindings`: storage buffers in use are 0..bindings-1.
  std::vector<uint32_t> finish();

 private:
  using Words = std::vector<uint32_t>;
  static void emit(Words& to, int op, std::initializer_list<uint32_t> operands, const Words& more = {});
  Id id() { return next_++; }
  Id global(int op, Words operands, bool has_type);  // types and constants, each once
  Value raw(int opcode, Type result, std::initializer_list<Value> operands);
  Value push(int word);
  Id type(Type);
  Id pointer(int storage, Id to);
  Id block(Type element, int count);
  Id buffer(int binding, Type element, int count = 1);
  Id texels(int binding);
  Id element_pointer(int binding, Type element, Value index);
  Words aligned(int binding, Type element) const;
  Id shared(Type, int array);
  Id builtin(int which);
  Value scalar_builtin(int which);
  Id matrix_type(MatrixType);
  Id shared_pointer(Type, int array, Value index);
  Words made_available() const;  ///< behind a store to shared memory
  Words made_visible() const;    ///< behind a load from it
  Id constant32(uint32_t v);
  void label(Id);
  void capability(int c) { capabilities_.insert(c); }

  const int local_size_;
  const Params params_;
  Id next_ = 1;
  Id glsl_, main_, void_ = 0;
  std::set<int> capabilities_;
  std::set<std::string> extensions_;
  std::map<Words, Id> globals_;
  std::map<std::pair<int, int>, Id> buffers_;   // binding, type and count
  std::map<int, std::pair<Id, Id>> addresses_;  // low and high word, by binding
  std::map<int, Id> texels_;
  std::map<std::pair<int, int>, Id> shared_;  // type, array
  std::map<int, uint32_t> shared_lengths_;
  std::map<int, Id> builtins_, block_types_;
  std::vector<int> preserved_, denormals_;
  bool vulkan_memory_model_ = false;
  Id workgroup_scope_ = 0;
  Id push_ = 0;
  Words types_, decorations_, variables_, entry_, code_;
};

}  // namespace anygpu::vulkan::spirv
