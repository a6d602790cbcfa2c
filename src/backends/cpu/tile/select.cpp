// Which of the tables this CPU runs.
#include <cstdlib>
#include <cstring>

#include "backends/cpu/tile/kernels.h"

namespace anygpu::cpu::tile {

extern const Kernels kernels_base;
#ifdef ANYGPU_ISA_VARIANTS
extern const Kernels kernels_avx2, kernels_avx512;
#endif

const Kernels& kernels() {
  static const Kernels& chosen = []() -> const Kernels& {
#ifdef ANYGPU_ISA_VARIANTS
    const char* text = std::getenv("ANYGPU_CPU_ISA");
    const int limit = !text || !*text ? 3 : std::strncmp(text, "avx512", 6) == 0 ? 3 : std::strcmp(text, "avx2") == 0 ? 2 : 1;
    __builtin_cpu_init();
    if (limit >= 3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq"))
      return kernels_avx512;
    if (limit >= 2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kernels_avx2;
#endif
    return kernels_base;
  }();
  return chosen;
}

}  // namespace anygpu::cpu::tile
