// ModuleBuilder: LLVM's C API in the words that emitters need, whatever the target: scalars and vectors alike, loops, calls.
#pragma once

#include <llvm-c/Core.h>

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <string>
#include <vector>

#include "codegen.h"

namespace anygpu::llvm {

using Value = LLVMValueRef;
using Type = LLVMTypeRef;
using Values = std::vector<Value>;

class ModuleBuilder {
 public:
  /// The module is told what its code will be for.
  ModuleBuilder(LLVMContextRef context, LLVMModuleRef module, const Codegen& target);
  ~ModuleBuilder();
  ModuleBuilder(const ModuleBuilder&) = delete;

  LLVMContextRef context() const { return context_; }
  LLVMModuleRef module() const { return module_; }

  // Types. vec(t, 1) is t itself, so that one emitter writes both scalar and vector code.
  Type i1, i8, i16, i32, i64, f16, f32, f64, ptr, none;
  /// A pointer into another address space than 0: a GPU's global, shared or constant memory. load, store, element and bytes take any.
  Type pointer(unsigned space) const { return LLVMPointerTypeInContext(context_, space); }
  Type vec(Type element, int lanes) const { return lanes == 1 ? element : LLVMVectorType(element, lanes); }
  Type type_of(Value v) const { return LLVMTypeOf(v); }
  Type element_of(Type t) const { return LLVMGetTypeKind(t) == LLVMVectorTypeKind ? LLVMGetElementType(t) : t; }
  int lanes_of(Value v) const { return LLVMGetTypeKind(type_of(v)) == LLVMVectorTypeKind ? LLVMGetVectorSize(type_of(v)) : 1; }
  /// `element` with as many lanes as v.
  Type like(Value v, Type element) const { return vec(element, lanes_of(v)); }
  bool is_float(Value v) const;
  int bits_of(Type element) const;

  // Constants, with as many lanes as the type has.
  Value constant(Type, int64_t);
  Value real(Type, double);
  /// A constant of v's type, integer or float.
  Value like(Value v, double x);
  Value index(int64_t v) { return constant(i64, v); }
  Value poison(Type t) { return LLVMGetPoison(t); }
  /// 0, 1, 2, ... as i64.
  Value iota(int lanes);

  // Functions and blocks.
  /// Callers know it by `convention`, one of LLVM's numbers: 71 is a kernel of PTX's, 91 one of AMD's.
  Value begin_function(const std::string& name, Type result, std::initializer_list<Type> parameters, unsigned convention = LLVMCCallConv);
  Value parameter(int i) { return LLVMGetParam(function_, i); }
  void end_function();
  LLVMBasicBlockRef block(const char* name) { return LLVMAppendBasicBlockInContext(context_, function_, name); }
  LLVMBasicBlockRef here() { return LLVMGetInsertBlock(b); }
  void at(LLVMBasicBlockRef block) { LLVMPositionBuilderAtEnd(b, block); }
  /// A stack slot of the function.
  Value stack(Type);
  /// A variable of the module, whose first value is anything: in a GPU's address space of shared memory, a workgroup's array.
  Value variable(const std::string& name, Type, unsigned space, int align);
  /// The pointer as one into another address space.
  Value in_space(Value p, unsigned space) { return LLVMBuildAddrSpaceCast(b, p, pointer(space), ""); }
  /// Runs `emit` in the function's first block, whose values hold everywhere.
  Value in_entry(const std::function<Value()>& emit);

  /// for (i = lo; i < hi; i += step) carried = body(i, carried); signed comparison. Returns what is carried out.
  Values loop(Value lo, Value hi, Value step, Values carried, const std::function<Values(Value i, const Values&)>& body);
  /// do {carried, again} = body(carried); while (again), `most` times at most. Returns what is carried out.
  Values repeat(int64_t most, const Values& carried, const std::function<std::pair<Values, Value>(const Values&)>& body);
  /// if (condition) carried = body(carried).
  Values branch(Value condition, Values carried, const std::function<Values(const Values&)>& body);

  // Arithmetic. Operands of one type.
  Value add(Value x, Value y) { return is_float(x) ? LLVMBuildFAdd(b, x, y, "") : LLVMBuildAdd(b, x, y, ""); }
  Value sub(Value x, Value y) { return is_float(x) ? LLVMBuildFSub(b, x, y, "") : LLVMBuildSub(b, x, y, ""); }
  Value mul(Value x, Value y) { return is_float(x) ? LLVMBuildFMul(b, x, y, "") : LLVMBuildMul(b, x, y, ""); }
  Value div(Value x, Value y) { return LLVMBuildFDiv(b, x, y, ""); }
  Value neg(Value x) { return is_float(x) ? LLVMBuildFNeg(b, x, "") : LLVMBuildNeg(b, x, ""); }
  Value bit_and(Value x, Value y) { return LLVMBuildAnd(b, x, y, ""); }
  Value bit_or(Value x, Value y) { return LLVMBuildOr(b, x, y, ""); }
  Value bit_xor(Value x, Value y) { return LLVMBuildXor(b, x, y, ""); }
  Value bit_not(Value x) { return LLVMBuildNot(b, x, ""); }
  Value shl(Value x, Value y) { return LLVMBuildShl(b, x, y, ""); }
  Value lshr(Value x, Value y) { return LLVMBuildLShr(b, x, y, ""); }
  Value ashr(Value x, Value y) { return LLVMBuildAShr(b, x, y, ""); }
  Value icmp(LLVMIntPredicate p, Value x, Value y) { return LLVMBuildICmp(b, p, x, y, ""); }
  Value fcmp(LLVMRealPredicate p, Value x, Value y) { return LLVMBuildFCmp(b, p, x, y, ""); }
  Value select(Value c, Value x, Value y) { return LLVMBuildSelect(b, c, x, y, ""); }
  Value trunc(Value x, Type element) { return LLVMBuildTrunc(b, x, like(x, element), ""); }
  Value zext(Value x, Type element) { return LLVMBuildZExt(b, x, like(x, element), ""); }
  Value sext(Value x, Type element) { return LLVMBuildSExt(b, x, like(x, element), ""); }
  Value bitcast(Value x, Type element) { return LLVMBuildBitCast(b, x, like(x, element), ""); }
  /// Any intrinsic overloaded on `types`.
  Value intrinsic(const char* name, std::initializer_list<Type> types, const Values& operands);
  /// An intrinsic overloaded on the type of its first operand.
  Value intrinsic(const char* name, const Values& operands);

  // Lanes.
  Value splat(Value scalar, int lanes);
  Value lane(Value vector, int i) { return LLVMBuildExtractElement(b, vector, constant(i32, i), ""); }
  /// Lanes [first, first + count).
  Value lanes(Value vector, int first, int count);
  /// The vectors one after another; all of one width.
  Value concat(const Values& parts);
  /// Whether any lane of an i1 vector is set.
  Value any(Value mask);

  // Memory.
  /// pointer + index * sizeof(element).
  Value element(Value pointer, Type element, Value index) { return LLVMBuildGEP2(b, element, pointer, &index, 1, ""); }
  Value bytes(Value pointer, Value offset) { return LLVMBuildGEP2(b, i8, pointer, &offset, 1, ""); }
  Value load(Type, Value pointer, int align);
  void store(Value, Value pointer, int align);
  Value call(const char* helper, Type result, const Values& arguments);

  LLVMBuilderRef b;

 private:
  LLVMContextRef context_;
  LLVMModuleRef module_;
  Value function_ = nullptr;
  LLVMBasicBlockRef entry_ = nullptr, first_ = nullptr;
};

}  // namespace anygpu::llvm
