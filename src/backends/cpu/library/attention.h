// Attention and its gradient in f32, in the manner of FlashAttention-2 (Dao 2023): scores live in a core's cache, a strip of queries
// by a block of keys at a time, and never in memory.
//
// A strip is as many queries as a panel of the tile kernels has columns, and lies in lanes (attention/lanes.h). All products are written
// so that what was just computed is the packed right factor of the next one, and the left factor is read where the tensor has it:
//   scores^T[keys, strip] = K @ Q^T          out^T[E, strip] += V^T @ weights^T
// So nothing but the strip's own queries and results is ever transposed, and k and v are not copied.
#pragma once

#include <atomic>
#include <memory>
#include <new>

#include "backends/cpu/attention/lanes.h"
#include "backends/cpu/library/library.h"
#include "backends/cpu/tile/kernels.h"

namespace anygpu::cpu {

inline bool is_attention(ir::NamedKind kind) {
  return kind == ir::NamedKind::Attention || kind == ir::NamedKind::AttentionGrad;
}
bool supports_attention(const ir::Named&);
std::unique_ptr<PreparedNamed> prepare_attention(const ir::Named&, CpuLibrary&);
std::unique_ptr<PreparedNamed> prepare_attention_grad(const ir::Named&, CpuLibrary&);

namespace attention {

/// What the two have in common: sizes, the mask, strips.
class Problem {
 public:
  /// `first`: position of q among the operands, then k and v. `mask`: that of the mask.
  Problem(const ir::Named&, int first, int mask);

  const ir::Operand &q, &k, &v;
  const int64_t batch, heads, kv_heads, group, queries, keys, depth, width;  ///< depth: of q and k; width: of v
  const float scale;
  const bool causal;
  const Lanes& lanes;
  const tile::Kernels& tile;
  const int64_t strip, strips;  ///< queries of a strip; strips of a head

  /// Queries of strip i.
  int64_t length(int64_t i) const { return i + 1 < strips ? strip : queries - i * strip; }
  /// Keys that the queries of strip i see: the first so many.
  int64_t seen(int64_t i) const {
    const int64_t end = i * strip + length(i);
    return causal && end < keys ? end : keys;
  }
  /// Where the diagonal lies in the block of keys from `key` on, as Lanes has it.
  int64_t diagonal(int64_t i, int64_t key) const { return causal ? i * strip - key : INT64_MAX; }

  bool masked() const { return mask_.slot >= 0; }
  /// The mask of a block as a panel, in `panel`, or null where there is none.
  const float* mask_panel(const Memory* slots, int64_t b, int64_t h, int64_t i, int64_t key, int64_t keys, float* panel) const;

 private:
  ir::Operand mask_;
};

/// An operand's matrix of batch b and head h.
float* matrix_of(const ir::Operand& o, const Memory* slots, int64_t b, int64_t h);

/// Floats of a thread's own, kept for the next call. take() gives them out in up to kPieces pieces, each 64-byte aligned.
class Scratch {
 public:
  static constexpr int kPieces = 16;
  /// Throws std::bad_alloc.
  explicit Scratch(int64_t floats);
  float* take(int64_t floats);

 private:
  float* at_;
};

/// k and v of one head as left factors: where they lie, or a dense copy of at most kLimit floats. The products walk over them once a
/// strip, and rows that are a multiple of a page apart would all fall into the same few lines of the caches.
class KeysAndValues {
 public:
  static constexpr int64_t kLimit = 1 << 20;
  KeysAndValues(const Problem&);
  int64_t floats() const { return k_floats_ + v_floats_; }
  void use(Scratch& s) { k_copy_ = s.take(k_floats_), v_copy_ = s.take(v_floats_); }
  /// Sets k and v.
  void load(const Memory* slots, int64_t b, int64_t kv);
  tile::Matrix k, v;  ///< [keys, depth], [keys, width]

 private:
  const Problem& p_;
  int64_t k_floats_ = 0, v_floats_ = 0;
  float *k_copy_ = nullptr, *v_copy_ = nullptr;
  int64_t b_ = -1, kv_ = -1;
};

/// parallel_for over units, whose body may run out of memory: throws Error(OutOfMemory) then.
template <class F>
void for_units(CpuLibrary& library, int64_t units, F&& body) {
  std::atomic<bool> out_of_memory{false};
  parallel_for(library, units, 1, [&](int64_t begin, int64_t end) {
    try {
      body(begin, end);
    } catch (const std::bad_alloc&) {
      out_of_memory = true;
    }
  });
  if (out_of_memory) throw Error(ErrorKind::OutOfMemory, "[attention] no memory for scores");
}

}  // namespace attention
}  // namespace anygpu::cpu
