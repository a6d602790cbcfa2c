// A Device: what a user addresses. Operators are recorded on it, run later, in order.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "anygpu/view.h"

namespace anygpu {

struct Op;         // an entry of the operator catalogue, see anygpu/ops.h
class DeviceImpl;  // src/runtime

struct DeviceInfo {
  std::string name;     ///< for people: "AMD EPYC, 2 cores, AVX-512"
  std::string backend;  ///< "cpu", "vulkan", "reference"
  std::string driver;   ///< versions of what does the work: "LLVM 19.1.7, oneDNN 2.6.3"
  int64_t memory_bytes = 0;
  std::string features;     ///< optional hardware features that it has, and those that it lacks
  std::string pci_address;  ///< "0000:03:00.0", where it is on PCI and the driver tells
};

struct MemoryStats {
  int64_t allocated = 0, allocated_peak = 0;  ///< bytes of Buffers that users hold
  int64_t reserved = 0, reserved_peak = 0;    ///< bytes taken from the backend, cached ones included
  int64_t allocations = 0, frees = 0;         ///< Buffers made and let go
  int64_t requested = 0;                      ///< bytes of all Buffers ever asked for
  int64_t limit = 0;                          ///< bytes that users may hold; 0: the device's memory
  int64_t retries = 0, out_of_memory = 0;
};

struct RunStats {
  int64_t flushes = 0;           ///< Plans run
  int64_t plans_compiled = 0;    ///< Traces that were not found in the plan cache
  int64_t kernels_compiled = 0;  ///< Generics that were not found in the kernel cache
  int64_t kernels_run = 0;       ///< generated kernels and library calls
  int64_t operators = 0;         ///< operators recorded
};

/// A place in a Device's queue. Done when all that was recorded before it has run.
class ANYGPU_API Marker {
 public:
  virtual ~Marker() = default;
  virtual bool done() const = 0;
  /// Blocks. Rethrows nothing: errors belong to the Buffers that they spoil.
  virtual void wait() const = 0;
  /// Microseconds of the steady clock at which it was reached; waits for it.
  virtual double reached_at_us() const = 0;
};

class ANYGPU_API Device {
 public:
  /// How many Devices ANYGPU_DEVICES names (by default the GPUs found, then the processor). Never throws.
  static int count();
  /// Throws Error(Value) for an index out of range, or in a forked child that inherited the device.
  static Device& get(int index);
  /// Whether this process is a forked child that inherited devices: nothing may touch them here.
  static bool inherited() noexcept;

  int index() const;
  const DeviceInfo& info() const;

  /// A Buffer whose bytes are allocated when something is written into it.
  /// Throws Error(OutOfMemory) when the users' Buffers would pass the limit even after all queued work has finished.
  BufferRef allocate(int64_t bytes);

  /// Records one operator. `views` holds its outputs, then its inputs; `attrs` shape it and are part of the Plan's key;
  /// `scalars` are bound at run time. `in_order`: where indices meet in one element, they are applied in their order, so that sums of
  /// floats come out the same each time (slower on GPUs). Checks the operator's contract and throws what it violates.
  void record(const Op&, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs,
              bool in_order = false);

  /// Host bytes into `dst` at byte `at`, as if recorded here; `src` may be reused on return.
  void upload(Buffer& dst, int64_t at, const void* src, int64_t bytes);
  /// Flushes, waits, copies. Throws the original Error where a failed kernel should have written these bytes.
  void download(Buffer& src, int64_t at, void* dst, int64_t bytes);

  /// Hands what is recorded to the Executor.
  void flush();
  /// Flushes and waits. Throws the first error that no one has been told of.
  void synchronize();
  /// Flushes, and marks the place.
  std::shared_ptr<Marker> mark();

  MemoryStats memory_stats() const;
  void reset_peak_memory_stats();
  /// 0 lifts it.
  void set_memory_limit(int64_t bytes);
  void empty_cache();

  RunStats run_stats() const;
  /// What the last `plans` Plans did, latest first: kernels, library calls, bytes, the time of each, why fusion was cut. For people.
  /// Waits for what is queued; flushes nothing.
  std::string explain(int plans);

  DeviceImpl& impl() { return *impl_; }

 private:
  friend class DeviceImpl;
  explicit Device(DeviceImpl* impl) : impl_(impl) {}
  DeviceImpl* impl_;
};

}  // namespace anygpu
