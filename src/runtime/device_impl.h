// What stands behind a Device: its backend, memory, the Trace being recorded, Plans, and the Executor.
#pragma once

#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <unordered_map>

#include "anygpu/loan.h"
#include "runtime/executor.h"
#include "runtime/plan.h"
#include "runtime/pool.h"
#include "runtime/trace.h"

namespace anygpu {

/// Plans by the words of their Traces: least recently used ones go first.
class PlanCache {
 public:
  explicit PlanCache(size_t capacity) : capacity_(capacity) {}
  std::shared_ptr<Plan> find(const std::vector<int64_t>& words);
  void insert(const std::vector<int64_t>& words, std::shared_ptr<Plan>);

 private:
  struct Entry {
    std::vector<int64_t> words;
    std::shared_ptr<Plan> plan;
  };
  static uint64_t hash(const std::vector<int64_t>& words);
  size_t capacity_;
  std::list<Entry> entries_;  // most recent first
  std::unordered_multimap<uint64_t, std::list<Entry>::iterator> index_;
};

struct RuntimeOptions {
  bool eager = false;                  // ANYGPU_EAGER, or blocking
  bool blocking = false;               // ANYGPU_BLOCKING
  bool verify = false;                 // ANYGPU_VERIFY
  int64_t limit = 0;                   // ANYGPU_MEMORY_LIMIT, 0: none
  static const RuntimeOptions& get();  ///< throws where one is wrong: asked before anything is made
};

/// Flushes every device that has been opened, and waits until all has run; throws nothing.
void settle_devices() noexcept;

class DeviceImpl {
 public:
  DeviceImpl(int index, std::unique_ptr<Backend> backend);

  Device device;
  const int index;
  std::unique_ptr<Backend> backend;
  const DeviceInfo info;
  Pool pool;
  Executor executor;

  void record(const Op&, std::span<const ViewArg>, std::span<const Scalar>, std::span<const int64_t>, bool in_order = false);
  void upload(Buffer&, int64_t at, const void* src, int64_t bytes);
  void download(Buffer&, int64_t at, void* dst, int64_t bytes);
  std::unique_ptr<Loan> lend(Buffer&, bool writes);
  void* host_bytes(Buffer&);
  void flush();
  void synchronize();
  /// Flushes and waits; what went wrong stays untold.
  void settle();
  std::shared_ptr<Marker> mark();
  BufferRef allocate(int64_t bytes);
  void on_user_gone(Buffer& b);
  std::string explain(int plans);
  RunStats run_stats();
  MemoryStats memory_stats() const;

  std::atomic<int64_t> allocated{0}, allocated_peak{0}, allocations{0}, frees{0}, requested{0}, limit{0}, out_of_memory{0};

 private:
  friend class LentBuffer;
  /// Waits for what touches the Buffer, and gives it memory. Throws where it is poisoned. `reading`: others wait meanwhile.
  Memory settled(Buffer&, std::optional<Executor::Reading>& reading);
  /// Under the lock. Returns the ticket of the last run, for which who asks waits at once if `awaited`. What cannot be planned is lost when
  /// its turn comes; nothing is thrown.
  uint64_t flush_locked(bool awaited = false);
  std::shared_ptr<Plan> plan_locked();

  const uint32_t lacking_ = backend->lacking();
  std::mutex mutex_;  // the recording lock
  Trace trace_;
  PlanCache plans_;
  uint64_t last_ticket_ = 0;
  int64_t flushes_ = 0, plans_compiled_ = 0, operators_ = 0;
  std::deque<std::shared_ptr<Plan>> recent_;
};

}  // namespace anygpu
