// The nodes of a body to IR. Semantics are those stated in ir/expr.h, bit for bit where it says so.
#include <cmath>

#include "anygpu/error.h"
#include "core/numbers.h"
#include "emitter.h"

namespace anygpu::cpu {

using ir::ExprOp;
using ir::Node;

namespace {
bool is_unsigned(DType t) {
  return t == DType::U8 || t == DType::Bool;
}
}  // namespace

Type Emitter::value_type(DType t) const {
  switch (t) {
    case DType::Bool:
      return b_.i1;
    case DType::U8:
    case DType::I8:
      return b_.i8;
    case DType::I16:
      return b_.i16;
    case DType::I32:
      return b_.i32;
    case DType::I64:
      return b_.i64;
    case DType::F64:
      return b_.f64;
    default:
      return b_.f32;
  }
}

Value Emitter::known(const Scope& scope, int id) const {
  for (const Scope* s = &scope; s; s = s->outside) {
    if (s->values[id]) return s->values[id];
  }
  return nullptr;
}

Value Emitter::operand(const Scope& scope, int id, int lanes) {
  for (const Scope* s = &scope; s; s = s->outside) {
    if (!s->values[id]) continue;
    if (lanes == 1 || b_.lanes_of(s->values[id]) == lanes) return s->values[id];
    return s->splats[id] ? s->splats[id] : b_.splat(s->values[id], lanes);
  }
  throw Error(ErrorKind::Internal, "[cpu] node %" + std::to_string(id) + " is used before it is known");
}

void Emitter::settle(Scope& scope, const std::vector<bool>& wanted) {
  for (int i = 0; i < static_cast<int>(spec_.nodes.size()); ++i) {
    const Node& n = spec_.nodes[i];
    if (!wanted[i] || n.op == ExprOp::Reduce || stages_.loop[i] >= 0 || (stages_.dims[i] & ~scope.bound) || known(scope, i)) continue;
    bool ready = true;
    stages_.for_each_input(spec_.nodes, n, [&](int id) { ready = ready && known(scope, id); });
    if (!ready) continue;  // waits for a Reduce
    scope.values[i] = emit(scope, i);
    if (wants_splat_[i] && lanes_of(i) == 1) scope.splats[i] = b_.splat(scope.values[i], spec_.lanes);
  }
}

Value Emitter::index_of(const Scope& scope, int d, int lanes) {
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->indices.find(d);
    if (it == s->indices.end()) continue;
    return lanes == 1 ? it->second : b_.add(b_.splat(it->second, lanes), b_.iota(lanes));
  }
  throw Error(ErrorKind::Internal, "[cpu] the index of dimension " + std::to_string(d) + " is not known");
}

Value Emitter::constant(DType t, int lanes, const Node::Imm& imm) {
  const Type type = b_.vec(value_type(t), lanes);
  return is_float(t) ? b_.real(type, imm.f) : b_.constant(type, imm.i);
}

Value Emitter::emit(Scope& scope, int id) {
  const Node& n = spec_.nodes[id];
  const int lanes = lanes_of(id);
  auto at = [&](int operand_id) { return operand(scope, operand_id, lanes); };
  switch (n.op) {
    case ExprOp::Load:
      return load(scope, n, lanes);
    case ExprOp::Const:
      return constant(n.type, lanes, n.imm);
    case ExprOp::Index:
      return index_of(scope, static_cast<int>(n.imm.i), lanes);
    case ExprOp::Arg:
    case ExprOp::Size: {
      const int i = static_cast<int>(n.imm.i), word = n.op == ExprOp::Arg ? layout_.argument(i) : layout_.number(i);
      const Value pointer = b_.element(b_.parameter(0), b_.i64, b_.index(word));
      if (is_float(n.type)) return cast(b_.load(b_.f64, pointer, 8), DType::F64, n.type);
      return cast(b_.load(b_.i64, pointer, 8), DType::I64, n.type);
    }
    case ExprOp::Eq:
    case ExprOp::Ne:
    case ExprOp::Lt:
    case ExprOp::Le:
      return compare(n.op, type_of(n.a), at(n.a), at(n.b));
    case ExprOp::Select:
      return b_.select(at(n.a), at(n.b), at(n.c));
    case ExprOp::Cast:
      return cast(at(n.a), type_of(n.a), n.type);
    case ExprOp::Bitcast:
      return bits_cast(at(n.a), type_of(n.a), n.type);
    case ExprOp::Philox:
      return philox(scope, n, lanes);
    case ExprOp::Repeat:
      return repeat(scope, id);
    case ExprOp::Check: {
      const Value condition = at(n.a);
      check(scope, n, condition);
      return condition;
    }
    default:
      return arithmetic(n, at(n.a), ir::arity(n.op) > 1 ? at(n.b) : nullptr);
  }
}

