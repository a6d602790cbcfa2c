#include "kernel.h"

#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "emitter.h"
#include "jit.h"

namespace anygpu::cpu {
namespace {

std::shared_ptr<const Kernel> compile(const KernelSpec& spec, int64_t number) {
  auto cpu = [] { timespec t; clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); return t.tv_sec * 1e3 + t.tv_nsec * 1e-6; };
  const double t0 = cpu();
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("kernel", context);
  KernelCode code;
  {
    IrBuilder builder(context, module);
    code = Emitter(builder, spec, host_isa()).run("anygpu_kernel_" + std::to_string(number));
  }
  const double t1 = cpu();
  const std::vector<char> object = compile_module(context, module);
  const double t2 = cpu();
  LLVMContextDispose(context);
  const std::vector<void*> addresses = link_object(object, code.functions);
  if (getenv("ANYGPU_T")) fprintf(stderr, "emit %.2f codegen %.2f link %.2f\n", t1 - t0, t2 - t1, cpu() - t2);
  auto kernel = std::make_shared<Kernel>();
  for (size_t i = 0; i < addresses.size(); ++i) {
    kernel->entries.push_back({reinterpret_cast<Kernel::Function>(addresses[i]), code.over_chunks[i]});
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
