#include "runtime/executor.h"

#include <algorithm>
#include <cfenv>
#include <chrono>

#include "runtime/flight.h"
#include "runtime/timeline.h"
#include "runtime/host.h"

namespace anygpu {

namespace {

constexpr size_t kFlights = 3;  // Plans under way: their Buffers are held, and a device that has the next never waits for us
constexpr auto kBetweenInterrupts = std::chrono::milliseconds(50);
constexpr int64_t kSmallBytes = 256 << 10;  // to wake a thread takes longer than a Plan that moves no more

/// Whether it is over sooner than another thread would have begun.
bool small(const Run& run) {
  return !run.plan || run.plan->moved_bytes <= kSmallBytes;
}

/// Who runs kernels rounds as the Executor's own thread does, whatever the caller has set.
class PlainArithmetic {
 public:
  PlainArithmetic() {
    std::fegetenv(&before_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~PlainArithmetic() { std::fesetenv(&before_); }
  PlainArithmetic(const PlainArithmetic&) = delete;

 private:
  std::fenv_t before_;
};

}  // namespace

Executor::Executor(Backend& backend, Pool& pool, bool verify) : backend_(backend), pool_(pool), verify_(verify) {
  // The Executor is leaked: it lives as long as the process.
  std::thread([this] { start_loop(); }).detach();
  std::thread([this] { finish_loop(); }).detach();
}

uint64_t Executor::submit(Run run, bool awaited) {
  std::lock_guard lock(mutex_);
  run.ticket = ++submitted_;
  if (run.marker) run.marker->ticket = run.ticket;
  const bool wakes = !awaited || !small(run);
  queue_.push_back(std::move(run));
  if (wakes) work_.notify_one();
  return submitted_;
}

void Executor::wait(uint64_t ticket) {
  if (finished() >= ticket) return;
  const Timeline::HostSpan span("wait", 1, "run");
  std::unique_lock lock(mutex_);
  while (!starting_ && !retired_ && !queue_.empty() && queue_.front().ticket <= ticket && small(queue_.front())) {
    const PlainArithmetic plain;
    start_next(lock);
  }
  if (!queue_.empty()) work_.notify_one();
  const auto over = [&] { return finished() >= ticket || retired_; };
  const auto interrupt = host_hooks().interrupt;
  if (!interrupt) done_.wait(lock, over);
  while (!done_.wait_for(lock, kBetweenInterrupts, over)) {
    lock.unlock();
    try {
      interrupt();
    } catch (...) {
      stop();
      throw;
    }
    lock.lock();
  }
  if (finished() < ticket) throw Error(ErrorKind::Value, "[device] the process is ending: what was recorded last did not run");
}

void Executor::stop() {
  std::lock_guard lock(mutex_);
  stopped_until_ = submitted_;
}

void Executor::retire() {
  {
    std::lock_guard lock(readers_mutex_);
    retired_ = true;
    reader_left_.notify_all();
  }
  std::unique_lock lock(mutex_);
  stopped_until_ = submitted_;
  done_.wait(lock, [&] { return !starting_ && flights_.empty(); });
  done_.notify_all();
}

void Executor::wait_for_room(int runs) {
  uint64_t target;
  {
    std::lock_guard lock(mutex_);
    if (submitted_ <= static_cast<uint64_t>(runs)) return;
    target = submitted_ - static_cast<uint64_t>(runs);
  }
  wait(target);
}

void Executor::report(const Poison& failure) {
  std::lock_guard lock(mutex_);
  std::erase_if(untold_, [](const Poison& p) { return p->told.load(); });
  for (const Poison& p : untold_)
    if (p->withheld == failure->withheld) return;
  untold_.push_back(failure);
}

void Executor::throw_untold(bool withheld_only) {
  std::lock_guard lock(mutex_);
  for (const Poison& p : untold_)
    if ((p->withheld || !withheld_only) && !p->told.exchange(true)) throw Error(p->error);
}

Executor::Reading::Reading(Executor& e, const Buffer& b, uint64_t ticket, bool writes) : executor_(e) {
  std::lock_guard lock(e.readers_mutex_);
  at_ = e.readers_.insert(e.readers_.end(), {&b, ticket, writes});
}

Executor::Reading::~Reading() {
  std::lock_guard lock(executor_.readers_mutex_);
  executor_.readers_.erase(at_);
  executor_.reader_left_.notify_all();
}

/// Readers of what earlier runs made come first. They wait for runs before this one only, so they all end.
bool Executor::wait_for_readers(const Run& run) {
  std::unique_lock lock(readers_mutex_);
  const auto in_the_way = [&](const Reader& r) {
    return r.ticket < run.ticket &&
           std::any_of(run.buffers.begin(), run.buffers.end(), [&](const BufferPin& mine) { return mine.get() == r.buffer; });
  };
  reader_left_.wait(lock, [&] { return retired_ || std::none_of(readers_.begin(), readers_.end(), in_the_way); });
  return !retired_;
}

void Executor::wait_for_writers(const Buffer& b) {
  std::unique_lock lock(readers_mutex_);
  reader_left_.wait(lock, [&] {
    return retired_ || std::none_of(readers_.begin(), readers_.end(), [&](const Reader& r) { return r.writes && r.buffer == &b; });
  });
}

bool Executor::wait_for_flights(size_t most) {
  std::unique_lock lock(mutex_);
  if (flights_.size() <= most) return false;
  done_.wait(lock, [&] { return flights_.size() <= most; });
  return true;
}

void Executor::start_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    work_.wait(lock, [&] { return !queue_.empty() && !starting_ && !retired_; });
    start_next(lock);
  }
}

void Executor::start_next(std::unique_lock<std::mutex>& lock) {
  auto flight = std::make_unique<Flight>(std::move(queue_.front()));
  queue_.pop_front();
  starting_ = true;
  lock.unlock();
  const bool may_start = wait_for_readers(flight->run);
  if (flight->run.plan && may_start) {
    wait_for_flights(kFlights - 1);
    launch(*flight);
  } else if (flight->run.plan) {
    flight->failed = std::make_shared<Failure>(Error(ErrorKind::Value, "[device] the process is ending: this did not run"));
  }
  const uint64_t ticket = flight->run.ticket;
  const bool over = flight->withheld || flight->verification || !flight->completion || flight->completion->reached();
  lock.lock();
  if (over && flights_.empty()) {  // only this thread adds to them
    lock.unlock();
    finish(*flight);
    flight = nullptr;  // lets Buffers go before anyone is told
    lock.lock();
    pool_.over(ticket);
    finished_.store(ticket, std::memory_order_release);
  } else {
    flights_.push_back(std::move(flight));
    flown_.notify_one();
  }
  starting_ = false;
  done_.notify_all();
}

void Executor::finish_loop() {
  std::unique_lock lock(mutex_);
  for (;;) {
    flown_.wait(lock, [&] { return !flights_.empty(); });
    std::unique_ptr<Flight>& first = flights_.front();
    const uint64_t ticket = first->run.ticket;
    lock.unlock();
    finish(*first);
    first = nullptr;
    lock.lock();
    flights_.pop_front();
    pool_.over(ticket);
    finished_.store(ticket, std::memory_order_release);
    done_.notify_all();
  }
}

}  // namespace anygpu
