// Loads and stores: contiguous, strided, gathered; whole vectors and tails.
#include <llvm/Config/llvm-config.h>

#include "emitter.h"

namespace anygpu::cpu {

using ir::Combine;
using ir::Node;

namespace {

/// llvm.masked.*: the alignment is an operand, in the place `align_at`, up to LLVM 21.
Value masked(IrBuilder& b, const char* name, std::initializer_list<Type> types, Values operands, int align_at, int bytes) {
#if LLVM_VERSION_MAJOR < 22
  operands.insert(operands.begin() + align_at, b.constant(b.i32, bytes));
#else
  (void)align_at, (void)bytes;
#endif
  return b.intrinsic(name, types, operands);
}

}  // namespace

Type Emitter::storage_type(DType t) const {
  switch (t) {
    case DType::Bool:
      return b_.i8;
    case DType::F16:
    case DType::BF16:
      return b_.i16;
    default:
      return value_type(t);
  }
}

Value Emitter::decode(Value v, DType t) {
  switch (t) {
    case DType::Bool:
      return b_.icmp(LLVMIntNE, v, b_.like(v, 0));
    case DType::BF16: {
      const Value wide = b_.zext(v, b_.i32);
      return b_.bitcast(b_.shl(wide, b_.like(wide, 16)), b_.f32);
    }
    case DType::F16: {
      if (isa_.half) {
        const Value half = b_.bitcast(v, b_.f16);
        return LLVMBuildFPExt(b_.b, half, b_.like(half, b_.f32), "");
      }
      // Exponent and mantissa moved into place are the value times 2^-112, subnormals included; infinities and NaN are put right.
      const Value wide = b_.zext(v, b_.i32);
      const Value sign = b_.shl(b_.bit_and(wide, b_.like(wide, 0x8000)), b_.like(wide, 16));
      const Value rest = b_.shl(b_.bit_and(wide, b_.like(wide, 0x7fff)), b_.like(wide, 13));
      const Value scaled = b_.bitcast(rest, b_.f32);
      const Value finite = b_.bitcast(b_.mul(scaled, b_.like(scaled, 0x1p112)), b_.i32);
      const Value special = b_.bit_or(rest, b_.like(rest, 0x7f800000));
      const Value magnitude = b_.select(b_.icmp(LLVMIntUGE, rest, b_.like(rest, 0x7c00 << 13)), special, finite);
      return b_.bitcast(b_.bit_or(magnitude, sign), b_.f32);
    }
    default:
      return v;
  }
}

// To nearest, ties to even.
Value Emitter::encode(Value v, DType t) {
  switch (t) {
    case DType::Bool:
      return b_.zext(v, b_.i8);
    case DType::BF16: {
      const Value bits = b_.bitcast(v, b_.i32);
      const Value odd = b_.bit_and(b_.lshr(bits, b_.like(bits, 16)), b_.like(bits, 1));
      const Value rounded = b_.lshr(b_.add(bits, b_.add(odd, b_.like(bits, 0x7fff))), b_.like(bits, 16));
      return b_.trunc(b_.select(b_.fcmp(LLVMRealUNO, v, v), b_.like(bits, 0x7fc0), rounded), b_.i16);
    }
    case DType::F16: {
      if (isa_.half) return b_.bitcast(LLVMBuildFPTrunc(b_.b, v, b_.like(v, b_.f16), ""), b_.i16);
      const Value bits = b_.bitcast(v, b_.i32);
      const Value sign = b_.lshr(b_.bit_and(bits, b_.like(bits, 0x80000000)), b_.like(bits, 16));
      const Value magnitude = b_.bit_and(bits, b_.like(bits, 0x7fffffff));
      // Subnormals: adding 0.5 lets the addition round; the result's mantissa is the answer.
      const Value shifted = b_.add(b_.bitcast(magnitude, b_.f32), b_.real(b_.like(v, b_.f32), 0.5));
      const Value small = b_.sub(b_.bitcast(shifted, b_.i32), b_.like(bits, 0x3f000000));
      const Value odd = b_.bit_and(b_.lshr(magnitude, b_.like(bits, 13)), b_.like(bits, 1));
      const Value normal = b_.lshr(b_.add(magnitude, b_.add(odd, b_.like(bits, 0xc8000fff))), b_.like(bits, 13));
      const Value finite = b_.select(b_.icmp(LLVMIntULT, magnitude, b_.like(bits, 0x38800000)), small, normal);
      const Value special =
          b_.select(b_.icmp(LLVMIntUGT, magnitude, b_.like(bits, 0x7f800000)), b_.like(bits, 0x7e00), b_.like(bits, 0x7c00));
      const Value result = b_.select(b_.icmp(LLVMIntUGE, magnitude, b_.like(bits, 0x477ff000)), special, finite);
      return b_.trunc(b_.bit_or(result, sign), b_.i16);
    }
    default:
      return v;
  }
}

Value Emitter::spill(Value v) {
  if (b_.element_of(b_.type_of(v)) == b_.i1) v = b_.zext(v, b_.i8);
  const Value slot = b_.stack(b_.type_of(v));
  b_.store(v, slot, b_.bits_of(b_.element_of(b_.type_of(v))) / 8);
  return slot;
}

Value Emitter::load_contiguous(Type element, Value pointer, const Lanes& lanes) {
  const Type type = b_.vec(element, spec_.lanes);
  const int bytes = b_.bits_of(element) / 8;
  if (!lanes.mask) return b_.load(type, pointer, bytes);
  if (isa_.masks) {
    return masked(b_, "llvm.masked.load", {type, b_.ptr}, {pointer, lanes.mask, LLVMConstNull(type)}, 1, bytes);
  }
  const Value slot = b_.stack(type);
  b_.call("memcpy", b_.ptr, {slot, pointer, b_.mul(lanes.active, b_.index(bytes))});
  return b_.load(type, slot, bytes);
}

void Emitter::store_contiguous(Value v, Value pointer, const Lanes& lanes, Value mask, bool streams) {
  const int bytes = b_.bits_of(b_.element_of(b_.type_of(v))) / 8;
  if (!mask && streams) return b_.store_past_caches(v, pointer);
  if (!mask) return b_.store(v, pointer, bytes);
  if (isa_.masks) {
    masked(b_, "llvm.masked.store", {b_.type_of(v), b_.ptr}, {v, pointer, mask}, 2, bytes);
    return;
  }
  b_.call("memcpy", b_.ptr, {pointer, spill(v), b_.mul(lanes.active, b_.index(bytes))});  // mask is the tail's own
}

// Lanes beyond the tail read what lane 0 reads, where the host has no masks.
Value Emitter::gather(Type element, Value pointer, Value offsets, const Lanes& lanes) {
  const int n = spec_.lanes, bytes = b_.bits_of(element) / 8;
  const Type type = b_.vec(element, n);
  Value mask = b_.constant(b_.vec(b_.i1, n), 1);
  if (lanes.mask && isa_.masks && bytes >= 4) {
    mask = lanes.mask;
  } else if (lanes.mask) {
    offsets = b_.select(lanes.mask, offsets, b_.splat(b_.lane(offsets, 0), n));
  }
  return masked(b_, "llvm.masked.gather", {type, b_.vec(b_.ptr, n)}, {b_.element(pointer, element, offsets), mask, LLVMConstNull(type)}, 1,
                bytes);
}

Value Emitter::load(Scope& scope, const Node& n, int lanes) {
  const SpecAccess& access = spec_.accesses[n.a];
  if (access.inner == Inner::Transposed) return decode(load_from_square(scope, n.a), n.type);
  const Type element = storage_type(access.dtype);
  Value pointer = scope.pointers[n.a];
  const Value extra = n.b >= 0 ? known(scope, n.b) : nullptr;
  const bool spread = extra && b_.lanes_of(extra) > 1;
  if (extra && !spread) pointer = b_.element(pointer, element, extra);
  const bool bound = scope.bound >> vector_ & 1;
  const Value step = access.inner == Inner::Strided ? parameter(layout_.stride(n.a, vector_)) : b_.index(1);
  if (bound && access.inner != Inner::Fixed) pointer = b_.element(pointer, element, b_.mul(scope.lanes->index, step));
  Value v;
  if (lanes == 1) {
    v = b_.load(element, pointer, b_.bits_of(element) / 8);
  } else if (!spread && access.inner == Inner::Contiguous) {
    v = load_contiguous(element, pointer, *scope.lanes);
  } else {
    Value offsets = access.inner == Inner::Fixed ? nullptr : b_.mul(b_.iota(lanes), b_.splat(step, lanes));
    if (spread) offsets = offsets ? b_.add(extra, offsets) : extra;
    v = gather(element, pointer, offsets, *scope.lanes);
  }
  return decode(v, n.type);
}

Value Emitter::combine(Combine how, DType t, Value old, Value value) {
  const bool is_bool = t == DType::Bool;
  switch (how) {
    case Combine::None:
      return value;
    case Combine::Add:
      return is_bool ? b_.bit_or(old, value) : b_.add(old, value);
    case Combine::Mul:
      return is_bool ? b_.bit_and(old, value) : b_.mul(old, value);
    case Combine::Max:
      return extremum(true, t, old, value);
    case Combine::Min:
      return extremum(false, t, old, value);
  }
  return value;
}

// One element: outside of the vector loop, or where a vector is one lane.
void Emitter::store_one(Scope& scope, const ir::Store& s) {
  const SpecAccess& access = spec_.accesses[s.access];
  const Type element = storage_type(access.dtype);
  Value pointer = scope.pointers[s.access];
  if (s.index >= 0) pointer = b_.element(pointer, element, known(scope, s.index));
  if (scope.lanes && access.inner != Inner::Fixed) {
    pointer = b_.element(pointer, element, b_.mul(scope.lanes->index, parameter(layout_.stride(s.access, vector_))));
  }
  const int bytes = b_.bits_of(element) / 8;
  auto write = [&] {
    Value v = known(scope, s.value);
    if (s.combine != Combine::None) v = combine(s.combine, access.dtype, decode(b_.load(element, pointer, bytes), access.dtype), v);
    b_.store(encode(v, access.dtype), pointer, bytes);
  };
  if (s.guard < 0) return write();
  b_.branch(known(scope, s.guard), {}, [&](const Values&) {
    write();
    return Values{};
  });
}

void Emitter::store(Scope& scope, const ir::Store& s) {
  if (!scope.lanes || spec_.lanes == 1) return store_one(scope, s);
  const SpecAccess& access = spec_.accesses[s.access];
  const Lanes& lanes = *scope.lanes;
  const int n = spec_.lanes;
  const Type element = storage_type(access.dtype);
  const Value value = operand(scope, s.value, n), index = s.index >= 0 ? known(scope, s.index) : nullptr;
  const bool spread = index && b_.lanes_of(index) > 1;
  Value mask = lanes.mask;
  if (s.guard >= 0) {
    const Value guard = operand(scope, s.guard, n);
    mask = mask ? b_.bit_and(mask, guard) : guard;
  }
  Value pointer = scope.pointers[s.access];
  if (index && !spread) pointer = b_.element(pointer, element, index);
  const Value step = access.inner == Inner::Strided ? parameter(layout_.stride(s.access, vector_)) : b_.index(1);
  if (access.inner != Inner::Fixed) pointer = b_.element(pointer, element, b_.mul(lanes.index, step));

  if (access.inner == Inner::Contiguous && !spread && (s.guard < 0 || isa_.masks)) {
    Value v = value;
    if (s.combine != Combine::None) v = combine(s.combine, access.dtype, decode(load_contiguous(element, pointer, lanes), access.dtype), v);
    return store_contiguous(encode(v, access.dtype), pointer, lanes, mask, spec_.store_streams[&s - spec_.stores.data()]);
  }
  Value offsets = access.inner == Inner::Fixed ? b_.constant(b_.vec(b_.i64, n), 0) : b_.mul(b_.iota(n), b_.splat(step, n));
  if (spread) offsets = b_.add(offsets, index);
  if (s.combine == Combine::None && !spread && access.inner == Inner::Strided && isa_.masks && b_.bits_of(element) >= 32) {
    const Value v = encode(value, access.dtype);
    if (!mask) mask = b_.constant(b_.vec(b_.i1, n), 1);
    masked(b_, "llvm.masked.scatter", {b_.type_of(v), b_.vec(b_.ptr, n)}, {v, b_.element(pointer, element, offsets), mask}, 2,
           b_.bits_of(element) / 8);
    return;
  }
  scatter_by_helper(s, pointer, value, offsets, lanes, s.guard >= 0 ? mask : nullptr);
}

// In the order of the lanes, so that several that meet one element are applied one after another.
void Emitter::scatter_by_helper(const ir::Store& s, Value pointer, Value value, Value offsets, const Lanes& lanes, Value mask) {
  b_.call("anygpu_store_lanes", b_.none,
          {pointer, spill(value), spill(offsets), mask ? spill(mask) : LLVMConstNull(b_.ptr),
           lanes.active ? lanes.active : b_.index(spec_.lanes), b_.constant(b_.i32, static_cast<int>(spec_.accesses[s.access].dtype)),
           b_.constant(b_.i32, static_cast<int>(s.combine))});
}

}  // namespace anygpu::cpu
