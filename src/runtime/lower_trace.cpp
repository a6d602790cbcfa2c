// Trace -> steps: each call's operator describes itself, and what the backend does not claim is lowered further.
#include <limits>

#include "ops/op.h"
#include "runtime/overlap.h"
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

  size_t steps() const { return steps_.size(); }
  /// Whether sums of the calls from now on have the same bits fused or not.
  void in_order(bool yes) { in_order_ = yes; }
  /// The steps since there were `n` are replaced by one that says that the call is refused.
  void refuse(size_t n, const Trace::Call& call, const Error& why) {
    steps_.resize(n);
    ir::Refused r{std::string(call.op->name), why, {}};
    for (int i = 0; i < call.op->outputs && i < static_cast<int>(call.views.size()); ++i)
      if (const int32_t slot = call.views[static_cast<size_t>(i)].slot; slot >= 0)
        r.touches.push_back({slot, 0, std::numeric_limits<int64_t>::max(), true});
    steps_.push_back(std::move(r));
  }

  void add(ir::Step step) override {
    if (auto* n = std::get_if<ir::Named>(&step)) {
      ir::verify(*n);
      std::vector<ir::Generic> copies = part_outputs_from_inputs(*n);
      if (!copies.empty()) {
        add(std::move(step));
        for (ir::Generic& g : copies) add_generic(std::move(g));
        return;
      }
      if (!backend_.supports(*n)) {
        const auto claimed = [&](const ir::Named& simpler) { return backend_.supports(simpler); };
        for (ir::Step& s : ir::lower_unclaimed(
                 *n, [&](DType t, const Dims&sizes) { return temp(t, sizes); }, claimed))
          add(std::move(s));
        return;
      }
      if (!n->operands.empty() && product(n->operands[0].sizes) == 0) return;
      steps_.push_back(std::move(step));
    } else {
      add_generic(std::move(std::get<ir::Generic>(step)));
    }
  }

 private:
  ir::Operand temp(DType t, const Dims& sizes) {
    ir::Operand o;
    o.slot = new_slot(product(sizes) * size_of(t));
    o.dtype = t;
    o.sizes = sizes;
    o.strides = contiguous_strides(sizes);
    return o;
  }

  /// Libraries write while they still read: an output that overlaps an input goes to a temporary first. Returns what copies it back.
  std::vector<ir::Generic> part_outputs_from_inputs(ir::Named& n) {
    auto access = [](const ir::Operand& o) { return ir::Access{o.slot, o.dtype, o.offset, o.strides}; };
    std::vector<ir::Generic> copies;
    for (size_t i = 0; i < n.operands.size(); ++i) {
      if (!ir::writes(n.kind, static_cast<int>(i)) || n.operands[i].slot < 0) continue;
      bool meets = false;
      for (size_t j = 0; j < n.operands.size(); ++j) {
        const ir::Operand& in = n.operands[j];
        if (ir::writes(n.kind, static_cast<int>(j)) || in.slot != n.operands[i].slot) continue;
        // A bias is read where it is written, and no earlier.
        bool same = n.kind == ir::NamedKind::Matmul && j == 3 && in.dtype == n.operands[0].dtype && in.offset == n.operands[0].offset &&
                    in.strides == n.operands[0].strides;
        meets |= !same && may_overlap(access(in), in.sizes, access(n.operands[i]), n.operands[i].sizes);
      }
      if (!meets) continue;
      ir::Operand dst = n.operands[i], src = temp(dst.dtype, dst.sizes);
      ir::Generic copy;
      copy.name = "copy";
      copy.sizes = dst.sizes;
      copy.accesses = {access(src), access(dst)};
      copy.stores.push_back({1, ir::load(copy.body, src.dtype, 0).id});
      copies.push_back(std::move(copy));
      n.operands[i] = src;
    }
    return copies;
  }

  void add_generic(ir::Generic g) {
    ir::verify(g);
    bool nothing_to_write = false;
    for (int d = 0; d < g.rank(); ++d) nothing_to_write |= g.sizes[d] == 0 && !g.reduces(d);
    if (nothing_to_write) return;
    if (in_order_) backend_.fix_order(g);
    steps_.push_back(std::move(g));
  }

  Backend& backend_;
  std::vector<Slot>& slots_;
  std::vector<ir::Step>& steps_;
  bool in_order_ = false;
};

}  // namespace

std::vector<ir::Step> lower_trace(const Trace& trace, Backend& backend, std::vector<Slot>& slots, std::vector<int32_t>& calls) {
  slots.clear();
  calls.clear();
  for (size_t i = 0; i < trace.buffers().size(); ++i) {
    Slot s;
    s.bytes = trace.extent(static_cast<int>(i));
    s.buffer = static_cast<int32_t>(i);
    s.has_bytes = trace.buffer_has_bytes(static_cast<int>(i));
    s.live_after = !trace.buffer_dies(static_cast<int>(i));
    slots.push_back(s);
  }
  std::vector<ir::Step> steps;
  StepSink sink(backend, slots, steps);
  int32_t number = 0;
  for (const Trace::Call& call : trace.decode()) {
    const size_t before = sink.steps();
    sink.in_order(call.in_order);
    try {
      ops::Lowering lowering(*call.op, call.views, call.attrs, call.first_scalar, call.scalars, call.in_order, sink);
      call.op->lower(lowering);
    } catch (const Error& e) {
      if (e.kind() == ErrorKind::OutOfMemory) throw;
      sink.refuse(before, call, e);
    }
    calls.resize(steps.size(), number++);
  }
  return steps;
}

}  // namespace anygpu
