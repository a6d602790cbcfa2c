// What generated code calls: stores that must keep an order, and functions that have no vector form. Compiled ahead, so that
// generated code stays small.
#include <bit>
#include <cmath>
#include <cstring>

#include "anygpu/dtype.h"
#include "ir/generic.h"
#include "jit.h"

namespace anygpu::cpu {
namespace {

using ir::Combine;

float from_half(uint16_t h) {
  const uint32_t sign = static_cast<uint32_t>(h & 0x8000) << 16, rest = static_cast<uint32_t>(h & 0x7fff) << 13;
  if (rest >= 0x7c00u << 13) return std::bit_cast<float>(rest | 0x7f800000 | sign);
  return std::copysign(std::bit_cast<float>(rest) * 0x1p112f, std::bit_cast<float>(sign));
}

uint16_t to_half(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f), magnitude = bits & 0x7fffffff;
  const uint16_t sign = static_cast<uint16_t>((bits & 0x80000000) >> 16);
  if (magnitude > 0x7f800000) return 0x7e00 | sign;
  if (magnitude >= 0x477ff000) return 0x7c00 | sign;
  if (magnitude < 0x38800000)
    return static_cast<uint16_t>(std::bit_cast<uint32_t>(std::bit_cast<float>(magnitude) + 0.5f) - 0x3f000000) | sign;
  return static_cast<uint16_t>((magnitude + 0xc8000fff + (magnitude >> 13 & 1)) >> 13) | sign;
}

float from_bfloat(uint16_t h) {
  return std::bit_cast<float>(static_cast<uint32_t>(h) << 16);
}

uint16_t to_bfloat(float f) {
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  if (f != f) return 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

template <class T>
T joined(Combine how, T old, T v) {
  switch (how) {
    case Combine::None:
      return v;
    case Combine::Add:
      if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<std::make_unsigned_t<T>>(old) + static_cast<std::make_unsigned_t<T>>(v));
      else
        return old + v;
    case Combine::Mul:
      if constexpr (std::is_integral_v<T>)
        return static_cast<T>(static_cast<uint64_t>(old) * static_cast<uint64_t>(v));
      else
        return old * v;
    case Combine::Max:
      return old != old ? old : old > v ? old : v;
    case Combine::Min:
      return old != old ? old : old < v ? old : v;
  }
  return v;
}

template <class T>
struct Same {
  using Stored = T;
  using Value = T;
  static T load(T v) { return v; }
  static T store(T v) { return v; }
};
struct Half {
  using Stored = uint16_t;
  using Value = float;
  static float load(uint16_t v) { return from_half(v); }
  static uint16_t store(float v) { return to_half(v); }
};
struct BFloat {
  using Stored = uint16_t;
  using Value = float;
  static float load(uint16_t v) { return from_bfloat(v); }
  static uint16_t store(float v) { return to_bfloat(v); }
};

template <class T>
void store_lanes(void* base, const void* values, const int64_t* offsets, const uint8_t* mask, int64_t n, Combine how) {
  auto* to = static_cast<typename T::Stored*>(base);
  const auto* from = static_cast<const typename T::Value*>(values);
  for (int64_t i = 0; i < n; ++i) {
    if (mask && !mask[i]) continue;
    auto& place = to[offsets[i]];
    place = how == Combine::None ? T::store(from[i]) : T::store(joined(how, T::load(place), from[i]));
  }
}

// values: as they are in registers, f32 for the halves and bytes for bool. offsets: elements from base.
void store_any(void* base, const void* values, const int64_t* offsets, const uint8_t* mask, int64_t n, int32_t dtype, int32_t combine) {
  auto how = static_cast<Combine>(combine);
  switch (static_cast<DType>(dtype)) {
    case DType::Bool:
      if (how == Combine::Add) how = Combine::Max;
      if (how == Combine::Mul) how = Combine::Min;
      return store_lanes<Same<uint8_t>>(base, values, offsets, mask, n, how);
    case DType::U8:
      return store_lanes<Same<uint8_t>>(base, values, offsets, mask, n, how);
    case DType::I8:
      return store_lanes<Same<int8_t>>(base, values, offsets, mask, n, how);
    case DType::I16:
      return store_lanes<Same<int16_t>>(base, values, offsets, mask, n, how);
    case DType::I32:
      return store_lanes<Same<int32_t>>(base, values, offsets, mask, n, how);
    case DType::I64:
      return store_lanes<Same<int64_t>>(base, values, offsets, mask, n, how);
    case DType::F16:
      return store_lanes<Half>(base, values, offsets, mask, n, how);
    case DType::BF16:
      return store_lanes<BFloat>(base, values, offsets, mask, n, how);
    case DType::F32:
      return store_lanes<Same<float>>(base, values, offsets, mask, n, how);
    case DType::F64:
      return store_lanes<Same<double>>(base, values, offsets, mask, n, how);
    default:
      return;
  }
}

int64_t divided(int64_t x, int64_t y) {
  return y == 0 ? 0 : y == -1 ? static_cast<int64_t>(-static_cast<uint64_t>(x)) : x / y;
}
int64_t remainder(int64_t x, int64_t y) {
  return y == 0 || y == -1 ? 0 : x % y;
}
int64_t power(int64_t x, int64_t n) {
  if (n < 0) return x == 1 ? 1 : x == -1 ? (n % 2 ? -1 : 1) : 0;
  uint64_t r = 1, b = static_cast<uint64_t>(x);
  for (; n; n >>= 1, b *= b) {
    if (n & 1) r *= b;
  }
  return static_cast<int64_t>(r);
}

template <class T, T (*f)(T)>
void each1(T* r, const T* x, const T*, int64_t n) {
  for (int64_t i = 0; i < n; ++i) r[i] = f(x[i]);
}
template <class T, T (*f)(T, T)>
void each2(T* r, const T* x, const T* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) r[i] = f(x[i], y[i]);
}
template <class F>
void* address(F* f) {
  return reinterpret_cast<void*>(f);
}

