// Builder: one kernel under construction, in whatever an API takes. Values carry their builder, so that code reads as arithmetic.
//
// Integers have no sign of their own: an operation says how it takes them. Counters and accumulators are variables of the function;
// compilers turn those into registers themselves.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <initializer_list>

namespace anygpu::gpu {

/// What a Value is called inside its builder; 0: nothing.
using Id = uint32_t;

/// What a Value may be. U8 and U16 exist in memory only.
enum class Type : uint8_t { Bool, U32, U64, F32, F64, U16, U8 };

/// Of as many operands as it takes, all of one type where nothing else is said.
enum class Op : uint8_t {
  // Floats, and integers whose sign makes no difference. Each is one rounding: a * b + c is two, whatever the compiler would like.
  Add,
  Sub,
  Mul,
  Neg,
  Div,        ///< floats; unsigned integers
  Rem,        ///< unsigned integers
  SignedDiv,  ///< towards zero
  // Integers, and bools where these have a meaning.
  And,
  Or,
  Xor,
  Not,
  ShiftLeft,
  ShiftRight,            ///< logical
  ArithmeticShiftRight,  ///< copies of the sign come in
  HighestBit,            ///< the number of the highest 1 of a u32 that is not 0
  Least,                 ///< of unsigned integers
  // To Bool. Unsigned where integers; false on NaN, but NotEqual.
  Equal,
  NotEqual,
  Less,
  LessEqual,
  SignedLess,
  SignedLessEqual,
  Select,  ///< a Bool, what it is if so, and if not
  // Floats.
  Fma,  ///< of one rounding or two: the device's choice
  Sqrt,
  Floor,
  Ceil,
  Trunc,
  RoundEven,
  // Conversions.
  Bitcast,  ///< to another type of that width
  ZeroExtend,
  SignExtend,
  Truncate,
  FloatToFloat,
  SignedToFloat,
  UnsignedToFloat,
  FloatToSigned,  ///< towards zero; what does not fit is anything
};

/// What is done with an element of memory and a value at once, both u32.
enum class Atomic : uint8_t { Add, And, Or, SignedMax, SignedMin, UnsignedMax };

class Builder;

struct Value {
  Builder* b = nullptr;
  Id id = 0;
  Type type = Type::U32;
  explicit operator bool() const { return id != 0; }
};

/// A matrix that the invocations of a subgroup hold together: of f16, or, where sums are gathered, of f32.
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

/// Implemented for each format of kernels. A workgroup has one dimension.
class Builder {
 public:
  virtual ~Builder() = default;

  // ---- constants ----
  virtual Value u32(uint32_t) = 0;
  virtual Value u64(uint64_t) = 0;
  virtual Value boolean(bool) = 0;
  virtual Value real(Type, double) = 0;
  /// v of x's type; integers wrap.
  Value like(Value x, double v);
  Value integer(Type, int64_t v);

  // ---- operations ----
  virtual Value op(Op, Type result, std::initializer_list<Value> operands) = 0;
  Value select(Value condition, Value yes, Value no);
  Value bits(Value x, Type);  ///< the same bits as another type of that width
  Value to_u32(Value);        ///< of an integer: the low 32 bits
  Value sign_extend(Value);   ///< u32 to u64
  Value zero_extend(Value);
  /// The low `width` bits of a u32 as a signed number, in 32 bits.
  virtual Value sign_extend_low(Value, int width) = 0;
  struct Wide {
    Value low, high;
  };
  virtual Wide multiply_wide(Value x, Value y) = 0;  ///< u32 x u32: all 64 bits of the product

  // ---- control flow; what a branch makes is not known outside of it but through variables ----
  virtual void if_(Value condition, const std::function<void()>& yes, const std::function<void()>& no = {}) = 0;
  /// for (i = from; i < to; i += step), unsigned.
  virtual void loop(Value from, Value to, Value step, const std::function<void(Value)>& body) = 0;
  /// while (body()) {}
  virtual void repeat(const std::function<Value()>& body) = 0;
  virtual Variable variable(Type) = 0;
  virtual Value load_from(const Variable&) = 0;
  virtual void store_to(const Variable&, Value) = 0;
  /// What `code` makes comes before all else, and so is known everywhere.
  virtual void at_entry(const std::function<void()>& code) = 0;

