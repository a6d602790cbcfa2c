// Accumulators: in variables within a stage, across an invocation's neighbours in shared memory, between chunks in scratch.
#include "emitter.h"

namespace anygpu::gpu {

using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

std::vector<Emitter::Accumulator> Emitter::accumulators(int stage) const {
  std::vector<Accumulator> all;
  for (size_t i = 0; i < spec_.nodes.size(); ++i) {
    if (stages_.of_reduce[i] != stage) continue;
    const Node& n = spec_.nodes[i];
    const auto kind = static_cast<ReduceKind>(n.imm.i);
    const bool sums = kind == ReduceKind::Sum || kind == ReduceKind::Prod;
    Accumulator a{static_cast<int>(i), kind, type_of(n.a), {}, Type::U32, ir::is_arg_kind(n), false};
    a.narrow = sums ? narrow(a.node) : narrow(n.a);  // of a sum the low half may do, of a maximum never
    a.value = register_type(a.type, a.narrow);
    if (a.pair) a.index = register_type(DType::I64, narrow(n.b));
    all.push_back(a);
  }
  return all;
}

Values Emitter::identities(const std::vector<Accumulator>& all) {
  Values v;
  for (const Accumulator& a : all) {
    const int bits = a.type == DType::I64 && a.narrow ? 32 : static_cast<int>(8 * size_of(a.type));
    const Node::Imm start = ir::identity(a.kind, a.type, bits);
    v.push_back(is_float(a.type) ? b_.real(a.value, start.f) : b_.integer(a.value, start.i));
    if (a.pair) v.push_back(a.index == Type::U64 ? b_.u64(0x7fffffffffffffff) : b_.u32(0x7fffffff));
  }
  return v;
}

// x and y: a value each, or a value and an index.
Values Emitter::join(const Accumulator& a, const Values& x, const Values& y) {
  switch (a.kind) {
    case ReduceKind::Sum:
      return {wrap(a.type, x[0] + y[0])};
    case ReduceKind::Prod:
      return {wrap(a.type, x[0] * y[0])};
    case ReduceKind::Any:
      return {x[0] | y[0]};
    case ReduceKind::All:
      return {x[0] & y[0]};
    case ReduceKind::Max:
      return {extremum(true, a.type, x[0], y[0])};
    case ReduceKind::Min:
      return {extremum(false, a.type, x[0], y[0])};
    case ReduceKind::ArgMax:
    case ReduceKind::ArgMin:
      break;
  }
  // y wins if it is the more extreme (NaN beats all numbers), or as extreme and of a lower index.
  const bool greatest = a.kind == ReduceKind::ArgMax;
  Value beats = compare(ExprOp::Lt, a.type, greatest ? x[0] : y[0], greatest ? y[0] : x[0]);
  Value ties = compare(ExprOp::Eq, a.type, x[0], y[0]);
  if (is_float(a.type)) {
    const Value xn = is_nan(x[0]), yn = is_nan(y[0]);
    beats = b_.select(xn, b_.boolean(false), beats | yn);
    ties = b_.select(xn | yn, xn & yn, ties);
  }
  const Value wins = beats | (ties & signed_less(y[1], x[1]));
  return {b_.select(wins, y[0], x[0]), b_.select(wins, y[1], x[1])};
}

Values Emitter::join_all(const std::vector<Accumulator>& all, const Values& x, const Values& y) {
  Values joined;
  for (const Accumulator& a : all) {
    const size_t at = joined.size(), n = a.pair ? 2 : 1;
    const Values part = join(a, Values(x.begin() + at, x.begin() + at + n), Values(y.begin() + at, y.begin() + at + n));
    joined.insert(joined.end(), part.begin(), part.end());
  }
  return joined;
}

// By pairs, then pairs of pairs: all lanes of a row end with the same result. A bool travels as u32.
Values Emitter::join_lanes(const std::vector<Accumulator>& all, Values mine) {
  for (int apart = 1; apart < spec_.lanes; apart *= 2) {
    std::map<Type, int> arrays;
    std::vector<int> places;
    for (const Value& v : mine) {
      const Value kept = v.type == Type::Bool ? b_.select(v, b_.u32(1), b_.u32(0)) : v;
      places.push_back(arrays[kept.type]++);
      b_.shared_store(places.back(), kept, local_);
    }
    b_.barrier();
    Values others;
    const Value other = local_ ^ b_.u32(static_cast<uint32_t>(apart));
    for (size_t i = 0; i < mine.size(); ++i) {
      const bool is_bool = mine[i].type == Type::Bool;
      const Value v = b_.shared_load(is_bool ? Type::U32 : mine[i].type, places[i], other);
      others.push_back(is_bool ? v != 0 : v);
    }
    b_.barrier();
    mine = join_all(all, mine, others);
  }
  return mine;
}

void Emitter::stage(Scope& row, int stage) {
  const std::vector<Accumulator> all = accumulators(stage);
  std::vector<int> roots;
  for (const Accumulator& a : all) roots.push_back(spec_.nodes[a.node].a), roots.push_back(spec_.nodes[a.node].b);
  if (stages_.stores_in_stage) {
    for (const KernelStore& s : spec_.stores) {
      if (s.full) roots.push_back(s.store.value), roots.push_back(s.store.guard);
    }
  }
  const std::vector<bool> wanted = ir::reachable(spec_.nodes, roots);
  std::vector<Variable> variables;
  for (const Value& v : identities(all)) {
    variables.push_back(b_.variable(v.type));
    variables.back().set(v);
  }
  auto now = [&] {
    Values v;
    for (const Variable& variable : variables) v.push_back(variable.get());
    return v;
  };
  each_reduced(row, wanted, [&](const std::vector<Scope>& elements) {
    for (const Scope& s : elements) {
      Values x;
      for (const Accumulator& a : all) {
        const Node& n = spec_.nodes[a.node];
        Value v = operand(s, n.a);
        if (v.type != a.value) v = a.value == Type::U64 ? b_.sign_extend(v) : b_.to_u32(v);
        x.push_back(v);
        if (a.pair) x.push_back(operand(s, n.b));
      }
      const Values next = join_all(all, now(), x);
      for (size_t i = 0; i < next.size(); ++i) variables[i].set(next[i]);
    }
    if (stages_.stores_in_stage) b_.if_(active_, [&] { store_all(elements, true); });
  });
  const Values results = join_lanes(all, now());
  if (spec_.phase == stage) return store_partials(all, results);
  know_results(row, all, results);
}

// Partial results lie as [row][chunk], an array each.
void Emitter::store_partials(const std::vector<Accumulator>& all, const Values& results) {
  b_.if_(lane_ ? active_ & (lane_ == 0) : active_, [&] {
    const Value place = row_ * param({Param::Chunks}) + chunk_;
    size_t i = 0;
    for (const Accumulator& a : all) {
      for (int k = 0; k < (a.pair ? 2 : 1); ++k, ++i) {
        Value v = results[i];
        if (v.type == Type::Bool) v = b_.select(v, b_.u32(1), b_.u32(0));
        if (v.type == Type::F32) v = b_.bits(v, Type::U32);
        if (v.type == Type::F64) v = b_.bits(v, Type::U64);
        b_.store(spec_.scratch, v, param({Param::Partial, stages_.partial[a.node] + k, bytes_of(v.type)}) + place);
      }
    }
  });
}

// In order of chunks; in a row of several lanes, each joins some, and then they join.
void Emitter::load_results(Scope& row, int stage) {
  const std::vector<Accumulator> all = accumulators(stage);
  std::vector<Variable> variables;
  for (const Value& v : identities(all)) {
    variables.push_back(b_.variable(v.type));
    variables.back().set(v);
  }
  const Value chunks = param({Param::Chunks}), start = row_ * chunks;
  const Value from = lane_ ? lane_ : b_.u32(0), step = b_.u32(static_cast<uint32_t>(spec_.lanes));
  b_.loop(from, chunks, step, [&](Value c) {
    Values now, parts;
    for (const Variable& variable : variables) now.push_back(variable.get());
    for (const Accumulator& a : all) {
      for (int k = 0; k < (a.pair ? 2 : 1); ++k) {
        const Type t = k ? a.index : a.value, raw = bytes_of(t) == 8 ? Type::U64 : Type::U32;
        const Value v = b_.load(spec_.scratch, raw, param({Param::Partial, stages_.partial[a.node] + k, bytes_of(raw)}) + start + c);
        parts.push_back(t == Type::Bool ? v != 0 : b_.bits(v, t));
      }
    }
    const Values next = join_all(all, now, parts);
    for (size_t i = 0; i < next.size(); ++i) variables[i].set(next[i]);
  });
  Values results;
  for (const Variable& variable : variables) results.push_back(variable.get());
  know_results(row, all, join_lanes(all, results));
}

// Of a pair, the index is what the Reduce gives. A sum in 64 bits may be asked for 32 of them, never the other way.
void Emitter::know_results(Scope& scope, const std::vector<Accumulator>& all, const Values& results) {
  size_t at = 0;
  for (const Accumulator& a : all) {
    at += a.pair ? 2 : 1;
    Value v = results[at - 1];
    const Type wanted = register_type(spec_.nodes[a.node].type, narrow(a.node));
    if (v.type != wanted) v = wanted == Type::U64 ? b_.sign_extend(v) : b_.to_u32(v);
    scope.values[a.node] = v;
  }
}

}  // namespace anygpu::gpu
