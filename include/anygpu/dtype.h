// Element types, and what each of them is in bytes and by name.
#pragma once

#include <cstdint>

namespace anygpu {

enum class DType : uint8_t { Bool, U8, I8, I16, I32, I64, F16, BF16, F32, F64, C64, C128 };

inline constexpr int kDTypes = 12;

/// Bytes of one element.
constexpr int64_t size_of(DType t) {
  constexpr int64_t bytes[kDTypes] = {1, 1, 1, 2, 4, 8, 2, 2, 4, 8, 8, 16};
  return bytes[static_cast<int>(t)];
}

/// The short name used in messages and printed IR: "f32", "i64", ...
constexpr const char* name_of(DType t) {
  constexpr const char* names[kDTypes] = {"bool", "u8", "i8", "i16", "i32", "i64", "f16", "bf16", "f32", "f64", "c64", "c128"};
  return names[static_cast<int>(t)];
}

constexpr bool is_float(DType t) {
  return t >= DType::F16 && t <= DType::F64;
}
constexpr bool is_complex(DType t) {
  return t >= DType::C64;
}
constexpr bool is_int(DType t) {
  return t >= DType::U8 && t <= DType::I64;
}

/// The type that arithmetic on `t` is done in: f16 and bf16 compute in f32, all others in themselves.
constexpr DType compute_type(DType t) {
  return t == DType::F16 || t == DType::BF16 ? DType::F32 : t;
}

}  // namespace anygpu
