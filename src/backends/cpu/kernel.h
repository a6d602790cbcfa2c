// Kernel: machine code for one KernelSpec. The cache makes each once in a process, several at a time.
#pragma once

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

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

  explicit Kernel(std::shared_future<Entries> made) : made_(std::move(made)) {}
  /// Waits for the code. Throws Error(Internal) where there is none.
  const Entries& entries() const { return made_.get(); }

 private:
  std::shared_future<Entries> made_;
};

class KernelCache {
 public:
  /// Any thread; does not wait. The code comes from memory, else from disk, else is compiled, on a thread of its own, and counted.
  std::shared_ptr<const Kernel> get(const KernelSpec&);
  int64_t compiled() const { return compiled_.load(std::memory_order_relaxed); }

 private:
  struct Task {
    size_t nodes;  ///< of the body: how long it takes, roughly
    std::packaged_task<Kernel::Entries()> make;
  };
  static bool shorter(const Task& a, const Task& b) { return a.nodes < b.nodes; }
  Kernel::Entries make(const KernelSpec&, const std::string& key);
  void work();

  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Kernel>> kernels_;
  std::vector<Task> queue_;  ///< a heap: the longest first, so that threads end together
  int workers_ = 0;
  std::atomic<int64_t> compiled_{0}, names_{0};
};

/// The process's cache: shared by all logical devices.
KernelCache& kernel_cache();

}  // namespace anygpu::cpu
