// Einstein's sums: each operand's dimensions have letters, those that the result lacks are summed over. Two operands become one product of
// matrices.
#include <map>

#include "../kernel.h"
#include "anygpu/calls/matmul.h"

namespace anygpu::tensorflow_frontend {

namespace {

using Labels = std::string;

/// "ab...,bc->a...c"
struct Equation {
  std::vector<Labels> inputs;
  Labels output;

  explicit Equation(const std::string& text) {
    const size_t arrow = text.find("->");
    require(arrow != std::string::npos, "Expected equation to contain one '->': ", text);
    output = text.substr(arrow + 2);
    for (size_t at = 0; at <= arrow;) {
      const size_t comma = std::min(text.find(',', at), arrow);
      inputs.push_back(text.substr(at, comma - at));
      at = comma + 1;
    }
  }
};

constexpr char kFirstOfEllipsis = 1;  // its dimensions have the letters \1, \2 ..., counted from the last one

/// Dots become letters.
Labels spelled_out(const Labels& labels, int hidden) {
  const size_t dots = labels.find("...");
  if (dots == std::string::npos) return labels;
  Labels r = labels.substr(0, dots);
  for (int i = hidden; i > 0; --i) r += static_cast<char>(kFirstOfEllipsis + i - 1);
  return r + labels.substr(dots + 3);
}

/// An operand each of whose dimensions has a letter of its own: of equal ones, the diagonal.
struct Lettered {
  Array array;
  Labels labels;

  Lettered(const Array& a, const Labels& given) : array(a) {
    array.sizes.clear();
    array.strides.clear();
    for (int d = 0; d < a.rank(); ++d) {
      const char c = given[static_cast<size_t>(d)];
      const size_t same = labels.find(c);
      if (same != std::string::npos) {
        require(array.sizes[static_cast<int>(same)] == a.sizes[d], "Expected dimensions of label ", Labels(1, c), " to be equal");
        array.strides[static_cast<int>(same)] += a.strides[d];
        continue;
      }
      labels += c;
      array.sizes.push_back(a.sizes[d]);
      array.strides.push_back(a.strides[d]);
    }
  }
  bool has(char c) const { return labels.find(c) != std::string::npos; }
  int64_t size(char c) const { return array.sizes[static_cast<int>(labels.find(c))]; }

  /// Sums over what nobody else has.
  void sum_over(const Labels& gone) {
    for (char c : gone) {
      const size_t d = labels.find(c);
      array = common::sum(array, static_cast<int>(d));
      labels.erase(d, 1);
    }
  }
  /// Its dimensions in this order, of these sizes: what it lacks, or has as 1, is repeated.
  Array in_order(const Labels& order, const std::map<char, int64_t>& sizes) const {
    Array r = array;
    r.sizes.clear();
    r.strides.clear();
    for (char c : order) {
      const size_t d = labels.find(c);
      const bool repeated = d == std::string::npos || (array.sizes[static_cast<int>(d)] == 1 && sizes.at(c) != 1);
      r.sizes.push_back(sizes.at(c));
      r.strides.push_back(repeated ? 0 : array.strides[static_cast<int>(d)]);
    }
    return r;
  }
};

int64_t product_of(const Labels& labels, const std::map<char, int64_t>& sizes) {
  int64_t n = 1;
  for (char c : labels) n *= sizes.at(c);
  return n;
}

/// y's dimensions as `order` has the letters of `output`.
Array permuted(const Array& y, const Labels& output, const Labels& order) {
  Array r = y;
  for (size_t i = 0; i < order.size(); ++i) {
    const int from = static_cast<int>(output.find(order[i]));
    r.sizes[static_cast<int>(i)] = y.sizes[from];
    r.strides[static_cast<int>(i)] = y.strides[from];
  }
  return r;
}

void contract(const Array& y, Lettered a, Lettered b, const Labels& output, const std::map<char, int64_t>& sizes) {
  Labels batch, rows, columns, inner, only_a, only_b;
  for (char c : a.labels) (output.find(c) != std::string::npos ? (b.has(c) ? batch : rows) : (b.has(c) ? inner : only_a)) += c;
  for (char c : b.labels)
    if (!a.has(c)) (output.find(c) != std::string::npos ? columns : only_b) += c;
  a.sum_over(only_a);
  b.sum_over(only_b);
  const int64_t n = product_of(batch, sizes), m = product_of(rows, sizes), k = product_of(inner, sizes), o = product_of(columns, sizes);
  const Array lhs = common::reshape(a.in_order(batch + rows + inner, sizes), {n, m, k});
  const Array rhs = common::reshape(b.in_order(batch + inner + columns, sizes), {n, k, o});
  const Labels order = batch + rows + columns;
  Array product = order == output ? y : common::make(y.device(), y.dtype, {n, m, o});
  product.sizes = {n, m, o};
  product.strides = contiguous_strides(product.sizes);
  record(calls::Matmul{.dst = product, .lhs = lhs, .rhs = rhs, .bias = {}});
  if (order == output) return;
  const Array dst = permuted(y, output, order);
  product.sizes = dst.sizes;
  product.strides = contiguous_strides(dst.sizes);
  common::copy_to(dst, product);
}

Body einsum(const Node& node) {
  return [equation = Equation(node.attr<std::string>("equation"))](Call& c) {
    require(static_cast<int>(equation.inputs.size()) == c.inputs(), "Expected ", equation.inputs.size(), " inputs, got ", c.inputs());
    if (c.inputs() > 2) throw Refusal(absl::UnimplementedError("Einsum of more than two operands"));
    std::vector<Lettered> operands;
    std::map<char, int64_t> sizes;
    int most = 0;
    for (int i = 0; i < c.inputs(); ++i) {
      const Array x = c.in(i);
      const Labels& given = equation.inputs[static_cast<size_t>(i)];
      const bool dots = given.find("...") != std::string::npos;
      const int hidden = dots ? x.rank() - static_cast<int>(given.size()) + 3 : 0;
      require(dots ? hidden >= 0 : x.rank() == static_cast<int>(given.size()), "Expected input ", i, " to have rank ", given.size(),
              " but got: ", x.rank());
      most = std::max(most, hidden);
      operands.emplace_back(x, spelled_out(given, hidden));
      for (char l : operands.back().labels) {
        int64_t& n = sizes.try_emplace(l, 1).first->second;
        const int64_t here = operands.back().size(l);
        require(n == here || n == 1 || here == 1, "Expected dimension ", here, " to be ", n);
        n = std::max(n, here);
        if (here == 0) n = 0;
      }
    }
    const Labels output = spelled_out(equation.output, most);
    Dims result;
    for (char l : output) {
      require(sizes.count(l) != 0, "Label ", Labels(1, l), " of the result is in no operand");
      result.push_back(sizes.at(l));
    }
    const Array y = c.out(0, result);
    if (y.elements() == 0) return;
    c.record([=] {
      for (const Lettered& o : operands)
        if (o.array.elements() == 0) return record(calls::fill(y, 0.0));
      if (operands.size() == 2) return contract(y, operands[0], operands[1], output, sizes);
      Lettered only = operands[0];
      Labels gone;
      for (char l : only.labels)
        if (output.find(l) == std::string::npos) gone += l;
      only.sum_over(gone);
      common::copy_to(y, only.in_order(output, sizes));
    });
  };
}

}  // namespace

void register_einsum() {
  add("Einsum", {{"T", kFloats}}, einsum);
}

}  // namespace anygpu::tensorflow_frontend
