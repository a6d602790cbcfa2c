// Opens libanygpu_cpu_library.so, and joins what it does with what needs no library.
#include <dlfcn.h>
#include <link.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>

#include "backends/cpu/library/attention.h"
#include "backends/cpu/library/chunks.h"
#include "backends/cpu/library/library.h"
#include "backends/cpu/library/module/module.h"
#include "backends/cpu/library/rows.h"
#include "backends/cpu/library/thread_pool.h"
#include "core/environment.h"

namespace anygpu::cpu {
namespace {

constexpr const char* kFile = "libanygpu_cpu_library.so";

int threads_wanted() {
  // OMP_NUM_THREADS may list one count a nesting level: the first holds.
  for (const char* variable : {"ANYGPU_NUM_THREADS", "OMP_NUM_THREADS"})
    if (const long n = count_setting(variable, kMaxThreads)) return static_cast<int>(n);
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(n, 1, kMaxThreads);
}

/// The folder of the object that holds this code: the program's own, or a shared object's.
std::filesystem::path own_folder() {
  static const char here = 0;
  std::error_code ignored;
  Dl_info info;
  void* found = nullptr;
  if (!dladdr1(&here, &info, &found, RTLD_DL_LINKMAP)) return {};
  // A program is known by the name that it was called by, which need not lead to it; a shared object by its path.
  const char* name = static_cast<const link_map*>(found)->l_name;
  const std::filesystem::path self = *name ? name : std::filesystem::read_symlink("/proc/self/exe", ignored);
  return std::filesystem::absolute(self, ignored).parent_path();
}

/// In $ANYGPU_LIBRARY_DIR where that is set, else beside the object that holds this code, and nowhere else: who put that there is trusted.
/// Programs of a build tree have a link beside them.
std::string library_path() {
  const char* dir = setting("ANYGPU_LIBRARY_DIR");
  return ((dir ? std::filesystem::path(dir) : own_folder()) / kFile).string();
}

/// Null, and `why`, where it cannot be had.
Module* open_module(int threads, std::string& why) {
  const std::string path = library_path();
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    why = path + " does not exist";
    return nullptr;
  }
  int mode = RTLD_NOW | RTLD_LOCAL;
#if !defined(ANYGPU_SANITIZE_ADDRESS) && !defined(ANYGPU_SANITIZE_THREAD)  // which refuse it
  mode |= RTLD_DEEPBIND;
#endif
  void* handle = dlopen(path.c_str(), mode);
  if (!handle) {
    why = dlerror();
    return nullptr;
  }
  auto open = reinterpret_cast<OpenModule>(dlsym(handle, kOpenModule));
  Module* module = open ? open(kModuleAbi, threads) : nullptr;
  if (!module) why = path + " is of another version";
  return module;
}

class Library final : public CpuLibrary {
 public:
  Library() : threads_(threads_wanted()), module_(open_module(threads_, why_absent_)) {
#ifdef ANYGPU_SANITIZE_THREAD
    bool own_pool = true;  // the sanitizer does not see the synchronisation inside libgomp
#else
    bool own_pool = !module_;
#endif
    if (own_pool) pool_ = new ThreadPool(threads_);
  }

  int threads() const override {
    return threads_;
  }

  void parallel_for(int64_t n, int64_t grain, ChunkFn fn, void* ctx) override {
    run_chunks(n, grain, threads_, fn, ctx, [this](void (*body)(void*, int), void* state, int) {
      if (pool_)
        pool_->run(body, state);
      else
        module_->team(body, state);
    });
  }

  bool supports(const ir::Named& named) const override {
    if (named.kind == ir::NamedKind::Scan) return supports_scan(named);
    if (named.kind == ir::NamedKind::Sort) return supports_sort(named);
    if (is_attention(named.kind)) return supports_attention(named);
    return module_ && module_->supports(named);
  }

  int64_t channel_block(const ir::Named& named, int operand) const override {
    return module_ && is_convolution(named.kind) ? module_->channel_block(named, operand) : 0;
  }

  std::unique_ptr<PreparedNamed> prepare(const ir::Named& named) override {
    if (!supports(named))
      throw Error(ErrorKind::Internal, std::string("[") + name_of(named.kind) + "] not among what the CPU library does");
    if (named.kind == ir::NamedKind::Scan) return prepare_scan(named, *this);
    if (named.kind == ir::NamedKind::Sort) return prepare_sort(named, *this);
    if (named.kind == ir::NamedKind::Attention) return prepare_attention(named, *this);
    if (named.kind == ir::NamedKind::AttentionGrad) return prepare_attention_grad(named, *this);
    return module_->prepare(named);
  }

  std::string version() const override {
    return module_ ? module_->version() : "no oneDNN: " + why_absent_;
  }

 private:
  int threads_;
  std::string why_absent_;
  Module* module_;
  ThreadPool* pool_ = nullptr;
};

}  // namespace

CpuLibrary& library() {
  static auto* library = new Library;
  return *library;
}

}  // namespace anygpu::cpu
