#include "backends/reference/interpreter.h"

#include <cmath>
#include <limits>
#include <string>

namespace anygpu::reference {

using ir::ExprOp;
using ir::ReduceKind;

/// A Reduce under way. Floats are summed in long double, so that an oracle's own rounding stays out of the comparison.
struct Interpreter::Accumulator {
  long double f = 0;
  int64_t i = 0;
  int64_t at = std::numeric_limits<int64_t>::max();
  bool empty = true;

  void start(ReduceKind kind, DType t) {
    *this = {};
    const bool max = kind == ReduceKind::Max, is_min = kind == ReduceKind::Min;
    if (kind == ReduceKind::Prod) f = 1, i = 1;
    if (kind == ReduceKind::All) i = 1;
    if (max) f = -std::numeric_limits<double>::infinity();
    if (is_min) f = std::numeric_limits<double>::infinity();
    if ((max || is_min) && is_int(t)) {
      const int shift = 64 - static_cast<int>(8 * size_of(t));
      const int64_t lowest = t == DType::U8 ? 0 : std::numeric_limits<int64_t>::min() >> shift;
      const int64_t highest = t == DType::U8 ? 255 : std::numeric_limits<int64_t>::max() >> shift;
      i = max ? lowest : highest;
    }
  }

  void feed(ReduceKind kind, DType t, Value v, Value index) {
    const double x = is_float(t) ? to_double(v, t) : 0;
    switch (kind) {
      case ReduceKind::Sum:
        f += x, i = static_cast<int64_t>(static_cast<uint64_t>(i) + static_cast<uint64_t>(v.i));
        break;
      case ReduceKind::Prod:
        f *= x, i = static_cast<int64_t>(static_cast<uint64_t>(i) * static_cast<uint64_t>(v.i));
        break;
      case ReduceKind::Max:
        f = std::isnan(x) || x > f ? x : f, i = v.i > i ? v.i : i;
        break;  // x > NaN is false: a NaN stays
      case ReduceKind::Min:
        f = std::isnan(x) || x < f ? x : f, i = v.i < i ? v.i : i;
        break;
      case ReduceKind::Any:
        i |= v.i;
        break;
      case ReduceKind::All:
        i &= v.i;
        break;
      case ReduceKind::ArgMax:
      case ReduceKind::ArgMin:
        feed_arg(kind == ReduceKind::ArgMax, is_float(t), x, v.i, index.i);
        break;
    }
    empty = false;
  }

  void feed_arg(bool max, bool floats, double x, int64_t n, int64_t index) {
    const bool old_nan = std::isnan(static_cast<double>(f)), new_nan = std::isnan(x);
    bool better, equal;
    if (floats) {
      better = old_nan ? false : new_nan || (max ? x > f : x < f);
      equal = old_nan ? new_nan : x == f;
    } else {
      better = max ? n > i : n < i;
      equal = n == i;
    }
    if (empty || better || (equal && index < at)) f = x, i = n, at = index;
  }

