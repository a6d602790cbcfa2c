// How the shaders of products see arrays: elements of f32, f16 or bf16, which they compute with in f32; with DOUBLE defined, f64 throughout.
// What an operand holds is a specialisation constant. Halves are read as parts of words: no device needs 16-bit storage for that. dst has
// f32 elements, with HALF_DST defined halves, for which the device needs it.
#ifdef HALF_DST
#extension GL_EXT_shader_16bit_storage : require
#endif

const uint F16 = 1, BF16 = 2;  // else f32

#ifdef DOUBLE
#define Real double
#define Real4 dvec4
#define Real4x4 dmat4
#else
#define Real float
#define Real4 vec4
#define Real4x4 mat4
#endif

float widen(uint w, int e, uint kind) {
  uint bits = (w >> (16 * (e & 1))) & 0xffffu;
  return kind == BF16 ? uintBitsToFloat(bits << 16) : unpackHalf2x16(bits).x;
}

vec4 widen4(uvec2 w, uint kind) {
  if (kind == BF16) return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
  return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
}

// To nearest, ties to even, in integers: as the emitter's encode_half.
uint narrowed(float x, uint kind) {
  uint bits = floatBitsToUint(x), magnitude = bits & 0x7fffffffu, sign = (bits >> 16) & 0x8000u;
  bool nan = magnitude > 0x7f800000u;
  if (kind == BF16) return nan ? sign | 0x7fc0u : (bits + (((bits >> 16) & 1u) + 0x7fffu)) >> 16;
  if (magnitude >= 0x477ff000u) return sign | (nan ? 0x7e00u : 0x7c00u);
  if (magnitude < 0x38800000u) return sign | (floatBitsToUint(uintBitsToFloat(magnitude) + 0.5) - 0x3f000000u);
  return sign | ((magnitude + (((magnitude >> 13) & 1u) + 0xc8000fffu)) >> 13);
}

// INPUT(lhs, 1, KIND): the array of binding 1. lhs(e) is element e, lhs4(e) the four from e on, which is a multiple of 4.
#ifdef DOUBLE
#define INPUT(name, slot, kind)                                                          \
  layout(set = 0, binding = slot) readonly buffer name##_Ones { double name##_ones[]; }; \
  layout(set = 0, binding = slot) readonly buffer name##_Twos { dvec2 name##_twos[]; };  \
  double name(int e) { return name##_ones[e]; }                                          \
  dvec4 name##4(int e) { return dvec4(name##_twos[e >> 1], name##_twos[(e >> 1) + 1]); }
#else
#define INPUT(name, slot, kind)                                                             \
  layout(set = 0, binding = slot) readonly buffer name##_Ones { float name##_ones[]; };     \
  layout(set = 0, binding = slot) readonly buffer name##_Fours { vec4 name##_fours[]; };    \
  layout(set = 0, binding = slot) readonly buffer name##_Words { uint name##_words[]; };    \
  layout(set = 0, binding = slot) readonly buffer name##_Pairs { uvec2 name##_pairs[]; };   \
  float name(int e) { return kind == 0 ? name##_ones[e] : widen(name##_words[e >> 1], e, kind); } \
  vec4 name##4(int e) { return kind == 0 ? name##_fours[e >> 2] : widen4(name##_pairs[e >> 2], kind); }
#endif

// OUTPUT(dst, 0, KIND): put_dst(e, v), and put4_dst(e, v) for the four from e on, which is a multiple of 4. ADDS to what is there only where
// that is no half.
#ifdef HALF_DST
#define OUTPUT(name, slot, kind)                                                                  \
  layout(set = 0, binding = slot) buffer name##_Ones { uint16_t name[]; };                        \
  layout(set = 0, binding = slot) buffer name##_OutPairs { uvec2 name##_out_pairs[]; };           \
  void put_##name(int e, float v, uint adds) { name[e] = uint16_t(narrowed(v, kind)); }           \
  void put4_##name(int e, vec4 v, uint adds) {                                                    \
    name##_out_pairs[e >> 2] = uvec2(narrowed(v.x, kind) | narrowed(v.y, kind) << 16,             \
                                     narrowed(v.z, kind) | narrowed(v.w, kind) << 16);            \
  }
#else
#ifdef DOUBLE
#define OUTPUT_FOURS(name, slot)                                                                  \
  layout(set = 0, binding = slot) buffer name##_OutTwos { dvec2 name##_out_twos[]; };             \
  void write4_##name(int e, dvec4 v) { name##_out_twos[e >> 1] = v.xy, name##_out_twos[(e >> 1) + 1] = v.zw; }
#else
#define OUTPUT_FOURS(name, slot)                                                                  \
  layout(set = 0, binding = slot) buffer name##_OutFours { vec4 name##_out_fours[]; };            \
  void write4_##name(int e, vec4 v) { name##_out_fours[e >> 2] = v; }
#endif
#define OUTPUT(name, slot, kind)                                                                  \
  layout(set = 0, binding = slot) buffer name##_Ones { Real name[]; };                            \
  OUTPUT_FOURS(name, slot)                                                                        \
  void put_##name(int e, Real v, uint adds) { name[e] = adds == 1 ? name[e] + v : v; }            \
  void put4_##name(int e, Real4 v, uint adds) {                                                   \
    write4_##name(e, adds == 1 ? v + Real4(name[e], name[e + 1], name[e + 2], name[e + 3]) : v);  \
  }
#endif
