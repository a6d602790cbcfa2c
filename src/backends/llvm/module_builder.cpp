#include "module_builder.h"

#include <cstring>

namespace anygpu::llvm {

ModuleBuilder::ModuleBuilder(LLVMContextRef context, LLVMModuleRef module, const Codegen& target)
    : b(LLVMCreateBuilderInContext(context)), context_(context), module_(module) {
  target.aim(module);
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

ModuleBuilder::~ModuleBuilder() {
  LLVMDisposeBuilder(b);
}

bool ModuleBuilder::is_float(Value v) const {
  const LLVMTypeKind kind = LLVMGetTypeKind(element_of(type_of(v)));
  return kind == LLVMFloatTypeKind || kind == LLVMDoubleTypeKind || kind == LLVMHalfTypeKind;
}

int ModuleBuilder::bits_of(Type t) const {
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

Value ModuleBuilder::constant(Type t, int64_t v) {
  const Type element = element_of(t);
  const Value c = LLVMConstInt(element, static_cast<unsigned long long>(v), true);
  if (element == t) return c;
  return LLVMConstVector(Values(LLVMGetVectorSize(t), c).data(), LLVMGetVectorSize(t));
}

Value ModuleBuilder::real(Type t, double v) {
  const Type element = element_of(t);
  const Value c = LLVMConstReal(element, v);
  if (element == t) return c;
  return LLVMConstVector(Values(LLVMGetVectorSize(t), c).data(), LLVMGetVectorSize(t));
}

Value ModuleBuilder::like(Value v, double x) {
  return is_float(v) ? real(type_of(v), x) : constant(type_of(v), static_cast<int64_t>(x));
}

Value ModuleBuilder::iota(int lanes) {
  if (lanes == 1) return index(0);
  Values v;
  for (int i = 0; i < lanes; ++i) v.push_back(index(i));
  return LLVMConstVector(v.data(), lanes);
}

// The first block holds stack slots and what in_entry() makes; it is closed last, with a jump to the second.
Value ModuleBuilder::begin_function(const std::string& name, Type result, std::initializer_list<Type> parameters, unsigned convention) {
  std::vector<Type> types(parameters);
  function_ = LLVMAddFunction(module_, name.c_str(), LLVMFunctionType(result, types.data(), types.size(), false));
  const unsigned nounwind = LLVMGetEnumAttributeKindForName("nounwind", 8);
  LLVMAddAttributeAtIndex(function_, LLVMAttributeFunctionIndex, LLVMCreateEnumAttribute(context_, nounwind, 0));
  LLVMSetFunctionCallConv(function_, convention);
  entry_ = block("entry");
  first_ = block("first");
  at(first_);
  return function_;
}

void ModuleBuilder::end_function() {
  at(entry_);
  LLVMBuildBr(b, first_);
}

Value ModuleBuilder::stack(Type t) {
  return in_entry([&] { return LLVMBuildAlloca(b, t, ""); });
}

Value ModuleBuilder::variable(const std::string& name, Type t, unsigned space, int align) {
  const Value v = LLVMAddGlobalInAddressSpace(module_, t, name.c_str(), space);
  LLVMSetLinkage(v, LLVMInternalLinkage);
  LLVMSetInitializer(v, poison(t));
  LLVMSetAlignment(v, align);
  return v;
}

Value ModuleBuilder::in_entry(const std::function<Value()>& emit) {
  const LLVMBasicBlockRef saved = here();
  at(entry_);
  const Value v = emit();
  at(saved);
  return v;
}

Values ModuleBuilder::loop(Value lo, Value hi, Value step, Values carried, const std::function<Values(Value, const Values&)>& body) {
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

Values ModuleBuilder::repeat(int64_t most, const Values& carried, const std::function<std::pair<Values, Value>(const Values&)>& body) {
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

Values ModuleBuilder::branch(Value condition, Values carried, const std::function<Values(const Values&)>& body) {
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

Value ModuleBuilder::intrinsic(const char* name, std::initializer_list<Type> types, const Values& operands) {
  const unsigned id = LLVMLookupIntrinsicID(name, std::strlen(name));
  if (!id) fail(std::string("this LLVM has no ") + name);
  std::vector<Type> overloads(types);
  const Value f = LLVMGetIntrinsicDeclaration(module_, id, overloads.data(), overloads.size());
  Values arguments = operands;
  return LLVMBuildCall2(b, LLVMIntrinsicGetType(context_, id, overloads.data(), overloads.size()), f, arguments.data(), arguments.size(),
                        "");
}

Value ModuleBuilder::intrinsic(const char* name, const Values& operands) {
  return intrinsic(name, {type_of(operands[0])}, operands);
}

Value ModuleBuilder::splat(Value scalar, int n) {
  if (n == 1) return scalar;
  const Type t = vec(type_of(scalar), n);
  const Value first = LLVMBuildInsertElement(b, poison(t), scalar, constant(i32, 0), "");
  return LLVMBuildShuffleVector(b, first, poison(t), constant(vec(i32, n), 0), "");
}

Value ModuleBuilder::lanes(Value vector, int first, int count) {
  if (count == lanes_of(vector)) return vector;
  if (count == 1) return lane(vector, first);
  Values mask;
  for (int i = 0; i < count; ++i) mask.push_back(constant(i32, first + i));
  return LLVMBuildShuffleVector(b, vector, poison(type_of(vector)), LLVMConstVector(mask.data(), count), "");
}

Value ModuleBuilder::concat(const Values& parts) {
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

Value ModuleBuilder::any(Value mask) {
  const int n = lanes_of(mask);
  if (n == 1) return mask;
  const Type bits = LLVMIntTypeInContext(context_, n);
  return icmp(LLVMIntNE, LLVMBuildBitCast(b, mask, bits, ""), LLVMConstInt(bits, 0, false));
}

Value ModuleBuilder::load(Type t, Value pointer, int align) {
  const Value v = LLVMBuildLoad2(b, t, pointer, "");
  LLVMSetAlignment(v, align);
  return v;
}

void ModuleBuilder::store(Value v, Value pointer, int align) {
  LLVMSetAlignment(LLVMBuildStore(b, v, pointer), align);
}

Value ModuleBuilder::call(const char* helper, Type result, const Values& arguments) {
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

}  // namespace anygpu::llvm
