// Calls of scans, sorting and searching, along dimension `axis`. Operands have at least one dimension.
#pragma once

#include "anygpu/calls/call.h"
#include "anygpu/calls/reduce.h"

namespace anygpu::calls {

enum class Scanned { Sum, Prod, LogSumExp };

/// Element i of dst combines elements 0 to i of src.
template <class S = Making>
struct Scan {
  static constexpr std::string_view names[] = {"cumsum", "cumprod", "logcumsumexp"};
  Scanned kind;
  View<S> dst, src;
  DType compute;
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.compute, c.axis);
  }
};

/// The extremum so far, and where it is: the last of equals.
template <class S = Making>
struct ScanWithIndex {
  static constexpr std::string_view names[] = {"cummax", "cummin"};
  Extremum kind;
  View<S> values, indices;  ///< values: of src's dtype. indices: i64
  View<S> src;
  int64_t axis;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.values, c.indices);
    f.inputs(c.src);
    f.attrs(c.axis);
  }
};

/// Stable; NaN is greatest.
template <class S = Making>
struct Sort {
  static constexpr std::string_view name = "sort";
  View<S> values, indices;  ///< indices: i64
  View<S> src;
  int64_t axis;
  bool descending;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.values, c.indices);
    f.inputs(c.src);
    f.attrs(c.axis, c.descending);
  }
};

/// The first k of the sorted, k being the size of values along axis.
template <class S = Making>
struct TopK {
  static constexpr std::string_view name = "topk";
  View<S> values, indices, src;  ///< as Sort's
  int64_t axis;
  bool largest;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.values, c.indices);
    f.inputs(c.src);
    f.attrs(c.axis, c.largest);
  }
};

/// Where values belong among sorted boundaries, not empty: the number of boundaries below (or, with `right`, not above) each.
template <class S = Making>
struct SearchSorted {
  static constexpr std::string_view name = "searchsorted";
  View<S> dst;              ///< i32 or i64, of the sizes of values
  View<S> boundaries;       ///< [n], or [.., n] with the leading sizes of values
  View<S> values;
  Maybe<S> sorter;          ///< i64, of the boundaries' sizes: the order in which they are sorted
  DType compute;
  bool right;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.boundaries, c.values, c.sorter);
    f.attrs(c.compute, c.right);
  }
};

}  // namespace anygpu::calls
