// What devices did and when, for a framework's profiler. While none is on, nothing is kept and nothing is paid.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "anygpu/error.h"

namespace anygpu::profile {

/// Who records on a thread, as a profiler numbers a framework's operators and a user's ranges; 0: none.
struct Caller {
  uint64_t op = 0, range = 0;
  bool operator==(const Caller&) const = default;
};

/// Host: what a thread did that records or waits; Background: what a device's own threads did.
enum class Kind { Kernel, Library, Upload, Download, Host, Background };

/// Something that happened between two moments, which are nanoseconds since the epoch as the system's clock has it.
struct Event {
  Kind kind;
  /// Of a kind of work, without sizes: "gelu+add", "matmul (linear)". Of the host: "plan", "compile", "wait"; "submit".
  std::string name;
  std::string detail;  ///< of the host: "12 operators"
  std::string shapes;  ///< as JSON: "[[128, 512]]" of a kernel's loops, "[[128, 512], [128, 64], ..]" of a library call's operands
  int64_t bytes = 0;   ///< read and written, or copied
  int64_t begin_ns = 0, end_ns = 0;
  int device = -1;     ///< -1: none in particular
  int64_t thread = 0;  ///< of the host: the kernel's number of it
  /// Of a kernel or a library call: whose work it is, in the order in which they recorded it, each once. Else who was recording.
  std::vector<Caller> callers;
};

/// Flushes every device that is open and waits until all has run, so that what was recorded before is not in the profile; keeps events from
/// then on, and forgets those of before.
ANYGPU_API void start();
/// Flushes every device that is open, waits until all has run, and returns what happened since start(), in no order. Errors stay where
/// they are: with the tensors that they spoil.
ANYGPU_API std::vector<Event> stop();

/// What the calling thread records from now on is this caller's.
ANYGPU_API void set_caller(Caller);

}  // namespace anygpu::profile
