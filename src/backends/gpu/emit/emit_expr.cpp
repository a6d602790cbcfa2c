// The nodes of a body to operations of the builder. Semantics are those stated in ir/expr.h.
#include <cmath>
#include <limits>

#include "anygpu/error.h"
#include "backends/gpu/math/math.h"
#include "core/numbers.h"
#include "emitter.h"

namespace anygpu::gpu {

using ir::ExprOp;
using ir::Node;

namespace {

bool is_unsigned(DType t) {
  return t == DType::U8 || t == DType::Bool;
}
/// Whether the low 32 bits of the result need no more than those of the operands.
bool low_suffices(ExprOp op) {
  return op == ExprOp::Add || op == ExprOp::Sub || op == ExprOp::Mul || op == ExprOp::Neg || op == ExprOp::And || op == ExprOp::Or ||
         op == ExprOp::Xor || op == ExprOp::Not;
}

}  // namespace

Type register_type(DType t, bool narrow) {
  switch (t) {
    case DType::Bool:
      return Type::Bool;
    case DType::I64:
      return narrow ? Type::U32 : Type::U64;
    case DType::F32:
      return Type::F32;
    case DType::F64:
      return Type::F64;
    default:
      return Type::U32;
  }
}

Value Emitter::known(const Scope& scope, int id) const {
  for (const Scope* s = &scope; s; s = s->outside) {
    if (s->values[id]) return s->values[id];
  }
  return {};
}

Value Emitter::operand(const Scope& scope, int id) const {
  const Value v = known(scope, id);
  if (v.id == 0) throw Error(ErrorKind::Internal, "[gpu] node %" + std::to_string(id) + " is used before it is known");
  return v;
}

Value Emitter::index_of(const Scope& scope, int d) const {
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->indices.find(d);
    if (it != s->indices.end()) return it->second;
  }
  throw Error(ErrorKind::Internal, "[gpu] the index of dimension " + std::to_string(d) + " is not known");
}

Value Emitter::constant(const Node& n, bool is_narrow) {
  const Type t = register_type(n.type, is_narrow);
  if (is_float(n.type)) return b_.real(t, n.imm.f);
  return wrap(n.type, b_.integer(t, n.imm.i));
}

Value Emitter::argument(const Node& n, bool is_narrow) {
  const int i = static_cast<int>(n.imm.i), t = static_cast<int>(n.type);
  const bool size = n.op == ExprOp::Size;
  const Value low = param({size ? Param::Number : Param::Arg, i, t});
  switch (n.type) {
    case DType::Bool:
      return low != 0;
    case DType::F32:
      return b_.bits(low, Type::F32);
    case DType::I64:
    case DType::F64: {
      if (is_narrow) return low;
      const Value high = param({size ? Param::NumberHigh : Param::ArgHigh, i, t});
      const Value whole = b_.zero_extend(low) | (b_.zero_extend(high) << 32);
      return n.type == DType::I64 ? whole : b_.bits(whole, Type::F64);
    }
    default:
      return wrap(n.type, low);
  }
}

