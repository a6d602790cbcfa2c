// What attention does between its matrix products, for a strip of `width` queries, one a lane.
//
// A panel is a matrix of any number of rows and one column a query: element (r, q) at panel[r * width + q], 64-byte aligned. That is
// how tile::Kernels has its right factor packed, so scores go from product to product as they are. The maximum and the sum over
// keys are vertical: no lane ever looks at another.
#pragma once

#include <cstdint>

namespace anygpu::cpu::attention {

struct Lanes {
  const char* name;
  int64_t width;  ///< that of a panel of tile::kernels()

  /// panel(r, q) = factor * from[q * query + r * row], 0 for q >= queries.
  void (*gather)(int64_t queries, int64_t rows, const float* from, int64_t query, int64_t row, float factor, float* panel);
  /// to[q * query + r * row] = panel(r, q) * factors[q], q < queries.
  void (*scatter)(int64_t queries, int64_t rows, const float* panel, const float* factors, float* to, int64_t query, int64_t row);

  /// One block of keys of the online softmax. scores(k, q) += mask(k, q), if mask is there, and is -inf where k > diagonal + q.
  /// Then top becomes the maximum so far, scores exp(scores - top), decay what older sums must be multiplied by, and sum is brought up
  /// to date. top starts as -inf, sum as 0. A lane that has seen but -inf has top -inf, sum 0. Whether any decay is not 1.
  bool (*attend)(int64_t keys, float* scores, const float* mask, int64_t diagonal, float* top, float* sum, float* decay);
  /// panel(r, q) *= decay[q]
  void (*decay)(int64_t rows, float* panel, const float* decay);
  /// factors = 1 / sum, or 0 where sum is; logsumexp = top + log(sum).
  void (*finish)(const float* top, const float* sum, float* factors, float* logsumexp);

  /// sums[q] = sum over r of a(r, q) * b(r, q).
  void (*dot)(int64_t rows, const float* a, const float* b, float* sums);
  /// The gradient: scores become p = exp(scores + mask - logsumexp), 0 where k > diagonal + q; grads become p * (grads - delta) * scale.
  /// logsumexp must not be -inf: 0 does for a lane that has seen but -inf.
  void (*differentiate)(int64_t keys, float* scores, float* grads, const float* mask, int64_t diagonal, const float* logsumexp,
                        const float* delta, float scale);
};

/// The table for the instruction set of tile::kernels().
const Lanes& lanes();

}  // namespace anygpu::cpu::attention