/// A function of floats: anygpu_NAME_f32 and _f64 from libm, a lane at a time, and libmvec's, as far as the machine has them.
void add_function(std::vector<Helper>& all, const std::string& name, int arity, void* f32, void* f64) {
  auto add = [&](const std::string& as, void* f) { all.push_back({strdup(as.c_str()), f}); };
  add("anygpu_" + name + "_f32", f32);
  add("anygpu_" + name + "_f64", f64);
  static constexpr const char* kShapes[][2] = {{"_ZGVeN16", "f"}, {"_ZGVeN8", ""}, {"_ZGVdN8", "f"}, {"_ZGVdN4", ""},
                                               {"_ZGVbN4", "f"},  {"_ZGVbN2", ""}, {"_ZGVnN4", "f"}, {"_ZGVnN2", ""}};
  for (const auto& shape : kShapes) {
    const std::string vector = shape[0] + std::string(arity == 1 ? "v_" : "vv_") + name + shape[1];
    if (void* f = libmvec_function(vector.c_str())) add(vector, f);
  }
}

namespace libm {
// lgamma writes a global variable.
float lgammaf(float x) {
  int sign;
  return lgammaf_r(x, &sign);
}
double lgamma(double x) {
  int sign;
  return lgamma_r(x, &sign);
}

void add_all(std::vector<Helper>& all) {
#define ANYGPU_EXPR_CALL(Op, name, arity, types)
#define ANYGPU_EXPR_LIBM(Op, name, arity, types) \
  add_function(all, #name, arity, address(each##arity<float, name##f>), address(each##arity<double, name>));
#include "ir/expr_ops.inc"
}
}  // namespace libm

std::vector<Helper> make() {
  std::vector<Helper> all = {
      {"memcpy", address(static_cast<void* (*)(void*, const void*, size_t)>(std::memcpy))},
      {"memset", address(static_cast<void* (*)(void*, int, size_t)>(std::memset))},
      {"memmove", address(static_cast<void* (*)(void*, const void*, size_t)>(std::memmove))},
      {"anygpu_store_lanes", address(store_any)},
      {"anygpu_div_i64", address(each2<int64_t, divided>)},
      {"anygpu_rem_i64", address(each2<int64_t, remainder>)},
      {"anygpu_pow_i64", address(each2<int64_t, power>)},
      {"anygpu_rem_f32", address(each2<float, ::fmodf>)},
      {"anygpu_rem_f64", address(each2<double, ::fmod>)},
      {"anygpu_nextafter_f32", address(each2<float, ::nextafterf>)},
      {"anygpu_nextafter_f64", address(each2<double, ::nextafter>)},
  };
  libm::add_all(all);
  // What LLVM may call for an intrinsic that the host has no instruction for.
#define ANYGPU_ROUNDING(name, function)                        \
  all.push_back({#name, address<double(double)>(::function)}); \
  all.push_back({#name "f", address<float(float)>(::function##f)})
  ANYGPU_ROUNDING(floor, floor);
  ANYGPU_ROUNDING(ceil, ceil);
  ANYGPU_ROUNDING(trunc, trunc);
  ANYGPU_ROUNDING(sqrt, sqrt);
  ANYGPU_ROUNDING(roundeven, nearbyint);  // in the default rounding mode, the only one here
#undef ANYGPU_ROUNDING
  return all;
}

}  // namespace

const std::vector<Helper>& helpers() {
  static const auto* all = new std::vector<Helper>(make());
  return *all;
}

}  // namespace anygpu::cpu