Value Emitter::emit(Scope& scope, int id) {
  const Node& n = spec_.nodes[id];
  const bool is_narrow = narrow(id);
  auto at = [&](int operand_id) { return operand(scope, operand_id); };
  // An i64 as wide as asked.
  auto sized = [&](Value v, bool in_64) { return in_64 ? b_.sign_extend(v) : b_.to_u32(v); };
  switch (n.op) {
    case ExprOp::Load:
      return load(scope, n, is_narrow);
    case ExprOp::Const:
      return constant(n, is_narrow);
    case ExprOp::Index: {
      const Value i = index_of(scope, static_cast<int>(n.imm.i));
      return is_narrow ? i : b_.zero_extend(i);
    }
    case ExprOp::Arg:
    case ExprOp::Size:
      return argument(n, is_narrow);
    case ExprOp::Eq:
    case ExprOp::Ne:
    case ExprOp::Lt:
    case ExprOp::Le: {
      const DType t = type_of(n.a);
      if (n.a == n.b && is_float(t))
        return n.op == ExprOp::Ne ? is_nan(at(n.a)) : n.op == ExprOp::Lt ? b_.boolean(false) : !is_nan(at(n.a));
      if (t != DType::I64) return compare(n.op, t, at(n.a), at(n.b));
      const bool in_64 = !(narrow(n.a) && narrow(n.b));
      return compare(n.op, t, sized(at(n.a), in_64), sized(at(n.b), in_64));
    }
    case ExprOp::Select: {
      Value yes = at(n.b), no = at(n.c);
      if (n.type == DType::I64) yes = sized(yes, !is_narrow), no = sized(no, !is_narrow);
      return b_.select(at(n.a), yes, no);
    }
    case ExprOp::Cast:
      return cast(at(n.a), type_of(n.a), n.type, is_narrow);
    case ExprOp::Bitcast: {
      Value x = at(n.a);
      if (type_of(n.a) == DType::I64) x = b_.sign_extend(x);
      const Value v = bits_cast(x, type_of(n.a), n.type);
      return n.type == DType::I64 && is_narrow ? b_.to_u32(v) : v;
    }
    case ExprOp::Philox: {
      const Value word = philox(scope, n);
      return is_narrow ? word : b_.zero_extend(word);
    }
    case ExprOp::Repeat:
      return is_narrow ? b_.to_u32(repeat(scope, n)) : repeat(scope, n);
    case ExprOp::Check:
      check(n, at(n.a), n.b >= 0 ? at(n.b) : Value{});
      return at(n.a);
    default:
      break;
  }
  if (erf_of_sum_[id]) return at(n.a);  // the addition makes it
  if (n.op == ExprOp::Add && (erf_of_sum_[n.a] || erf_of_sum_[n.b]))
    return Math(b_, Type::F32).one_plus_erf(at(erf_of_sum_[n.a] ? n.a : n.b));
  const bool two = ir::arity(n.op) > 1;
  if (is_float(n.type)) return arithmetic(n.op, n.type, at(n.a), two ? at(n.b) : Value{});
  if (n.type != DType::I64) return integer_arithmetic(n.op, n.type, at(n.a), two ? at(n.b) : Value{}, false);
  const bool in_64 = !(is_narrow && (low_suffices(n.op) || (narrow(n.a) && (!two || narrow(n.b)))));
  const Value r = integer_arithmetic(n.op, n.type, sized(at(n.a), in_64), two ? sized(at(n.b), in_64) : Value{}, in_64);
  return is_narrow ? b_.to_u32(r) : r;
}

// Of floats.
Value Emitter::arithmetic(ExprOp op, DType t, Value x, Value y) {
  switch (op) {
    case ExprOp::Add:
      return x + y;
    case ExprOp::Sub:
      return x - y;
    case ExprOp::Mul:
      return x * y;
    case ExprOp::Div:
      return x / y;
    case ExprOp::Min:
      return extremum(false, t, x, y);
    case ExprOp::Max:
      return extremum(true, t, x, y);
    case ExprOp::Neg:
    case ExprOp::Abs:
    case ExprOp::Copysign: {
      // On the bits, so that no device may lose a zero's sign, or a number too small to be normal.
      const Type u = x.type == Type::F64 ? Type::U64 : Type::U32;
      const Value sign = u == Type::U64 ? b_.u64(uint64_t{1} << 63) : b_.u32(1u << 31), bits = b_.bits(x, u);
      if (op == ExprOp::Neg) return b_.bits(bits ^ sign, x.type);
      if (op == ExprOp::Abs) return b_.bits(bits & ~sign, x.type);
      return b_.bits((bits & ~sign) | (b_.bits(y, u) & sign), x.type);
    }
    case ExprOp::Sqrt:
      return b_.op(Op::Sqrt, x.type, {x});
    default:
      return real_function(b_, op, x, y);
  }
}

Value Emitter::is_nan(Value x) {
  if (x.type == Type::F32) return (b_.bits(x, Type::U32) & b_.u32(0x7fffffff)) > b_.u32(0x7f800000);
  return (b_.bits(x, Type::U64) & b_.u64(0x7fffffffffffffff)) > b_.u64(0x7ff0000000000000);
}

