// One scalar of any dtype, how it lies in memory, and what each cast means. The meaning of the IR's types, spelt out.
#pragma once

#include <cstdint>

#include "anygpu/dtype.h"

namespace anygpu::reference {

/// Which member counts follows from the dtype: F32 f, F64 d; all else i. Integers are kept extended to 64 bits, bool is 0 or 1,
/// f16 and bf16 are their bits, so that NaNs survive a copy.
union Value {
  int64_t i;
  float f;
  double d;
};

float half_to_float(uint16_t bits);
float bfloat_to_float(uint16_t bits);
uint16_t float_to_half(float);  ///< to nearest, ties to even; overflow is infinite
uint16_t float_to_bfloat(float);

Value load(DType, const void* address);
void store(DType, void* address, Value);

/// The integer of type t that v wraps to; bool: v != 0.
int64_t wrap(DType t, int64_t v);
/// Truncates and saturates at i64; NaN is 0.
int64_t truncate(double);

/// ExprOp::Cast. To f16 and bf16 by way of f32, as PyTorch does.
Value cast(Value, DType from, DType to);
/// ExprOp::Bitcast.
Value bitcast(Value, DType from, DType to);

/// v of type t as a double (exact but for large i64), and back.
double to_double(Value, DType);
Value from_double(double, DType);

}  // namespace anygpu::reference
