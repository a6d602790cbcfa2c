#include "backends/reference/scalar.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

namespace anygpu::reference {
namespace {

template <class T>
T get(const void* p) {
  T v;
  std::memcpy(&v, p, sizeof v);
  return v;
}

template <class T>
void put(void* p, T v) {
  std::memcpy(p, &v, sizeof v);
}

}  // namespace

float half_to_float(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = bits >> 10 & 0x1f, fraction = bits & 0x3ff;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent == 0) {
    const float v = static_cast<float>(fraction) * 0x1p-24f;  // exact
    return sign ? -v : v;
  }
  return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
}

float bfloat_to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

uint16_t float_to_half(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  const uint16_t sign = bits >> 16 & 0x8000;
  if (std::isnan(v)) return sign | 0x7e00;
  const float magnitude = std::fabs(v);
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // 65504 is the last one; half a step above rounds away
  if (magnitude == 0) return sign;                  // frexp's exponent of 0 says nothing
  if (magnitude == 0) return sign;
  // Rounding is left to nearbyint, at the scale where a half's last bit is 1.
  int exponent;
  std::frexp(magnitude, &exponent);                                                        // magnitude = m * 2^exponent, m in [0.5, 1)
  const int last = std::max(exponent - 11, -24);                                           // exponent of the last bit
  const auto steps = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -last)));  // at most 2048
  // For normal numbers steps is in [1024, 2048]; the carry to 2048 moves into the exponent by itself.
  if (last == -24) return sign | static_cast<uint16_t>(steps);
  return sign | static_cast<uint16_t>(((last + 24) << 10) + steps);
}

uint16_t float_to_bfloat(float v) {
  const uint32_t bits = std::bit_cast<uint32_t>(v);
  if (std::isnan(v)) return (bits >> 16 & 0x8000) | 0x7fc0;
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

Value load(DType t, const void* p) {
  Value v{.i = 0};
  switch (t) {
    case DType::Bool:
      v.i = get<uint8_t>(p) != 0;
      break;
    case DType::U8:
      v.i = get<uint8_t>(p);
      break;
    case DType::I8:
      v.i = int64_t{get<int8_t>(p)};
      break;
    case DType::I16:
      v.i = get<int16_t>(p);
      break;
    case DType::I32:
      v.i = get<int32_t>(p);
      break;
    case DType::I64:
      v.i = get<int64_t>(p);
      break;
    case DType::F16:
    case DType::BF16:
      v.i = get<uint16_t>(p);
      break;
    case DType::F32:
      v.f = get<float>(p);
      break;
    case DType::F64:
      v.d = get<double>(p);
      break;
    case DType::C64:
    case DType::C128:
      break;  // the verifier lets none pass
  }
  return v;
}

void store(DType t, void* p, Value v) {
  switch (t) {
    case DType::Bool:
    case DType::U8:
      put(p, static_cast<uint8_t>(v.i));
      break;
    case DType::I8:
      put(p, static_cast<int8_t>(v.i));
      break;
    case DType::I16:
      put(p, static_cast<int16_t>(v.i));
      break;
    case DType::I32:
      put(p, static_cast<int32_t>(v.i));
      break;
    case DType::I64:
      put(p, v.i);
      break;
    case DType::F16:
    case DType::BF16:
      put(p, static_cast<uint16_t>(v.i));
      break;
    case DType::F32:
      put(p, v.f);
      break;
    case DType::F64:
      put(p, v.d);
      break;
    case DType::C64:
    case DType::C128:
      break;
  }
}

int64_t wrap(DType t, int64_t v) {
  switch (t) {
    case DType::Bool:
      return v != 0;
    case DType::U8:
      return static_cast<uint8_t>(v);
    case DType::I8:
      return static_cast<int8_t>(v);
    case DType::I16:
      return static_cast<int16_t>(v);
    case DType::I32:
      return static_cast<int32_t>(v);
    default:
      return v;
  }
}

int64_t truncate(double v) {
  if (std::isnan(v)) return 0;
  if (v >= 0x1p63) return std::numeric_limits<int64_t>::max();
  if (v < -0x1p63) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}

double to_double(Value v, DType t) {
  switch (t) {
    case DType::F16:
      return half_to_float(static_cast<uint16_t>(v.i));
    case DType::BF16:
      return bfloat_to_float(static_cast<uint16_t>(v.i));
    case DType::F32:
      return v.f;
    case DType::F64:
      return v.d;
    default:
      return static_cast<double>(v.i);
  }
}

Value from_double(double d, DType t) {
  Value v{.i = 0};
  switch (t) {
    case DType::F16:
      v.i = float_to_half(static_cast<float>(d));
      break;
    case DType::BF16:
      v.i = float_to_bfloat(static_cast<float>(d));
      break;
    case DType::F32:
      v.f = static_cast<float>(d);
      break;
    case DType::F64:
      v.d = d;
      break;
    case DType::Bool:
      v.i = d != 0;
      break;
    default:
      v.i = wrap(t, truncate(d));
      break;
  }
  return v;
}

Value cast(Value v, DType from, DType to) {
  if (from == to) return v;
  if (is_float(from)) return from_double(to_double(v, from), to);
  Value r{.i = 0};
  switch (to) {
    // From integers straight to f32: by way of f64 it would round twice.
    case DType::F16:
      r.i = float_to_half(static_cast<float>(v.i));
      break;
    case DType::BF16:
      r.i = float_to_bfloat(static_cast<float>(v.i));
      break;
    case DType::F32:
      r.f = static_cast<float>(v.i);
      break;
    case DType::F64:
      r.d = static_cast<double>(v.i);
      break;
    default:
      r.i = wrap(to, v.i);
      break;
  }
  return r;
}

Value bitcast(Value v, DType from, DType to) {
  char bytes[8];
  store(from, bytes, v);
  return load(to, bytes);
}

}  // namespace anygpu::reference