// Of integers and bools; in_64: the operands are u64.
Value Emitter::integer_arithmetic(ExprOp op, DType t, Value x, Value y, bool in_64) {
  const int bits = t == DType::I64 ? 64 : static_cast<int>(8 * size_of(t));
  const bool u = is_unsigned(t);
  switch (op) {
    case ExprOp::Add:
      return wrap(t, x + y);
    case ExprOp::Sub:
      return wrap(t, x - y);
    case ExprOp::Mul:
      return wrap(t, x * y);
    case ExprOp::Div:
    case ExprOp::Rem:
      return wrap(t, integer_divide(op == ExprOp::Rem, u, x, y));
    case ExprOp::Min:
      return extremum(false, t, x, y);
    case ExprOp::Max:
      return extremum(true, t, x, y);
    case ExprOp::Pow:
      return wrap(t, integer_power(x, y));
    case ExprOp::And:
      return x & y;
    case ExprOp::Or:
      return x | y;
    case ExprOp::Xor:
      return x ^ y;
    case ExprOp::Not:
      return t == DType::Bool ? !x : wrap(t, ~x);
    case ExprOp::Neg:
      return wrap(t, -x);
    case ExprOp::Abs: {
      if (u) return x;
      const Value sign = arithmetic_shift(x, b_.integer(x.type, 8 * bytes_of(x.type) - 1));
      return wrap(t, (x ^ sign) - sign);
    }
    case ExprOp::Shl:
    case ExprOp::Shr: {
      // Negative counts are large unsigned ones. The register may be narrower than an i64: then so is the count.
      const int width = t == DType::I64 && !in_64 ? 32 : bits;
      const Value inside = y < b_.integer(y.type, width), last = b_.integer(y.type, width - 1);
      if (op == ExprOp::Shl) return wrap(t, b_.select(inside, x << b_.select(inside, y, b_.like(y, 0)), b_.like(x, 0)));
      if (u) return b_.select(inside, x >> b_.select(inside, y, b_.like(y, 0)), b_.like(x, 0));
      return arithmetic_shift(x, b_.select(y < last, y, last));
    }
    default:
      throw Error(ErrorKind::Internal, std::string("[gpu] no ") + ir::name_of(op) + " of " + name_of(t));
  }
}

Value Emitter::integer_divide(bool remainder, bool u, Value x, Value y) {
  const Value zero = y == 0, nothing = b_.like(x, 0), one = b_.like(x, 1);
  if (u) {
    const Value safe = b_.select(zero, one, y);
    return b_.select(zero, nothing, remainder ? x % safe : x / safe);
  }
  const Value minus = y == b_.integer(y.type, -1), safe = b_.select(zero | minus, one, y);
  const Value q = b_.op(Op::SignedDiv, x.type, {x, safe});
  if (remainder) return b_.select(zero | minus, nothing, x - q * safe);
  return b_.select(zero, nothing, b_.select(minus, -x, q));
}

// By squaring. Negative exponents: 1 for base 1, +-1 for base -1, else 0.
Value Emitter::integer_power(Value base, Value exponent) {
  const Value zero = b_.like(base, 0), one = b_.like(base, 1), minus = b_.integer(base.type, -1);
  const Value negative = signed_less(exponent, zero);
  const Variable result = b_.variable(base.type), square = b_.variable(base.type), left = b_.variable(base.type);
  result.set(one), square.set(base), left.set(b_.select(negative, zero, exponent));
  b_.loop(b_.u32(0), b_.u32(static_cast<uint32_t>(8 * bytes_of(base.type) - 1)), b_.u32(1), [&](Value) {
    b_.if_(left.get() != zero, [&] {
      const Value e = left.get(), s = square.get();
      result.set(b_.select((e & one) != zero, result.get() * s, result.get()));
      square.set(s * s);
      left.set(e >> 1);
    });
  });
  const Value odd = (exponent & one) != zero;
  const Value inverse = b_.select(base == one, one, b_.select(base == minus, b_.select(odd, minus, one), zero));
  return b_.select(negative, inverse, result.get());
}

Value Emitter::compare(ExprOp op, DType t, Value x, Value y) {
  const bool is_signed = !is_float(t) && !is_unsigned(t);
  switch (op) {
    case ExprOp::Eq:
      return x == y;
    case ExprOp::Ne:
      return x != y;
    case ExprOp::Lt:
      return is_signed ? signed_less(x, y) : x < y;
    default:
      return is_signed ? signed_less_equal(x, y) : x <= y;
  }
}

