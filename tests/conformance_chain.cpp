// Chains of small matmuls and kernels, as recurrent layers make them: backends may run rows of a batch through many steps at once, which
// must not show where rows meet.
#include "conformance.h"

namespace anygpu::conformance {
namespace {

using ir::Generic;
using ir::Named;
using ir::NamedKind;
using ir::Operand;

enum class Trouble { None, RowsMeet, WeightChanges, StateInPlace, WideState };

Operand part(const Operand& all, int dim, int64_t at) {
  Operand o = all;
  o.offset += o.strides[dim] * at;
  o.sizes.erase(dim);
  o.strides.erase(dim);
  return o;
}

Named matmul(const Operand& dst, const Operand& lhs, const Operand& rhs, const Operand* bias) {
  Named n{NamedKind::Matmul, {dst, lhs, rhs}, {}, "matmul"};
  if (bias) n.operands.push_back(*bias);
  return n;
}

/// dst = tanh(a) + b / 2, over dst's rows and columns.
Generic cell(const Operand& dst, const Operand& a, const Operand& b) {
  Generic g;
  g.name = "cell";
  g.sizes = dst.sizes;
  const int x = access(g, a), y = access(g, b), to = access(g, dst);
  store(g, to, tanh(load(g, x)) + load(g, y) * 0.5);
  return g;
}

TEST_P(Conformance, RecurrentChain) {
  Maker m(501);
  for (int64_t rows : {1, 2, 3, 16, 33}) {
    for (int64_t width : {3, 32, 70}) {
      for (bool batch_first : {false, true}) {
        for (Trouble trouble : {Trouble::None, Trouble::RowsMeet, Trouble::WeightChanges, Trouble::StateInPlace, Trouble::WideState}) {
          const int64_t steps = 6;
          const Tolerance tolerance{16, 1e-3};
          Case c;
          c.name = "chain_" + std::to_string(rows) + "_" + std::to_string(width) + (batch_first ? "_batch_first_" : "_time_first_") +
                   std::to_string(static_cast<int>(trouble));
          const Dims sizes = batch_first ? Dims{rows, steps, width} : Dims{steps, rows, width};
          const int time = batch_first ? 1 : 0;
          const Operand inputs = m.input(c, DType::F32, sizes, Layout::Dense, Fill::Unit),
                        states = m.output(c, DType::F32, sizes, Layout::Dense, tolerance),
                        sums = m.output(c, DType::F32, {rows, width}, Layout::Dense, tolerance),
                        first = m.input(c, DType::F32, {rows, width}, Layout::Dense, Fill::Unit);
          Operand weight = trouble == Trouble::WeightChanges ? m.both(c, DType::F32, {width, width}, Layout::Dense, Fill::Unit, tolerance)
                                                             : m.input(c, DType::F32, {width, width}, Layout::Dense, Fill::Unit);
          std::swap(weight.strides[0], weight.strides[1]);
          for (int64_t t = 0; t < steps; ++t) {
            const Operand input = part(inputs, time, t), before = t ? part(states, time, t - 1) : first;
            Operand sum = sums;
            if (trouble == Trouble::StateInPlace) sum = part(states, time, t);
            c.steps.emplace_back(matmul(sum, before, weight, &input));
            Operand other = before;
            if (trouble == Trouble::RowsMeet && rows > 1) {  // row r reads row rows - 1 - r of the step before
              other.offset += other.strides[0] * (rows - 1);
              other.strides[0] = -other.strides[0];
            }
            if (trouble == Trouble::WideState) {  // one value a row, for all columns
              other.strides[1] = 0;
            }
            c.steps.emplace_back(cell(part(states, time, t), sum, other));
            if (trouble == Trouble::WeightChanges) {
              Generic g;
              g.name = "halve";
              g.sizes = weight.sizes;
              const int w = access(g, weight);
              store(g, w, load(g, w) * 0.5);
              c.steps.emplace_back(g);
            }
          }
          if (backend().supports(std::get<Named>(c.steps[0]))) check(c);
        }
      }
    }
  }
}

}  // namespace
}  // namespace anygpu::conformance
