#include "builder.h"

#include <spirv/unified1/GLSL.std.450.h>

#include <bit>
#include <cstring>
#include <iterator>
#include <spirv/unified1/spirv.hpp>

namespace anygpu::vulkan::spirv {
namespace {

std::vector<uint32_t> words_of(const std::string& s) {
  std::vector<uint32_t> w(s.size() / 4 + 1);
  std::memcpy(w.data(), s.data(), s.size());  // little-endian hosts only
  return w;
}

uint32_t bits_of(double v) {
  return std::bit_cast<uint32_t>(static_cast<float>(v));
}

/// How an operation is written: one of GLSL.std.450's functions, or by the type of its first operand.
struct Opcodes {
  Op op;
  int of_bool, of_integer, of_real;
  int function = 0;
};
constexpr Opcodes kOpcodes[] = {
    {Op::Add, 0, spv::OpIAdd, spv::OpFAdd},
    {Op::Sub, 0, spv::OpISub, spv::OpFSub},
    {Op::Mul, 0, spv::OpIMul, spv::OpFMul},
    {Op::Neg, 0, spv::OpSNegate, spv::OpFNegate},
    {Op::Div, 0, spv::OpUDiv, spv::OpFDiv},
    {Op::Rem, 0, spv::OpUMod, 0},
    {Op::SignedDiv, 0, spv::OpSDiv, 0},
    {Op::And, spv::OpLogicalAnd, spv::OpBitwiseAnd, 0},
    {Op::Or, spv::OpLogicalOr, spv::OpBitwiseOr, 0},
    {Op::Xor, spv::OpLogicalNotEqual, spv::OpBitwiseXor, 0},
    {Op::Not, spv::OpLogicalNot, spv::OpNot, 0},
    {Op::ShiftLeft, 0, spv::OpShiftLeftLogical, 0},
    {Op::ShiftRight, 0, spv::OpShiftRightLogical, 0},
    {Op::ArithmeticShiftRight, 0, spv::OpShiftRightArithmetic, 0},
    {Op::HighestBit, 0, 0, 0, GLSLstd450FindUMsb},
    {Op::Least, 0, 0, 0, GLSLstd450UMin},
    {Op::Equal, spv::OpLogicalEqual, spv::OpIEqual, spv::OpFOrdEqual},
    {Op::NotEqual, spv::OpLogicalNotEqual, spv::OpINotEqual, spv::OpFUnordNotEqual},
    {Op::Less, 0, spv::OpULessThan, spv::OpFOrdLessThan},
    {Op::LessEqual, 0, spv::OpULessThanEqual, spv::OpFOrdLessThanEqual},
    {Op::SignedLess, 0, spv::OpSLessThan, 0},
    {Op::SignedLessEqual, 0, spv::OpSLessThanEqual, 0},
    {Op::Select, spv::OpSelect, 0, 0},
    {Op::Fma, 0, 0, 0, GLSLstd450Fma},
    {Op::Sqrt, 0, 0, 0, GLSLstd450Sqrt},
    {Op::Floor, 0, 0, 0, GLSLstd450Floor},
    {Op::Ceil, 0, 0, 0, GLSLstd450Ceil},
    {Op::Trunc, 0, 0, 0, GLSLstd450Trunc},
    {Op::RoundEven, 0, 0, 0, GLSLstd450RoundEven},
    {Op::Bitcast, 0, spv::OpBitcast, spv::OpBitcast},
    {Op::ZeroExtend, 0, spv::OpUConvert, 0},
    {Op::SignExtend, 0, spv::OpSConvert, 0},
    {Op::Truncate, 0, spv::OpUConvert, 0},
    {Op::FloatToFloat, 0, 0, spv::OpFConvert},
    {Op::SignedToFloat, 0, spv::OpConvertSToF, 0},
    {Op::UnsignedToFloat, 0, spv::OpConvertUToF, 0},
    {Op::FloatToSigned, 0, 0, spv::OpConvertFToS},
};

constexpr bool in_order() {
  for (size_t i = 0; i < std::size(kOpcodes); ++i)
    if (kOpcodes[i].op != static_cast<Op>(i)) return false;
  return std::size(kOpcodes) == static_cast<size_t>(Op::FloatToSigned) + 1;
}
static_assert(in_order());

const Opcodes& opcodes_of(Op op) {
  return kOpcodes[static_cast<size_t>(op)];
}

int opcode_of(Atomic how) {
  switch (how) {
    case Atomic::Add:
      return spv::OpAtomicIAdd;
    case Atomic::And:
      return spv::OpAtomicAnd;
    case Atomic::Or:
      return spv::OpAtomicOr;
    case Atomic::SignedMax:
      return spv::OpAtomicSMax;
    case Atomic::SignedMin:
      return spv::OpAtomicSMin;
    case Atomic::UnsignedMax:
      return spv::OpAtomicUMax;
  }
  return 0;
}

}  // namespace

void Builder::emit(Words& to, int op, std::initializer_list<uint32_t> operands, const Words& more) {
  to.push_back(static_cast<uint32_t>(1 + operands.size() + more.size()) << 16 | static_cast<uint32_t>(op));
  to.insert(to.end(), operands.begin(), operands.end());
  to.insert(to.end(), more.begin(), more.end());
}

Builder::Builder(int local_size, Params params) : local_size_(local_size), params_(params) {
  glsl_ = id(), main_ = id();
  capability(spv::CapabilityShader);
  void_ = global(spv::OpTypeVoid, {}, false);
  label(id());
}

// `operands` without the result id; it goes first for types, second (after the type) for constants.
Id Builder::global(int op, Words operands, bool has_type) {
  Words key = operands;
  key.insert(key.begin(), static_cast<uint32_t>(op));
  const auto it = globals_.find(key);
  if (it != globals_.end()) return it->second;
  const Id made = id();
  operands.insert(operands.begin() + (has_type ? 1 : 0), made);
  emit(types_, op, {}, operands);
  return globals_[key] = made;
}

Id Builder::type(Type t) {
  switch (t) {
    case Type::Bool:
      return global(spv::OpTypeBool, {}, false);
    case Type::U32:
      return global(spv::OpTypeInt, {32, 0}, false);
    case Type::U64:
      capability(spv::CapabilityInt64);
      return global(spv::OpTypeInt, {64, 0}, false);
    case Type::U16:
      capability(spv::CapabilityInt16);
      return global(spv::OpTypeInt, {16, 0}, false);
    case Type::U8:
      capability(spv::CapabilityInt8);
      return global(spv::OpTypeInt, {8, 0}, false);
    case Type::F32:
      return global(spv::OpTypeFloat, {32}, false);
    case Type::F64:
      capability(spv::CapabilityFloat64);
      return global(spv::OpTypeFloat, {64}, false);
  }
  return 0;
}

Id Builder::pointer(int storage, Id to) {
  return global(spv::OpTypePointer, {static_cast<uint32_t>(storage), to}, false);
}

Id Builder::constant32(uint32_t v) {
  return global(spv::OpConstant, {type(Type::U32), v}, true);
}

Value Builder::u32(uint32_t v) {
  return {this, constant32(v), Type::U32};
}

Value Builder::u64(uint64_t v) {
  return {this, global(spv::OpConstant, {type(Type::U64), static_cast<uint32_t>(v), static_cast<uint32_t>(v >> 32)}, true), Type::U64};
}

Value Builder::boolean(bool v) {
  return {this, global(v ? spv::OpConstantTrue : spv::OpConstantFalse, {type(Type::Bool)}, true), Type::Bool};
}

Value Builder::real(Type t, double v) {
  if (t == Type::F32) return {this, global(spv::OpConstant, {type(t), bits_of(v)}, true), t};
  const auto bits = std::bit_cast<uint64_t>(v);
  return {this, global(spv::OpConstant, {type(t), static_cast<uint32_t>(bits), static_cast<uint32_t>(bits >> 32)}, true), t};
}

Value Builder::raw(int opcode, Type result, std::initializer_list<Value> operands) {
  const Value r{this, id(), result};
  Words ids;
  for (const Value& v : operands) ids.push_back(v.id);
  const Id t = type(result);
  emit(code_, opcode, {t, r.id}, ids);
  // a * b + c is two roundings, as everywhere else.
  if (opcode == spv::OpFAdd || opcode == spv::OpFSub || opcode == spv::OpFMul)
    emit(decorations_, spv::OpDecorate, {r.id, spv::DecorationNoContraction});
  return r;
}

Value Builder::op(Op op, Type result, std::initializer_list<Value> operands) {
  const Type of = operands.begin()->type;
  const Opcodes& found = opcodes_of(op);
  if (found.function == 0)
    return raw(of == Type::Bool ? found.of_bool : gpu::is_real(of) ? found.of_real : found.of_integer, result, operands);
  const Value r{this, id(), result};
  Words ids;
  for (const Value& v : operands) ids.push_back(v.id);
  const Id t = type(result);
  emit(code_, spv::OpExtInst, {t, r.id, glsl_, static_cast<uint32_t>(found.function)}, ids);
  return r;
}

Value Builder::sign_extend_low(Value v, int width) {
  const Value from = u32(0), bits = u32(static_cast<uint32_t>(width));
  return raw(spv::OpBitFieldSExtract, Type::U32, {v, from, bits});
}

Builder::Wide Builder::multiply_wide(Value x, Value y) {
  const Id u = type(Type::U32), pair = global(spv::OpTypeStruct, {u, u}, false), product = id();
  emit(code_, spv::OpUMulExtended, {pair, product, x.id, y.id});
  Wide w{{this, id(), Type::U32}, {this, id(), Type::U32}};
  emit(code_, spv::OpCompositeExtract, {u, w.low.id, product, 0});
  emit(code_, spv::OpCompositeExtract, {u, w.high.id, product, 1});
  return w;
}

void Builder::label(Id l) {
  emit(code_, spv::OpLabel, {l});
}

void Builder::if_(Value condition, const std::function<void()>& yes, const std::function<void()>& no) {
  const Id then = id(), otherwise = no ? id() : 0, merge = id();
  emit(code_, spv::OpSelectionMerge, {merge, spv::SelectionControlMaskNone});
  emit(code_, spv::OpBranchConditional, {condition.id, then, no ? otherwise : merge});
  label(then);
  yes();
  emit(code_, spv::OpBranch, {merge});
  if (no) {
    label(otherwise);
    no();
    emit(code_, spv::OpBranch, {merge});
  }
  label(merge);
}

void Builder::loop(Value from, Value to, Value step, const std::function<void(Value)>& body) {
  const Variable counter = variable(from.type);
  counter.set(from);
  const Id header = id(), test = id(), inside = id(), next = id(), merge = id();
  emit(code_, spv::OpBranch, {header});
  label(header);
  emit(code_, spv::OpLoopMerge, {merge, next, spv::LoopControlMaskNone});
  emit(code_, spv::OpBranch, {test});
  label(test);
  const Value i = counter.get();
  emit(code_, spv::OpBranchConditional, {(i < to).id, inside, merge});
  label(inside);
  body(i);
  emit(code_, spv::OpBranch, {next});
  label(next);
  counter.set(i + step);
  emit(code_, spv::OpBranch, {header});
  label(merge);
}

void Builder::repeat(const std::function<Value()>& body) {
  const Id header = id(), inside = id(), next = id(), merge = id();
  emit(code_, spv::OpBranch, {header});
  label(header);
  emit(code_, spv::OpLoopMerge, {merge, next, spv::LoopControlMaskNone});
  emit(code_, spv::OpBranch, {inside});
  label(inside);
  const Value again = body();
  emit(code_, spv::OpBranchConditional, {again.id, next, merge});
  label(next);
  emit(code_, spv::OpBranch, {header});
  label(merge);
}

Variable Builder::variable(Type t) {
  const Id p = pointer(spv::StorageClassFunction, type(t));
  const Variable v{this, id(), t};
  emit(variables_, spv::OpVariable, {p, v.id, spv::StorageClassFunction});
  return v;
}

Value Builder::load_from(const Variable& v) {
  return raw(spv::OpLoad, v.type, {Value{this, v.id, v.type}});
}

void Builder::store_to(const Variable& to, Value v) {
  emit(code_, spv::OpStore, {to.id, v.id});
}

void Builder::at_entry(const std::function<void()>& code) {
  std::swap(entry_, code_);
  code();
  std::swap(entry_, code_);
}

// Two arrays of different elements over one binding alias each other; so may any two bindings.
Id Builder::block(Type element, int count) {
  const int size = gpu::bytes_of(element);
  if (size == 2) capability(spv::CapabilityStorageBuffer16BitAccess), extensions_.insert("SPV_KHR_16bit_storage");
  if (size == 1) capability(spv::CapabilityStorageBuffer8BitAccess), extensions_.insert("SPV_KHR_8bit_storage");
  Id& block = block_types_[static_cast<int>(element) * 8 + count];
  if (block) return block;
  const Id one = type(element), array = id();
  const Id t = count == 1 ? one : global(spv::OpTypeVector, {one, static_cast<uint32_t>(count)}, false);
  emit(types_, spv::OpTypeRuntimeArray, {array, t});
  emit(decorations_, spv::OpDecorate, {array, spv::DecorationArrayStride, static_cast<uint32_t>(size * count)});
  block = id();
  emit(types_, spv::OpTypeStruct, {block, array});
  emit(decorations_, spv::OpDecorate, {block, spv::DecorationBlock});
  emit(decorations_, spv::OpMemberDecorate, {block, 0, spv::DecorationOffset, 0});
  return block;
}

// A variable, or a pointer that is made of an address at the start.
Id Builder::buffer(int binding, Type element, int count) {
  const auto key = std::make_pair(binding, static_cast<int>(element) * 8 + count);
  if (const auto it = buffers_.find(key); it != buffers_.end()) return it->second;
  if (const auto it = addresses_.find(binding); it != addresses_.end()) {
    const Id p = pointer(spv::StorageClassPhysicalStorageBuffer, block(element, count)), made = id(), pair = id();
    const Id two = global(spv::OpTypeVector, {type(Type::U32), 2}, false);
    at_entry([&] {
      emit(code_, spv::OpCompositeConstruct, {two, pair, it->second.first, it->second.second});
      emit(code_, spv::OpBitcast, {p, made, pair});
    });
    return buffers_[key] = made;
  }
  const Id p = pointer(spv::StorageClassStorageBuffer, block(element, count)), made = id();
  emit(types_, spv::OpVariable, {p, made, spv::StorageClassStorageBuffer});
  emit(decorations_, spv::OpDecorate, {made, spv::DecorationDescriptorSet, 0});
  emit(decorations_, spv::OpDecorate, {made, spv::DecorationBinding, static_cast<uint32_t>(binding)});
  emit(decorations_, spv::OpDecorate, {made, spv::DecorationAliased});
  return buffers_[key] = made;
}

void Builder::by_address(int binding, Value low, Value high) {
  capability(spv::CapabilityPhysicalStorageBufferAddresses);
  extensions_.insert("SPV_KHR_physical_storage_buffer");
  addresses_[binding] = {low.id, high.id};
}

Id Builder::element_pointer(int binding, Type element, Value index) {
  const auto storage = addresses_.count(binding) ? spv::StorageClassPhysicalStorageBuffer : spv::StorageClassStorageBuffer;
  const Id array = buffer(binding, element), p = pointer(storage, type(element)), zero = constant32(0), at = id();
  emit(code_, spv::OpAccessChain, {p, at, array, zero, index.id});
  return at;
}

/// Behind a load or store: what lies at an address says how it is aligned.
Builder::Words Builder::aligned(int binding, Type element) const {
  if (!addresses_.count(binding)) return {};
  return {spv::MemoryAccessAlignedMask, static_cast<uint32_t>(gpu::bytes_of(element))};
}

Value Builder::load(int binding, Type element, Value index) {
  const Id at = element_pointer(binding, element, index), t = type(element);
  const Value v{this, id(), element};
  emit(code_, spv::OpLoad, {t, v.id, at}, aligned(binding, element));
  if (gpu::bytes_of(element) >= 4) return v;
  return raw(spv::OpUConvert, Type::U32, {v});
}

void Builder::store(int binding, Value value, Value index) {
  const Id at = element_pointer(binding, value.type, index);
  emit(code_, spv::OpStore, {at, value.id}, aligned(binding, value.type));
}

void Builder::store_narrow(int binding, Type element, Value value, Value index) {
  const Id at = element_pointer(binding, element, index);
  const Value narrow = raw(spv::OpUConvert, element, {value});
  emit(code_, spv::OpStore, {at, narrow.id}, aligned(binding, element));
}

void Builder::store_four(int binding, const Four& values, Value index) {
  const Id array = buffer(binding, Type::U32, 4), four = global(spv::OpTypeVector, {type(Type::U32), 4}, false);
  const Id p = pointer(spv::StorageClassStorageBuffer, four), zero = constant32(0), at = id(), v = id();
  emit(code_, spv::OpCompositeConstruct, {four, v, values[0].id, values[1].id, values[2].id, values[3].id});
  emit(code_, spv::OpAccessChain, {p, at, array, zero, index.id});
  emit(code_, spv::OpStore, {at, v});
}

Id Builder::texels(int binding) {
  Id& variable = texels_[binding];
  if (variable) return variable;
  capability(spv::CapabilitySampledBuffer);
  const Id image = global(spv::OpTypeImage, {type(Type::F32), spv::DimBuffer, 0, 0, 0, 1, spv::ImageFormatUnknown}, false);
  const Id p = pointer(spv::StorageClassUniformConstant, image);
  variable = id();
  emit(types_, spv::OpVariable, {p, variable, spv::StorageClassUniformConstant});
  emit(decorations_, spv::OpDecorate, {variable, spv::DecorationDescriptorSet, 0});
  emit(decorations_, spv::OpDecorate, {variable, spv::DecorationBinding, static_cast<uint32_t>(binding)});
  return variable;
}

Builder::Four Builder::fetch(int binding, Value index) {
  const Id from = texels(binding),
           image = global(spv::OpTypeImage, {type(Type::F32), spv::DimBuffer, 0, 0, 0, 1, spv::ImageFormatUnknown}, false);
  const Id floats = global(spv::OpTypeVector, {type(Type::F32), 4}, false), words = global(spv::OpTypeVector, {type(Type::U32), 4}, false);
  const Id loaded = id(), texel = id(), bits = id();
  emit(code_, spv::OpLoad, {image, loaded, from});
  emit(code_, spv::OpImageFetch, {floats, texel, loaded, index.id});
  emit(code_, spv::OpBitcast, {words, bits, texel});
  Four four;
  for (uint32_t i = 0; i < 4; ++i) {
    four[i] = {this, id(), Type::U32};
    emit(code_, spv::OpCompositeExtract, {type(Type::U32), four[i].id, bits, i});
  }
  return four;
}

Value Builder::atomic(Atomic how, int binding, Value index, Value value) {
  const Id at = element_pointer(binding, Type::U32, index), t = type(Type::U32), scope = constant32(spv::ScopeDevice), none = constant32(0);
  const Value old{this, id(), Type::U32};
  emit(code_, opcode_of(how), {t, old.id, at, scope, none, value.id});
  return old;
}

Value Builder::compare_exchange(int binding, Value index, Value expected, Value desired) {
  const Id at = element_pointer(binding, Type::U32, index), t = type(Type::U32), scope = constant32(spv::ScopeDevice), none = constant32(0);
  const Value old{this, id(), Type::U32};
  emit(code_, spv::OpAtomicCompareExchange, {t, old.id, at, scope, none, none, desired.id, expected.id});
  return old;
}

Value Builder::param(int word) {
  return params_.binding < 0 ? push(word) : load(params_.binding, Type::U32, u32(static_cast<uint32_t>(word)));
}

Value Builder::push(int word) {
  const Id u = type(Type::U32);
  if (!push_) {
    const Id length = constant32(static_cast<uint32_t>(params_.push_words)), array = id(), block = id();
    emit(types_, spv::OpTypeArray, {array, u, length});
    emit(decorations_, spv::OpDecorate, {array, spv::DecorationArrayStride, 4});
    emit(types_, spv::OpTypeStruct, {block, array});
    emit(decorations_, spv::OpDecorate, {block, spv::DecorationBlock});
    emit(decorations_, spv::OpMemberDecorate, {block, 0, spv::DecorationOffset, 0});
    const Id p = pointer(spv::StorageClassPushConstant, block);
    push_ = id();
    emit(types_, spv::OpVariable, {p, push_, spv::StorageClassPushConstant});
  }
  const Id p = pointer(spv::StorageClassPushConstant, u), zero = constant32(0), index = constant32(static_cast<uint32_t>(word)), at = id();
  emit(code_, spv::OpAccessChain, {p, at, push_, zero, index});
  const Value v{this, id(), Type::U32};
  emit(code_, spv::OpLoad, {u, v.id, at});
  return v;
}

Id Builder::shared(Type t, int array) {
  Id& variable = shared_[{static_cast<int>(t), array}];
  if (variable) return variable;
  const auto n = shared_lengths_.find(array);
  const Id length = constant32(n == shared_lengths_.end() ? static_cast<uint32_t>(local_size_) : n->second),
           a = global(spv::OpTypeArray, {type(t), length}, false);
  const Id p = pointer(spv::StorageClassWorkgroup, a);
  variable = id();
  emit(types_, spv::OpVariable, {p, variable, spv::StorageClassWorkgroup});
  return variable;
}

Id Builder::shared_pointer(Type t, int array, Value index) {
  const Id a = shared(t, array), p = pointer(spv::StorageClassWorkgroup, type(t)), at = id();
  emit(code_, spv::OpAccessChain, {p, at, a, index.id});
  return at;
}

Value Builder::shared_load(Type t, int array, Value index) {
  const Id at = shared_pointer(t, array, index);
  const Value v{this, id(), t};
  const Words visible = made_visible();
  emit(code_, spv::OpLoad, {type(t), v.id, at}, visible);
  return v;
}

void Builder::shared_store(int array, Value value, Value index) {
  const Id at = shared_pointer(value.type, array, index);
  const Words available = made_available();
  emit(code_, spv::OpStore, {at, value.id}, available);
}

void Builder::barrier() {
  uint32_t what = spv::MemorySemanticsAcquireReleaseMask | spv::MemorySemanticsWorkgroupMemoryMask;
  if (vulkan_memory_model_) what |= spv::MemorySemanticsMakeAvailableMask | spv::MemorySemanticsMakeVisibleMask;
  const Id scope = constant32(spv::ScopeWorkgroup), semantics = constant32(what);
  emit(code_, spv::OpControlBarrier, {scope, scope, semantics});
}

Id Builder::builtin(int which) {
  Id& variable = builtins_[which];
  if (variable) return variable;
  const Id u = type(Type::U32);
  const bool one = which == spv::BuiltInLocalInvocationIndex || which == spv::BuiltInSubgroupId || which == spv::BuiltInNumSubgroups;
  const Id t = one ? u : global(spv::OpTypeVector, {u, 3}, false);
  const Id p = pointer(spv::StorageClassInput, t);
  variable = id();
  emit(types_, spv::OpVariable, {p, variable, spv::StorageClassInput});
  emit(decorations_, spv::OpDecorate, {variable, spv::DecorationBuiltIn, static_cast<uint32_t>(which)});
  return variable;
}

Value Builder::scalar_builtin(int which) {
  const Id from = builtin(which);
  const Value v{this, id(), Type::U32};
  emit(code_, spv::OpLoad, {type(Type::U32), v.id, from});
  return v;
}

Value Builder::local_index() {
  return scalar_builtin(spv::BuiltInLocalInvocationIndex);
}

Value Builder::subgroup() {
  capability(spv::CapabilityGroupNonUniform);
  return scalar_builtin(spv::BuiltInSubgroupId);
}

Value Builder::subgroups() {
  capability(spv::CapabilityGroupNonUniform);
  return scalar_builtin(spv::BuiltInNumSubgroups);
}

Value Builder::group(int axis) {
  const Id u = type(Type::U32), from = builtin(spv::BuiltInWorkgroupId), all = id();
  emit(code_, spv::OpLoad, {global(spv::OpTypeVector, {u, 3}, false), all, from});
  const Value v{this, id(), Type::U32};
  emit(code_, spv::OpCompositeExtract, {u, v.id, all, static_cast<uint32_t>(axis)});
  return v;
}

void Builder::preserve_specials(int width) {
  capability(spv::CapabilitySignedZeroInfNanPreserve);
  extensions_.insert("SPV_KHR_float_controls");
  preserved_.push_back(width);
}

void Builder::preserve_denormals(int width) {
  capability(spv::CapabilityDenormPreserve);
  extensions_.insert("SPV_KHR_float_controls");
  denormals_.push_back(width);
}

std::vector<uint32_t> Builder::finish() {
  emit(code_, spv::OpReturn, {});
  emit(code_, spv::OpFunctionEnd, {});
  const Id function_type = global(spv::OpTypeFunction, {void_}, false);
  if (!buffers_.empty() || push_) extensions_.insert("SPV_KHR_storage_buffer_storage_class");

  Words out = {spv::MagicNumber, 0x00010300, 0, next_, 0};
  for (int c : capabilities_) emit(out, spv::OpCapability, {static_cast<uint32_t>(c)});
  for (const std::string& e : extensions_) emit(out, spv::OpExtension, {}, words_of(e));
  emit(out, spv::OpExtInstImport, {glsl_}, words_of("GLSL.std.450"));
  emit(out, spv::OpMemoryModel,
       {addresses_.empty() ? spv::AddressingModelLogical : spv::AddressingModelPhysicalStorageBuffer64,
        vulkan_memory_model_ ? spv::MemoryModelVulkan : spv::MemoryModelGLSL450});
  Words entry = words_of("main");
  for (const auto& [which, variable] : builtins_) entry.push_back(variable);
  emit(out, spv::OpEntryPoint, {spv::ExecutionModelGLCompute, main_}, entry);
  emit(out, spv::OpExecutionMode, {main_, spv::ExecutionModeLocalSize, static_cast<uint32_t>(local_size_), 1, 1});
  for (int width : preserved_)
    emit(out, spv::OpExecutionMode, {main_, spv::ExecutionModeSignedZeroInfNanPreserve, static_cast<uint32_t>(width)});
  for (int width : denormals_) emit(out, spv::OpExecutionMode, {main_, spv::ExecutionModeDenormPreserve, static_cast<uint32_t>(width)});
  out.insert(out.end(), decorations_.begin(), decorations_.end());
  out.insert(out.end(), types_.begin(), types_.end());
  emit(out, spv::OpFunction, {void_, main_, spv::FunctionControlMaskNone, function_type});
  // Variables belong to the start of the first block, which code_ begins with: its label is two words.
  out.insert(out.end(), code_.begin(), code_.begin() + 2);
  out.insert(out.end(), variables_.begin(), variables_.end());
  out.insert(out.end(), entry_.begin(), entry_.end());
  out.insert(out.end(), code_.begin() + 2, code_.end());
  return out;
}

}  // namespace anygpu::vulkan::spirv