Value Emitter::arithmetic(const Node& n, Value x, Value y) {
  const bool f = is_float(n.type);
  const int bits = static_cast<int>(8 * size_of(n.type));
  switch (n.op) {
    case ExprOp::Add:
      return b_.add(x, y);
    case ExprOp::Sub:
      return b_.sub(x, y);
    case ExprOp::Mul:
      return b_.mul(x, y);
    case ExprOp::Div:
    case ExprOp::Rem:
      if (f && n.op == ExprOp::Div) return b_.div(x, y);
      return divide(n, x, y);
    case ExprOp::Min:
      return extremum(false, n.type, x, y);
    case ExprOp::Max:
      return extremum(true, n.type, x, y);
    case ExprOp::And:
      return b_.bit_and(x, y);
    case ExprOp::Or:
      return b_.bit_or(x, y);
    case ExprOp::Xor:
      return b_.bit_xor(x, y);
    case ExprOp::Shl:
      return b_.select(b_.icmp(LLVMIntULT, y, b_.like(y, bits)), b_.shl(x, y), b_.like(x, 0));
    case ExprOp::Shr: {
      const Value inside = b_.icmp(LLVMIntULT, y, b_.like(y, bits));
      if (is_unsigned(n.type)) return b_.select(inside, b_.lshr(x, y), b_.like(x, 0));
      return b_.ashr(x, b_.select(inside, y, b_.like(y, bits - 1)));
    }
    case ExprOp::Neg:
      return b_.neg(x);
    case ExprOp::Abs:
      if (f) return b_.intrinsic("llvm.fabs", {x});
      return is_unsigned(n.type) ? x : b_.select(b_.icmp(LLVMIntSLT, x, b_.like(x, 0)), b_.neg(x), x);
    case ExprOp::Not:
      return b_.bit_not(x);
    case ExprOp::Floor:
      return b_.intrinsic("llvm.floor", {x});
    case ExprOp::Ceil:
      return b_.intrinsic("llvm.ceil", {x});
    case ExprOp::Trunc:
      return b_.intrinsic("llvm.trunc", {x});
    case ExprOp::Round:
      return b_.intrinsic("llvm.roundeven", {x});
    case ExprOp::Sqrt:
      return b_.intrinsic("llvm.sqrt", {x});
    case ExprOp::Copysign:
      return b_.intrinsic("llvm.copysign", {x, y});
    default:
      break;
  }
  if (!f) {  // Pow alone
    const Type wide = b_.i64;
    const DType t = n.type;
    const Value r = by_helper("anygpu_pow_i64", wide, cast(x, t, DType::I64), cast(y, t, DType::I64));
    return cast(r, DType::I64, t);
  }
  if (const Value v = vector_function(b_, isa_, n.op, x, y)) return v;
  return by_helper(std::string("anygpu_") + ir::name_of(n.op) + (n.type == DType::F64 ? "_f64" : "_f32"), b_.element_of(b_.type_of(x)), x,
                   y);
}

Value Emitter::by_helper(const std::string& helper, Type element, Value x, Value y) {
  const int lanes = b_.lanes_of(x);
  const Value result = b_.stack(b_.vec(element, lanes));
  b_.call(helper.c_str(), b_.none, {result, spill(x), y ? spill(y) : LLVMConstNull(b_.ptr), b_.index(lanes)});
  return b_.load(b_.vec(element, lanes), result, b_.bits_of(element) / 8);
}

Value Emitter::compare(ExprOp op, DType t, Value x, Value y) {
  if (is_float(t)) {
    return b_.fcmp(op == ExprOp::Eq ? LLVMRealOEQ : op == ExprOp::Ne ? LLVMRealUNE : op == ExprOp::Lt ? LLVMRealOLT : LLVMRealOLE, x, y);
  }
  const bool u = is_unsigned(t);
  const LLVMIntPredicate lt = u ? LLVMIntULT : LLVMIntSLT, le = u ? LLVMIntULE : LLVMIntSLE;
  return b_.icmp(op == ExprOp::Eq ? LLVMIntEQ : op == ExprOp::Ne ? LLVMIntNE : op == ExprOp::Lt ? lt : le, x, y);
}

// Floats: the comparison is false on NaN and so gives y, which is right if y is the NaN; x's NaN is put back.
Value Emitter::extremum(bool greatest, DType t, Value x, Value y) {
  if (!is_float(t)) {
    const bool u = is_unsigned(t);
    const LLVMIntPredicate p = greatest ? (u ? LLVMIntUGT : LLVMIntSGT) : (u ? LLVMIntULT : LLVMIntSLT);
    return b_.select(b_.icmp(p, x, y), x, y);
  }
  const Value r = b_.select(b_.fcmp(greatest ? LLVMRealOGT : LLVMRealOLT, x, y), x, y);
  return b_.select(b_.fcmp(LLVMRealUNO, x, x), x, r);
}

