// Calls of reductions. `mask`: the reduced dimensions of src, bit d for dimension d. Results have src's rank, and size 1 in those dimensions:
// kept() makes such a View of a result without them.
#pragma once

#include <cmath>

#include "anygpu/calls/call.h"

namespace anygpu::calls {

/// `reduced` with the dimensions of `mask` put back as size 1: a View of rank `rank`. One that has that rank is returned as it is.
inline anygpu::View kept(anygpu::View reduced, int rank, uint64_t mask) {
  if (reduced.rank() == rank) return reduced;
  for (int d = 0; d < rank; ++d) {
    if (!(mask >> d & 1)) continue;
    reduced.sizes.insert(d, 1);
    reduced.strides.insert(d, 0);
  }
  return reduced;
}

/// Sums and products of bools are "or" and "and". NanSum takes NaN for 0. CountNonzero, ArgMax and ArgMin give i64, Any and All bool or u8.
/// ArgMax and ArgMin: the row-major position within the reduced dimensions, of the first of equals.
enum class Reduction { Sum, Prod, Max, Min, Mean, NanSum, CountNonzero, Any, All, ArgMax, ArgMin };

template <class S = Making>
struct Reduce {
  static constexpr std::string_view names[] = {"sum",           "prod", "amax", "amin",   "mean",  "nansum",
                                               "count_nonzero", "any",  "all",  "argmax", "argmin"};
  Reduction kind;
  View<S> dst, src;
  DType compute;  ///< what src is cast to first; of no account to those whose result's dtype is fixed
  uint64_t mask;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.compute, c.mask);
  }
};

enum class Extremum { Max, Min };

/// The extremum along one dimension, and where it is: the first of equals.
template <class S = Making>
struct ReduceWithIndex {
  static constexpr std::string_view names[] = {"max_with_index", "min_with_index"};
  Extremum kind;
  View<S> values, indices;  ///< indices: i64
  View<S> src;
  uint64_t mask;  ///< of one dimension

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.values, c.indices);
    f.inputs(c.src);
    f.attrs(c.mask);
  }
};

template <class S = Making>
struct AMinMax {
  static constexpr std::string_view name = "aminmax";
  View<S> min, max, src;
  uint64_t mask;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.min, c.max);
    f.inputs(c.src);
    f.attrs(c.mask);
  }
};

/// Variance: sum((x - mean)^2) / max(0, n - correction), in two passes; its root where `root`.
template <class S = Making>
struct Var {
  static constexpr std::string_view name = "var";
  View<S> var;
  Maybe<S> mean;
  View<S> src;
  DType compute;
  uint64_t mask;
  bool root = false;
  Real<S> correction;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.var, c.mean);
    f.inputs(c.src);
    f.attrs(c.compute, c.mask, c.root);
    f.scalars(c.correction);
  }
};

enum class Norm { Zero, One, Two, Inf, NegInf, P };

/// The norm of order p that has a formula of its own, else P.
inline Norm norm_of_order(double p) {
  if (p == 0) return Norm::Zero;
  if (p == 1) return Norm::One;
  if (p == 2) return Norm::Two;
  if (std::isinf(p)) return p > 0 ? Norm::Inf : Norm::NegInf;
  return Norm::P;
}

template <class S = Making>
struct VectorNorm {
  static constexpr std::string_view name = "vector_norm";
  View<S> dst, src;
  DType compute;
  uint64_t mask;
  Norm norm;
  Real<S> p;  ///< the order, for Norm::P

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.src);
    f.attrs(c.compute, c.mask, c.norm);
    f.scalars(c.p);
  }
};

/// Whether all elements are equal.
template <class S = Making>
struct Equal {
  static constexpr std::string_view name = "equal";
  View<S> dst;   ///< bool, one element, of the rank of a
  View<S> a, b;  ///< of one size
  DType compute;

  static constexpr void describe(auto& f, auto& c) {
    f.outputs(c.dst);
    f.inputs(c.a, c.b);
    f.attrs(c.compute);
  }
};

}  // namespace anygpu::calls
