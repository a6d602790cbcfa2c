#include "kernel.h"

#include <algorithm>
#include <system_error>
#include <thread>

#include "anygpu/error.h"
#include "disk_cache.h"
#include "emitter.h"
#include "jit.h"
#include "plain.h"

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

Kernel::Entries link(const CachedObject& made) {
  const std::vector<void*> addresses = link_object(made.object, made.code.functions);
  Kernel::Entries entries;
  for (size_t i = 0; i < addresses.size(); ++i) entries.push_back({reinterpret_cast<Kernel::Function>(addresses[i]), made.code.over[i]});
  return entries;
}

}  // namespace

std::shared_ptr<const Kernel> KernelCache::get(const KernelSpec& spec) {
  if (const auto plain = plain_function(spec)) {
    std::promise<Kernel::Entries> made;
    made.set_value({*plain});
    return std::make_shared<const Kernel>(made.get_future().share());
  }
  std::string key = spec.key();
  std::unique_lock lock(mutex_);
  if (const auto found = kernels_.find(key); found != kernels_.end()) return found->second;
  Task task{spec.nodes.size(), std::packaged_task<Kernel::Entries()>([this, spec, key] { return make(spec, key); })};
  auto kernel = std::make_shared<const Kernel>(task.make.get_future().share());
  kernels_.emplace(key, kernel);
  queue_.push_back(std::move(task));
  std::push_heap(queue_.begin(), queue_.end(), shorter);
  // Threads live as long as there is something to make: that is in the first steps of a program only.
  if (workers_ == static_cast<int>(std::max(1u, std::thread::hardware_concurrency()))) return kernel;
  ++workers_;
  try {
    std::thread([this] { work(); }).detach();
  } catch (const std::system_error&) {  // no more threads in this process: those that there are do it, or this one
    if (workers_ > 1) return --workers_, kernel;
    lock.unlock();
    work();
  }
  return kernel;
}

void KernelCache::work() {
  std::unique_lock lock(mutex_);
  while (!queue_.empty()) {
    std::pop_heap(queue_.begin(), queue_.end(), shorter);
    auto task = std::move(queue_.back().make);
    queue_.pop_back();
    lock.unlock();
    task();
    lock.lock();
  }
  --workers_;
}

Kernel::Entries KernelCache::make(const KernelSpec& spec, const std::string& key) {
  try {
    if (const auto cached = load_object(key)) {
      try {
        return link(*cached);
      } catch (const Error&) {  // whole, and yet unfit: compiled anew, under a name that the linker has not met
      }
    }
    const CachedObject made = compile(spec, "anygpu_" + digest(key) + "_" + std::to_string(names_.fetch_add(1)));
    Kernel::Entries entries = link(made);
    compiled_.fetch_add(1);
    save_object(key, made);
    return entries;
  } catch (...) {
    std::lock_guard lock(mutex_);
    kernels_.erase(key);  // who asks again has it tried again
    throw;
  }
}

KernelCache& kernel_cache() {
  static auto* cache = new KernelCache;  // leaked: programs may outlive static destructors
  return *cache;
}

}  // namespace anygpu::cpu
