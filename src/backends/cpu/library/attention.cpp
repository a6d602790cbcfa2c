#include "backends/cpu/library/attention.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "backends/cpu/library/rows.h"

namespace anygpu::cpu {
namespace attention {

Problem::Problem(const ir::Named& n, int first, int mask)
    : q(n.operands[first]),
      k(n.operands[first + 1]),
      v(n.operands[first + 2]),
      batch(q.sizes[0]),
      heads(q.sizes[1]),
      kv_heads(k.sizes[1]),
      group(kv_heads ? heads / kv_heads : 0),
      queries(q.sizes[2]),
      keys(k.sizes[2]),
      depth(q.sizes[3]),
      width(v.sizes[3]),
      scale(static_cast<float>(n.attrs.scale)),
      causal(n.attrs.causal),
      lanes(attention::lanes()),
      tile(tile::kernels()),
      strip(lanes.width),
      strips((queries + strip - 1) / strip) {
  if (static_cast<int>(n.operands.size()) > mask) mask_ = n.operands[mask];
}

const float* Problem::mask_panel(const Memory* slots, int64_t b, int64_t h, int64_t i, int64_t key, int64_t n, float* panel) const {
  if (!masked()) return nullptr;
  const int64_t at = mask_.offset + b * mask_.strides[0] + h * mask_.strides[1] + i * strip * mask_.strides[2] + key * mask_.strides[3];
  if (mask_.dtype != DType::Bool) {
    lanes.gather(length(i), n, data_of<float>(mask_, slots) + at, mask_.strides[2], mask_.strides[3], 1, panel);
    return panel;
  }
  const auto* keeps = data_of<uint8_t>(mask_, slots) + at;
  for (int64_t s = 0; s < n; ++s) {
    for (int64_t t = 0; t < strip; ++t) {
      const bool kept = t >= length(i) || keeps[t * mask_.strides[2] + s * mask_.strides[3]];
      panel[s * strip + t] = kept ? 0 : -std::numeric_limits<float>::infinity();
    }
  }
  return panel;
}

float* matrix_of(const ir::Operand& o, const Memory* slots, int64_t b, int64_t h) {
  return data_of<float>(o, slots) + o.offset + b * o.strides[0] + h * o.strides[1];
}

Scratch::Scratch(int64_t floats) {
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  thread_local std::unique_ptr<float, Free> kept;
  thread_local int64_t size = 0;
  floats = (floats + 16 * kPieces) / 16 * 16;
  if (size < floats) {
    kept.reset();
    size = 0;
    kept.reset(static_cast<float*>(std::aligned_alloc(64, floats * 4)));
    if (!kept) throw std::bad_alloc();
    size = floats;
  }
  at_ = kept.get();
}

float* Scratch::take(int64_t floats) {
  float* p = at_;
  at_ += (floats + 15) / 16 * 16;
  return p;
}

KeysAndValues::KeysAndValues(const Problem& p) : p_(p) {
  // Rows some pages apart, or gathered element for element. Below that the copy costs more than it saves.
  auto dense = [](const ir::Operand& o) { return o.strides[3] == 1 && o.strides[2] % 1024 != 0; };
  if (p.keys * (p.depth + p.width) > kLimit || p.strips * p.group < 8) return;
  if (!dense(p.k)) k_floats_ = p.keys * p.depth;
  if (!dense(p.v)) v_floats_ = p.keys * p.width;
}

void KeysAndValues::load(const Memory* slots, int64_t b, int64_t kv) {
  if (b == b_ && kv == kv_) return;
  b_ = b, kv_ = kv;
  auto get = [&](const ir::Operand& o, int64_t floats, float* copy) -> tile::Matrix {
    const float* from = matrix_of(o, slots, b, kv);
    if (!floats) return {from, o.strides[2], o.strides[3]};
    const int64_t columns = o.sizes[3];
    for (int64_t s = 0; s < p_.keys; ++s) {
      const float* row = from + s * o.strides[2];
      if (o.strides[3] == 1) {
        std::copy_n(row, columns, copy + s * columns);
      } else {
        for (int64_t d = 0; d < columns; ++d) copy[s * columns + d] = row[d * o.strides[3]];
      }
    }
    return {copy, columns, 1};
  };
  k = get(p_.k, k_floats_, k_copy_);
  v = get(p_.v, v_floats_, v_copy_);
}

namespace {

/// Keys of a block: with 32 queries a lane, their scores are half of a 32 KiB first-level cache.
constexpr int64_t kKeys = 128;

class Forward final : public PreparedNamed {
 public:
  Forward(const ir::Named& named, CpuLibrary& library) : named_(named), library_(library), p_(named_, 2, 5) {}

