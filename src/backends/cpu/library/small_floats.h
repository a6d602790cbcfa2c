// f16 and bf16 to and from f32, rounding to nearest even.
#pragma once

#include <bit>
#include <cstdint>

namespace anygpu::cpu {

inline float bf16_to_float(uint16_t v) {
  return std::bit_cast<float>(static_cast<uint32_t>(v) << 16);
}

inline uint16_t float_to_bf16(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f);
  if (f != f) return static_cast<uint16_t>(u >> 16 | 0x40);
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

inline float f16_to_float(uint16_t v) {
  uint32_t sign = static_cast<uint32_t>(v & 0x8000) << 16, magnitude = v & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x400) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  float f = static_cast<float>(magnitude) * 0x1p-24f;  // subnormal
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(f));
}

inline uint16_t float_to_f16(float f) {
  uint32_t u = std::bit_cast<uint32_t>(f);
  uint16_t sign = static_cast<uint16_t>(u >> 16 & 0x8000);
  u &= 0x7fffffff;
  if (u > 0x7f800000) return sign | 0x7e00;
  if (u >= 0x477ff000) return sign | 0x7c00;  // 65520 and more round to infinity
  if (u < 0x38800000) {                       // below 2^-14: adding 0.5 leaves the subnormal's bits, rounded, at the end
    float shifted = std::bit_cast<float>(u) + 0.5f;
    return sign | static_cast<uint16_t>(std::bit_cast<uint32_t>(shifted) - 0x3f000000);
  }
  return sign | static_cast<uint16_t>((u + 0xfff + (u >> 13 & 1) - (112u << 23)) >> 13);
}

}  // namespace anygpu::cpu
