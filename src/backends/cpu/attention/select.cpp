// Which of the tables goes with the tile kernels.
#include <cstring>
#include <initializer_list>

#include "backends/cpu/attention/lanes.h"
#include "backends/cpu/tile/kernels.h"

namespace anygpu::cpu::attention {

extern const Lanes lanes_base;
#ifdef ANYGPU_ISA_VARIANTS
extern const Lanes lanes_avx2, lanes_avx512;
#endif

const Lanes& lanes() {
  static const Lanes& chosen = []() -> const Lanes& {
#ifdef ANYGPU_ISA_VARIANTS
    for (const Lanes* l : {&lanes_avx512, &lanes_avx2}) {
      if (std::strcmp(l->name, tile::kernels().name) == 0) return *l;
    }
#endif
    return lanes_base;
  }();
  return chosen;
}

}  // namespace anygpu::cpu::attention
