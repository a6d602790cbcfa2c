// ANYGPU_TRACE=FILE: when each step ran, in the form that trace viewers open. Also the times that explain() shows.
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

 private:
  Timeline();
  std::mutex mutex_;
  std::FILE* file_ = nullptr;
  bool first_ = true;
};

/// One line for people: "kernel gelu+add [128, 512] 3 in 1 out".
std::string describe(const ir::Step&);
/// Bytes that a step reads and writes.
int64_t bytes_of(const ir::Step&);

}  // namespace anygpu
