// Loops and scopes: which invocation does which index.
#include "emitter.h"

#include "anygpu/error.h"

namespace anygpu::gpu {

using ir::ExprOp;
using ir::Node;

namespace {

/// The erfs of f32 that only 1 + erf(x) uses, as gelu does: the sum is a function of its own, and a cheaper one.
std::vector<bool> erfs_of_sums(const KernelSpec& spec) {
  const auto& nodes = spec.nodes;
  std::vector<bool> found(nodes.size());
  for (size_t i = 0; i < nodes.size(); ++i) found[i] = nodes[i].op == ExprOp::Erf && nodes[i].type == DType::F32;
  auto is_one = [&](int id) { return nodes[id].op == ExprOp::Const && nodes[id].imm.f == 1; };
  for (const Node& n : nodes) {
    if (n.op == ExprOp::Add && is_float(n.type) && (is_one(n.a) || is_one(n.b))) continue;
    ir::for_each_operand(n, [&](int id) { found[id] = false; });
  }
  for (const KernelStore& s : spec.stores) found[s.store.value] = false;
  return found;
}

}  // namespace

Emitter::Emitter(Builder& b, const KernelSpec& spec, const Capabilities& caps)
    : spec_(spec), caps_(caps), stages_(stages_of(spec)), erf_of_sum_(erfs_of_sums(spec)), b_(b) {}

std::vector<Param> Emitter::run() {
  b_.at_entry([&] { local_ = b_.local_index(); });
  spec_.shape == Shape::Reduce ? reduction() : pointwise();
  return params_;
}

Value Emitter::param(Param p) {
  size_t at = 0;
  while (at < params_.size() && !(params_[at] == p)) ++at;
  if (at == params_.size()) params_.push_back(p);
  Value& v = param_values_[static_cast<int>(at)];
  if (v.id == 0) {
    b_.at_entry([&] { v = b_.param(static_cast<int>(at)); });
  }
  return v;
}

// Workgroups beyond 65535 stand in rows.
Value Emitter::group_index() {
  return b_.group(0) + b_.group(1) * param({Param::GroupsX});
}

Emitter::Scope Emitter::outermost() {
  Scope root;
  root.values.resize(spec_.nodes.size());
  for (int binding = 0; spec_.by_address && binding < spec_.bindings; ++binding) {
    if (binding == spec_.faults) continue;
    const Value low = param({Param::Address, binding, 0}), high = param({Param::Address, binding, 1});  // neighbouring words
    b_.by_address(binding, low, high);
  }
  for (size_t a = 0; a < spec_.accesses.size(); ++a) {
    const KernelAccess& access = spec_.accesses[a];
    Value base = param({Param::Offset, static_cast<int>(a)});
    if (!access.alone) {
      const int64_t size = size_of(access.dtype);
      base = base + (param({Param::Rest, access.binding}) >> (size == 8 ? 3 : size == 4 ? 2 : size == 2 ? 1 : 0));
    }
    root.bases.push_back(base);
  }
  return root;
}

Emitter::Scope Emitter::bind(const Scope& outside, const std::map<int, Value>& indices) {
  Scope s;
  s.outside = &outside;
  s.bound = outside.bound;
  s.values.resize(spec_.nodes.size());
  s.indices = indices;
  s.bases = outside.bases;
  for (const auto& [d, i] : indices) {
    s.bound |= 1u << d;
    for (size_t a = 0; a < spec_.accesses.size(); ++a) {
      const KernelAccess& access = spec_.accesses[a];
      if (!(access.nonzero >> d & 1)) continue;
      const bool unit = access.unit && d == spec_.parallel - 1;
      s.bases[a] = s.bases[a] + (unit ? i : i * param({Param::Stride, static_cast<int>(a), d}));
    }
  }
  return s;
}

std::map<int, Value> Emitter::place(Value flat, int begin, int end) {
  std::map<int, Value> at;
  for (int d = end - 1; d > begin; --d) {
    const Value size = param({Param::Size, d});
    const Value quotient = flat / size;
    at[d] = flat - quotient * size;
    flat = quotient;
  }
  if (begin < end) at[begin] = flat;
  return at;
}

void Emitter::settle(Scope& scope, const std::vector<bool>& wanted) {
  for (int i = 0; i < static_cast<int>(spec_.nodes.size()); ++i) {
    const Node& n = spec_.nodes[i];
    if (!wanted[i] || n.op == ExprOp::Reduce || stages_.loop[i] >= 0 || (stages_.dims[i] & ~scope.bound) || known(scope, i)) continue;
    bool ready = true;
    stages_.for_each_input(spec_.nodes, n, [&](int id) { ready = ready && known(scope, id); });
    if (ready) scope.values[i] = emit(scope, i);  // else it waits for a Reduce
  }
}

std::vector<bool> Emitter::wanted_by_stores(bool full) const {
  std::vector<int> roots = full ? stages_.full_checks : stages_.once_checks;
  for (const KernelStore& s : spec_.stores) {
    if (s.full == full) roots.push_back(s.store.value), roots.push_back(s.store.index), roots.push_back(s.store.guard);
  }
  return ir::reachable(spec_.nodes, roots);
}

// Sequential dimensions, in order, in one invocation: those of this launch.
void Emitter::in_order(Scope& scope, const std::function<void(Scope&)>& body) {
  b_.loop(param({Param::First}), param({Param::Last}), b_.u32(1), [&](Value i) {
    Scope inside = bind(scope, place(i, spec_.parallel, spec_.first_reduction()));
    body(inside);
  });
}

void Emitter::pointwise() {
  const std::vector<bool> wanted = wanted_by_stores(false);
  Scope root = outermost();
  const bool rows = spec_.shape == Shape::Rows;
  const int last = spec_.parallel - 1;
  const Value group = group_index();
  const Value rows_in_all = param({Param::Rows}), count = rows ? param({Param::Size, last}) : rows_in_all;
  Value block = group, row_ok;
  settle(root, wanted);
  Scope row = bind(root, {});
  if (rows && spec_.parallel > 1) {
    const Value blocks = param({Param::Blocks}), number = group / blocks;
    block = group - number * blocks;
    row_ok = number < rows_in_all;
    row = bind(root, place(b_.select(row_ok, number, b_.u32(0)), 0, last));
    settle(row, wanted);
  }
  const auto per_group = static_cast<uint32_t>(spec_.local * spec_.elements);
  const Value start = block * b_.u32(per_group);
  const Value first = start + (spec_.neighbours ? local_ * b_.u32(static_cast<uint32_t>(spec_.elements)) : local_);
  std::vector<Scope> elements;
  elements.reserve(spec_.elements);
  Fours fours;
  const Value end = row_ok ? b_.select(row_ok, count, b_.u32(0)) : count;
  for (int v = 0; v < spec_.elements; ++v) {
    const Value i = v ? first + b_.u32(static_cast<uint32_t>(v * (spec_.neighbours ? 1 : spec_.local))) : first;
    // What lies beyond the end computes the first once more, and stores nothing.
    const Value active = i < end;
    Value at = b_.select(active, i, b_.u32(0));
    if (spec_.fours && v) at = elements[0].indices.at(last) + b_.u32(static_cast<uint32_t>(v));  // all four are active, or none
    elements.push_back(bind(row, rows ? std::map<int, Value>{{last, at}} : place(at, 0, spec_.parallel)));
    Scope& element = elements.back();
    if (spec_.sequential) {
      b_.if_(active, [&] {
        in_order(element, [&](Scope& s) {
          settle(s, wanted);
          for (const KernelStore& st : spec_.stores) store(s, st);
        });
      });
      continue;
    }
    if (spec_.fours) {
      if (v == 0) fours.bases = element.bases;
      element.fours = &fours;
      element.element = v;
    }
    settle(element, wanted);
    if (spec_.fours) continue;
    bool any = false;
    for (const KernelStore& st : spec_.stores) any |= !st.owned;
    if (!any) continue;
    b_.if_(active, [&] {
      for (const KernelStore& st : spec_.stores) {
        if (!st.owned) store(element, st);
      }
    });
  }
  if (spec_.fours) b_.if_(first < end, [&] { store_all(elements, false); });
  for (const KernelStore& st : spec_.stores) {
    if (st.owned) store_owned(st, elements, first, end);
  }
}

void Emitter::reduction() {
  Scope root = outermost();
  const Value group = group_index(), rows = param({Param::Rows});
  if (spec_.lanes == 1) {
    row_ = group * b_.u32(static_cast<uint32_t>(spec_.local)) + local_;
  } else if (spec_.lanes == spec_.local) {
    row_ = group, lane_ = local_;
  } else {
    const auto lanes = static_cast<uint32_t>(spec_.lanes);
    lane_ = local_ & b_.u32(lanes - 1);
    row_ = group * b_.u32(static_cast<uint32_t>(spec_.local) / lanes) + local_ / b_.u32(lanes);
  }
  if (spec_.split_dim >= 0) chunk_ = b_.group(2);
  active_ = row_ < rows;
  // Rows beyond the end do the first once more, so that all invocations meet the barriers, and store nothing.
  row_ = b_.select(active_, row_, b_.u32(0));
  Scope row = bind(root, place(row_, 0, spec_.parallel));
  if (!spec_.sequential) return reduce_row(row);
  b_.if_(active_, [&] { in_order(row, [&](Scope& s) { reduce_row(s); }); });
}

void Emitter::reduce_row(Scope& row) {
  const int count = stages_.count;
  for (int k = 0; k < count; ++k) {
    if (spec_.phase < 0 || spec_.phase == k) {
      stage(row, k);
      if (spec_.phase == k) return;
    } else {
      load_results(row, k);
    }
  }
  if (stages_.full) {
    each_reduced(row, wanted_by_stores(true),
                 [&](const std::vector<Scope>& elements) { b_.if_(active_, [&] { store_all(elements, true); }); });
  }
  if (!stages_.once) return;
  settle(row, wanted_by_stores(false));
  Value one = active_;
  if (lane_) one = one & (lane_ == 0);
  if (chunk_) one = one & (chunk_ == 0);
  const std::vector<Scope> itself{row};
  b_.if_(one, [&] { store_all(itself, false); });
}

void Emitter::each_reduced(Scope& row, const std::vector<bool>& wanted, const Body& body) {
  settle(row, wanted);
  if (!spec_.flat_reduction) return each_reduced_from(row, spec_.first_reduction(), wanted, body);
  Value from = lane_ ? lane_ : b_.u32(0), to = param({Param::Size, spec_.first_reduction()});
  for (int d = spec_.first_reduction() + 1; d < spec_.rank(); ++d) to = to * param({Param::Size, d});
  if (spec_.split_dim >= 0) {
    const Value length = param({Param::Chunk}), start = chunk_ * length, end = start + length;
    from = from + start;
    to = b_.select(end < to, end, to);
  }
  b_.loop(from, to, b_.u32(static_cast<uint32_t>(spec_.lanes)), [&](Value r) {
    std::vector<Scope> one{bind(row, place(r, spec_.first_reduction(), spec_.rank()))};
    settle(one[0], wanted);
    body(one);
  });
}

void Emitter::each_reduced_from(Scope& scope, int d, const std::vector<bool>& wanted, const Body& body) {
  Value from = b_.u32(0), to = param({Param::Size, d}), step = b_.u32(1);
  if (d == spec_.split_dim) {
    const Value length = param({Param::Chunk});
    from = chunk_ * length;
    const Value end = from + length;
    to = b_.select(end < to, end, to);
  }
  if (d == spec_.rank() - 1 && spec_.lanes > 1) {
    from = from + lane_;
    step = b_.u32(static_cast<uint32_t>(spec_.lanes));
  }
  if (d < spec_.rank() - 1) {
    b_.loop(from, to, step, [&](Value i) {
      Scope inside = bind(scope, {{d, i}});
      settle(inside, wanted);
      each_reduced_from(inside, d + 1, wanted, body);
    });
    return;
  }
  const int count = spec_.fours ? 4 : 1;  // of a size that fours divide
  b_.loop(from, to, spec_.fours ? b_.u32(4) : step, [&](Value i) {
    Fours fours;
    std::vector<Scope> elements;
    for (int v = 0; v < count; ++v) {
      elements.push_back(bind(scope, {{d, v ? i + b_.u32(static_cast<uint32_t>(v)) : i}}));
      if (!spec_.fours) continue;
      if (v == 0) fours.bases = elements[0].bases;
      elements[v].fours = &fours;
      elements[v].element = v;
    }
    for (Scope& e : elements) settle(e, wanted);
    body(elements);
  });
}

std::vector<Param> emit(Builder& b, const KernelSpec& spec, const Capabilities& caps) {
  return Emitter(b, spec, caps).run();
}

}  // namespace anygpu::gpu