  // ---- memory: bindings are arrays, numbered as in the Launch ----
  /// A word of the launch's params.
  virtual Value param(int word) = 0;
  /// From now on `binding` is reached by this address. low, high: known everywhere.
  virtual void by_address(int binding, Value low, Value high) = 0;
  /// `binding` as an array of u32, u64, u16 or u8; the last two are extended by zeros.
  virtual Value load(int binding, Type element, Value index) = 0;
  virtual void store(int binding, Value value, Value index) = 0;
  virtual void store_narrow(int binding, Type element, Value value, Value index) = 0;  ///< low bits of a u32 into a U8 or U16
  using Four = std::array<Value, 4>;
  virtual void store_four(int binding, const Four&, Value index) = 0;  ///< u32s; index in fours
  /// From a binding that is loaded as texels, of floats: the bits of texel `index`; where a texel is one float, the first of them.
  virtual Four fetch(int binding, Value index) = 0;
  /// On element `index` of u32s; returns what was there.
  virtual Value atomic(Atomic, int binding, Value index, Value value) = 0;
  virtual Value compare_exchange(int binding, Value index, Value expected, Value desired) = 0;

  // ---- the workgroup ----
  /// An array of local_size values, shared by the workgroup; one per type and number.
  virtual Value shared_load(Type, int array, Value index) = 0;
  virtual void shared_store(int array, Value value, Value index) = 0;
  virtual void shared_length(int array, uint32_t) = 0;  ///< instead of local_size
  virtual void barrier() = 0;
  virtual Value local_index() = 0;  ///< of the invocation in its workgroup
  virtual Value group(int axis) = 0;
  virtual Value subgroup() = 0;   ///< of the invocation, its number in the workgroup
  virtual Value subgroups() = 0;  ///< of the workgroup

  // ---- matrices of subgroups, where the device has them. All invocations of a subgroup must come by ----
  /// They share memory with what is shared; before anything is.
  virtual void share_with_matrices() = 0;
  /// Zeros, in a variable of the function.
  virtual Id matrix_variable(MatrixType) = 0;
  virtual void matrix_clear(Id variable, MatrixType) = 0;
  /// From shared array `array` of u32s, each two f16; stride in u32s, from line to line: rows, or columns if by_columns.
  virtual Id matrix_load(MatrixType, int array, Value first, uint32_t stride, bool by_columns) = 0;
  /// The variable += a @ b.
  virtual void matrix_multiply(Id variable, MatrixType, Id a, Id b) = 0;
  /// Of f32, into shared array `array` of f32s, row by row.
  virtual void matrix_store(Id variable, MatrixType, int array, Value first, uint32_t stride) = 0;

  /// Whether 32-bit floats keep infinities, NaN and the sign of zeros through any arithmetic.
  virtual bool preserves_specials() const = 0;
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

#define ANYGPU_MIXED(op)                        \
  inline Value operator op(Value x, double v) { \
    return x op x.b->like(x, v);                \
  }                                             \
  inline Value operator op(double v, Value x) { \
    return x.b->like(x, v) op x;                \
  }
// clang-format off
ANYGPU_MIXED(+) ANYGPU_MIXED(-) ANYGPU_MIXED(*) ANYGPU_MIXED(/) ANYGPU_MIXED(%)
ANYGPU_MIXED(&) ANYGPU_MIXED(|) ANYGPU_MIXED(^)
ANYGPU_MIXED(==) ANYGPU_MIXED(!=) ANYGPU_MIXED(<) ANYGPU_MIXED(<=) ANYGPU_MIXED(>) ANYGPU_MIXED(>=)
// clang-format on
#undef ANYGPU_MIXED

        inline bool is_real(Type t) {
  return t == Type::F32 || t == Type::F64;
}
inline int bytes_of(Type t) {
  return t == Type::U64 || t == Type::F64 ? 8 : t == Type::U16 ? 2 : t == Type::U8 ? 1 : 4;
}

}  // namespace anygpu::gpu
