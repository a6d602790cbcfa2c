#include "frontends/common/order.h"

namespace anygpu::common {

Ordered kthvalue(const Array& a, int64_t k, int dim) {
  const Ordered s = sort(some_dims(a), dim);
  return {narrow(s.values, dim, k - 1, 1), narrow(s.order, dim, k - 1, 1)};
}

Ordered median(const Array& a, int dim, bool ignore_nan) {
  const Array x = some_dims(a);
  const Ordered s = sort(x, dim);
  const int64_t n = x.size(dim), middle = (n - 1) / 2;
  if (!is_float(x.dtype)) return {narrow(s.values, dim, middle, 1), narrow(s.order, dim, middle, 1)};
  const Array numbers = subtract_from(n, count(is_nan(x), dim, /*keep=*/true));  // NaNs are the last of the sorted
  const Array place = ignore_nan ? not_below(floor_divide(numbers - 1, 2), 0) : where(less(numbers, n), numbers, middle, DType::I64);
  return {gather(s.values, dim, place), gather(s.order, dim, place)};
}

Ordered mode(const Array& a, int dim) {
  const Array x = some_dims(a);
  const Ordered s = sort(x, dim);
  const int64_t n = x.size(dim);
  // Each element's run starts at the last change of value up to it; the mode is where the longest run ends.
  const Array at = along(arange(x.device(), n), dim, x.sizes);
  const Array starts = full(x.device(), DType::I64, x.sizes, 0);
  if (n > 1)
    copy_to(narrow(starts, dim, 1, n - 1),
            narrow(at, dim, 1, n - 1) * differ(narrow(s.values, dim, 1, n - 1), narrow(s.values, dim, 0, n - 1)));
  const Array place = argmax(at - running_maximum(starts, dim), dim, /*keep=*/true);
  return {gather(s.values, dim, place), gather(s.order, dim, place)};
}

}  // namespace anygpu::common
