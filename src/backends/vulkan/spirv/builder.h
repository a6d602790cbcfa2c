// Builder: one compute shader in SPIR-V 1.3 under construction. Values carry their builder, so that code reads as arithmetic.
//
// Integers have no sign of their own: an operation says how it takes them. Counters and accumulators are function variables; drivers
// turn those into registers themselves.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace anygpu::vulkan::spirv {

using Id = uint32_t;

/// What a Value may be. U8 and U16 exist in memory only.
enum class Type : uint8_t { Bool, U32, U64, F32, F64, U16, U8 };

class Builder;

struct Value {
  Builder* b = nullptr;
  Id id = 0;
  Type type = Type::U32;
  explicit operator bool() const { return id != 0; }
};

/// A cooperative matrix, which a subgroup holds together: of f16, or, where sums are gathered, of f32.
struct MatrixType {
  enum Use : uint8_t { A, B, Sum } use;
  uint32_t rows, columns;
};

/// A variable of the function; loads and stores are explicit.
struct Variable {
  Builder* b = nullptr;
  Id id = 0;
  Type type = Type::U32;
  Value get() const;
  void set(Value) const;
};

class Builder {
 public:
  /// A workgroup is local_size invocations in one dimension. push_words: of push constants, 0 for none.
  Builder(int local_size, int push_words);

  // ---- constants ----
  Value u32(uint32_t);
  Value u64(uint64_t);
  Value boolean(bool);
  Value real(Type, double);
  /// v of x's type; integers wrap.
  Value like(Value x, double v);
  Value integer(Type, int64_t v);

  // ---- operations ----
  /// `op` is an spv::Op, `function` one of GLSL.std.450.
  Value op(int op, Type result, std::initializer_list<Value> operands);
  Value call(int function, Type result, std::initializer_list<Value> operands);
  Value select(Value condition, Value yes, Value no);
  Value bits(Value x, Type);  ///< the same bits as another type of that width
  struct Wide {
    Value low, high;
  };
  Wide multiply_wide(Value x, Value y);  ///< u32 x u32: all 64 bits of the product
  Value to_u32(Value);                   ///< of an integer: the low 32 bits
  Value sign_extend(Value);              ///< u32 to u64
  Value zero_extend(Value);

  // ---- control flow; what a branch makes is not known outside of it but through variables ----
  void if_(Value condition, const std::function<void()>& yes, const std::function<void()>& no = {});
  /// for (i = from; i < to; i += step), unsigned.
  void loop(Value from, Value to, Value step, const std::function<void(Value)>& body);
  /// while (body()) {}
  void repeat(const std::function<Value()>& body);
  Variable variable(Type);
  /// What `code` makes comes before all else, and so is known everywhere.
  void at_entry(const std::function<void()>& code);
  void store_to(const Variable&, Value);

  // ---- memory ----
  /// From now on the storage buffer `binding` is reached by its address, not through a descriptor. low, high: known everywhere.
  void by_address(int binding, Value low, Value high);
  /// Storage buffer `binding` as an array of u32, u64, u16 or u8.
  Value load(int binding, Type element, Value index);
  void store(int binding, Value value, Value index);
  void store_narrow(int binding, Type element, Value value, Value index);  ///< low bits of a u32 into a U8 or U16
  using Four = std::array<Value, 4>;
  void store_four(int binding, const Four&, Value index);  ///< u32s; index in fours
  /// Uniform texel buffer `binding`, of floats: the bits of texel `index`; where a texel is one float, the first of them.
  Four fetch(int binding, Value index);
  /// An spv::Op of the OpAtomic family on element `index` of u32s; returns what was there.
  Value atomic(int op, int binding, Value index, Value value);
  Value compare_exchange(int binding, Value index, Value expected, Value desired);
  Value push(int word);
  /// An array of local_size values, shared by the workgroup; one per type and name.
  Value shared_load(Type, int array, Value index);
  void shared_store(int array, Value value, Value index);
  void barrier();
  void shared_length(int array, uint32_t n) { shared_lengths_[array] = n; }  ///< instead of local_size
  Value local_index();                                                       ///< of the invocation in its workgroup
  Value group(int axis);
  Value subgroup();   ///< of the invocation, its number in the workgroup
  Value subgroups();  ///< of the workgroup

