// Accumulators: in registers within a stage, in memory between chunks.
#include <limits>

#include "emitter.h"

namespace anygpu::cpu {

using ir::ExprOp;
using ir::Node;
using ir::ReduceKind;

constexpr int64_t kRowsAtOnce = 8, kNarrow = 1024;  // columns below which it is one

std::vector<Emitter::Accumulator> Emitter::accumulators(int stage) const {
  std::vector<Accumulator> all;
  for (size_t i = 0; i < spec_.nodes.size(); ++i) {
    if (stages_.of_reduce[i] != stage) continue;
    const Node& n = spec_.nodes[i];
    const auto kind = static_cast<ReduceKind>(n.imm.i);
    const int id = static_cast<int>(i);
    all.push_back({id, kind, type_of(n.a), spec_.vector_reduces ? spec_.lanes : lanes_of(id), ir::is_arg_kind(n)});
  }
  return all;
}

Values Emitter::identities(const std::vector<Accumulator>& all) {
  Values v;
  for (const Accumulator& a : all) {
    const Type type = b_.vec(value_type(a.type), a.lanes);
    const ir::Node::Imm start = ir::identity(a.kind, a.type, static_cast<int>(8 * size_of(a.type)));
    v.push_back(is_float(a.type) ? b_.real(type, start.f) : b_.constant(type, start.i));
    if (a.pair) v.push_back(b_.constant(b_.vec(b_.i64, a.lanes), std::numeric_limits<int64_t>::max()));
  }
  return v;
}

// x and y: a value each, or a value and an index.
Values Emitter::join(const Accumulator& a, const Values& x, const Values& y) {
  switch (a.kind) {
    case ReduceKind::Sum:
      return {b_.add(x[0], y[0])};
    case ReduceKind::Prod:
      return {b_.mul(x[0], y[0])};
    case ReduceKind::Any:
      return {b_.bit_or(x[0], y[0])};
    case ReduceKind::All:
      return {b_.bit_and(x[0], y[0])};
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
    const Value xn = b_.fcmp(LLVMRealUNO, x[0], x[0]), yn = b_.fcmp(LLVMRealUNO, y[0], y[0]);
    beats = b_.bit_or(beats, b_.bit_and(yn, b_.bit_not(xn)));
    ties = b_.bit_or(ties, b_.bit_and(yn, xn));
  }
  const Value wins = b_.bit_or(beats, b_.bit_and(ties, b_.icmp(LLVMIntSLT, y[1], x[1])));
  return {b_.select(wins, y[0], x[0]), b_.select(wins, y[1], x[1])};
}

// By halves: always the same tree.
Values Emitter::join_across(const Accumulator& a, Values acc) {
  for (int n = b_.lanes_of(acc[0]); n > 1; n /= 2) {
    Values low, high;
    for (Value v : acc) low.push_back(b_.lanes(v, 0, n / 2)), high.push_back(b_.lanes(v, n / 2, n / 2));
    acc = join(a, low, high);
  }
  return acc;
}

std::vector<int> Emitter::operands_of(const std::vector<Accumulator>& all) const {
  std::vector<int> ids;
  for (const Accumulator& a : all) ids.push_back(spec_.nodes[a.node].a), ids.push_back(spec_.nodes[a.node].b);
  return ids;
}

// One index of the reduction, or a vector of them.
Values Emitter::accumulate(Scope& inside, const std::vector<Accumulator>& all, const Values& now) {
  Values next;
  const Value mask = spec_.vector_reduces && inside.lanes ? inside.lanes->mask : nullptr;
  for (const Accumulator& a : all) {
    const Node& n = spec_.nodes[a.node];
    const Values old(now.begin() + next.size(), now.begin() + next.size() + (a.pair ? 2 : 1));
    Values x = {operand(inside, n.a, a.lanes)};
    if (a.pair) x.push_back(operand(inside, n.b, a.lanes));
    const Values joined = join(a, old, x);
    for (size_t i = 0; i < joined.size(); ++i) next.push_back(mask && a.lanes > 1 ? b_.select(mask, joined[i], old[i]) : joined[i]);
  }
  return next;
}

std::vector<bool> Emitter::wanted_by(const std::vector<Accumulator>& all) const {
  std::vector<int> roots = operands_of(all);
  for (size_t i = 0; stages_.stores_in_stage && i < spec_.stores.size(); ++i) {
    if (spec_.store_full[i]) roots.push_back(spec_.stores[i].value), roots.push_back(spec_.stores[i].guard);
  }
  return ir::reachable(spec_.nodes, roots);
}

void Emitter::store_in_stage(Scope& inside) {
  for (size_t i = 0; stages_.stores_in_stage && i < spec_.stores.size(); ++i) {
    if (spec_.store_full[i]) store(inside, spec_.stores[i]);
  }
}

void Emitter::stage(Scope& scope, int stage, Value row, Value chunk) {
  std::vector<Accumulator> all = accumulators(stage);
  const std::vector<bool> wanted = wanted_by(all);
  settle(scope, wanted);
  Values results = nest(scope, spec_.first_reduction(), chunk, wanted, identities(all), [&](Scope& inside, const Values& now) {
    store_in_stage(inside);
    return accumulate(inside, all, now);
  });
  if (spec_.vector_reduces && spec_.lanes > 1) {
    Values across;
    size_t at = 0;
    for (Accumulator& a : all) {
      Values acc(results.begin() + at, results.begin() + at + (a.pair ? 2 : 1));
      at += acc.size();
      acc = join_across(a, acc);
      across.insert(across.end(), acc.begin(), acc.end());
      a.lanes = 1;
    }
    results = across;
  }
  if (spec_.split_dim >= 0) return store_partials(scope, all, row, chunk, results);
  know_results(scope, all, results);
}

void Emitter::stage_in_memory(Scope& scope, int stage, Value row, Value chunk) {
  const std::vector<Accumulator> all = accumulators(stage);
  const std::vector<bool> wanted = wanted_by(all);
  padded_loop(scope, [&](Scope& inside) { store_partials(inside, all, row, chunk, identities(all)); });
  settle(scope, wanted);
  // A few rows at a time, so that accumulators go through memory less often, and several rows are read at once; but short rows one after
  // another: pieces of rows that lie within a page of each other are no order that a prefetcher foresees.
  const Value narrow = b_.icmp(LLVMIntSLT, parameter(ParameterLayout::Block), b_.index(kNarrow));
  const Value at_once = b_.select(narrow, b_.index(1), b_.index(kRowsAtOnce));
  const int last = spec_.rank() - 1;
  auto rows = [&](Scope& outer, const Values&) {
    const auto [lo, hi] = range(last, chunk);
    b_.loop(lo, hi, at_once, {}, [&](Value first, const Values&) {
      const Value beyond = b_.add(first, at_once), end = b_.select(b_.icmp(LLVMIntSLT, beyond, hi), beyond, hi);
      vector_loop(outer, block_.first, block_.second, {}, [&](Scope& inside, const Values&) {
        load_results(inside, stage, row);
        settle(inside, wanted);
        const Values before = load_partials(inside, all, row, chunk);
        const Values after = b_.loop(first, end, b_.index(1), before, [&](Value i, const Values& now) {
          Scope here = enter(inside, last, i);
          settle(here, wanted);
          store_in_stage(here);
          return accumulate(here, all, now);
        });
        store_partials(inside, all, row, chunk, after);
        return Values{};
      });
      return Values{};
    });
    return Values{};
  };
  nest(scope, spec_.first_reduction(), chunk, wanted, {}, rows, last);
}

// In order, into the first chunk's place.
void Emitter::join_chunks(Scope& scope, int stage, Value row) {
  std::vector<Accumulator> all = accumulators(stage);
  for (Accumulator& a : all) a.lanes = spec_.vector_reduces ? 1 : a.lanes;
  const Values first = load_partials(scope, all, row, b_.index(0));
  const Values results = b_.loop(b_.index(1), parameter(ParameterLayout::Chunks), b_.index(1), first, [&](Value c, const Values& now) {
    const Values parts = load_partials(scope, all, row, c);
    Values next;
    for (const Accumulator& a : all) {
      const size_t at = next.size(), n = a.pair ? 2 : 1;
      const Values joined = join(a, Values(now.begin() + at, now.begin() + at + n), Values(parts.begin() + at, parts.begin() + at + n));
      next.insert(next.end(), joined.begin(), joined.end());
    }
    return next;
  });
  store_partials(scope, all, row, b_.index(0), results);
}

void Emitter::load_results(Scope& scope, int stages, Value row) {
  for (int k = 0; k < stages; ++k) {
    std::vector<Accumulator> all = accumulators(k);
    for (Accumulator& a : all) a.lanes = spec_.vector_reduces ? 1 : a.lanes;
    know_results(scope, all, load_partials(scope, all, row, b_.index(0)));
  }
}

// Of a pair, the index is what the Reduce gives.
void Emitter::know_results(Scope& scope, const std::vector<Accumulator>& all, const Values& results) {
  size_t at = 0;
  for (const Accumulator& a : all) {
    at += a.pair ? 2 : 1;
    scope.values[a.node] = results[at - 1];
    if (wants_splat_[a.node] && a.lanes == 1) scope.splats[a.node] = b_.splat(results[at - 1], spec_.lanes);
  }
}

// Partial results lie as [row][chunk][index of the vector dimension, if it is parallel].
Value Emitter::partial_pointer(const Scope& scope, int array, Type element, Value row, Value chunk) {
  Value place = b_.add(b_.mul(row, parameter(ParameterLayout::Chunks)), chunk);
  if (!spec_.vector_reduces) {
    const Value width = b_.mul(parameter(ParameterLayout::Block), parameter(ParameterLayout::Blocks));
    place = b_.add(b_.mul(place, width), scope.lanes->index);
  }
  return b_.element(pointer_parameter(layout_.partial(array)), element, place);
}

void Emitter::store_partials(Scope& scope, const std::vector<Accumulator>& all, Value row, Value chunk, const Values& results) {
  size_t at = 0;
  for (const Accumulator& a : all) {
    for (int k = 0; k < (a.pair ? 2 : 1); ++k, ++at) {
      const DType t = k ? DType::I64 : a.type;
      const Value stored = t == DType::Bool ? b_.zext(results[at], b_.i8) : results[at];
      const Type element = b_.element_of(b_.type_of(stored));
      b_.store(stored, partial_pointer(scope, stages_.partial[a.node] + k, element, row, chunk), b_.bits_of(element) / 8);
    }
  }
}

Values Emitter::load_partials(Scope& scope, const std::vector<Accumulator>& all, Value row, Value chunk) {
  Values parts;
  for (const Accumulator& a : all) {
    for (int k = 0; k < (a.pair ? 2 : 1); ++k) {
      const DType t = k ? DType::I64 : a.type;
      const Type element = t == DType::Bool ? b_.i8 : value_type(t);
      const Value v = b_.load(b_.vec(element, a.lanes), partial_pointer(scope, stages_.partial[a.node] + k, element, row, chunk),
                              b_.bits_of(element) / 8);
      parts.push_back(t == DType::Bool ? b_.icmp(LLVMIntNE, v, b_.like(v, 0)) : v);
    }
  }
  return parts;
}

}  // namespace anygpu::cpu
