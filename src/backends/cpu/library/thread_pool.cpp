#include "backends/cpu/library/thread_pool.h"

#include <system_error>

namespace anygpu::cpu {

ThreadPool::ThreadPool(int threads) : workers_(0) {
  for (int w = 1; w < threads; ++w) {
    try {
      std::thread(&ThreadPool::work, this, w).detach();
    } catch (const std::system_error&) {
      break;  // a process may be denied more threads: fewer do the same work
    }
    ++workers_;
  }
}

void ThreadPool::run(Body body, void* state) {
  std::unique_lock busy(busy_, std::try_to_lock);
  if (!busy || workers_ == 0) return body(state, 0);
  {
    std::lock_guard lock(mutex_);
    body_ = body;
    state_ = state;
    pending_ = workers_;
    ++round_;
  }
  wake_.notify_all();
  body(state, 0);
  std::unique_lock lock(mutex_);
  done_.wait(lock, [this] { return pending_ == 0; });
}

void ThreadPool::work(int worker) {
  uint64_t seen = 0;
  for (;;) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return round_ != seen; });
    seen = round_;
    Body body = body_;
    void* state = state_;
    lock.unlock();
    body(state, worker);
    lock.lock();
    if (--pending_ == 0) done_.notify_one();
  }
}

}  // namespace anygpu::cpu
