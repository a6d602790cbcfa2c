// Opens libanygpu_cpu_library.so, and joins what it does with what needs no library.
#include <dlfcn.h>
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "backends/cpu/library/attention.h"
#include "backends/cpu/library/chunks.h"
#include "backends/cpu/library/library.h"
#include "backends/cpu/library/module/module.h"
#include "backends/cpu/library/rows.h"
#include "backends/cpu/library/thread_pool.h"

namespace anygpu::cpu {
namespace {

constexpr const char* kFile = "libanygpu_cpu_library.so";

/// A positive count from the environment; 0 where there is none. OMP_NUM_THREADS may list one count a nesting level: the first holds.
int count_in(const char* variable) {
  const char* text = std::getenv(variable);
  long n = text ? std::strtol(text, nullptr, 10) : 0;
  return static_cast<int>(std::clamp<long>(n, 0, kMaxThreads));
}

int threads_wanted() {
  if (int n = count_in("ANYGPU_NUM_THREADS")) return n;
  if (int n = count_in("OMP_NUM_THREADS")) return n;
  cpu_set_t set;
  int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : static_cast<int>(std::thread::hardware_concurrency());
  return std::clamp(n, 1, kMaxThreads);
}

/// $ANYGPU_LIBRARY_DIR alone where it is set; else beside the object that holds this code, and, for programs in a build tree, where that
/// tree has it.
std::vector<std::string> candidates() {
  if (const char* dir = std::getenv("ANYGPU_LIBRARY_DIR"); dir && *dir) return {std::string(dir) + "/" + kFile};
  Dl_info info;
  static const char here = 0;
  if (!dladdr(&here, &info) || !info.dli_fname) return {kFile};
  std::error_code ignored;
  std::filesystem::path self = info.dli_fname;
  // A program is known by the name that it was called by, which may lack its folder.
  if (!self.has_parent_path() || !std::filesystem::exists(self, ignored)) self = std::filesystem::read_symlink("/proc/self/exe", ignored);
  std::vector<std::string> paths{(self.parent_path() / kFile).string()};
  self = std::filesystem::absolute(self, ignored);
  for (std::filesystem::path dir = self.parent_path(); dir.has_relative_path(); dir = dir.parent_path()) {
    if (std::filesystem::exists(dir / "CMakeCache.txt", ignored)) paths.push_back((dir / "src" / kFile).string());
  }
  return paths;
}

/// Null, and `why`, where it cannot be had.
Module* open_module(int threads, std::string& why) {
  for (const std::string& path : candidates()) {
    std::error_code ignored;
    if (!std::filesystem::exists(path, ignored)) {
      why += (why.empty() ? "" : "; ") + path + " does not exist";
      continue;
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
  return nullptr;
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
