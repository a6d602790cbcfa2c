// Collects what ran, and what the host did for it, while somebody profiles: include/anygpu/profile.h.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "anygpu/profile.h"
#include "runtime/plan.h"

namespace anygpu {

class Profiler {
 public:
  /// The one thing that is asked where no profiler is on.
  static bool on() { return on_.load(std::memory_order_relaxed); }
  static Profiler& get();
  /// Of the calling thread.
  static profile::Caller caller();

  void start();
  std::vector<profile::Event> stop();
  /// A run that is over. callers: by call of the Plan's Trace; may be shorter.
  void add(std::shared_ptr<const Plan>, const std::vector<StepTime>&, std::vector<profile::Caller> callers, int device);
  /// What the calling thread did. The times of `e` are not filled in yet.
  void add(profile::Event e, double begin_us, double end_us);

 private:
  struct Ran {
    std::shared_ptr<const Plan> plan;
    std::vector<StepTime> times;
    std::vector<profile::Caller> callers;
    int device;
  };
  struct Did {
    profile::Event event;
    double begin_us, end_us;
  };
  static std::atomic<bool> on_;
  std::mutex mutex_;
  double start_us_ = 0;
  std::vector<Ran> ran_;
  std::vector<Did> did_;
};

}  // namespace anygpu
