// What no format does in its own way: shorthands for operations.
#include "builder.h"

namespace anygpu::gpu {
namespace {

Value same(Op op, Value x, Value y) {
  return x.b->op(op, x.type, {x, y});
}

Value test(Op op, Value x, Value y) {
  return x.b->op(op, Type::Bool, {x, y});
}

}  // namespace

Value Builder::integer(Type t, int64_t v) {
  if (t == Type::Bool) return boolean(v != 0);
  return t == Type::U64 ? u64(static_cast<uint64_t>(v)) : u32(static_cast<uint32_t>(v));
}

Value Builder::like(Value x, double v) {
  return is_real(x.type) ? real(x.type, v) : integer(x.type, static_cast<int64_t>(v));
}

Value Builder::select(Value condition, Value yes, Value no) {
  if (yes.id == no.id) return yes;
  return op(Op::Select, yes.type, {condition, yes, no});
}

Value Builder::bits(Value x, Type t) {
  return x.type == t ? x : op(Op::Bitcast, t, {x});
}

Value Builder::to_u32(Value v) {
  return v.type == Type::U32 ? v : op(Op::Truncate, Type::U32, {v});
}

Value Builder::sign_extend(Value v) {
  return v.type == Type::U64 ? v : op(Op::SignExtend, Type::U64, {v});
}

Value Builder::zero_extend(Value v) {
  return v.type == Type::U64 ? v : op(Op::ZeroExtend, Type::U64, {v});
}

Value Variable::get() const {
  return b->load_from(*this);
}

void Variable::set(Value v) const {
  b->store_to(*this, v);
}

Value operator+(Value x, Value y) {
  return same(Op::Add, x, y);
}
Value operator-(Value x, Value y) {
  return same(Op::Sub, x, y);
}
Value operator*(Value x, Value y) {
  return same(Op::Mul, x, y);
}
Value operator/(Value x, Value y) {
  return same(Op::Div, x, y);
}
Value operator%(Value x, Value y) {
  return same(Op::Rem, x, y);
}
Value operator-(Value x) {
  return x.b->op(Op::Neg, x.type, {x});
}
Value operator&(Value x, Value y) {
  return same(Op::And, x, y);
}
Value operator|(Value x, Value y) {
  return same(Op::Or, x, y);
}
Value operator^(Value x, Value y) {
  return same(Op::Xor, x, y);
}
Value operator!(Value x) {
  return x.b->op(Op::Not, Type::Bool, {x});
}
Value operator~(Value x) {
  return x.b->op(Op::Not, x.type, {x});
}
Value operator<<(Value x, Value y) {
  return same(Op::ShiftLeft, x, y);
}
Value operator>>(Value x, Value y) {
  return same(Op::ShiftRight, x, y);
}
Value operator<<(Value x, int n) {
  return n ? x << x.b->u32(static_cast<uint32_t>(n)) : x;
}
Value operator>>(Value x, int n) {
  return n ? x >> x.b->u32(static_cast<uint32_t>(n)) : x;
}
Value arithmetic_shift(Value x, Value y) {
  return same(Op::ArithmeticShiftRight, x, y);
}
Value operator==(Value x, Value y) {
  return test(Op::Equal, x, y);
}
Value operator!=(Value x, Value y) {
  return test(Op::NotEqual, x, y);
}
Value operator<(Value x, Value y) {
  return x.type == Type::Bool ? (!x) & y : test(Op::Less, x, y);
}
Value operator<=(Value x, Value y) {
  return x.type == Type::Bool ? (!x) | y : test(Op::LessEqual, x, y);
}
Value operator>(Value x, Value y) {
  return y < x;
}
Value operator>=(Value x, Value y) {
  return y <= x;
}
Value signed_less(Value x, Value y) {
  return test(Op::SignedLess, x, y);
}
Value signed_less_equal(Value x, Value y) {
  return test(Op::SignedLessEqual, x, y);
}

}  // namespace anygpu::gpu
