#include "ops/tables.h"
namespace anygpu::ops {
OpTable resampling() { return {}; }
}  // namespace anygpu::ops
