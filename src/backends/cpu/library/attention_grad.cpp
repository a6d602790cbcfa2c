// The gradient of attention. The weights are computed again from logsumexp, block by block; with lanes for queries:
//   weights^T = exp(K @ Q^T - logsumexp)      dweights^T = V @ dOut^T      dscores^T = weights^T * (dweights^T - delta) * scale
//   dV += weights^T @ dOut                    dK += dscores^T @ Q          dQ^T += K^T @ dscores^T
#include <algorithm>
#include <cmath>
#include <limits>

#include "backends/cpu/library/attention.h"
#include "backends/cpu/library/rows.h"

namespace anygpu::cpu {
namespace attention {
namespace {

constexpr int64_t kGradKeys = 64;          // of a block
constexpr int64_t kShare = 2 * kGradKeys;  // of a unit, where the keys of a head are shared out

class Backward final : public PreparedNamed {
 public:
  Backward(const ir::Named& named, CpuLibrary& library)
      : named_(named),
        library_(library),
        p_(named_, 4, 9),
        dq_(named_.operands[0]),
        dk_(named_.operands[1]),
        dv_(named_.operands[2]),
        grad_(named_.operands[3]),
        dst_(named_.operands[7]),
        logsumexp_(named_.operands[8]),
        depth_row_(padded(p_.depth)),
        width_row_(padded(p_.width)),
        dk_in_place_(depth_row_ == p_.depth && dk_.strides[3] == 1),
        dv_in_place_(width_row_ == p_.width && dv_.strides[3] == 1) {}

  void run(const Memory* slots) override {
    // A head at a time, five products a block; or, where heads are too few to keep all threads busy, dk and dv first and dq after,
    // which takes seven, but is cut as finely as need be. Sums are made in the same order, to the same bits.
    const int64_t heads = p_.batch * p_.kv_heads, threads = library_.threads();
    if (5 * threads * ((heads + threads - 1) / threads) <= 7 * heads) {
      for_units(library_, heads, [&](int64_t begin, int64_t end) {
        for (int64_t u = begin; u < end; ++u) run_keys(slots, u / p_.kv_heads, u % p_.kv_heads, 0, p_.keys, true);
      });
      return;
    }
    const int64_t shares = (p_.keys + kShare - 1) / kShare;
    for_units(library_, heads * shares, [&](int64_t begin, int64_t end) {
      for (int64_t u = begin; u < end; ++u) {
        const int64_t head = u / shares, key = u % shares * kShare;
        run_keys(slots, head / p_.kv_heads, head % p_.kv_heads, key, std::min(key + kShare, p_.keys), false);
      }
    });
    for_units(library_, p_.batch * p_.heads * p_.strips, [&](int64_t begin, int64_t end) {
      KeysAndValues kv(p_);
      Scratch scratch(work_floats() + kv.floats());
      Work x = work(scratch);
      kv.use(scratch);
      for (int64_t u = begin; u < end; ++u) {
        const int64_t head = u / p_.strips;
        kv.load(slots, head / p_.heads, head % p_.heads / p_.group);
        run_strip(x, kv, slots, head / p_.heads, head % p_.heads, u % p_.strips, 0, p_.keys, true, false);
      }
    });
  }

 private:
  struct Work {
    float *q, *grad, *packed_q, *packed_grad, *dq, *scores, *dscores, *mask, *logsumexp, *delta, *ones;
    float *dk = nullptr, *dv = nullptr;  ///< of the first key
    int64_t dk_row = 0, dv_row = 0;
    int64_t begun = 0;  ///< dk and dv of keys from here on hold nothing yet
  };

  /// Sums have rows of whole panels, which the tile kernels write without care for tails.
  int64_t padded(int64_t n) const { return (n + p_.tile.width - 1) / p_.tile.width * p_.tile.width; }

  int64_t work_floats() const {
    const int64_t w = p_.strip;
    return w * (2 * p_.depth + std::max(p_.width, p_.depth) + p_.width + depth_row_ + width_row_ + 3 * kGradKeys + 3);
  }
  Work work(Scratch& s) const {
    const int64_t w = p_.strip;
    Work x;
    x.q = s.take(w * p_.depth);
    x.grad = s.take(w * p_.width);
    x.packed_q = s.take(w * depth_row_);
    x.packed_grad = s.take(w * width_row_);
    x.dq = s.take(w * std::max(p_.depth, p_.width));  // holds dst, too, until delta is known
    x.scores = s.take(w * kGradKeys);
    x.dscores = s.take(w * kGradKeys);
    x.mask = s.take(w * kGradKeys);
    x.logsumexp = s.take(w);
    x.delta = s.take(w);
    x.ones = s.take(w);
    std::fill_n(x.ones, w, 1.0f);
    return x;
  }