// Floats: the comparison is false on NaN and so gives y, which is right if y is the NaN; x's NaN is put back.
Value Emitter::extremum(bool greatest, DType t, Value x, Value y) {
  const Value r = b_.select(greatest ? compare(ExprOp::Lt, t, y, x) : compare(ExprOp::Lt, t, x, y), x, y);
  return is_float(t) ? b_.select(is_nan(x), x, r) : r;
}

Value Emitter::wrap(DType t, Value v) {
  switch (t) {
    case DType::U8:
      return v & b_.u32(0xff);
    case DType::I8:
      return b_.sign_extend_low(v, 8);
    case DType::I16:
      return b_.sign_extend_low(v, 16);
    default:
      return v;
  }
}

Value Emitter::cast(Value x, DType from, DType to, bool to_narrow) {
  if (from == to) return to == DType::I64 && to_narrow ? b_.to_u32(x) : x;
  if (is_half(from)) return cast(decode_half(from == DType::BF16, x), DType::F32, to, to_narrow);
  if (is_half(to)) return encode_half(to == DType::BF16, cast(x, from, DType::F32, false));
  if (to == DType::Bool) return x != b_.like(x, 0);
  const Type result = register_type(to, to_narrow);
  if (is_float(to)) {
    if (is_float(from)) return b_.op(Op::FloatToFloat, result, {x});
    if (from == DType::Bool) return b_.select(x, b_.real(result, 1), b_.real(result, 0));
    return b_.op(Op::SignedToFloat, result, {x});
  }
  if (is_float(from)) return wrap(to, float_to_integer(x, result == Type::U64));
  if (from == DType::Bool) return b_.select(x, b_.integer(result, 1), b_.integer(result, 0));
  if (result == Type::U64) return b_.sign_extend(x);
  return wrap(to, b_.to_u32(x));
}

// Truncates, saturates at i64; NaN is 0. In 32 bits: the low half of that, from the bits, so that i64 is not needed.
Value Emitter::float_to_integer(Value x, bool in_64) {
  if (in_64 || x.type == Type::F64) {
    const Value top = b_.real(x.type, 0x1p63);
    const Value over = x >= top, under = x < b_.real(x.type, -0x1p63), nan = is_nan(x);
    const Value safe = b_.select(over | under | nan, b_.real(x.type, 0), x);
    Value r = b_.op(Op::FloatToSigned, Type::U64, {safe});
    r = b_.select(over, b_.u64(0x7fffffffffffffff), b_.select(under, b_.u64(uint64_t{1} << 63), r));
    return in_64 ? r : b_.to_u32(r);
  }
  const Value bits = b_.bits(x, Type::U32), magnitude = bits & b_.u32(0x7fffffff), exponent = magnitude >> 23;
  const Value small = magnitude < b_.u32(0x4f000000);  // 2^31
  const Value near = b_.op(Op::FloatToSigned, Type::U32, {b_.select(small, x, b_.real(Type::F32, 0))});
  // 2^31 to 2^63: the mantissa, shifted up. Beyond, i64's extremes end in all ones, or in zeros.
  const Value mantissa = (bits & b_.u32(0x7fffff)) | b_.u32(0x800000), shift = exponent - b_.u32(150);
  const Value fits = shift < b_.u32(32), shifted = b_.select(fits, mantissa << b_.select(fits, shift, b_.u32(0)), b_.u32(0));
  const Value negative = bits >= b_.u32(0x80000000u), wrapped = b_.select(negative, -shifted, shifted);
  const Value saturated = b_.select(negative | (magnitude > b_.u32(0x7f800000)), b_.u32(0), b_.u32(0xffffffffu));
  return b_.select(small, near, b_.select(magnitude < b_.u32(0x5f000000), wrapped, saturated));
}

Value Emitter::bits_cast(Value x, DType from, DType to) {
  if (from == DType::Bool || size_of(from) >= 4) return b_.bits(x, register_type(to, false));
  // Small integers are extended according to their own sign, halves never.
  const Value plain = x & b_.u32(size_of(from) == 1 ? 0xffu : 0xffffu);
  return wrap(to, plain);
}

