#include "frontends/common/operators.h"

#include "anygpu/calls/pointwise.h"
#include "anygpu/calls/reduce.h"
#include "anygpu/calls/scan.h"

namespace anygpu::common {

namespace {

int wrap(const Array& a, int dim) {
  return dim < 0 ? dim + a.rank() : dim;
}

Dims broadcast(const Dims& a, const Dims& b) {
  Dims r = a.size() >= b.size() ? a : b;
  const Dims& shorter = a.size() >= b.size() ? b : a;
  const int before = r.size() - shorter.size();
  for (int d = 0; d < shorter.size(); ++d)
    if (r[before + d] == 1) r[before + d] = shorter[d];
  return r;
}

Array elementwise(const Op& op, const Array& a, Term b) {
  return pointwise(op, a.dtype, a.dtype, {a, b});
}
Array comparison(const Op& op, const Array& a, Term b) {
  return pointwise(op, a.dtype, DType::Bool, {a, b});
}
Array unary(const Op& op, const Array& a, DType result) {
  return pointwise(op, a.dtype, result, {a});
}

/// `dim` reduced to 1, or away. The catalogue wants a dimension.
Array reduced(calls::Reduction kind, DType compute, DType result, const Array& a_in, int dim, bool keep) {
  const Array a = some_dims(a_in);
  dim = wrap(a, dim);
  Dims sizes = a.sizes;
  sizes[dim] = 1;
  Array r = make(a.device(), result, sizes);
  if (r.elements()) record(calls::Reduce{.kind = kind, .dst = r, .src = a, .compute = compute, .mask = uint64_t{1} << dim});
  return keep && a_in.rank() ? r : squeeze(r, dim);
}
uint64_t every_dim(const Array& a) {
  return (uint64_t{1} << a.rank()) - 1;
}
bool whole(calls::Reduction kind, const Array& a_in) {
  const Array a = some_dims(a_in);
  Array r = make(a.device(), DType::Bool, Dims::filled(a.rank(), 1));
  record(calls::Reduce{.kind = kind, .dst = r, .src = a, .compute = DType::Bool, .mask = every_dim(a)});
  return read_int(r) != 0;
}

Combine combine_for(Combine c, DType t) {
  if (t == DType::Bool) c = c == Combine::Add ? Combine::Max : c == Combine::Mul ? Combine::Min : c;
  return c;
}

}  // namespace

// ---- elementwise ----

Array pointwise(const Op& op, DType compute, DType result, std::initializer_list<Term> inputs) {
  Dims sizes;
  Device* device = nullptr;
  for (const Term& t : inputs) {
    if (!t.array) continue;
    sizes = broadcast(sizes, t.array->sizes);
    device = &t.array->device();
  }
  Array r = make(*device, result, sizes);
  if (r.elements() == 0) return r;
  calls::Pointwise call(op, compute);
  call.out(r);
  for (const Term& t : inputs) {
    if (t.array)
      call.in(*t.array);
    else
      call.in(t.number.as(compute));
  }
  record(call);
  return r;
}

Array operator+(const Array& a, Term b) {
  return elementwise(ANYGPU_OP("add"), a, b);
}
Array operator-(const Array& a, Term b) {
  return elementwise(ANYGPU_OP("sub"), a, b);
}
Array operator*(const Array& a, Term b) {
  return elementwise(ANYGPU_OP("mul"), a, b);
}
Array operator/(const Array& a, Term b) {
  return elementwise(ANYGPU_OP("div"), a, b);
}
Array floor_divide(const Array& a, Number b) {
  return elementwise(ANYGPU_OP("div_floor"), a, b);
}
Array subtract_from(Number n, const Array& a) {
  return pointwise(ANYGPU_OP("sub"), a.dtype, a.dtype, {n, a});
}
Array equal(const Array& a, Term b) {
  return comparison(ANYGPU_OP("eq"), a, b);
}
Array differ(const Array& a, Term b) {
  return comparison(ANYGPU_OP("ne"), a, b);
}
Array less(const Array& a, Term b) {
  return comparison(ANYGPU_OP("lt"), a, b);
}
Array greater(const Array& a, Term b) {
  return comparison(ANYGPU_OP("gt"), a, b);
}
Array at_least(const Array& a, Term b) {
  return comparison(ANYGPU_OP("ge"), a, b);
}
Array at_most(const Array& a, Term b) {
  return comparison(ANYGPU_OP("le"), a, b);
}
Array not_below(const Array& a, Number n) {
  return elementwise(ANYGPU_OP("maximum"), a, n);
}
Array not_above(const Array& a, Number n) {
  return elementwise(ANYGPU_OP("minimum"), a, n);
}
Array clamp(const Array& a, Number low, Number high) {
  return pointwise(ANYGPU_OP("clamp"), a.dtype, a.dtype, {a, low, high});
}
Array floor(const Array& a) {
  return unary(ANYGPU_OP("floor"), a, a.dtype);
}
Array is_nan(const Array& a) {
  if (!is_float(a.dtype)) return full(a.device(), DType::Bool, a.sizes, false);
  return unary(ANYGPU_OP("isnan"), a, DType::Bool);
}
Array is_finite(const Array& a) {
  if (!is_float(a.dtype)) return full(a.device(), DType::Bool, a.sizes, true);
  return unary(ANYGPU_OP("isfinite"), a, DType::Bool);
}
Array both(const Array& a, const Array& b) {
  return elementwise(ANYGPU_OP("logical_and"), a, b);
}
Array either(const Array& a, const Array& b) {
  return elementwise(ANYGPU_OP("logical_or"), a, b);
}
Array negate(const Array& a) {
  return unary(ANYGPU_OP("logical_not"), a, DType::Bool);
}
Array where(const Array& condition, Term a, Term b, DType result) {
  return pointwise(ANYGPU_OP("where"), result, result, {condition, a, b});
}
Array filled(const Array& a, const Array& mask, Number n) {
  return pointwise(ANYGPU_OP("masked_fill"), a.dtype, a.dtype, {a, mask, n});
}

// ---- along a dimension ----

Array sum(const Array& a, int dim, bool keep) {
  return reduced(calls::Reduction::Sum, a.dtype, a.dtype, a, dim, keep);
}
Array count(const Array& a, int dim, bool keep) {
  return reduced(calls::Reduction::CountNonzero, DType::I64, DType::I64, a, dim, keep);
}
Array any(const Array& a, int dim) {
  return reduced(calls::Reduction::Any, DType::Bool, DType::Bool, a, dim, false);
}
bool any(const Array& a) {
  return a.elements() != 0 && whole(calls::Reduction::Any, a);
}
bool all(const Array& a) {
  return a.elements() == 0 || whole(calls::Reduction::All, a);
}
Array argmax(const Array& a, int dim, bool keep) {
  return reduced(calls::Reduction::ArgMax, DType::I64, DType::I64, a, dim, keep);
}
Extrema extrema(const Array& a_in) {
  const Array a = some_dims(a_in);
  const Dims one = Dims::filled(a.rank(), 1);
  Array low = make(a.device(), a.dtype, one), high = make(a.device(), a.dtype, one);
  record(calls::AMinMax{.min = low, .max = high, .src = a, .mask = every_dim(a)});
  return {low, high};
}

Array cumsum(const Array& a, int dim) {
  Array r = make_like(a);
  if (r.elements()) record(calls::Scan{.kind = calls::Scanned::Sum, .dst = r, .src = a, .compute = a.dtype, .axis = wrap(a, dim)});
  return r;
}
Ordered sort(const Array& a, int dim) {
  Ordered r{make_like(a), make(a.device(), DType::I64, a.sizes)};
  if (a.elements()) record(calls::Sort{.values = r.values, .indices = r.order, .src = a, .axis = wrap(a, dim), .descending = false});
  return r;
}
Array running_maximum(const Array& a, int dim) {
  Array r = make_like(a), where = make(a.device(), DType::I64, a.sizes);
  if (a.elements())
    record(calls::ScanWithIndex{.kind = calls::Extremum::Max, .values = r, .indices = where, .src = a, .axis = wrap(a, dim)});
  return r;
}
Array search(const Array& bounds, const Array& values, bool right) {
  if (bounds.elements() == 0) return full(values.device(), DType::I64, values.sizes, 0);
  Array r = make(values.device(), DType::I64, values.sizes);
  if (r.elements())
    record(calls::SearchSorted{.dst = r, .boundaries = bounds, .values = values, .sorter = {}, .compute = values.dtype, .right = right});
  return r;
}

// ---- by index ----

Array gather(const Array& a, int dim, const Array& index) {
  Array r = make(a.device(), a.dtype, index.sizes);
  if (r.elements()) record(calls::Gather{.dst = r, .src = a, .index = index, .dim = wrap(a, dim)});
  return r;
}
Array pick(const Array& a, int dim, const Array& index) {
  dim = wrap(a, dim);
  Dims sizes = a.sizes;
  sizes[dim] = index.elements();
  Array r = make(a.device(), a.dtype, sizes);
  if (r.elements() == 0) return r;
  if (a.elements() == 0) throw Error(ErrorKind::Index, "index_select(): index out of range in self");
  const ViewArg indices[] = {index};
  record(calls::Index{.dst = r, .src = a, .indices = indices, .before = dim, .wraps = false});
  return r;
}
Array places_of(const Array& mask) {
  const int64_t n = mask.elements();
  if (n == 0) return make(mask.device(), DType::I64, {0});
  Array before = make(mask.device(), DType::I64, {n});
  record(calls::CountBefore{.dst = before, .src = mask});
  const int64_t total = read_int(select(before, 0, n - 1));
  Array r = make(mask.device(), DType::I64, {total, 1});
  if (total) record(calls::Nonzero{.dst = r, .src = mask, .before = before});
  return squeeze(r, 1);
}

void scatter(const Array& dst, int dim, const Array& index, const Array& src, Combine combine) {
  if (index.elements())
    record(calls::Scatter{
        .dst = dst, .index = index, .src = src, .dim = wrap(dst, dim), .combine = combine_for(combine, dst.dtype), .wraps = false});
}
void add_at(const Array& dst, int dim, const Array& index, const Array& src) {
  const ViewArg indices[] = {index};
  if (src.elements() && index.elements())
    record(calls::IndexPut{.dst = dst,
                           .values = src,
                           .indices = indices,
                           .before = wrap(dst, dim),
                           .wraps = false,
                           .combine = combine_for(Combine::Add, dst.dtype)});
}

}  // namespace anygpu::common
