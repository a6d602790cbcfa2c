// Embedding tables: rows that are looked up, and bags of them that are weighed and reduced. Indices are i64 or i32.
#pragma once

#include "frontends/common/operators.h"

namespace anygpu::common {

/// The gradient of a table of `rows` rows from that of its lookups: grad [n.., width], indices [n..]. The row `padding` (or -1) takes none.
/// `by_frequency`: divided by how often a row is looked up.
Array embedding_grad(const Array& grad, const Array& indices, int64_t rows, int64_t padding, bool by_frequency);

enum class BagMode : int64_t { Sum, Mean, Max };

struct Bags {
  Array out;     ///< [bags, width]
  Array bag;     ///< [n]: which one each lookup belongs to
  Array sizes;   ///< [bags]: lookups that count
  Array places;  ///< [bags, width]: of Max, the row that each maximum comes from, or -1; else [0, 0]
};
/// table [rows, width], indices [n], offsets [bags], or [bags + 1] with `include_last`: bag b holds the lookups from offsets[b] on. The row
/// `padding` (or -1) does not count. `weights` [n], or nothing: factors of the lookups. Halves are summed as f32.
Bags embedding_bag(const Array& table, const Array& indices, const Array& offsets, const Array& weights, BagMode, bool include_last,
                   int64_t padding);

/// The bag of each of `n` lookups.
Array bag_of(const Array& offsets, int64_t n);
/// The gradient of the table. `bags.out` is not looked at.
Array embedding_bag_grad(const Array& grad, const Array& indices, const Bags& bags, const Array& weights, BagMode, int64_t rows,
                         int64_t padding, bool by_frequency);
/// The gradient of the weights of a sum's lookups.
Array embedding_bag_weights_grad(const Array& grad, const Array& table, const Array& indices, const Array& bag, int64_t padding);

}  // namespace anygpu::common
