#include "pinned.h"

#include <sys/mman.h>

#include <map>
#include <mutex>

#include "tensor.h"

namespace anygpu::torch_frontend {

namespace {

using c10::CachingAllocator::Stat;

constexpr size_t kPage = 4096;
constexpr size_t kKept = size_t{256} << 20;  // bytes of freed memory kept for the next batch

/// Pages of host memory, kept by size for reuse: a DataLoader asks for the same sizes again and again. An upload copies its
/// source before it returns, so a freed block may be reused at once.
class HostAllocator final : public at::HostAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    if (bytes == 0) return {nullptr, c10::Device(c10::DeviceType::CPU)};
    const size_t size = (bytes + kPage - 1) / kPage * kPage;
    std::lock_guard<std::mutex> lock(mutex_);
    void* p = nullptr;
    if (auto it = kept_.find(size); it != kept_.end()) {
      p = it->second;
      kept_.erase(it);
      kept_bytes_ -= size;
    } else {
      p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      TORCH_CHECK_WITH(OutOfMemoryError, p != MAP_FAILED, "anygpu: no host memory for ", bytes, " pinned bytes");
      (void)mlock(p, size);  // forbidden to most users beyond a few pages; what matters is that it is never refused
      ++stats_.num_host_alloc;
      stats_.allocations.increase(1);
      stats_.allocated_bytes.increase(size);
    }
    live_.emplace(static_cast<const char*>(p), size);
    stats_.active_requests.increase(1);
    stats_.active_bytes.increase(size);
    return {p, p, &release, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &release; }
  void copy_data(void* dst, const void* src, size_t n) const override { default_copy_data(dst, src, n); }
  bool record_event(void* p, void*, c10::Stream) override { return contains(p); }

  void empty_cache() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for (const auto& [size, p] : kept_) unmap(p, size);
    kept_.clear();
    kept_bytes_ = 0;
  }
  at::HostStats get_stats() override {
    std::lock_guard<std::mutex> lock(mutex_);
    return stats_;
  }
  void reset_accumulated_stats() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for_each_stat([](Stat& s) { s.reset_accumulated(); });
  }
  void reset_peak_stats() override {
    std::lock_guard<std::mutex> lock(mutex_);
    for_each_stat([](Stat& s) { s.reset_peak(); });
  }

  bool contains(const void* address) {
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = live_.upper_bound(static_cast<const char*>(address));
    if (it == live_.begin()) return false;
    --it;
    return static_cast<const char*>(address) < it->first + it->second;
  }

 private:
  static void release(void* p) { static_cast<HostAllocator&>(host_allocator()).give(p); }

  void give(void* p) {
    if (in_bad_fork()) return;
    std::lock_guard<std::mutex> lock(mutex_);
    auto it = live_.find(static_cast<const char*>(p));
    const size_t size = it->second;
    live_.erase(it);
    stats_.active_requests.decrease(1);
    stats_.active_bytes.decrease(size);
    if (kept_bytes_ + size > kKept) {
      unmap(p, size);
      return;
    }
    kept_.emplace(size, p);
    kept_bytes_ += size;
  }

  void unmap(void* p, size_t size) {
    ++stats_.num_host_free;
    stats_.allocations.decrease(1);
    stats_.allocated_bytes.decrease(size);
    munmap(p, size);
  }

  template <class F>
  void for_each_stat(F f) {
    f(stats_.active_requests);
    f(stats_.active_bytes);
    f(stats_.allocations);
    f(stats_.allocated_bytes);
  }

  std::mutex mutex_;
  std::map<const char*, size_t> live_;
  std::multimap<size_t, void*> kept_;
  size_t kept_bytes_ = 0;
  at::HostStats stats_;
};

}  // namespace

at::HostAllocator& host_allocator() {
  static auto* a = new HostAllocator;
  return *a;
}

bool is_pinned(const void* address) {
  return static_cast<HostAllocator&>(host_allocator()).contains(address);
}

REGISTER_HOST_ALLOCATOR(c10::DeviceType::PrivateUse1, &host_allocator())

}  // namespace anygpu::torch_frontend
