// ANYGPU_TRACE=FILE: when each step ran and each Plan was made, as JSON that trace viewers open (whole after every Plan). Also the
// lines that explain() shows, and spans of the host's work, which profilers see too.
#pragma once

#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/plan.h"
#include "runtime/profiler.h"

namespace anygpu {

class Timeline {
 public:
  static Timeline& get();
  bool wants_times() const { return file_ != nullptr; }
  void add(const Plan&, const std::vector<StepTime>&);

  /// From here to the end of its life the host did this: "plan", 12, "operators". Costs nothing where nobody looks.
  class HostSpan {
   public:
    HostSpan(const char* what, int64_t count, const char* of, profile::Kind kind = profile::Kind::Host)
        : HostSpan(kind, what, count, of, -1) {}
    /// A copy of so many bytes from or to a device.
    HostSpan(profile::Kind kind, int64_t bytes, int device)
        : HostSpan(kind, kind == profile::Kind::Upload ? "upload" : "download", bytes, "bytes", device) {}
    ~HostSpan();
    HostSpan(const HostSpan&) = delete;

   private:
    HostSpan(profile::Kind kind, const char* what, int64_t count, const char* of, int device)
        : what_(what), of_(of), count_(count), kind_(kind), device_(device), start_us_(get().file_ || Profiler::on() ? now_us() : -1) {}
    const char *what_, *of_;
    int64_t count_;
    profile::Kind kind_;
    int device_;
    double start_us_;  // -1: nobody looks
  };

 private:
  enum Track { kDevice, kHost };
  Timeline();
  void write(Track, const std::string& name, double start_us, double end_us, const std::string& more);
  void open_list();
  void close_list();
  std::mutex mutex_;
  std::FILE* file_ = nullptr;
};

/// One line for people: "kernel gelu+add [128, 512] 3 in 1 out".
std::string describe(const ir::Step&);
/// "[128, 512]"
std::string list_of(const Dims&);
/// Bytes that a step reads and writes.
int64_t bytes_of(const ir::Step&);

}  // namespace anygpu
