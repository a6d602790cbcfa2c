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
    IrBuilder builder(context, module, host_codegen());
    made.code = Emitter(builder, spec, host_isa()).run(prefix);
  }
  made.object = compile_module(module);
  LLVMContextDispose(context);
  return made;
}

Kernel::Made link(const CachedObject& object) {
  LinkedCode code = link_object(object.object, object.code.functions);
  Kernel::Made made;
  for (size_t i = 0; i < code.functions.size(); ++i)
    made.entries.push_back({reinterpret_cast<Kernel::Function>(code.functions[i]), object.code.over[i]});
  made.loaded = std::move(code.loaded);
  return made;
}

}  // namespace

std::shared_ptr<const Kernel> KernelCache::get(const KernelSpec& spec, const std::vector<Tail>& also) {
  if (const auto plain = plain_function(spec)) {
    std::promise<Kernel::Made> made;
    made.set_value({{*plain}, nullptr});
    return std::make_shared<const Kernel>(made.get_future().share());
  }
  std::string key = spec.key();
  std::unique_lock lock(mutex_);
  if (auto found = kernels_.find(key)) return found;
  for (const Tail tail : also) {
    KernelSpec other = spec;
    other.tail = tail;
    if (auto found = kernels_.find(other.key())) return found;
  }
  Task task{spec.nodes.size(), std::packaged_task<Kernel::Made()>([this, spec, key] { return make(spec, key); })};
  auto kernel = std::make_shared<const Kernel>(task.make.get_future().share());
  kernels_.insert(key, kernel);
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

void KernelCache::keep(size_t most) {
  std::lock_guard lock(mutex_);
  kernels_.keep(most);
}

int64_t KernelCache::kept() {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(kernels_.size());
}

Kernel::Made KernelCache::make(const KernelSpec& spec, const std::string& key) {
  try {
    if (const auto cached = load_object(key)) {
      try {
        return link(*cached);
      } catch (const Error&) {  // whole, and yet unfit: compiled anew, under a name that the linker has not met
      }
    }
    const CachedObject object = compile(spec, "anygpu_" + digest(key) + "_" + std::to_string(names_.fetch_add(1)));
    Kernel::Made made = link(object);
    compiled_.fetch_add(1);
    save_object(key, object);
    return made;
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
