// CpuLibrary: threads, and the Nameds that are done by code written beforehand (oneDNN, sorts, scans). The one door of this folder.
//
// oneDNN and OpenMP live in a shared object of their own, libanygpu_cpu_library.so, opened RTLD_LOCAL|RTLD_DEEPBIND at first
// use: PyTorch exports pieces of its own oneDNN that break the distribution's when their symbols meet. All threads of this
// backend come from there too, because two OpenMP runtimes in one process spin against each other. Where that object or
// libdnnl.so is not on the machine, a pool of std::threads takes its place, and supports() says no to what oneDNN does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <type_traits>

#include "anygpu/buffer.h"
#include "ir/named.h"

namespace anygpu::cpu {

/// Runs indices [begin, end). Must not throw.
using ChunkFn = void (*)(void* ctx, int64_t begin, int64_t end);

/// A Named made ready to run, many times, on other memory each time. run() may be called from any thread, one at a time
/// for one object (it locks), concurrently for different objects.
class PreparedNamed {
 public:
  virtual ~PreparedNamed() = default;
  /// `slots[s]` is the memory of slot s of the Named's operands: host address `handle` + `offset` bytes. What is written overlaps
  /// nothing that is read, but for a matmul's bias and a sort's src, which may be dst (values) itself, element for element.
  /// Throws Error(Internal) "[matmul] ..." where oneDNN fails, Error(OutOfMemory) where scratch cannot be had.
  virtual void run(const Memory* slots) = 0;
};

class CpuLibrary {
 public:
  virtual ~CpuLibrary() = default;

  /// ANYGPU_NUM_THREADS, else OMP_NUM_THREADS, else the cores in the affinity mask; at least 1.
  virtual int threads() const = 0;

  /// Calls fn on disjoint chunks that cover [0, n), each at least `grain` long but for the last, from up to threads() threads, and
  /// returns when all are done. The chunks are a function of n, grain and threads() alone; which thread runs which is not.
  /// One chunk runs on the calling thread and wakes nobody; so does a call from inside another parallel_for.
  virtual void parallel_for(int64_t n, int64_t grain, ChunkFn fn, void* ctx) = 0;

  /// Whether prepare() takes it. Says no to dtypes, semantics and layouts that would need another computation than asked for.
  virtual bool supports(const ir::Named&) const = 0;
  /// As Backend::channel_block.
  virtual int64_t channel_block(const ir::Named&, int operand) const = 0;
  /// Throws Error(Internal) for what supports() denies.
  virtual std::unique_ptr<PreparedNamed> prepare(const ir::Named&) = 0;

  /// "oneDNN 2.6.3", or "no oneDNN: <why>".
  virtual std::string version() const = 0;
};

inline bool is_convolution(ir::NamedKind k) {
  return k == ir::NamedKind::Conv || k == ir::NamedKind::ConvSrcGrad || k == ir::NamedKind::ConvWeightGrad;
}

/// The process's library, opened at the first call and never closed. Never throws; thread-safe.
CpuLibrary& library();

/// parallel_for with a lambda: f(begin, end).
template <class F>
void parallel_for(CpuLibrary& lib, int64_t n, int64_t grain, F&& f) {
  using Fn = std::remove_reference_t<F>;
  lib.parallel_for(
      n, grain, [](void* ctx, int64_t begin, int64_t end) { (*static_cast<Fn*>(ctx))(begin, end); },
      const_cast<void*>(static_cast<const void*>(&f)));
}

}  // namespace anygpu::cpu
