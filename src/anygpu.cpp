// The shared object's own symbol: which anygpu this is.
#include "anygpu/version.h"

namespace anygpu {

const char* version() {
  return ANYGPU_VERSION;
}

}  // namespace anygpu
