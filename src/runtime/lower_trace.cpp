// Trace -> steps: each call's operator describes itself, and what the backend does not claim is lowered further.
#include "ops/op.h"
#include "runtime/plan.h"

namespace anygpu {

namespace {

class StepSink : public ops::Lowering::Sink {
 public:
  StepSink(Backend& backend, std::vector<Slot>& slots, std::vector<ir::Step>& steps) : backend_(backend), slots_(slots), steps_(steps) {}

  int32_t new_slot(int64_t bytes) override {
    Slot s;
    s.bytes = bytes;
    slots_.push_back(s);
    return static_cast<int32_t>(slots_.size()) - 1;
  }

  void add(ir::Step step) override {
    if (auto* n = std::get_if<ir::Named>(&step)) {
      ir::verify(*n);
      if (!backend_.supports(*n)) {
        auto temp = [&](DType t, const Dims& sizes) {
          ir::Operand o;
          o.slot = new_slot(product(sizes) * size_of(t));
          o.dtype = t;
          o.sizes = sizes;
          o.strides = contiguous_strides(sizes);
          return o;
        };
        for (ir::Generic& g : ir::lower(*n, temp)) {
          if (g.name.empty()) g.name = n->name;
          add_generic(std::move(g));
        }
        return;
      }
      if (!n->operands.empty() && product(n->operands[0].sizes) == 0) return;
      steps_.push_back(std::move(step));
    } else {
      add_generic(std::move(std::get<ir::Generic>(step)));
    }
  }

 private:
  void add_generic(ir::Generic g) {
    ir::verify(g);
    bool nothing_to_write = false;
    for (int d = 0; d < g.rank(); ++d) nothing_to_write |= g.sizes[d] == 0 && !g.reduces(d);
    if (!nothing_to_write) steps_.push_back(std::move(g));
  }

  Backend& backend_;
  std::vector<Slot>& slots_;
  std::vector<ir::Step>& steps_;
};

}  // namespace

std::vector<ir::Step> lower_trace(const Trace& trace, Backend& backend, std::vector<Slot>& slots) {
  slots.clear();
  for (size_t i = 0; i < trace.buffers().size(); ++i) {
    Slot s;
    s.bytes = trace.buffers()[i].get()->bytes;
    s.buffer = static_cast<int32_t>(i);
    s.has_bytes = trace.buffer_has_bytes(static_cast<int>(i));
    s.live_after = !trace.buffer_dies(static_cast<int>(i));
    slots.push_back(s);
  }
  std::vector<ir::Step> steps;
  StepSink sink(backend, slots, steps);
  for (const Trace::Call& call : trace.decode()) {
    ops::Lowering lowering(*call.op, call.views, call.attrs, call.first_scalar, call.scalars, sink);
    call.op->lower(lowering);
  }
  return steps;
}

}  // namespace anygpu