  void run(const Memory* slots) override {
    for_units(library_, p_.batch * p_.heads * p_.strips, [&](int64_t begin, int64_t end) {
      const int64_t w = p_.strip;
      KeysAndValues kv(p_);
      Scratch scratch(w * (p_.depth + p_.width + 2 * kKeys + 5) + kv.floats());
      kv.use(scratch);
      Work work{scratch.take(w * p_.depth),
                scratch.take(w * p_.width),
                scratch.take(w * kKeys),
                scratch.take(w * kKeys),
                scratch.take(w),
                scratch.take(w),
                scratch.take(w),
                scratch.take(w),
                scratch.take(w)};
      for (int64_t u = begin; u < end; ++u) {
        const int64_t head = u / p_.strips;
        kv.load(slots, head / p_.heads, head % p_.heads / p_.group);
        run_strip(work, kv, slots, head / p_.heads, head % p_.heads, u % p_.strips);
      }
    });
  }

 private:
  struct Work {
    float *q, *out, *scores, *mask, *top, *sum, *decay, *factors, *logsumexp;
  };

  void run_strip(const Work& x, const KeysAndValues& kv, const Memory* slots, int64_t b, int64_t h, int64_t i) const {
    const ir::Operand &dst = named_.operands[0], &logsumexp = named_.operands[1];
    const int64_t w = p_.strip, first = i * w, n = p_.length(i), seen = p_.seen(i);
    p_.lanes.gather(n, p_.depth, matrix_of(p_.q, slots, b, h) + first * p_.q.strides[2], p_.q.strides[2], p_.q.strides[3], p_.scale, x.q);
    std::fill_n(x.top, w, -std::numeric_limits<float>::infinity());
    std::fill_n(x.sum, w, 0.0f);
    for (int64_t key = 0; key < seen; key += kKeys) {
      const int64_t keys = std::min(kKeys, seen - key);
      p_.tile.multiply(keys, w, p_.depth, {kv.k.data + key * kv.k.row, kv.k.row, kv.k.column}, x.q, {}, x.scores, w);
      const float* mask = p_.mask_panel(slots, b, h, i, key, keys, x.mask);
      const bool decays = p_.lanes.attend(keys, x.scores, mask, p_.diagonal(i, key), x.top, x.sum, x.decay);
      if (key > 0 && decays) p_.lanes.decay(p_.width, x.out, x.decay);
      p_.tile.multiply(p_.width, w, keys, {kv.v.data + key * kv.v.row, kv.v.column, kv.v.row}, x.scores, {key > 0 ? x.out : nullptr, w, 1},
                       x.out, w);
    }
    if (seen == 0) std::fill_n(x.out, w * p_.width, 0.0f);
    p_.lanes.finish(x.top, x.sum, x.factors, x.logsumexp);
    p_.lanes.scatter(n, p_.width, x.out, x.factors, matrix_of(dst, slots, b, h) + first * dst.strides[2], dst.strides[2], dst.strides[3]);
    if (logsumexp.slot < 0) return;
    float* to = matrix_of(logsumexp, slots, b, h) + first * logsumexp.strides[2];
    for (int64_t t = 0; t < n; ++t) to[t * logsumexp.strides[2]] = x.logsumexp[t];
  }

  ir::Named named_;
  CpuLibrary& library_;
  Problem p_;
};

}  // namespace
}  // namespace attention

bool supports_attention(const ir::Named& n) {
  return n.operands[0].dtype == DType::F32;
}

std::unique_ptr<PreparedNamed> prepare_attention(const ir::Named& n, CpuLibrary& library) {
  return std::make_unique<attention::Forward>(n, library);
}

}  // namespace anygpu::cpu