  // ---- cooperative matrices (SPV_KHR_cooperative_matrix), in builder_matrix.cpp; what shares memory with them is in the Vulkan memory
  // model, as they want it. All invocations of a subgroup must come by ----
  /// Zeros, in a variable of the function.
  Id matrix_variable(MatrixType);
  void matrix_clear(Id variable, MatrixType);
  /// From shared array `array` of u32s, each two f16; stride in u32s, from line to line: rows, or columns if by_columns.
  Id matrix_load(MatrixType, int array, Value first, uint32_t stride, bool by_columns);
  /// The variable += a @ b.
  void matrix_multiply(Id variable, MatrixType, Id a, Id b);
  /// Of f32, into shared array `array` of f32s, row by row.
  void matrix_store(Id variable, MatrixType, int array, Value first, uint32_t stride);

  /// 32-bit (64-bit) floats keep infinities, NaN and the sign of zeros, where the device can be told so.
  void preserve_specials(int width);
  /// And subnormal numbers.
  void preserve_denormals(int width);
  /// Before anything is shared.
  void vulkan_memory_model();
  bool preserves_specials() const { return !preserved_.empty(); }
  int local_size() const { return local_size_; }
  /// The finished module. `bindings`: storage buffers in use are 0..bindings-1.
  std::vector<uint32_t> finish();

 private:
  using Words = std::vector<uint32_t>;
  static void emit(Words& to, int op, std::initializer_list<uint32_t> operands, const Words& more = {});
  Id id() { return next_++; }
  Id global(int op, Words operands, bool has_type);  // types and constants, each once
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

  const int local_size_, push_words_;
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

// Arithmetic on floats, and on integers where their sign makes no difference.
Value operator+(Value, Value);
Value operator-(Value, Value);
Value operator*(Value, Value);
Value operator/(Value, Value);  ///< floats; unsigned integers
Value operator%(Value, Value);  ///< unsigned integers
Value operator-(Value);
Value operator&(Value, Value);  ///< bool: and
Value operator|(Value, Value);
Value operator^(Value, Value);
Value operator!(Value);  ///< bool
Value operator~(Value);
Value operator<<(Value, Value);
Value operator>>(Value, Value);  ///< logical
Value operator<<(Value, int);
Value operator>>(Value, int);
Value arithmetic_shift(Value, Value);
Value operator==(Value, Value);
Value operator!=(Value, Value);  ///< floats: true on NaN
Value operator<(Value, Value);   ///< floats; unsigned integers
Value operator<=(Value, Value);
Value operator>(Value, Value);
Value operator>=(Value, Value);
Value signed_less(Value, Value);
Value signed_less_equal(Value, Value);

/// An f16's bits (bf16's, where `brain`) to f32, and back: to nearest, ties to even. In integers: no device can flush small numbers.
Value decode_half(bool brain, Value bits);
Value encode_half(bool brain, Value);

#define ANYGPU_SPIRV_MIXED(op)                  \
  inline Value operator op(Value x, double v) { \
    return x op x.b->like(x, v);                \
  }                                             \
  inline Value operator op(double v, Value x) { \
    return x.b->like(x, v) op x;                \
  }
// clang-format off
ANYGPU_SPIRV_MIXED(+) ANYGPU_SPIRV_MIXED(-) ANYGPU_SPIRV_MIXED(*) ANYGPU_SPIRV_MIXED(/) ANYGPU_SPIRV_MIXED(%)
ANYGPU_SPIRV_MIXED(&) ANYGPU_SPIRV_MIXED(|) ANYGPU_SPIRV_MIXED(^)
ANYGPU_SPIRV_MIXED(==) ANYGPU_SPIRV_MIXED(!=) ANYGPU_SPIRV_MIXED(<) ANYGPU_SPIRV_MIXED(<=) ANYGPU_SPIRV_MIXED(>) ANYGPU_SPIRV_MIXED(>=)
// clang-format on
#undef ANYGPU_SPIRV_MIXED

            inline bool is_real(Type t) {
  return t == Type::F32 || t == Type::F64;
}
inline int bytes_of(Type t) {
  return t == Type::U64 || t == Type::F64 ? 8 : t == Type::U16 ? 2 : t == Type::U8 ? 1 : 4;
}

}  // namespace anygpu::vulkan::spirv
