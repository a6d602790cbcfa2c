// Cooperative matrices. Numbers from SPV_KHR_cooperative_matrix (revision 2), which headers of 2023 do not have.
#include <spirv/unified1/spirv.hpp>

#include "builder.h"

namespace anygpu::vulkan::spirv {
namespace {

constexpr int kCapability = 6022, kType = 4456, kLoad = 4457, kStore = 4458, kMultiplyAdd = 4459;
constexpr uint32_t kRowMajor = 0, kColumnMajor = 1;

}  // namespace

void Builder::share_with_matrices() {
  capability(spv::CapabilityVulkanMemoryModel);
  extensions_.insert("SPV_KHR_vulkan_memory_model");
  vulkan_memory_model_ = true;
  workgroup_scope_ = constant32(spv::ScopeWorkgroup);
}

Builder::Words Builder::made_available() const {
  if (!vulkan_memory_model_) return {};
  return {spv::MemoryAccessMakePointerAvailableMask | spv::MemoryAccessNonPrivatePointerMask, workgroup_scope_};
}

Builder::Words Builder::made_visible() const {
  if (!vulkan_memory_model_) return {};
  return {spv::MemoryAccessMakePointerVisibleMask | spv::MemoryAccessNonPrivatePointerMask, workgroup_scope_};
}

Id Builder::matrix_type(MatrixType m) {
  capability(kCapability);
  extensions_.insert("SPV_KHR_cooperative_matrix");
  const bool sum = m.use == MatrixType::Sum;
  if (!sum) capability(spv::CapabilityFloat16);
  const Id element = sum ? type(Type::F32) : global(spv::OpTypeFloat, {16}, false);
  const Id scope = constant32(spv::ScopeSubgroup), rows = constant32(m.rows), columns = constant32(m.columns), use = constant32(m.use);
  return global(kType, {element, scope, rows, columns, use}, false);
}

Id Builder::matrix_variable(MatrixType m) {
  const Id p = pointer(spv::StorageClassFunction, matrix_type(m)), made = id();
  emit(variables_, spv::OpVariable, {p, made, spv::StorageClassFunction});
  return made;
}

void Builder::matrix_clear(Id variable, MatrixType m) {
  const Id t = matrix_type(m), zeros = id();
  emit(code_, spv::OpCompositeConstruct, {t, zeros, real(Type::F32, 0).id});
  emit(code_, spv::OpStore, {variable, zeros});
}

Id Builder::matrix_load(MatrixType m, int array, Value first, uint32_t stride, bool by_columns) {
  const Id at = shared_pointer(Type::U32, array, first), t = matrix_type(m), made = id();
  const Id layout = constant32(by_columns ? kColumnMajor : kRowMajor), step = constant32(stride);
  emit(code_, kLoad, {t, made, at, layout, step}, made_visible());
  return made;
}

void Builder::matrix_multiply(Id variable, MatrixType m, Id a, Id b) {
  const Id t = matrix_type(m), before = id(), after = id();
  emit(code_, spv::OpLoad, {t, before, variable});
  emit(code_, kMultiplyAdd, {t, after, a, b, before});
  emit(code_, spv::OpStore, {variable, after});
}

void Builder::matrix_store(Id variable, MatrixType m, int array, Value first, uint32_t stride) {
  const Id at = shared_pointer(Type::F32, array, first), t = matrix_type(m), value = id();
  const Id layout = constant32(kRowMajor), step = constant32(stride);
  emit(code_, spv::OpLoad, {t, value, variable});
  emit(code_, kStore, {at, value, layout, step}, made_available());
}

}  // namespace anygpu::vulkan::spirv
