// Whether two strided accesses may touch the same bytes. May say yes where the answer is no, never the reverse.
#pragma once

#include "ir/generic.h"

namespace anygpu {

bool may_overlap(const ir::Access& a, const Dims& a_sizes, const ir::Access& b, const Dims& b_sizes);

}  // namespace anygpu
