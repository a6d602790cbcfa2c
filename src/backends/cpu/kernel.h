// Kernel: machine code for one KernelSpec. The cache makes each once in a process, several at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backends/cache/code_cache.h"
#include "spec.h"

namespace anygpu::cpu {

/// What a function of a kernel runs over: row x block x chunk, or row x block, or that only where there is more than one chunk.
enum class Over { Chunks, Blocks, BlocksIfChunked };

/// The functions of a kernel, by name, to run one after another.
struct KernelCode {
  std::vector<std::string> functions;
  std::vector<Over> over;
};

/// May still be in the making.
class Kernel {
 public:
  using Function = void (*)(const int64_t* parameters, int64_t begin, int64_t end);
  struct Entry {
    Function function;
    Over over;
  };
  using Entries = std::vector<Entry>;  ///< to run one after another
  struct Made {
    Entries entries;
    std::shared_ptr<void> loaded;  ///< keeps their code in the process
  };

  explicit Kernel(std::shared_future<Made> made) : made_(std::move(made)) {}
  /// Waits for the code. Throws Error(Internal) where there is none.
  const Entries& entries() const { return made_.get().entries; }

 private:
  std::shared_future<Made> made_;
};

class KernelCache {
 public:
  /// Any thread; does not wait. The code comes from memory, else from disk, else is compiled, on a thread of its own, and counted.
  /// `also`: tails of vectors that do as well as the Spec's, if there is a kernel with one: so that a length that the lanes divide
  /// compiles nothing where others came before it.
  std::shared_ptr<const Kernel> get(const KernelSpec&, const std::vector<Tail>& also = {});
  /// Kernels in memory: no more than kept_kernels(), and what Programs hold.
  int64_t kept();
  void keep(size_t most);  ///< for tests
  int64_t compiled() const { return compiled_.load(std::memory_order_relaxed); }

 private:
  struct Task {
    size_t nodes;  ///< of the body: how long it takes, roughly
    std::packaged_task<Kernel::Made()> make;
  };
  static bool shorter(const Task& a, const Task& b) { return a.nodes < b.nodes; }
  Kernel::Made make(const KernelSpec&, const std::string& key);
  void work();

  std::mutex mutex_;
  CodeCache<std::string, const Kernel> kernels_;
  std::vector<Task> queue_;  ///< a heap: the longest first, so that threads end together
  int workers_ = 0;
  std::atomic<int64_t> compiled_{0}, names_{0};
};

/// The process's cache: shared by all logical devices.
KernelCache& kernel_cache();

}  // namespace anygpu::cpu
