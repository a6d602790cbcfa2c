#include "backends/cpu/library/module/module.h"

#include <omp.h>

#include <algorithm>

#include "backends/cpu/library/chunks.h"
#include "backends/cpu/library/module/nameds.h"
#include "backends/cpu/library/module/onednn.h"
#include "backends/cpu/library/module/team.h"

namespace anygpu::cpu {
namespace {

int threads_ = 1;

void omp_team(void (*body)(void*, int), void* state, int threads) {
#pragma omp parallel num_threads(threads)
  body(state, omp_get_thread_num());
}

class OneDnnModule final : public Module {
 public:
  OneDnnModule() {
    const auto* v = dnnl_version();
    version_ = "oneDNN " + std::to_string(v->major) + "." + std::to_string(v->minor) + "." + std::to_string(v->patch);
  }

  void team(void (*body)(void*, int), void* state) override { omp_team(body, state, threads_); }

  bool supports(const ir::Named& named) override {
    switch (named.kind) {
      case ir::NamedKind::Matmul:
        return supports_matmul(named);
      case ir::NamedKind::Conv:
      case ir::NamedKind::ConvSrcGrad:
      case ir::NamedKind::ConvWeightGrad:
        return supports_convolution(named);
      case ir::NamedKind::AvgPool:
      case ir::NamedKind::AvgPoolGrad:
        return supports_pooling(named);
      default:
        return false;
    }
  }

  int64_t channel_block(const ir::Named& named, int operand) override { return convolution_block(named, operand); }

  std::unique_ptr<PreparedNamed> prepare(const ir::Named& named) override {
    switch (named.kind) {
      case ir::NamedKind::Matmul:
        return prepare_matmul(named);
      case ir::NamedKind::AvgPool:
      case ir::NamedKind::AvgPoolGrad:
        return prepare_pooling(named);
      default:
        return prepare_convolution(named);
    }
  }

  const char* version() override { return version_.c_str(); }

 private:
  std::string version_;
};

}  // namespace

int team_threads() {
  return threads_;
}

void team_parallel_for(int64_t n, int64_t grain, ChunkFn fn, void* ctx) {
  run_chunks(n, grain, threads_, fn, ctx, omp_team);
}

TeamScope::TeamScope(int threads) : before_(omp_get_max_threads()), threads_(threads) {
  if (before_ != threads_) omp_set_num_threads(threads_);
}

TeamScope::~TeamScope() {
  if (before_ != threads_) omp_set_num_threads(before_);
}

extern "C" ANYGPU_API Module* anygpu_cpu_library_open(uint64_t abi, int threads) {
  if (abi != kModuleAbi) return nullptr;
#ifdef ANYGPU_SANITIZE_THREAD
  threads = 1;  // the sanitizer does not see the synchronisation inside libgomp
#endif
  threads_ = threads;
  static auto* module = new OneDnnModule;
  return module;
}

}  // namespace anygpu::cpu