  /// dk and dv of keys [begin, end) of one head; dq of the queries of that head, too, where it is asked for.
  void run_keys(const Memory* slots, int64_t b, int64_t kv, int64_t begin, int64_t end, bool wants_dq) const {
    const int64_t keys = end - begin;
    KeysAndValues keys_and_values(p_);
    Scratch scratch(work_floats() + keys_and_values.floats() + (dk_in_place_ ? 0 : keys * depth_row_) +
                    (dv_in_place_ ? 0 : keys * width_row_));
    Work x = work(scratch);
    keys_and_values.use(scratch);
    keys_and_values.load(slots, b, kv);
    float *dk = matrix_of(dk_, slots, b, kv) + begin * dk_.strides[2], *dv = matrix_of(dv_, slots, b, kv) + begin * dv_.strides[2];
    x.dk = dk_in_place_ ? dk : scratch.take(keys * depth_row_);
    x.dv = dv_in_place_ ? dv : scratch.take(keys * width_row_);
    x.dk_row = dk_in_place_ ? dk_.strides[2] : depth_row_;
    x.dv_row = dv_in_place_ ? dv_.strides[2] : width_row_;
    x.begun = begin;
    for (int64_t h = kv * p_.group; h < (kv + 1) * p_.group; ++h) {
      for (int64_t i = 0; i < p_.strips; ++i) run_strip(x, keys_and_values, slots, b, h, i, begin, end, wants_dq, true);
    }
    for (int64_t s = x.begun - begin; s < keys; ++s) {
      std::fill_n(x.dk + s * x.dk_row, depth_row_, 0.0f);
      std::fill_n(x.dv + s * x.dv_row, width_row_, 0.0f);
    }
    if (!dk_in_place_) copy_out(keys, p_.depth, x.dk, depth_row_, dk, dk_);
    if (!dv_in_place_) copy_out(keys, p_.width, x.dv, width_row_, dv, dv_);
  }

  static void copy_out(int64_t rows, int64_t columns, const float* from, int64_t row, float* to, const ir::Operand& o) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t c = 0; c < columns; ++c) to[r * o.strides[2] + c * o.strides[3]] = from[r * row + c];
    }
  }

  void run_strip(Work& x, const KeysAndValues& kv, const Memory* slots, int64_t b, int64_t h, int64_t i, int64_t begin, int64_t end,
                 bool wants_dq, bool wants_dkv) const {
    const int64_t w = p_.strip, first = i * w, n = p_.length(i);
    end = std::min(end, p_.seen(i));
    if (begin >= end && !wants_dq) return;
    auto strip_of = [&](const ir::Operand& o) { return matrix_of(o, slots, b, h) + first * o.strides[2]; };
    p_.lanes.gather(n, p_.depth, strip_of(p_.q), p_.q.strides[2], p_.q.strides[3], p_.scale, x.q);
    p_.lanes.gather(n, p_.width, strip_of(grad_), grad_.strides[2], grad_.strides[3], 1, x.grad);
    p_.lanes.gather(n, p_.width, strip_of(dst_), dst_.strides[2], dst_.strides[3], 1, x.dq);
    p_.lanes.dot(p_.width, x.grad, x.dq, x.delta);
    const float* lse = strip_of(logsumexp_);
    for (int64_t t = 0; t < w; ++t) {
      const float l = t < n ? lse[t * logsumexp_.strides[2]] : 0;
      x.logsumexp[t] = l == -std::numeric_limits<float>::infinity() ? 0 : l;
    }
    if (wants_dkv) {
      p_.tile.pack(n, p_.depth, {strip_of(p_.q), p_.q.strides[2], p_.q.strides[3]}, x.packed_q);
      p_.tile.pack(n, p_.width, {strip_of(grad_), grad_.strides[2], grad_.strides[3]}, x.packed_grad);
    }
    const auto [k, k_row, k_column] = kv.k;
    const auto [v, v_row, v_column] = kv.v;
    for (int64_t key = begin; key < end; key += kGradKeys) {
      const int64_t keys = std::min(kGradKeys, end - key);
      p_.tile.multiply(keys, w, p_.depth, {k + key * k_row, k_row, k_column}, x.q, {}, x.scores, w);
      p_.tile.multiply(keys, w, p_.width, {v + key * v_row, v_row, v_column}, x.grad, {}, x.dscores, w);
      const float* mask = p_.mask_panel(slots, b, h, i, key, keys, x.mask);
      p_.lanes.differentiate(keys, x.scores, x.dscores, mask, p_.diagonal(i, key), x.logsumexp, x.delta, p_.scale);
      if (wants_dkv) {
        const int64_t old = std::clamp<int64_t>(x.begun - key, 0, keys);
        auto add = [&](int64_t first, int64_t rows, bool begun) {
          if (rows == 0) return;
          float *dv = x.dv + (key + first - begin) * x.dv_row, *dk = x.dk + (key + first - begin) * x.dk_row;
          p_.tile.multiply(rows, width_row_, n, {x.scores + first * w, w, 1}, x.packed_grad, {begun ? dv : nullptr, x.dv_row, 1}, dv,
                           x.dv_row);
          p_.tile.multiply(rows, depth_row_, n, {x.dscores + first * w, w, 1}, x.packed_q, {begun ? dk : nullptr, x.dk_row, 1}, dk,
                           x.dk_row);
        };
        add(0, old, true);
        add(old, keys - old, false);
        x.begun = std::max(x.begun, key + keys);
      }
      if (wants_dq) {
        p_.tile.multiply(p_.depth, w, keys, {k + key * k_row, k_column, k_row}, x.dscores, {key > begin ? x.dq : nullptr, w, 1}, x.dq, w);
      }
    }
    if (!wants_dq) return;
    if (begin >= end) std::fill_n(x.dq, w * p_.depth, 0.0f);
    p_.lanes.scatter(n, p_.depth, x.dq, x.ones, strip_of(dq_), dq_.strides[2], dq_.strides[3]);
  }

  ir::Named named_;
  CpuLibrary& library_;
  Problem p_;
  const ir::Operand &dq_, &dk_, &dv_, &grad_, &dst_, &logsumexp_;
  int64_t depth_row_, width_row_;
  bool dk_in_place_, dv_in_place_;
};

}  // namespace
}  // namespace attention

std::unique_ptr<PreparedNamed> prepare_attention_grad(const ir::Named& n, CpuLibrary& library) {
  return std::make_unique<attention::Backward>(n, library);
}

}  // namespace anygpu::cpu
