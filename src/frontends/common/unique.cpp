#include "frontends/common/unique.h"

#include <algorithm>

namespace anygpu::common {

namespace {

/// Marks, along dimension 0 of a vector or matrix, of the slices that differ from the one before.
Array changes(const Array& x) {
  const int64_t n = x.sizes[0];
  const Array begins = full(x.device(), DType::Bool, {n}, true);
  if (n < 2) return begins;
  const Array different = differ(narrow(x, 0, 1, n - 1), narrow(x, 0, 0, n - 1));
  copy_to(narrow(begins, 0, 1, n - 1), x.rank() > 1 ? any(different, 1) : different);
  return begins;
}

/// What is made of marks of where a new value begins in a sequence. Returns the places of the firsts. `order`: where the sequence's
/// elements came from; nothing where it is the given one.
Array group(Unique& r, const Array& begins, const Array& order, bool inverse, bool counts) {
  const int64_t n = begins.elements();
  const Array firsts = places_of(begins);
  if (inverse) {
    const Array groups = cumsum(cast(begins, DType::I64), 0) - 1;
    r.inverse = order ? make_like(order) : groups;
    if (order) scatter(r.inverse, 0, order, groups, Combine::None);
  }
  if (counts) {
    const Array end = full(begins.device(), DType::I64, {1}, n);
    r.counts = concatenate({narrow(firsts, 0, 1, firsts.elements() - 1), end}, 0) - firsts;
  }
  return firsts;
}

/// The order of a matrix's rows by their columns. NaN has no place among numbers: where a row holds one, PyTorch's order is what std::sort
/// makes of a comparison that a NaN never decides, and only the host can follow it.
template <class T>
Array order_on_host(const Array& rows) {
  const std::vector<T> x = read<T>(rows);
  const int64_t n = rows.sizes[0], columns = rows.sizes[1];
  const auto before = [&](int64_t a, int64_t b) {
    if (a == n || b == n) return false;
    for (int64_t c = 0; c < columns; ++c) {
      const T l = x[static_cast<size_t>(a * columns + c)], r = x[static_cast<size_t>(b * columns + c)];
      if (l < r) return true;
      if (l > r) return false;
    }
    return false;
  };
  // std::sort may step over the ends where a comparison is none: there it meets n, and stops.
  std::vector<int64_t> order(static_cast<size_t>(n + 2), n);
  for (int64_t i = 0; i < n; ++i) order[static_cast<size_t>(i + 1)] = i;
  std::sort(order.begin() + 1, order.end() - 1, before);
  return from_host(rows.device(), std::span(order).subspan(1, static_cast<size_t>(n)));
}

Array order_of_rows(const Array& rows) {
  Array order = arange(rows.device(), rows.sizes[0]);
  // Lexicographic: stable sorts from the last column to the first.
  for (int64_t c = rows.sizes[1] - 1; c >= 0; --c) order = pick(order, 0, sort(pick(select(rows, 1, c), 0, order), 0).order);
  return order;
}

}  // namespace

Unique unique(const Array& vector, bool consecutive, bool inverse, bool counts) {
  Unique r;
  const Ordered s = consecutive ? Ordered{vector, {}} : sort(vector, 0);
  r.values = pick(s.values, 0, group(r, changes(s.values), s.order, inverse, counts));
  return r;
}

Unique unique_slices(const Array& a, int dim, bool consecutive, bool inverse, bool counts) {
  const Array moved = move_dim(a, dim, 0);
  const Array rows = reshape(moved, {moved.sizes[0], moved.elements() / moved.sizes[0]});
  Unique r;
  Array order, sorted = rows;
  if (!consecutive) {
    r.by_host = is_float(rows.dtype) && any(is_nan(rows));
    order = !r.by_host                 ? order_of_rows(rows)
            : rows.dtype == DType::F64 ? order_on_host<double>(rows)
                                       : order_on_host<float>(cast(rows, DType::F32));
    sorted = pick(rows, 0, order);
  }
  const Array firsts = group(r, changes(sorted), order, inverse, counts);
  Dims sizes = moved.sizes;
  sizes[0] = firsts.elements();
  r.values = contiguous(move_dim(reshape(pick(sorted, 0, firsts), sizes), 0, dim));
  return r;
}

}  // namespace anygpu::common
