// The module's threads: OpenMP's, which are oneDNN's.
#pragma once

#include <cstdint>
#include <type_traits>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {

/// As many as the process's CpuLibrary was told.
int team_threads();

/// As CpuLibrary::parallel_for.
void team_parallel_for(int64_t n, int64_t grain, ChunkFn fn, void* ctx);

template <class F>
void team_parallel_for(int64_t n, int64_t grain, F&& f) {
  using Fn = std::remove_reference_t<F>;
  team_parallel_for(
      n, grain, [](void* ctx, int64_t begin, int64_t end) { (*static_cast<Fn*>(ctx))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

/// Makes oneDNN use so many threads when called from this thread, and puts back what the thread had: OpenMP keeps the number per
/// calling thread, and the caller's may be a framework's. A primitive must run under the number that it was created under.
class TeamScope {
 public:
  explicit TeamScope(int threads);
  ~TeamScope();

 private:
  int before_, threads_;
};

}  // namespace anygpu::cpu
