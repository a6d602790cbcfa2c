// Calls that read and write at computed places. An index out of range fails the kernel and touches nothing: an Index error, or, in gather and
// scatter without `wraps`, a Value error.
#pragma once

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// What a store does where it meets an element. Of bools, Max is "or" and Min is "and".
enum class Combine { None, Add, Mul, Max, Min };

// ---- along one dimension: one index for each element ----

/// dst[i, j] = src[i, index[i, j]] for dim = 1
template <class S = Making>
struct Gather {
  static constexpr std::string_view name = "gather";
  View<S> dst;    ///< at least one dimension
  View<S> src;    ///< dimensions other than dim may be longer than dst's
  View<S> index;  ///< dst's sizes
  int64_t dim;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.index);
    f.attrs(c.dim);
  }
};

/// dst[i, index[i, j]] op= src[i, j] for dim = 1
template <class S = Making>
struct Scatter {
  static constexpr std::string_view name = "scatter";
  View<S> dst;    ///< also read
  View<S> index;
  View<S> src;    ///< index's sizes or more
  int64_t dim;
  Combine combine;
  bool wraps;     ///< whether negative indices count from the end

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.index, c.src);
    f.attrs(c.dim, c.combine, c.wraps);
  }
};

template <class S = Making>
struct ScatterValue {
  static constexpr std::string_view name = "scatter_value";
  View<S> dst, index;
  int64_t dim;
  Combine combine;
  bool wraps;
  Number<S> value;  ///< of dst's compute type

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.index);
    f.attrs(c.dim, c.combine, c.wraps);
    f.scalars(c.value);
  }
};

// ---- several adjacent dimensions indexed together, as in NumPy: k indices of one rank, that of I, broadcast to it ----

template <class S = Making>
struct Index {
  static constexpr std::string_view name = "index";
  View<S> dst;  ///< [before.., I.., after..]
  View<S> src;  ///< [before.., x_1 .. x_k, after..]
  Views<S> indices;
  int64_t before;  ///< how many dimensions
  bool wraps;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.indices);
    f.attrs(c.before, c.wraps);
  }
};

/// dst[.., index.., ..] op= values, or alpha * values
template <class S = Making>
struct IndexPut {
  static constexpr std::string_view name = "index_put";
  View<S> dst;     ///< [before.., x_1 .. x_k, after..], also read
  View<S> values;  ///< [before.., I.., after..]
  Views<S> indices;
  int64_t before;
  bool wraps;
  Combine combine;
  bool scaled = false;      ///< whether there is an alpha
  Number<S> alpha{};  ///< of dst's compute type

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.values, c.indices);
    f.attrs(c.before, c.wraps, c.combine, c.scaled);
    f.scalars(c.alpha);
  }
};

// ---- by position in row-major order; negative ones count from the end ----

template <class S = Making>
struct Take {
  static constexpr std::string_view name = "take";
  View<S> dst;
  View<S> src;    ///< of any sizes
  View<S> index;  ///< dst's sizes

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.index);
  }
};

template <class S = Making>
struct Put {
  static constexpr std::string_view name = "put";
  View<S> dst;         ///< of any sizes, also read
  View<S> src, index;  ///< of one size
  Combine combine;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.index);
    f.attrs(c.combine);
  }
};

// ---- compaction: what a mask selects, in row-major order ----

/// How many of the elements up to here are not 0.
template <class S = Making>
struct CountBefore {
  static constexpr std::string_view name = "count_before";
  View<S> dst;  ///< i64, contiguous, [elements of src]
  View<S> src;  ///< at least one dimension

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
  }
};

/// The indices of elements that are not 0, a row each. Rows beyond dst's size are dropped.
template <class S = Making>
struct Nonzero {
  static constexpr std::string_view name = "nonzero";
  View<S> dst;  ///< [count, rank of src], i64
  View<S> src;
  View<S> before;  ///< of CountBefore

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.before);
  }
};

template <class S = Making>
struct Compress {
  static constexpr std::string_view name = "compress";
  View<S> dst;        ///< [count]
  View<S> src, mask;  ///< of one size
  View<S> before;     ///< of the mask

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src, c.mask, c.before);
  }
};

/// The inverse of Compress. Fails where src has not enough elements.
template <class S = Making>
struct Expand {
  static constexpr std::string_view name = "expand";
  View<S> dst;  ///< also read
  View<S> mask, before;
  View<S> src;  ///< [n], contiguous

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.mask, c.before, c.src);
  }
};

// ---- rearrangement ----

template <class S = Making>
struct Flip {
  static constexpr std::string_view name = "flip";
  View<S> dst, src;
  uint64_t mask;  ///< the dimensions to reverse

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.mask);
  }
};

template <class S = Making>
struct Roll {
  static constexpr std::string_view name = "roll";
  View<S> dst, src;
  Dims dims;
  Wholes<S> shifts;  ///< of each of the dims, in [0, size)

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.dims);
    f.scalars(c.shifts);
  }
};

/// Parts side by side along dim, cast to dst's dtype.
template <class S = Making>
struct Cat {
  static constexpr std::string_view name = "cat";
  View<S> dst;
  Views<S> parts;
  int64_t dim;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.parts);
    f.attrs(c.dim);
  }
};

/// The gradient of a table whose rows were looked up: dst[index[i]] += grad[i], divided by how often the row is looked up where counts say.
template <class S = Making>
struct EmbeddingGrad {
  static constexpr std::string_view name = "embedding_backward";
  View<S> dst;      ///< [rows, width]
  View<S> grad;     ///< [n.., width]
  View<S> index;    ///< [n..]
  Maybe<S> counts;  ///< [rows], i64
  Whole<S> padding;  ///< the row that takes no gradient, or -1

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.grad, c.index, c.counts);
    f.scalars(c.padding);
  }
};

}  // namespace anygpu::calls
