// Current device, streams and events. A Device has one queue, in order, so every stream is that queue under another number:
// what is recorded later runs later whichever stream it names, and waiting for an event on the device needs no work.
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <array>
#include <atomic>
#include <memory>
#include <mutex>

#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

thread_local c10::StreamId current_stream[kMaxDevices] = {};

/// A place in a device's queue, and how many operators had been recorded before it.
struct LastMark {
  std::mutex mutex;
  std::shared_ptr<Marker> place;
  int64_t operators = -1;
};
LastMark& last_mark(const Device& device) {
  static auto* marks = new std::array<LastMark, kMaxDevices>;  // leaked
  return (*marks)[static_cast<size_t>(device.index())];
}

struct Event {
  std::shared_ptr<Marker> place;
  c10::DeviceIndex device;
  bool timed;
};

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return kType; }

  // ---- devices ----

  c10::Device exchangeDevice(c10::Device d) const override {
    const c10::Device old = getDevice();
    if (d.index() != old.index()) setDevice(d);
    return old;
  }
  c10::Device getDevice() const override { return {kType, current_device()}; }
  void setDevice(c10::Device d) const override {
    TORCH_CHECK(d.type() == kType, "anygpu cannot make ", d, " the current device");
    const c10::DeviceIndex n = device_count();
    TORCH_CHECK(d.index() >= 0 && d.index() < n, "anygpu: invalid device ordinal ", static_cast<int>(d.index()), "; ", static_cast<int>(n),
                n == 1 ? " device is" : " devices are", " available (ANYGPU_DEVICES lists them)");
    set_current_device(d.index());
  }
  void uncheckedSetDevice(c10::Device d) const noexcept override {
    if (d.index() >= 0) set_current_device(d.index());
  }
  c10::DeviceIndex deviceCount() const noexcept override { return device_count(); }
#if __has_include(<c10/core/DeviceCapability.h>)
  /// The dtypes that operators compute in.
  c10::DeviceCapability getDeviceCapability(c10::Device) const override {
    c10::DeviceCapability c;
    c.capability_data.capability_bits = 0;
    for (uint64_t bit :
         {c10::kIndex_Byte, c10::kIndex_Char, c10::kIndex_Short, c10::kIndex_Int, c10::kIndex_Long, c10::kIndex_Half, c10::kIndex_BFloat16,
          c10::kIndex_Float, c10::kIndex_Double, c10::kIndex_ComplexFloat, c10::kIndex_ComplexDouble, c10::kIndex_Bool}) {
      c.capability_data.capability_bits |= uint64_t{1} << bit;
    }
    return c;
  }
#endif

  // ---- streams ----

  c10::Stream getStream(c10::Device d) const override {
    return stream(current_stream[slot(d.index())], d);
  }
  c10::Stream getDefaultStream(c10::Device d) const override {
    return stream(0, d);
  }
  c10::Stream getStreamFromGlobalPool(c10::Device d, bool) const override {
    return getNewStream(d, 0);
  }
  c10::Stream getNewStream(c10::Device d, int) const override {
    static std::atomic<c10::StreamId> next{1};
    return stream(next.fetch_add(1), d);
  }
  c10::Stream exchangeStream(c10::Stream s) const override {
    c10::StreamId& now = current_stream[slot(s.device_index())];
    return stream(std::exchange(now, s.id()), s.device());
  }
  /// Flushes, so that asking again and again comes to an end. A fresh mark is never reached at once, so the last one answers
  /// as long as nothing was recorded after it.
  bool queryStream(const c10::Stream& s) const override {
    Device& device = device_at(s.device_index());
    LastMark& last = last_mark(device);
    std::lock_guard<std::mutex> lock(last.mutex);
    const int64_t operators = device.run_stats().operators;
    if (!last.place || last.operators != operators) {
      last.place = translated([&] { return device.mark(); });
      last.operators = operators;
    }
    return last.place->done();
  }
  void synchronizeStream(const c10::Stream& s) const override {
    synchronizeDevice(s.device_index());
  }
  void synchronizeDevice(const c10::DeviceIndex index) const override {
    Device& device = device_at(index);
    translated([&] { device.synchronize(); });
    LastMark& last = last_mark(device);
    std::lock_guard<std::mutex> lock(last.mutex);
    last.operators = device.run_stats().operators;
    last.place = translated([&] { return device.mark(); });
    last.place->wait();
  }

  // ---- events ----

  void record(void** event, const c10::Stream& s, const c10::DeviceIndex index, const c10::EventFlag flag) const override {
    TORCH_CHECK(index < 0 || index == s.device_index(), "Event device index ", static_cast<int>(index),
                " does not match recording stream's device index ", static_cast<int>(s.device_index()), ".");
    if (!*event) *event = new Event{};
    auto* e = static_cast<Event*>(*event);
    e->device = s.device_index();
    e->timed = flag == c10::EventFlag::BACKEND_DEFAULT;
    e->place = translated([&] { return device_at(s.device_index()).mark(); });
  }
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void* event) const override {
    const auto* e = static_cast<Event*>(event);
    return !e || !e->place || e->place->done();
  }
  void synchronizeEvent(void* event) const override {
    const auto* e = static_cast<Event*>(event);
    if (e && e->place) e->place->wait();
  }
  void destroyEvent(void* event, const c10::DeviceIndex) const noexcept override {
    if (!in_bad_fork()) delete static_cast<Event*>(event);
  }
  double elapsedTime(void* start, void* end, const c10::DeviceIndex) const override {
    const auto *a = static_cast<Event*>(start), *b = static_cast<Event*>(end);
    TORCH_CHECK(a && b && a->place && b->place, "Both events must be recorded before calculating elapsed time.");
    TORCH_CHECK(a->timed && b->timed, "Both events must be created with argument 'enable_timing=True'.");
    return (b->place->reached_at_us() - a->place->reached_at_us()) / 1000;
  }

 private:
  static c10::Stream stream(c10::StreamId id, c10::Device d) {
    return c10::Stream(c10::Stream::UNSAFE, c10::Device(kType, d.has_index() ? d.index() : current_device()), id);
  }
  static int slot(c10::DeviceIndex index) {
    const int i = index < 0 ? current_device() : index;
    TORCH_CHECK(i < kMaxDevices, "anygpu: invalid device ordinal ", i);
    return i;
  }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard)

}  // namespace
}  // namespace anygpu::torch_frontend
