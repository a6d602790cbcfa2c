// f16 and bf16 as bits, to and from f32.
#include "backends/gpu/builder.h"

namespace anygpu::gpu {

Value decode_half(bool brain, Value bits) {
  Builder& b = *bits.b;
  if (brain) return b.bits(bits << 16, Type::F32);
  const Value sign = (bits & b.u32(0x8000)) << 16, rest = (bits & b.u32(0x7fff)) << 13;
  const Value normal = rest + b.u32(112u << 23), special = rest | b.u32(0x7f800000);
  const Value small = b.bits(b.op(Op::UnsignedToFloat, Type::F32, {bits & b.u32(0x3ff)}) * b.real(Type::F32, 0x1p-24), Type::U32);
  const Value magnitude = b.select(rest < b.u32(0x400u << 13), small, b.select(rest < b.u32(0x7c00u << 13), normal, special));
  return b.bits(magnitude | sign, Type::F32);
}

Value encode_half(bool brain, Value x) {
  Builder& b = *x.b;
  const Value bits = b.bits(x, Type::U32), magnitude = bits & b.u32(0x7fffffff);
  const Value sign = (bits >> 16) & b.u32(0x8000), nan = magnitude > b.u32(0x7f800000);
  if (brain) {
    const Value rounded = (bits + (((bits >> 16) & b.u32(1)) + b.u32(0x7fff))) >> 16;
    return b.select(nan, sign | b.u32(0x7fc0), rounded);
  }
  // Subnormals: adding 0.5 lets the addition round; the result's mantissa is the answer.
  const Value small = b.bits(b.bits(magnitude, Type::F32) + b.real(Type::F32, 0.5), Type::U32) - b.u32(0x3f000000);
  const Value normal = (magnitude + (((magnitude >> 13) & b.u32(1)) + b.u32(0xc8000fff))) >> 13;
  const Value finite = b.select(magnitude < b.u32(0x38800000), small, normal);
  const Value special = b.select(nan, b.u32(0x7e00), b.u32(0x7c00));
  return sign | b.select(magnitude >= b.u32(0x477ff000), special, finite);
}

}  // namespace anygpu::gpu