void Emitter::check(const Node& n, Value condition, Value value) {
  b_.if_(!condition, [&] {
    b_.atomic(Atomic::UnsignedMax, spec_.faults, b_.u32(0), b_.u32(static_cast<uint32_t>(n.imm.i)));
    if (n.b < 0) return;
    Value told = b_.to_u32(value);
    if (value.type == Type::U64) told = b_.select(b_.sign_extend(told) == value, told, b_.u32(0x80000000u));
    b_.store(spec_.faults, told, b_.u32(1));
  });
}

// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3": ten rounds over (counter, stream) with the key. All four words of a
// block are made together, and kept for whoever asks for the others.
Value Emitter::philox(Scope& scope, const Node& n) {
  const std::vector<int> block = {n.a, n.b, n.c};
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->blocks.find(block);
    if (it != s->blocks.end()) return it->second[n.imm.i];
  }
  auto halves = [&](int id) {
    const Value v = b_.sign_extend(operand(scope, id));
    return std::pair{b_.to_u32(v), b_.to_u32(v >> 32)};
  };
  const auto [c0, c1] = halves(n.a);
  const auto [c2, c3] = halves(n.c);
  auto [k0, k1] = halves(n.b);
  std::array<Value, 4> c = {c0, c1, c2, c3};
  for (int round = 0; round < 10; ++round) {
    const auto p0 = b_.multiply_wide(c[0], b_.u32(0xD2511F53)), p1 = b_.multiply_wide(c[2], b_.u32(0xCD9E8D57));
    c = {p1.high ^ c[1] ^ k0, p1.low, p0.high ^ c[3] ^ k1, p0.low};
    k0 = k0 + b_.u32(0x9E3779B9), k1 = k1 + b_.u32(0xBB67AE85);
  }
  scope.blocks[block] = c;
  return c[n.imm.i];
}

// What is carried lies in variables. i64 is carried whole: where it may lead, ranges do not tell.
Value Emitter::repeat(Scope& scope, const Node& n) {
  std::vector<int> nexts;
  size_t wanted = 0;
  for (int next = n.a; next >= 0; next = spec_.nodes[next].c) {
    if (spec_.nodes[next].a == n.c) wanted = nexts.size();
    nexts.push_back(next);
  }
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->loops.find({n.a, n.b});
    if (it != s->loops.end()) return it->second[wanted];
  }
  auto whole = [&](Value v, int id) { return type_of(id) == DType::I64 ? b_.sign_extend(v) : v; };
  std::vector<Variable> carried;
  for (int next : nexts) {
    const int carry = spec_.nodes[next].a, first = spec_.nodes[carry].a;
    carried.push_back(b_.variable(register_type(type_of(carry), false)));
    carried.back().set(whole(operand(scope, first), first));
  }
  const Variable count = b_.variable(Type::U32);
  count.set(b_.u32(0));
  const std::vector<int> iteration = stages_.iteration(spec_.nodes, n);
  b_.repeat([&] {
    Scope inside;
    inside.outside = &scope;
    inside.fours = scope.fours, inside.element = scope.element;
    inside.bound = scope.bound;
    inside.values.resize(spec_.nodes.size());
    inside.bases = scope.bases;
    for (size_t k = 0; k < nexts.size(); ++k) inside.values[spec_.nodes[nexts[k]].a] = carried[k].get();
    for (int i : iteration) inside.values[i] = emit(inside, i);
    const Value counts = operand(inside, n.b);
    Values now;
    for (int next : nexts) {
      const int id = spec_.nodes[next].b;
      now.push_back(b_.select(counts, whole(operand(inside, id), id), inside.values[spec_.nodes[next].a]));
    }
    for (size_t k = 0; k < nexts.size(); ++k) carried[k].set(now[k]);
    const Value done = count.get() + b_.u32(1);
    count.set(done);
    return counts & (done < b_.u32(static_cast<uint32_t>(n.imm.i)));
  });
  Values results;
  for (const Variable& v : carried) results.push_back(v.get());
  return (scope.loops[{n.a, n.b}] = results)[wanted];
}

}  // namespace anygpu::gpu
