// Random Generics: integer bodies (exact on every machine) over random spaces, layouts, masks, stages, guards and computed addresses.
// ANYGPU_TEST_SEED picks other ones, ANYGPU_TEST_CASES how many.
#include <cstdlib>

#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::ReduceKind;
using ir::Val;

class Random {
 public:
  explicit Random(uint64_t salt) : m_(salt) {}

  Case make(int number) {
    Case c;
    c.name = "random_" + std::to_string(number);
    Generic g;
    g.name = c.name;
    const int rank = static_cast<int>(m_.below(6));
    for (int d = 0; d < rank; ++d) {
      const int64_t picks[] = {1, 2, 3, 5, 7, 17, 33};
      g.sizes.push_back(picks[m_.below(rank > 3 ? 4 : 7)]);
      if (m_.chance(0.35)) g.reduce |= 1u << d;
    }
    if (rank && m_.chance(0.03)) g.sizes[static_cast<int>(m_.below(rank))] = 0;
    const uint32_t all = (1u << rank) - 1;
    g.args = {1, 0};
    c.scalars = {Scalar(int64_t{3}), Scalar(int64_t{-2})};
    floats_ = m_.chance(0.4);
    type_ = floats_ ? (m_.chance(0.5) ? DType::F32 : DType::F64) : kInts[m_.below(5)];

    const int inputs = 1 + static_cast<int>(m_.below(3));
    for (int i = 0; i < inputs; ++i) {
      const uint32_t dims = m_.chance(0.5) ? all : static_cast<uint32_t>(m_.below(int64_t{all} + 1));
      const DType t = m_.chance(0.6) ? type_ : kAll[m_.below(10)];
      values_.push_back(cast(load(g, access(g, m_.input(c, t, masked(g.sizes, dims), layout(), Fill::Small), dims)), type_));
    }
    if (m_.chance(0.5)) gather(c, g);
    if (!floats_ && m_.chance(0.3)) values_.push_back(ir::arg(g.body, type_, static_cast<int>(m_.below(2))));
    if (rank && m_.chance(0.4)) values_.push_back(cast(ir::index(g.body, static_cast<int>(m_.below(rank))) % 5, type_));
    const int nodes = 2 + static_cast<int>(m_.below(14));
    for (int i = 0; i < nodes; ++i) values_.push_back(grow());

    const int outputs = 1 + static_cast<int>(m_.below(3));
    for (int i = 0; i < outputs; ++i)
      output(c, g, values_[values_.size() - 1 - m_.below(std::min<int64_t>(4, static_cast<int64_t>(values_.size())))]);
    c.steps.push_back(g);
    return c;
  }

 private:
  Layout layout() { return m_.chance(0.5) ? Layout::Odd : Layout::Dense; }
  Val pick() { return values_[m_.below(static_cast<int64_t>(values_.size()))]; }

  /// A load whose address is computed from another load, kept in range.
  void gather(Case& c, Generic& g) {
    const ir::Operand table = m_.input(c, type_, {9}, layout(), Fill::Small);
    g.accesses.push_back({table.slot, type_, table.offset, Dims::filled(g.rank(), 0)});
    const int at = static_cast<int>(g.accesses.size()) - 1;
    const Val i = cast(pick(), DType::I64), nine = ir::constant(g.body, DType::I64, int64_t{9});
    values_.push_back(ir::load(g.body, type_, at, (i % nine + nine) % nine * ir::constant(g.body, DType::I64, table.strides[0])));
  }

  /// Floats keep to what is exact on small whole numbers, so that a difference is a defect and not a rounding.
  Val grow() {
    const Val a = pick(), b = pick();
    const double choice = m_.uniform(0, 1);
    if (choice < 0.18) {
      const ReduceKind kinds[] = {ReduceKind::Sum, ReduceKind::Max, ReduceKind::Min};
      return squeeze(reduce(kinds[m_.below(3)], a));
    }
    if (choice < 0.22) return squeeze(cast(reduce(m_.chance(0.5) ? ReduceKind::Any : ReduceKind::All, a < b), type_));
    if (choice < 0.30) return select(m_.chance(0.5) ? a < b : a == b, a, pick());
    if (choice < 0.36) return cast(a <= b, type_);
    if (choice < 0.42) return unary(m_.chance(0.5) ? ExprOp::Neg : ExprOp::Abs, a);
    if (choice < 0.50) {
      // There and back through another type.
      const DType via = floats_ ? (m_.chance(0.5) ? DType::I32 : DType::F16) : kAll[m_.below(10)];
      return squeeze(cast(cast(a, via), type_));
    }
    if (floats_) {
      const ExprOp ops[] = {ExprOp::Add, ExprOp::Sub, ExprOp::Mul, ExprOp::Min, ExprOp::Max, ExprOp::Rem};
      return squeeze(binary(ops[m_.below(6)], a, b));
    }
    const ExprOp ops[] = {ExprOp::Add, ExprOp::Sub, ExprOp::Mul, ExprOp::Div, ExprOp::Rem, ExprOp::Min,
                          ExprOp::Max, ExprOp::And, ExprOp::Or,  ExprOp::Xor, ExprOp::Shl, ExprOp::Shr};
    return binary(ops[m_.below(12)], a, b);
  }

  /// Keeps floats small and whole (and finite: an empty Max is not).
  Val squeeze(Val v) {
    if (!floats_) return v;
    return trunc(min(max(v, -50.0), 50.0)) % 13.0;
  }

  void output(Case& c, Generic& g, Val v) {
    const uint32_t all = (1u << g.rank()) - 1;
    const DType t = m_.chance(0.6) ? type_ : kAll[m_.below(10)];
    const Val stored = cast(v, t);
    const bool varies = ir::varies_in_reduction(g)[stored.id];
    const uint32_t dims = varies ? all : all & ~g.reduce;
    ir::Store s;
    s.value = stored.id;
    const bool combine = m_.chance(0.3) && (is_int(t) || t == DType::Bool);
    const bool scatter = combine && m_.chance(0.5);
    if (scatter) {
      const ir::Operand o = m_.both(c, t, {7}, layout(), Fill::Small);
      g.accesses.push_back({o.slot, t, o.offset, Dims::filled(g.rank(), 0)});
      s.access = static_cast<int>(g.accesses.size()) - 1;
      Val where = cast(v, DType::I64), seven = ir::constant(g.body, DType::I64, int64_t{7});
      where = (where % seven + seven) % seven * ir::constant(g.body, DType::I64, o.strides[0]);
      s.index = where.id;
    } else {
      s.access = access(
          g, combine ? m_.both(c, t, masked(g.sizes, dims), layout(), Fill::Small) : m_.output(c, t, masked(g.sizes, dims), layout()),
          dims);
    }
    if (combine) {
      const ir::Combine how[] = {ir::Combine::Add, ir::Combine::Max, ir::Combine::Min};
      s.combine = how[m_.below(3)];
    }
    if (m_.chance(0.25)) {
      const Val guard = pick() < v;
      if (varies || !ir::varies_in_reduction(g)[guard.id]) s.guard = guard.id;
    }
    g.stores.push_back(s);
  }

  Maker m_;
  DType type_ = DType::I64;
  bool floats_ = false;
  std::vector<Val> values_;
};

TEST_P(Conformance, RandomGenerics) {
  const char* asked = std::getenv("ANYGPU_TEST_CASES");
  const int count = asked ? std::atoi(asked) : 400;
  for (int i = 0; i < count; ++i) check(Random(1000 + i).make(i));
}

}  // namespace
}  // namespace anygpu::conformance
