// How [0, n) is cut into chunks and shared among a team of threads: each thread owns a contiguous run of chunks, so that the same thread
// meets the same data in kernel after kernel, and takes others' chunks once its own are done, so that a descheduled thread delays
// nobody.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>

namespace anygpu::cpu {

inline constexpr int kMaxThreads = 256;
inline constexpr int kChunksPerThread = 4;

/// Set in each thread that runs chunks: a nested call must not start a second team.
inline thread_local bool inside_team = false;

struct Chunks {
  int64_t n, length, count;

  Chunks(int64_t n, int64_t grain, int threads) : n(n) {
    int64_t shares = static_cast<int64_t>(threads) * kChunksPerThread;
    length = threads == 1 ? n : std::max(std::max<int64_t>(grain, 1), (n + shares - 1) / shares);
    count = n <= length ? 1 : (n + length - 1) / length;
  }
};

/// Runs fn(ctx, begin, end) on all chunks. team(body, state, threads) must call body(state, w) from several threads, each with its own w
/// in [0, threads), w = 0 always among them, and return when all have returned; fewer threads than asked for will do.
template <class Fn, class Team>
void run_chunks(int64_t n, int64_t grain, int threads, Fn fn, void* ctx, Team&& team) {
  if (n <= 0) return;
  Chunks chunks(n, grain, inside_team ? 1 : threads);
  if (chunks.count == 1) return fn(ctx, 0, n);

  struct alignas(64) Share {
    std::atomic<int64_t> next;
    int64_t end;
    Share() {}
  };
  struct State {
    const Chunks& chunks;
    int threads;
    Fn fn;
    void* ctx;
    Share shares[kMaxThreads];  // only the first `threads` are touched
    State(const Chunks& chunks, int threads, Fn fn, void* ctx) : chunks(chunks), threads(threads), fn(fn), ctx(ctx) {}
  } state(chunks, threads, fn, ctx);
  for (int t = 0; t < threads; ++t) {
    state.shares[t].next.store(chunks.count * t / threads, std::memory_order_relaxed);
    state.shares[t].end = chunks.count * (t + 1) / threads;
  }
  auto body = [](void* p, int worker) {
    State& s = *static_cast<State*>(p);
    inside_team = true;
    for (int i = 0; i < s.threads; ++i) {
      Share& share = s.shares[(worker + i) % s.threads];
      for (;;) {
        int64_t c = share.next.fetch_add(1, std::memory_order_relaxed);
        if (c >= share.end) break;
        int64_t begin = c * s.chunks.length;
        s.fn(s.ctx, begin, std::min(begin + s.chunks.length, s.chunks.n));
      }
    }
    inside_team = false;
  };
  team(+body, &state, threads);
}

}  // namespace anygpu::cpu
