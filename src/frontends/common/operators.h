// What algorithms are composed of: operators of the catalogue on Arrays. Each returns a new, dense Array unless it says otherwise.
#pragma once

#include "anygpu/calls/index.h"
#include "frontends/common/array.h"

namespace anygpu::common {

// ---- elementwise: arrays of one dtype, which broadcast, and numbers, which take it ----

struct Term {
  const Array* array = nullptr;
  Number number = 0;
  Term(const Array& a) : array(&a) {}
  Term(Number n) : number(n) {}
  Term(double v) : number(v) {}
  Term(int64_t v) : number(v) {}
  Term(int v) : number(v) {}
  Term(bool v) : number(v) {}
};
/// An entry of the catalogue's pointwise tables, computed in `compute`.
Array pointwise(const Op&, DType compute, DType result, std::initializer_list<Term> inputs);

Array operator+(const Array&, Term);
Array operator-(const Array&, Term);
Array operator*(const Array&, Term);
Array operator/(const Array&, Term);
Array floor_divide(const Array&, Number);
Array subtract_from(Number, const Array&);  ///< n - a
Array equal(const Array&, Term);
Array differ(const Array&, Term);
Array less(const Array&, Term);
Array at_least(const Array&, Term);
Array at_most(const Array&, Term);
Array greater(const Array&, Term);
Array not_below(const Array&, Number);
Array not_above(const Array&, Number);
Array clamp(const Array&, Number low, Number high);
Array floor(const Array&);
Array is_nan(const Array&);
Array is_finite(const Array&);
Array both(const Array&, const Array&);    ///< truth values: and
Array either(const Array&, const Array&);  ///< truth values: or
Array negate(const Array&);                ///< truth values: not
/// Where the condition holds `a`, else `b`; of `result`'s dtype.
Array where(const Array& condition, Term a, Term b, DType result);
/// `a`, and the number where the mask holds.
Array filled(const Array& a, const Array& mask, Number);

// ---- along a dimension ----

Array sum(const Array&, int dim, bool keep = false);
/// How many elements are not 0, as i64.
Array count(const Array&, int dim, bool keep = false);
/// Whether any or all elements, of a dimension or of the whole, are not 0.
Array any(const Array&, int dim);
bool any(const Array&);
bool all(const Array&);
Array argmax(const Array&, int dim, bool keep = false);
/// Of the whole, one element each.
struct Extrema {
  Array low, high;
};
Extrema extrema(const Array&);
Array cumsum(const Array&, int dim);
/// Values and places. Sorting is stable, and NaN is greatest.
struct Ordered {
  Array values, order;
};
Ordered sort(const Array&, int dim);
Array running_maximum(const Array&, int dim);
/// The place in `bounds` [.., n] (ascending) of each value [.., m]: before the first that is not less, or, `right`, after the last that is
/// not greater.
Array search(const Array& bounds, const Array& values, bool right);

// ---- by index (i64) ----

/// dst[i, j] = src[i, index[i, j]] for dim = 1
Array gather(const Array&, int dim, const Array& index);
/// The slices of a dimension that a vector names.
Array pick(const Array&, int dim, const Array& index);
/// The places of what is not 0 in a vector. Reads their number from the device.
Array places_of(const Array& mask);

using calls::Combine;  ///< here truth values add as "or" and multiply as "and"
/// dst[i, index[i, j]] op= src[i, j] for dim = 1. `index` and `src` are of one shape.
void scatter(const Array& dst, int dim, const Array& index, const Array& src, Combine);
/// dst[.., index[i], ..] += src[.., i, ..]
void add_at(const Array& dst, int dim, const Array& index, const Array& src);

}  // namespace anygpu::common
