// Kernel: machine code for one KernelSpec. The cache makes each once in a process.
#pragma once

#include <atomic>
#include <cstdint>
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

struct Kernel {
  using Function = void (*)(const int64_t* parameters, int64_t begin, int64_t end);
  struct Entry {
    Function function;
    Over over;
  };
  std::vector<Entry> entries;  ///< to run one after another
};

class KernelCache {
 public:
  /// Any thread. From memory, else from disk, else compiled; what is compiled is counted.
  std::shared_ptr<const Kernel> get(const KernelSpec&);
  int64_t compiled() const { return compiled_.load(std::memory_order_relaxed); }

 private:
  std::mutex mutex_;
  std::unordered_map<std::string, std::shared_ptr<const Kernel>> kernels_;
  std::atomic<int64_t> compiled_{0};
};

/// The process's cache: shared by all logical devices.
KernelCache& kernel_cache();

}  // namespace anygpu::cpu