Value Emitter::divide(const Node& n, Value x, Value y) {
  const DType t = n.type;
  const bool rem = n.op == ExprOp::Rem;
  const int lanes = b_.lanes_of(x);
  if (is_float(t)) return by_helper(t == DType::F64 ? "anygpu_rem_f64" : "anygpu_rem_f32", b_.element_of(b_.type_of(x)), x, y);
  if (lanes > 1 && t == DType::I64) return by_helper(rem ? "anygpu_rem_i64" : "anygpu_div_i64", b_.i64, x, y);
  const Value zero = b_.icmp(LLVMIntEQ, y, b_.like(y, 0));
  if (lanes > 1) {
    // Every integer of 32 bits or fewer is exact in f64, and so is the truncated quotient.
    auto widen = [&](Value v) {
      const Type type = b_.like(v, b_.f64);
      return is_unsigned(t) ? LLVMBuildUIToFP(b_.b, v, type, "") : LLVMBuildSIToFP(b_.b, v, type, "");
    };
    const Value safe = b_.select(zero, b_.like(y, 1), y);
    const Value quotient = LLVMBuildFPToSI(b_.b, b_.div(widen(x), widen(safe)), b_.like(x, b_.i64), "");  // MIN / -1 is in range here
    const Value q = b_.trunc(quotient, b_.element_of(b_.type_of(x)));
    return b_.select(zero, b_.like(x, 0), rem ? b_.sub(x, b_.mul(q, y)) : q);
  }
  if (is_unsigned(t)) {
    const Value safe = b_.select(zero, b_.like(y, 1), y);
    return b_.select(zero, b_.like(x, 0), rem ? LLVMBuildURem(b_.b, x, safe, "") : LLVMBuildUDiv(b_.b, x, safe, ""));
  }
  const Value minus = b_.icmp(LLVMIntEQ, y, b_.like(y, -1));
  const Value safe = b_.select(b_.bit_or(zero, minus), b_.like(y, 1), y);
  if (rem) return b_.select(b_.bit_or(zero, minus), b_.like(x, 0), LLVMBuildSRem(b_.b, x, safe, ""));
  const Value q = LLVMBuildSDiv(b_.b, x, safe, "");
  return b_.select(zero, b_.like(x, 0), b_.select(minus, b_.neg(x), q));
}

Value Emitter::cast(Value x, DType from, DType to) {
  if (from == to) return x;
  auto round_to = [&](Value v, DType t) {  // what is in a register of a half type is a value of it
    return is_half(t) ? decode(encode(v, t), t) : v;
  };
  const Type type = value_type(to);
  if (to == DType::Bool) return is_float(from) ? b_.fcmp(LLVMRealUNE, x, b_.like(x, 0)) : b_.icmp(LLVMIntNE, x, b_.like(x, 0));
  if (is_float(from) && is_float(to)) {
    if (to == DType::F64) return LLVMBuildFPExt(b_.b, x, b_.like(x, type), "");
    if (from == DType::F64) x = LLVMBuildFPTrunc(b_.b, x, b_.like(x, type), "");  // by way of f32 to the halves, as PyTorch does
    return round_to(x, to);
  }
  if (is_float(to)) {
    const Type as = b_.like(x, type);
    return round_to(is_unsigned(from) ? LLVMBuildUIToFP(b_.b, x, as, "") : LLVMBuildSIToFP(b_.b, x, as, ""), to);
  }
  if (is_float(from)) {
    const Type wide = b_.like(x, b_.i64);
    const Value v = b_.intrinsic("llvm.fptosi.sat", {wide, b_.type_of(x)}, {x});
    return to == DType::I64 ? v : b_.trunc(v, type);
  }
  const int have = b_.bits_of(value_type(from)), want = b_.bits_of(type);
  if (have == want) return x;
  if (have > want) return b_.trunc(x, type);
  return is_unsigned(from) ? b_.zext(x, type) : b_.sext(x, type);
}

Value Emitter::bits_cast(Value x, DType from, DType to) {
  if (from == to) return x;
  return decode(b_.bitcast(encode(x, from), storage_type(to)), to);
}

