// ANYGPU_TRACE=FILE: when each step ran and each Plan was made, as JSON that trace viewers open (whole after every Plan). Also the
// lines that explain() shows.
#pragma once

#include <cstdio>
#include <mutex>
#include <string>
#include <vector>

#include "runtime/plan.h"

namespace anygpu {

class Timeline {
 public:
  static Timeline& get();
  bool wants_times() const { return file_ != nullptr; }
  void add(const Plan&, const std::vector<StepTime>&);

  /// From here to the end of its life the host did this. Costs nothing without a file.
  class HostSpan {
   public:
    explicit HostSpan(std::string name) : name_(std::move(name)), start_us_(get().file_ ? now_us() : 0) {}
    ~HostSpan();
    HostSpan(const HostSpan&) = delete;

   private:
    std::string name_;
    double start_us_;
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
/// Bytes that a step reads and writes.
int64_t bytes_of(const ir::Step&);

}  // namespace anygpu
