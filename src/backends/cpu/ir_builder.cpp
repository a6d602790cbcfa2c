#include "ir_builder.h"

#include <algorithm>
#include <cstring>

#include "anygpu/error.h"

namespace anygpu::cpu {

IrBuilder::IrBuilder(LLVMContextRef context, LLVMModuleRef module)
    : b(LLVMCreateBuilderInContext(context)), context_(context), module_(module) {
  i1 = LLVMInt1TypeInContext(context);
  i8 = LLVMInt8TypeInContext(context);
  i16 = LLVMInt16TypeInContext(context);
  i32 = LLVMInt32TypeInContext(context);
  i64 = LLVMInt64TypeInContext(context);
  f16 = LLVMHalfTypeInContext(context);
  f32 = LLVMFloatTypeInContext(context);
  f64 = LLVMDoubleTypeInContext(context);
  ptr = LLVMPointerTypeInContext(context, 0);
  none = LLVMVoidTypeInContext(context);
}

IrBuilder::~IrBuilder() {
  LLVMDisposeBuilder(b);
}

bool IrBuilder::is_float(Value v) const {
  const LLVMTypeKind kind = LLVMGetTypeKind(element_of(type_of(v)));
  return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind || kind == LLVMHalfTypeKind;
}

int IrBuilder::bits_of(Type t) const {
  switch (LLVMGetTypeKind(t)) {
    case LLVMIntegerTypeKind:
      return LLVMGetIntTypeWidth(t);
    case LLVMHalfTypeKind:
      return 16;
    case LLVMFloatTypeKind:
      return 32;
    default:
      return 64;
  }
}

Value IrBuilder::constant(Type t, int64_t v) {
  const Type element = element_of(t);
  const Value c = LLVMConstInt(element, static_cast<unsigned long long>(v), true);
  if (element == t) return c;
  return LLVMConstVector(Values(LLVMGetVectorSize(t), c).data(), LLVMGetVectorSize(t));
}

Value IrBuilder::real(Type t, double v) {
  const Type element = element_of(t);
  const Value c = LLVMConstReal(element, v);
  if (element == t) return c;
  return LLVMConstVector(Values(LLVMGetVectorSize(t), c).data(), LLVMGetVectorSize(t));
}

Value IrBuilder::like(Value v, double x) {
  return is_float(v) ? real(type_of(v), x) : constant(type_of(v), static_cast<int64_t>(x));
}

Value IrBuilder::iota(int lanes) {
  if (lanes == 1) return index(0);
  Values v;
  for (int i = 0; i < lanes; ++i) v.push_back(index(i));
  return LLVMConstVector(v.data(), lanes);
}

// The first block holds stack slots and what in_entry() makes; it is closed last, with a jump to the second.
Value IrBuilder::begin_function(const std::string& name, Type result, std::initializer_list<Type> parameters) {
  std::vector<Type> types(parameters);
  function_ = LLVMAddFunction(module_, name.c_str(), LLVMFunctionType(result, types.data(), types.size(), false));
  const unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
  LLVMAddAttributeAtIndex(function_, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context_, nounwind, 0));
  entry_ = block("entry");
  first_ = block("first");
  at(first_);
  return function_;
}

void IrBuilder::end_function() {
  at(entry_);
  LLVMBuildBr(b, first_);
}

Value IrBuilder::stack(Type t) {
  return in_entry([&] { return LLVMBuildAlloca(b, t, ""); });
}

Value IrBuilder::in_entry(const std::function<Value()>& emit) {
  const LLVMBasicBlockRef saved = here();
  at(entry_);
  const Value v = emit();
  at(saved);
  return v;
}

