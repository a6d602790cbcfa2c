// What the indexing operators share.
#pragma once

#include "anygpu/calls/index.h"
#include "frontends/common/segments.h"
#include "tensor.h"

namespace anygpu::torch_frontend {

using at::Tensor;

/// `t`, or, of a number, a view of one dimension: the catalogue's indexing operators want a dimension.
Tensor some_dims(const Tensor& t);

/// Running count of the elements that are not 0, in row-major order, and the last of it, which is read from the device (a flush).
struct Counts {
  Tensor before;
  int64_t total = 0;
};
Counts count_nonzeros(const Tensor& mask);

/// A vector of indices along `dim`, repeated over the other dimensions of `sizes`.
Tensor index_along(const Tensor& index, int64_t dim, at::IntArrayRef sizes);

using calls::Combine;
/// How elements of `t`'s dtype combine: truth values add as "or" and multiply as "and".
inline Combine combine_for(Combine c, const Tensor& t) {
  if (t.scalar_type() == at::kBool) c = c == Combine::Add ? Combine::Max : c == Combine::Mul ? Combine::Min : c;
  return c;
}

/// The reductions of scatter_reduce and its kin.
using common::combine_of;
using common::Reduction;
inline Reduction reduction_of(c10::string_view name) {
  if (name == "sum" || name == "add") return Reduction::Sum;
  if (name == "prod" || name == "multiply") return Reduction::Prod;
  if (name == "mean") return Reduction::Mean;
  if (name == "amax" || name == "max") return Reduction::Max;
  if (name == "amin" || name == "min") return Reduction::Min;
  TORCH_CHECK(false, "reduce argument must be either sum, prod, mean, amax or amin, got ", name, ".");
}
/// What leaves the other operand as it is.
at::Scalar identity_of(Reduction, at::ScalarType);

}  // namespace anygpu::torch_frontend
