#include "ops/tables.h"
namespace anygpu::ops {
OpTable unfolding() { return {}; }
}  // namespace anygpu::ops
