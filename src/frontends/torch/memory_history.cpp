#include "memory_history.h"

#include <torch/csrc/profiler/combined_traceback.h>

#include <atomic>
#include <chrono>
#include <deque>
#include <mutex>
#include <unordered_map>

#include "anygpu/memory_events.h"
#include "tensor.h"

namespace anygpu::torch_frontend::memory_history {
namespace {

class History {
 public:
  static History& get() {
    static auto* h = new History;  // leaked: storages go while the process exits
    return *h;
  }

  bool on() const { return on_.load(std::memory_order_relaxed); }

  void record(const Wanted& wanted, bool forget) {
    std::lock_guard lock(mutex_);
    wanted_ = wanted;
    on_ = wanted.live || wanted.events;
    if (forget || !on_) live_.clear();
    if (forget)
      for (auto& device : events_) device.clear();
  }

  void add(Event::Action action, c10::DeviceIndex device, uint64_t address, int64_t bytes, int64_t left = 0) {
    Wanted w;
    {
      std::lock_guard lock(mutex_);
      w = wanted_;
    }
    Stack stack;  // gathered without the lock: it may have to wait for Python's
    if (action == Event::Free ? w.free_stack : w.live_stack || w.alloc_stack) stack = torch::CapturedTraceback::gather(true, true, w.cpp);
    std::lock_guard lock(mutex_);
    if (action == Event::Free) live_.erase(address);
    if (action == Event::Alloc && w.live_stack) live_[address] = stack;
    if (!w.events) return;
    if (static_cast<size_t>(device) >= events_.size()) events_.resize(static_cast<size_t>(device) + 1);
    std::deque<Event>& kept = events_[static_cast<size_t>(device)];
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    kept.push_back({action, address, bytes, std::chrono::duration_cast<std::chrono::microseconds>(now).count(), left,
                    action == Event::Free || w.alloc_stack ? stack : nullptr});
    while (kept.size() > w.most_events) kept.pop_front();
  }

  std::vector<std::vector<Event>> events() {
    std::lock_guard lock(mutex_);
    std::vector<std::vector<Event>> all;
    for (const auto& device : events_) all.emplace_back(device.begin(), device.end());
    return all;
  }

  Stack stack_of(uint64_t address) {
    std::lock_guard lock(mutex_);
    const auto at = live_.find(address);
    return at == live_.end() ? nullptr : at->second;
  }

 private:
  std::atomic<bool> on_{false};
  std::mutex mutex_;
  Wanted wanted_;
  std::unordered_map<uint64_t, Stack> live_;  // by address
  std::vector<std::deque<Event>> events_;     // by device
};

uint64_t number(const void* address) {
  return reinterpret_cast<uint64_t>(address);
}

void observe(const Block& b, bool made) noexcept {
  const bool profiled = c10::memoryProfilingEnabled();
  if (!profiled && !History::get().on()) return;
  try {
    const Device& device = b.buffer->device;
    const auto index = static_cast<c10::DeviceIndex>(device.index());
    const int64_t bytes = b.buffer->bytes;
    if (profiled) {
      const MemoryStats m = device.memory_stats();
      const int64_t now = made ? m.allocated : m.allocated - bytes;  // what goes has not gone yet
      c10::reportMemoryUsageToProfiler(b.address, made ? bytes : -bytes, static_cast<size_t>(std::max<int64_t>(now, 0)),
                                       static_cast<size_t>(m.reserved), {kType, index});
    }
    if (History::get().on()) History::get().add(made ? Event::Alloc : Event::Free, index, number(b.address), bytes);
  } catch (...) {  // a history with a gap is better than a tensor that cannot be freed
  }
}

}  // namespace

void watch() {
  observe_blocks(&observe);
}

void record(const Wanted& wanted, bool forget) {
  watch();
  History::get().record(wanted, forget);
}

std::vector<std::vector<Event>> events() {
  return History::get().events();
}

std::vector<Live> live() {
  std::vector<Live> all;
  for (const LiveBlock& b : live_blocks())
    all.push_back({number(b.address), b.bytes, b.room, static_cast<c10::DeviceIndex>(b.device), stack_of(number(b.address))});
  return all;
}

Stack stack_of(uint64_t address) {
  return History::get().stack_of(address);
}

void refused(c10::DeviceIndex index, int64_t bytes) {
  const MemoryStats m = device_at(index).memory_stats();
  if (c10::memoryProfilingEnabled())
    c10::reportOutOfMemoryToProfiler(bytes, static_cast<size_t>(m.allocated), static_cast<size_t>(m.reserved), {kType, index});
  if (History::get().on()) History::get().add(Event::OutOfMemory, index, 0, bytes, std::max<int64_t>(0, m.limit - m.allocated));
}

}  // namespace anygpu::torch_frontend::memory_history
