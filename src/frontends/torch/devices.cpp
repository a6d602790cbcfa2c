// Which devices there are, which is current, and what a fork means for them.
#include <pthread.h>

#include <atomic>

#include "tensor.h"

namespace anygpu::torch_frontend {

namespace {


thread_local c10::DeviceIndex current = 0;
std::atomic<Device*> devices[kMaxDevices];
std::atomic<bool> used{false};
std::atomic<bool> bad_fork{false};

/// First use of a device: from here on a forked child must not touch it.
Device& open(int index) {
  [[maybe_unused]] static const int registered = pthread_atfork(nullptr, nullptr, [] {
    if (used.load()) bad_fork.store(true);
  });
  TORCH_CHECK(
      !bad_fork.load(),
      "Cannot re-initialize anygpu in forked subprocess. To use anygpu with multiprocessing, you must use the 'spawn' start method");
  const int n = device_count();
  TORCH_CHECK(index >= 0 && index < n && index < kMaxDevices, "anygpu: invalid device ordinal ", index, "; ", n,
              n == 1 ? " device is" : " devices are", " available (ANYGPU_DEVICES lists them)");
  Device& d = translated([&]() -> Device& { return Device::get(index); });
  devices[index].store(&d, std::memory_order_release);
  used.store(true);
  return d;
}

}  // namespace

c10::DeviceIndex device_count() noexcept {
  try {
    return static_cast<c10::DeviceIndex>(std::min(Device::count(), kMaxDevices));
  } catch (...) {
    return 0;
  }
}

c10::DeviceIndex current_device() noexcept {
  return current;
}

void set_current_device(c10::DeviceIndex index) noexcept {
  current = index;
}

Device& device_at(c10::DeviceIndex index) {
  const int i = index < 0 ? current : index;
  if (C10_LIKELY(i < kMaxDevices && !bad_fork.load(std::memory_order_relaxed))) {
    if (Device* d = devices[i].load(std::memory_order_acquire)) return *d;
  }
  return open(i);
}

c10::DeviceIndex index_of(std::optional<c10::Device> device) {
  if (!device || !device->has_index()) return current;
  return device->index();
}

void flush_all() {
  for (auto& slot : devices)
    if (Device* d = slot.load(std::memory_order_acquire)) translated([&] { d->flush(); });
}

bool in_bad_fork() noexcept {
  return bad_fork.load(std::memory_order_relaxed);
}
bool initialized() noexcept {
  return used.load() && !bad_fork.load();
}

}  // namespace anygpu::torch_frontend