Values IrBuilder::loop(Value lo, Value hi, Value step, Values carried, const std::function<Values(Value, const Values&)>& body) {
  const LLVMBasicBlockRef before = here(), head = block("loop"), inside = block("body"), after = block("end");
  LLVMBuildBr(b, head);
  at(head);
  const Value i = LLVMBuildPhi(b, type_of(lo), "");
  Values phis;
  for (Value v : carried) {
    phis.push_back(LLVMBuildPhi(b, type_of(v), ""));
    LLVMBasicBlockRef from = before;
    LLVMAddIncoming(phis.back(), &v, &from, 1);
  }
  LLVMBuildCondBr(b, icmp(LLVMIntSLT, i, hi), inside, after);
  at(inside);
  const Values next = body(i, phis);
  Value more = add(i, step);
  LLVMBasicBlockRef last = here(), from = before;
  LLVMAddIncoming(i, &lo, &from, 1);
  LLVMAddIncoming(i, &more, &last, 1);
  for (size_t k = 0; k < phis.size(); ++k) {
    Value v = next[k];
    LLVMAddIncoming(phis[k], &v, &last, 1);
  }
  LLVMBuildBr(b, head);
  at(after);
  return phis;
}

Values IrBuilder::repeat(int64_t most, const Values& carried, const std::function<std::pair<Values, Value>(const Values&)>& body) {
  LLVMBasicBlockRef before = here();
  const LLVMBasicBlockRef head = block("repeat"), after = block("end");
  LLVMBuildBr(b, head);
  at(head);
  const Value i = LLVMBuildPhi(b, i64, "");
  Values phis;
  for (Value v : carried) {
    phis.push_back(LLVMBuildPhi(b, type_of(v), ""));
    LLVMAddIncoming(phis.back(), &v, &before, 1);
  }
  auto [next, again] = body(phis);
  LLVMBasicBlockRef last = here();
  Value zero = index(0), more = add(i, index(1));
  LLVMAddIncoming(i, &zero, &before, 1);
  LLVMAddIncoming(i, &more, &last, 1);
  for (size_t k = 0; k < phis.size(); ++k) LLVMAddIncoming(phis[k], &next[k], &last, 1);
  LLVMBuildCondBr(b, bit_and(again, icmp(LLVMIntSLT, more, index(most))), head, after);
  at(after);
  return next;
}

Values IrBuilder::branch(Value condition, Values carried, const std::function<Values(const Values&)>& body) {
  LLVMBasicBlockRef before = here();
  const LLVMBasicBlockRef inside = block("then"), after = block("end");
  LLVMBuildCondBr(b, condition, inside, after);
  at(inside);
  const Values changed = body(carried);
  LLVMBasicBlockRef last = here();
  LLVMBuildBr(b, after);
  at(after);
  Values result;
  for (size_t k = 0; k < carried.size(); ++k) {
    const Value phi = LLVMBuildPhi(b, type_of(carried[k]), "");
    Value x = carried[k], y = changed[k];
    LLVMAddIncoming(phi, &x, &before, 1);
    LLVMAddIncoming(phi, &y, &last, 1);
    result.push_back(phi);
  }
  return result;
}

Value IrBuilder::fma(Value x, Value y, Value z) {
  if (!has_fma) return add(mul(x, y), z);
  return intrinsic("llvm.fma", {x, y, z});
}

Value IrBuilder::intrinsic(const char* name, std::initializer_list<Type> types, const Values& operands) {
  const unsigned id = LLVMLookupIntrinsicID(name, std::strlen(name));
  if (!id) throw Error(ErrorKind::Internal, std::string("[jit] this LLVM has no ") + name);
  std::vector<Type> overloads(types);
  const Value f = LLVMGetIntrinsicDeclaration(module_, id, overloads.data(), overloads.size());
  Values arguments = operands;
  return LLVMBuildCall2(b, LLVMIntrinsicGetType(context_, id, overloads.data(), overloads.size()), f, arguments.data(), arguments.size(),
                        "");
}

Value IrBuilder::intrinsic(const char* name, const Values& operands) {
  return intrinsic(name, {type_of(operands[0])}, operands);
}

