#include "kernel.h"

#include "emitter.h"
#include "jit.h"

namespace anygpu::cpu {
namespace {

std::shared_ptr<const Kernel> compile(const KernelSpec& spec, int64_t number) {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernel", context);
  KernelCode code;
  {
    IrBuilder builder(context, module);
    code = Emitter(builder, spec, host_isa()).run("anygpu_kernel_" + std::to_string(number));
  }
  const std::vector<char> object = compile_module(context, module);
  LLVMContextDispose(context);
  const std::vector<void*> addresses = link_object(object, code.functions);
  auto kernel = std::make_shared<Kernel>();
  for (size_t i = 0; i < addresses.size(); ++i) {
    kernel->entries.push_back({reinterpret_cast<Kernel::Function>(addresses[i]), code.over[i]});
  }
  return kernel;
}

}  // namespace

std::shared_ptr<const Kernel> KernelCache::get(const KernelSpec& spec) {
  const std::string key = spec.key();
  std::lock_guard lock(mutex_);
  auto& kernel = kernels_[key];
  if (!kernel) {
    kernel = compile(spec, compiled_.load());
    compiled_.fetch_add(1);
  }
  return kernel;
}

KernelCache& kernel_cache() {
  static auto* cache = new KernelCache;  // leaked: programs may outlive static destructors
  return *cache;
}

}  // namespace anygpu::cpu
