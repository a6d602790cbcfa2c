#include "kernel.h"

#include "anygpu/error.h"
#include "disk_cache.h"
#include "emitter.h"
#include "jit.h"

namespace anygpu::cpu {
namespace {

CachedObject compile(const KernelSpec& spec, const std::string& prefix) {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernel", context);
  CachedObject made;
  {
    IrBuilder builder(context, module);
    made.code = Emitter(builder, spec, host_isa()).run(prefix);
  }
  made.object = compile_module(context, module);
  LLVMContextDispose(context);
  return made;
}

std::shared_ptr<const Kernel> link(const CachedObject& made) {
  const std::vector<void*> addresses = link_object(made.object, made.code.functions);
  auto kernel = std::make_shared<Kernel>();
  for (size_t i = 0; i < addresses.size(); ++i) {
    kernel->entries.push_back({reinterpret_cast<Kernel::Function>(addresses[i]), made.code.over[i]});
  }
  return kernel;
}

}  // namespace

std::shared_ptr<const Kernel> KernelCache::get(const KernelSpec& spec) {
  const std::string key = spec.key();
  std::lock_guard lock(mutex_);
  auto& kernel = kernels_[key];
  if (kernel) return kernel;
  if (const auto cached = load_object(key)) {
    try {
      return kernel = link(*cached);
    } catch (const Error&) {  // whole, and yet unfit: compiled anew, under a name that the linker has not met
    }
  }
  const CachedObject made = compile(spec, "anygpu_" + digest(key) + "_" + std::to_string(compiled_.load()));
  kernel = link(made);
  compiled_.fetch_add(1);
  save_object(key, made);
  return kernel;
}

KernelCache& kernel_cache() {
  static auto* cache = new KernelCache;  // leaked: programs may outlive static destructors
  return *cache;
}

}  // namespace anygpu::cpu