void Emitter::check(Scope& scope, const Node& n, Value condition) {
  Value fails = b_.bit_not(condition);
  if (b_.lanes_of(fails) > 1 && scope.lanes && scope.lanes->mask) fails = b_.bit_and(fails, scope.lanes->mask);
  b_.branch(b_.any(fails), {}, [&](const Values&) {
    const Value place = pointer_parameter(ParameterLayout::Fault);
    LLVMBuildAtomicRMW(b_.b, LLVMAtomicRMWBinOpUMax, place, b_.index(n.imm.i), LLVMAtomicOrderingMonotonic, false);
    if (n.b < 0) return Values{};
    const int lanes = b_.lanes_of(fails);
    Value value = operand(scope, n.b, lanes);
    if (lanes > 1) value = b_.intrinsic("llvm.vector.reduce.smax", {b_.select(fails, value, b_.like(value, INT64_MIN))});
    const Value store = LLVMBuildStore(b_.b, value, b_.element(place, b_.i64, b_.index(1)));
    LLVMSetOrdering(store, LLVMAtomicOrderingMonotonic);
    LLVMSetAlignment(store, 8);
    return Values{};
  });
}

// Salmon et al., "Parallel random numbers: as easy as 1, 2, 3": ten rounds over (counter, stream) with the key. All four words
// of a block are made together, and kept for whoever asks for the others.
Value Emitter::philox(Scope& scope, const Node& n, int lanes) {
  const std::vector<int> block = {n.a, n.b, n.c};
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->blocks.find(block);
    if (it != s->blocks.end()) return it->second[n.imm.i];
  }
  // Words stand in the low halves of 64-bit lanes, where the multiplier wants them; what is in the high halves does not matter until
  // the end. The rounds are a loop, to keep the code small. Keys mostly are one for all lanes, and then stay scalars.
  const Type wide = b_.vec(b_.i64, lanes);
  auto low = [&](Value v) { return b_.bit_and(v, b_.like(v, 0xffffffff)); };
  auto high = [&](Value v) { return b_.lshr(v, b_.like(v, 32)); };
  Values start;
  for (int id : {n.a, n.c}) {
    const Value v = operand(scope, id, lanes);
    start.push_back(v), start.push_back(high(v));
  }
  const Value key = known(scope, n.b);
  start.push_back(key), start.push_back(high(key));
  const Values end = b_.loop(b_.index(0), b_.index(10), b_.index(1), start, [&](Value, const Values& c) {
    const Value p0 = b_.mul(low(c[0]), b_.constant(wide, 0xD2511F53)), p1 = b_.mul(low(c[2]), b_.constant(wide, 0xCD9E8D57));
    auto all = [&](Value k) { return b_.lanes_of(k) == lanes ? k : b_.splat(k, lanes); };
    return Values{b_.bit_xor(b_.bit_xor(high(p1), c[1]), all(c[4])), p1,
                  b_.bit_xor(b_.bit_xor(high(p0), c[3]), all(c[5])), p0,
                  b_.add(c[4], b_.like(c[4], 0x9E3779B9)),           b_.add(c[5], b_.like(c[5], 0xBB67AE85))};
  });
  scope.blocks[block] = {low(end[0]), low(end[1]), low(end[2]), low(end[3])};
  return scope.blocks[block][n.imm.i];
}

// A loop goes on until no lane does; lanes that are done keep what they have. Its results are kept for whoever asks for the others.
Value Emitter::repeat(Scope& scope, int id) {
  const Node& n = spec_.nodes[id];
  const int lanes = lanes_of(id);
  std::vector<int> nexts;
  size_t wanted = 0;
  for (int next = n.a; next >= 0; next = spec_.nodes[next].c) {
    if (spec_.nodes[next].a == n.c) wanted = nexts.size();
    nexts.push_back(next);
  }
  const std::vector<int> key = {n.a, n.b};
  for (const Scope* s = &scope; s; s = s->outside) {
    const auto it = s->blocks.find(key);
    if (it != s->blocks.end()) return it->second[wanted];
  }
  Values first;
  for (int next : nexts) first.push_back(operand(scope, spec_.nodes[spec_.nodes[next].a].a, lanes));
  const std::vector<int> iteration = stages_.iteration(spec_.nodes, n);
  scope.blocks[key] = b_.repeat(n.imm.i, first, [&](const Values& now) {
    Scope inside;
    inside.outside = &scope;
    inside.bound = scope.bound;
    inside.lanes = scope.lanes;
    inside.values.resize(spec_.nodes.size()), inside.splats.resize(spec_.nodes.size());
    inside.pointers = scope.pointers;
    for (size_t k = 0; k < nexts.size(); ++k) inside.values[spec_.nodes[nexts[k]].a] = now[k];
    for (int i : iteration) inside.values[i] = emit(inside, i);
    const Value counts = operand(inside, n.b, lanes);
    Values next;
    for (size_t k = 0; k < nexts.size(); ++k) next.push_back(b_.select(counts, operand(inside, spec_.nodes[nexts[k]].b, lanes), now[k]));
    return std::pair(next, lanes == 1 ? counts : b_.any(counts));
  });
  return scope.blocks[key][wanted];
}

}  // namespace anygpu::cpu
