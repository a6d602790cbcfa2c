// The order in which TensorFlow's kernels are recorded. TensorFlow runs the kernels of a step on any of its threads, in any order that the
// graph allows; equal steps must give equal Traces. So a kernel of a graph is not recorded as it runs, but when the step is over, or when
// something of it is read: sorted by what needs what, and where that leaves a choice by the order of the graph's nodes.
//
// Every kernel writes Buffers that nobody has written before, so what needs what does not depend on who came first.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

#include "anygpu/device.h"

namespace anygpu::tensorflow_frontend {

/// One execution of a kernel.
struct Execution {
  // Where it stands among those that are free to go.
  int64_t iteration = 0;  ///< of the innermost loop
  uint64_t frame = 0;     ///< which loop
  int64_t kernel = 0;     ///< the number of the kernel, in the order in which they were made
  std::vector<BufferRef> reads, writes;
  std::function<void()> record;
};

class Recorder {
 public:
  static Recorder& of(Device&);

  /// A kernel that ran in the step of this number. The first of another step hands over all that is left of the one before.
  void add(int64_t step, Execution);
  /// A kernel outside of any graph: recorded at once, after all that waits.
  void now(const std::function<void()>& record);
  /// Records what waits. Then flushes, if there was something.
  void finish();
  /// Records what the Buffer's contents depend on; of what waits, no more where the thread is one that runs a graph's kernels: what else
  /// of its step is here already is a matter of chance.
  void need(Buffer&);
  /// Records all if something that waits reads or writes the Buffer.
  void touch(Buffer&);

  /// What went wrong while recording a kernel that had returned; told once.
  std::exception_ptr take_error();

 private:
  explicit Recorder(Device& device) : device_(device) {}
  void record_locked(const std::vector<char>& chosen);
  void record_all_locked();

  Device& device_;
  std::mutex mutex_;
  int64_t step_ = 0;
  std::vector<Execution> waiting_;  ///< in the order of their arrival
  std::exception_ptr error_;
};

}  // namespace anygpu::tensorflow_frontend
