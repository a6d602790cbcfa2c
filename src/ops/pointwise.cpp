// The mechanism of pointwise operators; the tables are in pointwise_*.cpp.
#include <bit>

#include "anygpu/calls/pointwise.h"
#include "ops/op.h"

namespace anygpu::ops {

void check_pointwise(const CallArgs& call) {
  const ViewArg& dst = call.views[0];
  for (size_t i = 1; i < call.views.size(); ++i) {
    const ViewArg& v = call.views[i];
    bool fits = v.rank <= dst.rank;
    for (int d = 1; fits && d <= v.rank; ++d) {
      int64_t n = v.sizes[v.rank - d];
      fits = n == dst.sizes[dst.rank - d] || (n == 1 && static_cast<int32_t>(i) >= call.op.outputs);
    }
    if (!fits)
      throw Error(ErrorKind::Value,
                  "[" + std::string(call.op.name) + "] operand " + std::to_string(i) + " does not broadcast to the output's shape");
  }
}

namespace {

/// The dtype that the call computes in, as PyTorch sees it: f16 and bf16 are themselves.
DType asked_type(const Lowering& l) {
  return calls::Pointwise::compute_of(l.attr(0));
}

DType pointwise_type(const Lowering& l) {
  return asked_type(l) == DType::Bool ? DType::U8 : compute_type(asked_type(l));
}

}  // namespace

void lower_pointwise(Lowering& l) {
  Loop loop(l, l.view(0).sizes);
  Pointwise p(l, loop);
  ir::Val v = reinterpret_cast<PointwiseBody>(const_cast<void*>(l.op.detail))(p);
  // A result of another dtype holds what the dtype asked for can: half 40000 + 40000 is inf, also in a float.
  if (v.body && v.type() == p.type) v = cast(v, asked_type(l));
  if (v.body) loop.store(l.view(0), v);
  loop.done();
}

Pointwise::Pointwise(Lowering& l, Loop& loop) : type(pointwise_type(l)), lowering(l), loop(loop) {}

ir::Val Pointwise::raw(int i) {
  const uint32_t numbers = calls::Pointwise::number_inputs_of(lowering.attr(0));
  int before = std::popcount(numbers & ((1u << i) - 1));
  if (numbers >> i & 1) return loop.scalar(lowering.scalars() - std::popcount(numbers) + before, type);
  return loop.load(lowering.view(lowering.op.outputs + i - before));
}
ir::Val Pointwise::in(int i) {
  return cast(raw(i), type);
}

}  // namespace anygpu::ops
