#include "backends/cpu/library/module/gemv.h"

#include <algorithm>
#include <cstring>

#include "backends/cpu/library/module/scratch.h"
#include "backends/cpu/library/module/team.h"

#if defined(__x86_64__) && !defined(ANYGPU_SANITIZE_ADDRESS) && !defined(ANYGPU_SANITIZE_THREAD)
#define ANYGPU_CLONES __attribute__((target_clones("avx512f", "arch=haswell", "default")))
#else
#define ANYGPU_CLONES
#endif

namespace anygpu::cpu {
namespace {

typedef float Lanes __attribute__((vector_size(64)));
constexpr int64_t kWidth = sizeof(Lanes) / sizeof(float);
constexpr int64_t kBlock = 8 * kWidth;  // rows that are summed at once where columns are dense
constexpr int64_t kGrain = 32768;       // multiplications that are worth waking a thread for

/// y[i] = a[i][0..depth) . x, four rows at a time, so that x is loaded once for the four.
ANYGPU_CLONES void dot_rows(int64_t rows, int64_t depth, const float* a, int64_t row_stride, const float* x, float* y) {
  for (int64_t i = 0; i < rows; i += 4) {
    int64_t n = std::min<int64_t>(4, rows - i);
    const float* p[4];
    for (int64_t r = 0; r < 4; ++r) p[r] = a + (i + std::min(r, n - 1)) * row_stride;
    Lanes even[4] = {}, odd[4] = {};
    int64_t k = 0;
    for (; k + 2 * kWidth <= depth; k += 2 * kWidth) {
      Lanes x0, x1;
      std::memcpy(&x0, x + k, sizeof x0);
      std::memcpy(&x1, x + k + kWidth, sizeof x1);
      for (int r = 0; r < 4; ++r) {
        Lanes a0, a1;
        std::memcpy(&a0, p[r] + k, sizeof a0);
        std::memcpy(&a1, p[r] + k + kWidth, sizeof a1);
        even[r] += a0 * x0;
        odd[r] += a1 * x1;
      }
    }
    for (int64_t r = 0; r < n; ++r) {
      Lanes lanes = even[r] + odd[r];
      float sum = 0;
      for (int64_t l = 0; l < kWidth; ++l) sum += lanes[l];
      for (int64_t j = k; j < depth; ++j) sum += p[r][j] * x[j];
      y[i + r] = sum;
    }
  }
}

/// y[i] = sum over k of a[k][i] * x[k] for kBlock neighbouring i.
ANYGPU_CLONES void add_columns(int64_t depth, const float* a, int64_t column_stride, const float* x, float* y) {
  Lanes sums[8] = {};
  for (int64_t k = 0; k < depth; ++k) {
    const float* column = a + k * column_stride;
    for (int b = 0; b < 8; ++b) {
      Lanes v;
      std::memcpy(&v, column + b * kWidth, sizeof v);
      sums[b] += v * x[k];
    }
  }
  std::memcpy(y, sums, sizeof sums);
}

void add_few_columns(int64_t rows, int64_t depth, const float* a, int64_t column_stride, const float* x, float* y) {
  std::fill_n(y, rows, 0.0f);
  for (int64_t k = 0; k < depth; ++k) {
    for (int64_t i = 0; i < rows; ++i) y[i] += a[k * column_stride + i] * x[k];
  }
}

class GemvRun final : public PreparedNamed {
 public:
  explicit GemvRun(const Gemv& g) : g_(g), rows_dense_(g.a.k == 1 || g.depth == 1) {}

  void run(const Memory* slots) override {
    const int64_t batches = product(g_.batch), blocks = (g_.rows + kBlock - 1) / kBlock;
    const bool gather = g_.x.k != 1 && g_.depth > 1;
    ScratchLease scratch(gather ? batches * g_.depth * sizeof(float) : 0, "matmul");
    float* gathered = reinterpret_cast<float*>(scratch.data());
    if (gather) {
      team_parallel_for(batches, std::max<int64_t>(1, kGrain / g_.depth), [&](int64_t begin, int64_t end) {
        for (int64_t b = begin; b < end; ++b) {
          const float* x = at(g_.x, b, slots);
          for (int64_t k = 0; k < g_.depth; ++k) gathered[b * g_.depth + k] = x[k * g_.x.k];
        }
      });
    }
    team_parallel_for(
        batches * blocks, std::max<int64_t>(1, kGrain / (std::min(kBlock, g_.rows) * g_.depth)), [&](int64_t begin, int64_t end) {
          for (int64_t task = begin; task < end; ++task) {
            int64_t b = task / blocks, first = task % blocks * kBlock;
            run_block(slots, b, first, std::min(kBlock, g_.rows - first), gather ? gathered + b * g_.depth : at(g_.x, b, slots));
          }
        });
  }

 private:
  float* at(const Gemv::Array& array, int64_t b, const Memory* slots) const {
    int64_t element = array.offset;
    for (int d = g_.batch.size() - 1; d >= 0; --d) {
      element += b % g_.batch[d] * array.batch[d];
      b /= g_.batch[d];
    }
    const Memory& m = slots[array.slot];
    return reinterpret_cast<float*>(static_cast<char*>(m.handle) + m.offset) + element;
  }

  void run_block(const Memory* slots, int64_t b, int64_t first, int64_t n, const float* x) const {
    float sums[kBlock];
    const float* a = at(g_.a, b, slots) + first * g_.a.i;
    if (rows_dense_)
      dot_rows(n, g_.depth, a, g_.a.i, x, sums);
    else if (n == kBlock)
      add_columns(g_.depth, a, g_.a.k, x, sums);
    else
      add_few_columns(n, g_.depth, a, g_.a.k, x, sums);
    float* y = at(g_.y, b, slots) + first * g_.y.i;
    if (g_.bias.slot >= 0) {
      const float* bias = at(g_.bias, b, slots) + first * g_.bias.i;
      for (int64_t i = 0; i < n; ++i) y[i * g_.y.i] = sums[i] + bias[i * g_.bias.i];
    } else {
      for (int64_t i = 0; i < n; ++i) y[i * g_.y.i] = sums[i];
    }
  }

  Gemv g_;
  bool rows_dense_;
};

}  // namespace

std::unique_ptr<PreparedNamed> make_gemv(const Gemv& g) {
  if (g.a.k != 1 && g.depth != 1 && g.a.i != 1) return nullptr;
  return std::make_unique<GemvRun>(g);
}

}  // namespace anygpu::cpu
