#include "frontends/common/embedding.h"

#include <limits>

namespace anygpu::common {

namespace {

Array zeros(const Array& like, DType t, const Dims& sizes) {
  return full(like.device(), t, sizes, 0);
}
/// Rows [n] beside the columns of a matrix.
Array column(const Array& rows) {
  return unsqueeze(rows, 1);
}
/// Whether each lookup counts; nothing where all do.
Array counted(const Array& indices, int64_t padding) {
  return padding < 0 ? Array() : differ(indices, padding);
}
/// Divided by the number of lookups in each bag.
Array mean_of(const Array& rows, const Array& sizes) {
  return rows / column(cast(not_below(sizes, 1), rows.dtype));
}

/// Maxima, and where each comes from first.
void reduce_max(Bags& b, const Array& rows, const Array& indices, const Array& keep) {
  const double infinity = std::numeric_limits<double>::infinity();
  const int64_t n = indices.elements();
  Device& device = rows.device();
  const Array at = along(b.bag, 0, rows.sizes);
  const Array seen = keep ? filled(rows, column(negate(keep)), -infinity) : rows;
  const Array best = full(device, rows.dtype, b.out.sizes, -infinity), first = full(device, DType::I64, b.out.sizes, n);
  scatter(best, 0, at, seen, Combine::Max);
  Array hit = equal(seen, pick(best, 0, b.bag));
  if (keep) hit = both(hit, column(keep));
  scatter(first, 0, at, where(hit, column(arange(device, n)), n, DType::I64), Combine::Min);
  const Array none = column(equal(b.sizes, 0));
  b.places = filled(reshape(pick(indices, 0, flatten(not_above(first, n - 1))), b.out.sizes), none, -1);
  b.out = filled(best, none, 0);
}

}  // namespace

Array embedding_grad(const Array& grad, const Array& indices, int64_t rows, int64_t padding, bool by_frequency) {
  if (grad.elements() == 0) return zeros(grad, grad.dtype, {rows, grad.size(-1)});
  if (rows == 0) throw Error(ErrorKind::Index, "index out of range in self");
  Array r = make(grad.device(), grad.dtype, {rows, grad.size(-1)}), counts;
  if (by_frequency) {
    counts = zeros(grad, DType::I64, {rows});
    const Array flat = cast(flatten(indices), DType::I64);
    record(
        calls::ScatterValue{.dst = counts, .index = flat, .dim = 0, .combine = Combine::Add, .wraps = false, .value = Scalar(int64_t{1})});
  }
  record(calls::EmbeddingGrad{.dst = r, .grad = grad, .index = indices, .counts = counts, .padding = padding});
  return r;
}

Array bag_of(const Array& offsets, int64_t n) {
  return search(cast(offsets, DType::I64), arange(offsets.device(), n), /*right=*/true) - 1;
}

Bags embedding_bag(const Array& table, const Array& indices_in, const Array& offsets, const Array& weights, BagMode mode, bool include_last,
                   int64_t padding) {
  const Array indices = cast(indices_in, DType::I64);
  const int64_t n = indices.elements(), bags = offsets.elements() - include_last, width = table.sizes[1];
  Bags b{zeros(table, table.dtype, {bags, width}), bags ? bag_of(narrow(offsets, 0, 0, bags), n) : zeros(table, DType::I64, {n}),
         zeros(table, DType::I64, {bags}), full(table.device(), DType::I64, mode == BagMode::Max ? Dims{bags, width} : Dims{0, 0}, -1)};
  if (n == 0 || bags == 0) return b;
  const Array keep = counted(indices, padding);
  add_at(b.sizes, 0, b.bag, keep ? cast(keep, DType::I64) : full(table.device(), DType::I64, {n}, 1));
  Array values = pick(table, 0, indices);
  if (mode == BagMode::Max) {
    reduce_max(b, values, indices, keep);
    return b;
  }
  if (weights) values = values * column(weights);
  if (keep) values = filled(values, column(negate(keep)), 0);
  const DType t = compute_type(table.dtype);
  Array sum = t == table.dtype ? b.out : zeros(table, t, b.out.sizes);
  add_at(sum, 0, b.bag, cast(values, t));
  b.out = cast(mode == BagMode::Mean ? mean_of(sum, b.sizes) : sum, table.dtype);
  return b;
}

Array embedding_bag_grad(const Array& grad, const Array& indices_in, const Bags& bags, const Array& weights, BagMode mode, int64_t rows,
                         int64_t padding, bool by_frequency) {
  const Array indices = cast(indices_in, DType::I64);
  const int64_t width = grad.sizes[1];
  if (mode == BagMode::Max || indices.elements() == 0) {
    Array r = zeros(grad, grad.dtype, {rows, width});
    if (indices.elements() && grad.elements())
      scatter(r, 0, not_below(bags.places, 0), filled(grad, less(bags.places, 0), 0), Combine::Add);
    return r;
  }
  Array g = pick(mode == BagMode::Mean ? mean_of(grad, bags.sizes) : grad, 0, bags.bag);
  if (weights) g = g * column(weights);
  return embedding_grad(g, indices, rows, padding, by_frequency);
}

Array embedding_bag_weights_grad(const Array& grad, const Array& table, const Array& indices_in, const Array& bag, int64_t padding) {
  const Array indices = cast(indices_in, DType::I64);
  if (indices.elements() == 0) return zeros(grad, grad.dtype, {0});
  const Array g = sum(pick(grad, 0, bag) * pick(table, 0, indices), 1), keep = counted(indices, padding);
  return keep ? filled(g, negate(keep), 0) : g;
}

}  // namespace anygpu::common
