#include "backends/cache/code_cache.h"

#include <algorithm>
#include <cstdlib>

#include "core/environment.h"

namespace anygpu {

size_t kept_kernels() {
  static const size_t most = [] {
    const char* text = setting("ANYGPU_KEPT_KERNELS");
    return text ? static_cast<size_t>(std::max(1L, std::atol(text))) : size_t{1024};
  }();
  return most;
}

}  // namespace anygpu