  Value result(ReduceKind kind, DType t) const {
    if (kind == ReduceKind::ArgMax || kind == ReduceKind::ArgMin) return {.i = at};
    if (t == DType::F32) return {.f = static_cast<float>(f)};
    if (t == DType::F64) return {.d = static_cast<double>(f)};
    return {.i = wrap(t, i)};
  }
};

Interpreter::Interpreter(ir::Generic g) : g_(std::move(g)) {
  ir::verify(g_);
  for (int d = 0; d < g_.rank(); ++d) (g_.reduces(d) ? reduction_dims_ : parallel_dims_).push_back(d);
  const int count = g_.body.size();
  values_.resize(count);
  const std::vector<bool> varies = ir::varies_in_reduction(g_);
  loop_ = ir::loops_of(g_.body.nodes());

  std::vector<int> stage(count, 0);
  int last = 0;
  for (int i = 0; i < count; ++i) {
    ir::for_each_operand(g_.body[i], [&](int id) { stage[i] = std::max(stage[i], stage[id]); });
    if (g_.body[i].op == ExprOp::Reduce) ++stage[i];
    last = std::max(last, stage[i]);
  }
  const std::vector<bool> full = ir::stored_at_every_index(g_);
  for (size_t i = 0; i < g_.stores.size(); ++i) (full[i] ? always_ : once_).push_back(g_.stores[i]);

  stages_.resize(last + 1);
  for (int s = 0; s <= last; ++s) {
    Stage& at = stages_[s];
    std::vector<bool> needed(count, false);
    for (int i = 0; i < count; ++i) {
      const bool is_reduce = g_.body[i].op == ExprOp::Reduce;
      if (is_reduce && stage[i] == s + 1) {
        at.reduces.push_back(i);
        ir::for_each_operand(g_.body[i], [&](int id) { needed[id] = true; });
      }
      if (!is_reduce && !varies[i] && stage[i] == s && loop_[i] < 0) at.outer.push_back(i);
      if (s == last && g_.body[i].op == ExprOp::Check) needed[i] = true;  // a Check is made whether or not its result is used
    }
    if (s == last) {
      for (const ir::Store& st : always_) {
        for (int id : {st.value, st.index, st.guard}) {
          if (id >= 0) needed[id] = true;
        }
      }
    }
    for (int i = count - 1; i >= 0; --i) {
      if (needed[i] && varies[i]) ir::for_each_operand(g_.body[i], [&](int id) { needed[id] = true; });
    }
    for (int i = 0; i < count; ++i) {
      if (needed[i] && varies[i] && loop_[i] < 0) at.inner.push_back(i);
    }
  }
}

template <class F>
void Interpreter::for_each_index(const std::vector<int>& dims, F f) {
  for (int d : dims) {
    if (g_.sizes[d] == 0) return;
    index_[d] = 0;
  }
  for (;;) {
    f();
    int i = static_cast<int>(dims.size()) - 1;
    while (i >= 0 && ++index_[dims[i]] == g_.sizes[dims[i]]) index_[dims[i--]] = 0;
    if (i < 0) return;
  }
}

char* Interpreter::address(int access, int64_t extra) const {
  const ir::Access& a = g_.accesses[access];
  int64_t element = a.offset + extra;
  for (int d = 0; d < g_.rank(); ++d) element += index_[d] * a.strides[d];
  const Memory& m = slots_[a.slot];
  const int64_t width = size_of(a.dtype);
  if (element < 0 || element >= m.bytes / width) {
    std::string at;
    for (int d = 0; d < g_.rank(); ++d) at += (d ? ", " : "") + std::to_string(index_[d]);
    throw Error(ErrorKind::Internal, "[reference] \"" + g_.name + "\": access @" + std::to_string(access) + " at index (" + at +
                                         ") is element " + std::to_string(element) + " of " + std::to_string(m.bytes / width) + "\n" +
                                         to_string(g_));
  }
  return static_cast<char*>(m.handle) + m.offset + element * width;
}

void Interpreter::evaluate(int id) {
  const ir::Node& n = g_.body[id];
  Value& r = values_[id];
  switch (n.op) {
    case ExprOp::Load:
      r = load(n.type, address(n.a, n.b >= 0 ? values_[n.b].i : 0));
      return;
    case ExprOp::Const:
    case ExprOp::Size:
      r = is_float(n.type) ? from_double(n.imm.f, n.type) : Value{.i = wrap(n.type, n.imm.i)};
      return;
    case ExprOp::Arg: {
      const Scalar& s = scalars_[g_.args[n.imm.i]];
      r = is_float(n.type) ? from_double(s.f, n.type) : Value{.i = wrap(n.type, s.i)};
      return;
    }
    case ExprOp::Index:
      r.i = index_[n.imm.i];
      return;
    case ExprOp::Select:
      r = values_[n.a].i ? values_[n.b] : values_[n.c];
      return;
    case ExprOp::Cast:
      r = cast(values_[n.a], g_.body[n.a].type, n.type);
      return;
    case ExprOp::Bitcast:
      r = bitcast(values_[n.a], g_.body[n.a].type, n.type);
      return;
    case ExprOp::Philox:
      r.i = philox(values_[n.a].i, values_[n.b].i, values_[n.c].i, static_cast<int>(n.imm.i));
      return;
    case ExprOp::Repeat:
      r = repeat(n);
      return;
    case ExprOp::Check: {
      r = values_[n.a];
      if (!r.i && n.imm.i > failed_.code) failed_ = {n.imm.i, n.b >= 0 ? values_[n.b].i : ir::FaultReport::kUnknown};
      return;
    }
    default: {
      const bool two = ir::arity(n.op) == 2;
      r = apply(n.op, g_.body[n.a].type, values_[n.a], two ? values_[n.b] : Value{.i = 0});
      return;
    }
  }
}

Value Interpreter::repeat(const ir::Node& n) {
  const ir::Body& nodes = g_.body;
  for (int next = n.a; next >= 0; next = nodes[next].c) values_[nodes[next].a] = values_[nodes[nodes[next].a].a];
  for (int64_t iteration = 0; iteration < n.imm.i; ++iteration) {
    for (int i = 0; i < nodes.size(); ++i) {
      if (loop_[i] == n.a && nodes[i].op != ExprOp::Carry && nodes[i].op != ExprOp::Next) evaluate(i);
    }
    if (!values_[n.b].i) break;
    std::vector<Value> all;
    for (int next = n.a; next >= 0; next = nodes[next].c) all.push_back(values_[nodes[next].b]);
    size_t k = 0;
    for (int next = n.a; next >= 0; next = nodes[next].c) values_[nodes[next].a] = all[k++];
  }
  return values_[n.c];
}

void Interpreter::write(const ir::Store& s) {
  if (s.guard >= 0 && !values_[s.guard].i) return;
  const DType t = g_.accesses[s.access].dtype;
  char* at = address(s.access, s.index >= 0 ? values_[s.index].i : 0);
  Value v = values_[s.value];
  if (s.combine != ir::Combine::None) v = combine(s.combine, t, load(t, at), v);
  store(t, at, v);
}

ir::FaultReport Interpreter::run(const Bindings& bindings) {
  failed_ = {};
  slots_ = bindings.slots;
  scalars_ = bindings.scalars;
  std::fill(std::begin(index_), std::end(index_), 0);
  std::vector<Accumulator> accumulators;
  for_each_index(parallel_dims_, [&] {
    for (const Stage& stage : stages_) {
      for (int id : stage.outer) evaluate(id);
      const bool last = &stage == &stages_.back();
      if (stage.inner.empty() && stage.reduces.empty() && !(last && !always_.empty())) continue;
      accumulators.resize(stage.reduces.size());
      for (size_t k = 0; k < stage.reduces.size(); ++k) {
        const ir::Node& n = g_.body[stage.reduces[k]];
        accumulators[k].start(static_cast<ReduceKind>(n.imm.i), g_.body[n.a].type);
      }
      for_each_index(reduction_dims_, [&] {
        for (int id : stage.inner) evaluate(id);
        for (size_t k = 0; k < stage.reduces.size(); ++k) {
          const ir::Node& n = g_.body[stage.reduces[k]];
          accumulators[k].feed(static_cast<ReduceKind>(n.imm.i), g_.body[n.a].type, values_[n.a], n.b >= 0 ? values_[n.b] : Value{.i = 0});
        }
        if (last) {
          for (const ir::Store& s : always_) write(s);
        }
      });
      for (size_t k = 0; k < stage.reduces.size(); ++k) {
        const ir::Node& n = g_.body[stage.reduces[k]];
        values_[stage.reduces[k]] = accumulators[k].result(static_cast<ReduceKind>(n.imm.i), g_.body[n.a].type);
      }
    }
    for (const ir::Store& s : once_) write(s);
  });
  return failed_;
}

}  // namespace anygpu::reference
