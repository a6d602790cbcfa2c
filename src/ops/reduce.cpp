// Reductions over a mask of dimensions.
#include "ops/tables.h"

namespace anygpu::ops {

using ir::ReduceKind;
using ir::Val;

namespace {

/// views: dst (keepdim-shaped), src. attrs: compute dtype, mask of reduced dimensions.
template <ReduceKind kind>
void lower_reduce(Lowering& l) {
  Loop loop(l, l.view(1).sizes, static_cast<uint32_t>(l.attr(1)));
  loop.store(l.view(0), reduce(kind, loop.load(l.view(1), compute_type(static_cast<DType>(l.attr(0))))));
  loop.done();
}

}  // namespace

OpTable reductions() {
  static const Op table[] = {
      {"sum", nullptr, lower_reduce<ReduceKind::Sum>},
      {"amax", nullptr, lower_reduce<ReduceKind::Max>},
      {"amin", nullptr, lower_reduce<ReduceKind::Min>},
  };
  return table;
}

}  // namespace anygpu::ops
