// The loop nests: units, rows, blocks, stages.
#include <algorithm>

#include "emitter.h"

namespace anygpu::cpu {

using ir::ExprOp;

Emitter::Emitter(IrBuilder& b, const KernelSpec& spec, const Isa& isa)
    : b_(b), spec_(spec), isa_(isa), layout_(spec), stages_(stages_of(spec)), vector_(spec.vector_dim()) {
  b_.has_fma = isa.fma;
  // Scalars that vectors are computed with are spread once, where they are made.
  wants_splat_.assign(spec.nodes.size(), false);
  auto spread = [&](int id, int lanes) {
    if (id >= 0 && lanes > lanes_of(id)) wants_splat_[id] = true;
  };
  for (size_t i = 0; i < spec.nodes.size(); ++i) {
    const ir::Node& n = spec.nodes[i];
    const int lanes = n.op == ExprOp::Reduce && spec.vector_reduces ? spec.lanes : lanes_of(static_cast<int>(i));
    ir::for_each_operand(n, [&](int id) { spread(id, lanes); });
  }
  for (size_t i = 0; i < spec.stores.size(); ++i) {
    if (!spec.vector_reduces || spec_.store_full[i]) spread(spec.stores[i].value, spec.lanes);
  }
}

KernelCode Emitter::run(const std::string& prefix) {
  KernelCode code;
  auto make = [&](Part part, int stage) {
    code.functions.push_back(prefix + "_" + std::to_string(code.functions.size()));
    code.over.push_back(part == Part::Post ? Over::Blocks : part == Part::Join ? Over::BlocksIfChunked : Over::Chunks);
    function(part, stage, code.functions.back());
  };
  if (spec_.split_dim < 0) {
    make(Part::All, 0);
  } else {
    for (int k = 0; k < stages_.count; ++k) make(Part::Stage, k), make(Part::Join, k);
    if (stages_.full) make(Part::Full, 0);
    if (stages_.once) make(Part::Post, 0);
  }
  return code;
}

Value Emitter::parameter(int word) {
  Value& v = parameters_[word];
  if (!v) v = b_.in_entry([&] { return b_.load(b_.i64, b_.element(b_.parameter(0), b_.i64, b_.index(word)), 8); });
  return v;
}

Value Emitter::pointer_parameter(int word) {
  Value& v = parameters_[word];
  if (!v) v = b_.in_entry([&] { return b_.load(b_.ptr, b_.element(b_.parameter(0), b_.i64, b_.index(word)), 8); });
  return v;
}

void Emitter::function(Part part, int stage, const std::string& name) {
  parameters_.clear(), squares_.clear();
  b_.begin_function(name, b_.none, {b_.ptr, b_.i64, b_.i64});
  Scope root;
  root.values.resize(spec_.nodes.size()), root.splats.resize(spec_.nodes.size());
  for (int a = 0; a < layout_.accesses; ++a) root.pointers.push_back(pointer_parameter(layout_.base(a)));

  // A unit's number, as digits: outer indices, block, chunk. Divided out once, counted on from there.
  Values sizes;
  for (int d = 0; d < spec_.outer; ++d) sizes.push_back(parameter(layout_.size(d)));
  const bool squared = spec_.has_squares();
  if (squared) sizes.back() = LLVMBuildUDiv(b_.b, b_.add(sizes.back(), b_.index(spec_.lanes - 1)), b_.index(spec_.lanes), "");
  if (!spec_.vector_reduces) sizes.push_back(parameter(ParameterLayout::Blocks));
  if (spec_.tiled) std::swap(sizes[spec_.outer - 1], sizes[spec_.outer]);
  const bool chunks = spec_.split_dim >= 0 && part != Part::Post && part != Part::Join;
  if (chunks) sizes.push_back(parameter(ParameterLayout::Chunks));
  Values digits(sizes.size());
  Value rest = b_.parameter(1);
  for (int i = static_cast<int>(sizes.size()) - 1; i >= 0; --i) {
    digits[i] = i == 0 ? rest : LLVMBuildURem(b_.b, rest, sizes[i], "");
    if (i > 0) rest = LLVMBuildUDiv(b_.b, rest, sizes[i], "");
  }
  std::vector<bool> everything(spec_.nodes.size(), true);
  settle(root, everything);
  b_.loop(b_.parameter(1), b_.parameter(2), b_.index(1), digits, [&](Value u, const Values& now) {
    Scope inside;
    inside.outside = &root;
    inside.values.resize(spec_.nodes.size()), inside.splats.resize(spec_.nodes.size());
    inside.pointers = root.pointers;
    Values digit = now;
    if (spec_.tiled) std::swap(digit[spec_.outer - 1], digit[spec_.outer]);
    for (int d = 0; d < spec_.outer - squared; ++d) {
      const Scope next = enter(inside, d, digit[d]);
      inside.bound = next.bound;
      inside.pointers = next.pointers;
      inside.indices[d] = digit[d];
    }
    size_t k = spec_.outer;
    const Value block = spec_.vector_reduces ? nullptr : digit[k++];
    const Value chunk = chunks ? digit[k] : nullptr;
    Value row = nullptr;
    if (spec_.split_dim >= 0) {
      Value per_row = b_.index(1);
      for (size_t i = spec_.outer; i < sizes.size(); ++i) per_row = b_.mul(per_row, sizes[i]);
      row = LLVMBuildUDiv(b_.b, u, per_row, "");
    }
    group_ = squared ? digit[spec_.outer - 1] : nullptr;
    unit(inside, part, stage, row, block, chunk);
    Values next = now;
    Value carry = b_.constant(b_.i1, 1);
    for (int i = static_cast<int>(next.size()) - 1; i >= 0; --i) {
      const Value more = b_.add(now[i], b_.zext(carry, b_.i64));
      carry = b_.icmp(LLVMIntEQ, more, sizes[i]);
      next[i] = b_.select(carry, b_.index(0), more);
    }
    return next;
  });
  if (std::find(spec_.store_streams.begin(), spec_.store_streams.end(), true) != spec_.store_streams.end()) b_.fence_streams();
  LLVMBuildRetVoid(b_.b);
  b_.end_function();
}

Emitter::Scope Emitter::enter(const Scope& outside, int d, Value index, const Lanes* lanes) {
  Scope s;
  s.outside = &outside;
  s.bound = outside.bound | 1u << d;
  s.lanes = lanes ? lanes : outside.lanes;
  s.values.resize(spec_.nodes.size()), s.splats.resize(spec_.nodes.size());
  s.pointers = outside.pointers;
  s.indices[d] = index;
  if (d == vector_) return s;  // loads and stores step along it
  for (int a = 0; a < layout_.accesses; ++a) {
    if (!(spec_.accesses[a].nonzero >> d & 1)) continue;
    s.pointers[a] = b_.element(s.pointers[a], storage_type(spec_.accesses[a].dtype), b_.mul(index, parameter(layout_.stride(a, d))));
  }
  return s;
}

std::pair<Value, Value> Emitter::range(int d, Value chunk) {
  const Value n = parameter(layout_.size(d));
  if (d != spec_.split_dim || !chunk) return {b_.index(0), n};
  const Value length = parameter(ParameterLayout::Chunk), lo = b_.mul(chunk, length), hi = b_.add(lo, length);
  return {lo, b_.select(b_.icmp(LLVMIntSLT, hi, n), hi, n)};
}

void Emitter::unit(Scope& scope, Part part, int stage, Value row_index, Value block, Value chunk) {
  const std::vector<bool> everything(spec_.nodes.size(), true);
  settle(scope, everything);
  std::function<void(Scope&, int)> ordered = [&](Scope& s, int d) {
    if (d < spec_.outer + spec_.sequential) {
      b_.loop(b_.index(0), parameter(layout_.size(d)), b_.index(1), {}, [&](Value i, const Values&) {
        Scope inside = enter(s, d, i);
        settle(inside, everything);
        ordered(inside, d + 1);
        return Values{};
      });
      return;
    }
    if (spec_.vector_reduces) return row(s, part, stage, row_index, chunk);
    const Value length = parameter(ParameterLayout::Block), lo = b_.mul(block, length), end = b_.add(lo, length);
    const Value n = parameter(layout_.size(vector_));
    block_ = {lo, b_.select(b_.icmp(LLVMIntSLT, end, n), end, n)};
    if (group_) return squares(s, group_);
    if (spec_.columns && (part == Part::Stage || part == Part::Full)) return row(s, part, stage, row_index, chunk);
    if (part == Part::Join) return padded_loop(s, [&](Scope& inside) { join_chunks(inside, stage, row_index); });
    vector_loop(s, block_.first, block_.second, {}, [&](Scope& inside, const Values&) {
      row(inside, part, stage, row_index, chunk);
      return Values{};
    });
  };
  ordered(scope, spec_.outer);
}

void Emitter::row(Scope& scope, Part part, int k, Value row_index, Value chunk) {
  switch (part) {
    case Part::All:
      for (int i = 0; i < stages_.count; ++i) stage(scope, i, nullptr, nullptr);
      if (stages_.full) full(scope, nullptr, nullptr);
      if (stages_.once) post(scope);
      return;
    case Part::Stage:
      if (spec_.columns) return stage_in_memory(scope, k, row_index, chunk);
      load_results(scope, k, row_index);
      return stage(scope, k, row_index, chunk);
    case Part::Join:
      return join_chunks(scope, k, row_index);
    case Part::Full:
      if (!spec_.columns) load_results(scope, stages_.count, row_index);
      return full(scope, row_index, chunk);
    case Part::Post:
      load_results(scope, stages_.count, row_index);
      return post(scope);
  }
}

void Emitter::padded_loop(Scope& scope, const std::function<void(Scope&)>& inside) {
  const Value n = b_.index(spec_.lanes);
  b_.loop(block_.first, b_.add(block_.first, parameter(ParameterLayout::Block)), n, {}, [&](Value i, const Values&) {
    const Lanes lanes{i};
    Scope s = enter(scope, vector_, i, &lanes);
    inside(s);
    return Values{};
  });
}

void Emitter::full(Scope& scope, Value row_index, Value chunk) {
  std::vector<int> roots = stages_.full_checks;
  for (size_t i = 0; i < spec_.stores.size(); ++i) {
    const ir::Store& s = spec_.stores[i];
    if (spec_.store_full[i]) roots.push_back(s.value), roots.push_back(s.index), roots.push_back(s.guard);
  }
  const std::vector<bool> wanted = ir::reachable(spec_.nodes, roots);
  settle(scope, wanted);
  nest(scope, spec_.first_reduction(), chunk, wanted, {}, [&](Scope& inside, const Values&) {
    if (spec_.columns) {
      load_results(inside, stages_.count, row_index);
      settle(inside, wanted);
    }
    for (size_t i = 0; i < spec_.stores.size(); ++i) {
      if (spec_.store_full[i]) store(inside, spec_.stores[i]);
    }
    return Values{};
  });
}

void Emitter::post(Scope& scope) {
  std::vector<int> roots = stages_.once_checks;
  for (size_t i = 0; i < spec_.stores.size(); ++i) {
    const ir::Store& s = spec_.stores[i];
    if (!spec_.store_full[i]) roots.push_back(s.value), roots.push_back(s.index), roots.push_back(s.guard);
  }
  settle(scope, ir::reachable(spec_.nodes, roots));
  for (size_t i = 0; i < spec_.stores.size(); ++i) {
    if (!spec_.store_full[i]) store(scope, spec_.stores[i]);
  }
}

Values Emitter::nest(Scope& scope, int d, Value chunk, const std::vector<bool>& wanted, const Values& carried, const Inside& inside,
                     int end) {
  if (d == end) return inside(scope, carried);
  if (d == spec_.rank()) {
    if (!spec_.columns || scope.lanes) return inside(scope, carried);
    return vector_loop(scope, block_.first, block_.second, carried, [&](Scope& s, const Values& now) {
      settle(s, wanted);
      return inside(s, now);
    });
  }
  const auto [lo, hi] = range(d, chunk);
  auto deeper = [&, this](Scope& s, const Values& now) {
    settle(s, wanted);
    return nest(s, d + 1, chunk, wanted, now, inside, end);
  };
  if (d == vector_) return vector_loop(scope, lo, hi, carried, deeper);
  return b_.loop(lo, hi, b_.index(1), carried, [&](Value i, const Values& now) {
    Scope s = enter(scope, d, i);
    return deeper(s, now);
  });
}

Values Emitter::vector_loop(Scope& scope, Value lo, Value hi, const Values& carried, const Inside& inside) {
  const int n = spec_.lanes;
  auto last = [&](Value at, const Values& now) {
    Value active = b_.sub(hi, at);
    if (spec_.tail == Tail::Masked) active = b_.select(b_.icmp(LLVMIntSLT, active, b_.index(n)), active, b_.index(n));
    // Compared as 32-bit lanes: half the registers.
    const Value mask = b_.icmp(LLVMIntSLT, b_.trunc(b_.iota(n), b_.i32), b_.splat(b_.trunc(active, b_.i32), n));
    const Lanes lanes{at, active, mask};
    Scope s = enter(scope, vector_, at, &lanes);
    return inside(s, now);
  };
  if (spec_.tail == Tail::Only) return last(lo, carried);
  if (spec_.tail == Tail::Masked) return b_.loop(lo, hi, b_.index(n), carried, last);
  const Value whole = spec_.tail == Tail::None ? hi : b_.add(lo, b_.bit_and(b_.sub(hi, lo), b_.index(-n)));
  const Values after = b_.loop(lo, whole, b_.index(n), carried, [&](Value i, const Values& now) {
    const Lanes lanes{i};
    Scope s = enter(scope, vector_, i, &lanes);
    return inside(s, now);
  });
  if (spec_.tail == Tail::None) return after;
  return b_.branch(b_.icmp(LLVMIntSLT, whole, hi), after, [&](const Values& now) { return last(whole, now); });
}

}  // namespace anygpu::cpu
