// Histograms of one or several dimensions, by frontends/common/counting.h.
#include <ATen/WrapDimUtils.h>

#include "arrays.h"
#include "frontends/common/counting.h"
#include "index.h"
#include "structured.h"

namespace anygpu::torch_frontend {
namespace {

/// Counts (or weights) of the points [n, d] between `edges`, one ascending vector a dimension; the last bin includes its end.
Tensor histogram_of(const Tensor& points, at::TensorList edges, const std::optional<Tensor>& weight, bool density) {
  const Tensor w = weight && weight->defined() ? weight->reshape({points.size(0)}) : Tensor();
  return tensor_of(composed([&] {
    std::vector<common::Array> arrays;
    for (const Tensor& e : edges) arrays.push_back(array_of(e));
    return common::histogram(array_of(points), arrays, array_of(w), density);
  }));
}

void check(const Tensor& self, size_t dims, const std::optional<Tensor>& weight) {
  TORCH_CHECK(self.dim() >= 2, "torch.histogramdd: input tensor should have at least 2 dimensions, but got ", self.dim());
  TORCH_CHECK(static_cast<int64_t>(dims) == self.size(-1), "torch.histogramdd: expected ", self.size(-1), " sequences of bin edges for a ",
              self.size(-1), "-dimensional histogram but got ", dims);
  want_float(self);
  if (!weight || !weight->defined()) return;
  TORCH_CHECK(weight->dtype() == self.dtype(),
              "torch.histogramdd: if weight tensor is provided, input tensor and weight tensor should have the same dtype, but got input(",
              self.dtype(), ")", ", and weight(", weight->dtype(), ")");
  TORCH_CHECK(weight->sizes() == self.sizes().slice(0, self.sizes().size() - 1),
              "torch.histogramdd: if weight tensor is provided it should have the same shape as the input tensor excluding its innermost "
              "dimension, but got input with shape ",
              self.sizes(), " and weight with shape ", weight->sizes());
}
void check_edges(at::TensorList edges, const Tensor& self) {
  for (size_t d = 0; d < edges.size(); ++d) {
    TORCH_CHECK(edges[d].dtype() == self.dtype(),
                "torch.histogramdd: input tensor and bins tensors should have the same dtype, but got input with dtype ", self.dtype(),
                " and bins for dimension ", d, " with dtype ", edges[d].dtype());
    TORCH_CHECK(edges[d].dim() == 1, "torch.histogramdd: bins tensor should have one dimension, but got ", edges[d].dim(),
                " dimensions in the bins tensor for dimension ", d);
    TORCH_CHECK(edges[d].numel() > 0, "torch.histogramdd: bins tensor should have at least 1 element, but got ", edges[d].numel(),
                " elements in the bins tensor for dimension ", d);
  }
}
Tensor points_of(const Tensor& self) {
  return self.reshape({self.numel() / std::max<int64_t>(self.size(-1), 1), self.size(-1)});
}

/// Evenly spaced edges over the given ranges, or the data's.
std::vector<Tensor> even_edges(const Tensor& self, at::IntArrayRef bins, std::optional<at::ArrayRef<double>> range) {
  TORCH_CHECK(!range || range->size() == bins.size() * 2, "torch.histogramdd: for a ", bins.size(),
              "-dimensional histogram range should have ", bins.size() * 2, " elements, but got ", range ? range->size() : 0);
  const Tensor points = points_of(self);
  Tensor low, high;
  if (!range && points.size(0)) {
    auto [a, b] = at::aminmax(points, 0);
    low = a.to(at::kDouble).cpu();
    high = b.to(at::kDouble).cpu();
  }
  std::vector<Tensor> edges;
  for (size_t d = 0; d < bins.size(); ++d) {
    TORCH_CHECK(bins[d] > 0, "torch.histogramdd(): bins must be > 0, but got ", bins[d], " for dimension ", d);
    double from = 0, to = 1;
    if (range) {
      from = (*range)[2 * d];
      to = (*range)[2 * d + 1];
    } else if (low.defined()) {
      from = low.data_ptr<double>()[d];
      to = high.data_ptr<double>()[d];
    }
    TORCH_CHECK(std::isfinite(from) && std::isfinite(to), "torch.histogramdd: dimension ", d, "'s range [", from, ", ", to,
                "] is not finite");
    TORCH_CHECK(from <= to, "torch.histogramdd: min should not exceed max, but got min ", from, " max ", to, " for dimension ", d);
    if (from == to) {
      from -= 0.5;
      to += 0.5;
    }
    edges.push_back(at::linspace(from, to, bins[d] + 1, self.options()));
  }
  return edges;
}

void check_counts(const Tensor& self, at::IntArrayRef bins) {
  TORCH_CHECK(self.dim() < 2 || static_cast<int64_t>(bins.size()) == self.size(-1),
              "histogramdd: The size of bins must be equal to the innermost dimension of the input.");
}
std::vector<Tensor> dd_edges(const Tensor& self, at::IntArrayRef bins, std::optional<at::ArrayRef<double>> range,
                             const std::optional<Tensor>& weight, bool) {
  check_counts(self, bins);
  check(self, bins.size(), weight);
  return even_edges(self, bins, range);
}
Tensor dd_from_counts(const Tensor& self, at::IntArrayRef bins, std::optional<at::ArrayRef<double>> range,
                      const std::optional<Tensor>& weight, bool density) {
  check_counts(self, bins);
  check(self, bins.size(), weight);
  return histogram_of(points_of(self), even_edges(self, bins, range), weight, density);
}
Tensor dd_from_tensors(const Tensor& self, at::TensorList bins, const std::optional<Tensor>& weight, bool density) {
  check(self, bins.size(), weight);
  check_edges(bins, self);
  return histogram_of(points_of(self), bins, weight, density);
}

std::tuple<Tensor, Tensor> histogram_tensor(const Tensor& self, const Tensor& bins, const std::optional<Tensor>& weight, bool density) {
  const Tensor column = self.reshape({self.numel(), 1});
  const std::optional<Tensor> w = weight && weight->defined() ? std::optional(weight->reshape({weight->numel()})) : std::nullopt;
  check(column, 1, w);
  check_edges({bins}, self);
  return {histogram_of(column, {bins}, w, density), bins.clone()};
}
std::tuple<Tensor, Tensor> histogram_count(const Tensor& self, int64_t bins, std::optional<at::ArrayRef<double>> range,
                                           const std::optional<Tensor>& weight, bool density) {
  const Tensor column = self.reshape({self.numel(), 1});
  const std::optional<Tensor> w = weight && weight->defined() ? std::optional(weight->reshape({weight->numel()})) : std::nullopt;
  check(column, 1, w);
  auto edges = even_edges(column, {bins}, range);
  return {histogram_of(column, edges, w, density), edges[0]};
}
std::tuple<Tensor&, Tensor&> give(const std::tuple<Tensor, Tensor>& from, Tensor& hist, Tensor& edges) {
  for (auto [src, dst] : {std::pair(std::get<0>(from), hist), std::pair(std::get<1>(from), edges)}) {
    TORCH_CHECK(src.dtype() == dst.dtype(), "torch.histogram: input tensor and hist tensor should have the same dtype, but got input ",
                src.dtype(), " and hist ", dst.dtype());
    at::native::resize_output(dst, src.sizes());
    dst.copy_(src);
  }
  return {hist, edges};
}
std::tuple<Tensor&, Tensor&> histogram_tensor_out(const Tensor& self, const Tensor& bins, const std::optional<Tensor>& weight, bool density,
                                                  Tensor& hist, Tensor& edges) {
  return give(histogram_tensor(self, bins, weight, density), hist, edges);
}
std::tuple<Tensor&, Tensor&> histogram_count_out(const Tensor& self, int64_t bins, std::optional<at::ArrayRef<double>> range,
                                                 const std::optional<Tensor>& weight, bool density, Tensor& hist, Tensor& edges) {
  return give(histogram_count(self, bins, range, weight, density), hist, edges);
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  on<at::_ops::_histogramdd_bin_edges, dd_edges>(m);
  on<at::_ops::_histogramdd_from_bin_cts, dd_from_counts>(m);
  on<at::_ops::_histogramdd_from_bin_tensors, dd_from_tensors>(m);
  on<at::_ops::histogram_bins_tensor, histogram_tensor>(m);
  on<at::_ops::histogram_bin_ct, histogram_count>(m);
  on<at::_ops::histogram_bins_tensor_out, histogram_tensor_out>(m);
  on<at::_ops::histogram_bin_ct_out, histogram_count_out>(m);
}

}  // namespace
}  // namespace anygpu::torch_frontend