Value IrBuilder::splat(Value scalar, int n) {
  if (n == 1) return scalar;
  const Type t = vec(type_of(scalar), n);
  const Value first = LLVMBuildInsertElement(b, poison(t), scalar, constant(i32, 0), "");
  return LLVMBuildShuffleVector(b, first, poison(t), constant(vec(i32, n), 0), "");
}

Value IrBuilder::lanes(Value vector, int first, int count) {
  if (count == lanes_of(vector)) return vector;
  if (count == 1) return lane(vector, first);
  Values mask;
  for (int i = 0; i < count; ++i) mask.push_back(constant(i32, first + i));
  return LLVMBuildShuffleVector(b, vector, poison(type_of(vector)), LLVMConstVector(mask.data(), count), "");
}

Value IrBuilder::concat(const Values& parts) {
  Values now = parts;
  while (now.size() > 1) {
    const int n = lanes_of(now[0]);
    Values next, mask;
    for (int i = 0; i < 2 * n; ++i) mask.push_back(constant(i32, i));
    for (size_t i = 0; i + 1 < now.size(); i += 2) {
      next.push_back(LLVMBuildShuffleVector(b, now[i], now[i + 1], LLVMConstVector(mask.data(), 2 * n), ""));
    }
    now = next;
  }
  return now[0];
}

Value IrBuilder::any(Value mask) {
  const int n = lanes_of(mask);
  if (n == 1) return mask;
  const Type bits = LLVMIntTypeInContext(context_, n);
  return icmp(LLVMIntNE, LLVMBuildBitCast(b, mask, bits, ""), LLVMConstInt(bits, 0, false));
}

Value IrBuilder::load(Type t, Value pointer, int align) {
  const Value v = LLVMBuildLoad2(b, t, pointer, "");
  LLVMSetAlignment(v, align);
  return v;
}

void IrBuilder::store(Value v, Value pointer, int align) {
  LLVMSetAlignment(LLVMBuildStore(b, v, pointer), align);
}

void IrBuilder::store_past_caches(Value v, Value pointer) {
  Value s = LLVMBuildStore(b, v, pointer);
  LLVMSetAlignment(s, std::min(64, lanes_of(v) * bits_of(element_of(type_of(v))) / 8));
  LLVMMetadataRef one = LLVMValueAsMetadata(constant(i32, 1));
  static constexpr char kKind[] = "nontemporal";
  LLVMSetMetadata(s, LLVMGetMDKindIDInContext(context_, kKind, sizeof kKind - 1),
                  LLVMMetadataAsValue(context_, LLVMMDNodeInContext2(context_, &one, 1)));
}

// Such stores are not ordered with what tells another thread that they are done.
void IrBuilder::prefetch(Value pointer) {
  const int to_read = 0, second_cache = 2, data = 1;
  intrinsic("llvm.prefetch", {pointer, constant(i32, to_read), constant(i32, second_cache), constant(i32, data)});
}

void IrBuilder::fence_streams() {
#if defined(__x86_64__)
  intrinsic("llvm.x86.sse.sfence", {}, {});
#else
  LLVMBuildFence(b, LLVMAtomicOrderingSequentiallyConsistent, 0, "");
#endif
}

Value IrBuilder::call(const char* helper, Type result, const Values& arguments) {
  std::vector<Type> types;
  for (Value v : arguments) types.push_back(type_of(v));
  const Type signature = LLVMFunctionType(result, types.data(), types.size(), false);
  Value f = LLVMGetNamedFunction(module_, helper);
  if (!f) {
    f = LLVMAddFunction(module_, helper, signature);
    const unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
    LLVMAddAttributeAtIndex(f, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context_, nounwind, 0));
  }
  Values copy = arguments;
  return LLVMBuildCall2(b, signature, f, copy.data(), copy.size(), "");
}

}  // namespace anygpu::cpu
