// A team of std::threads, for where there is no OpenMP runtime to share: the module is absent, or a sanitizer watches.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace anygpu::cpu {

class ThreadPool {
 public:
  using Body = void (*)(void* state, int worker);

  /// Starts threads - 1 workers; the caller of run() is worker 0. Workers run until the process ends: pools are leaked.
  explicit ThreadPool(int threads);

  /// Calls body(state, w) once on each worker, or on worker 0 alone while another thread's run() is under way.
  void run(Body body, void* state);

 private:
  void work(int worker);

  std::mutex busy_;
  std::mutex mutex_;
  std::condition_variable wake_, done_;
  int workers_;
  uint64_t round_ = 0;
  int pending_ = 0;
  Body body_ = nullptr;
  void* state_ = nullptr;
};

}  // namespace anygpu::cpu
