// torch.autograd.profiler.profile(use_device="anygpu") without Kineto: PyTorch marks the device's queue before and after every operator,
// and asks for the time between. Each operator runs by itself then, as what is recorded is flushed at a mark.
#include <torch/csrc/profiler/stubs/base.h>

#include <chrono>

#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

using torch::profiler::impl::ProfilerVoidEventStub;

class Stubs final : public torch::profiler::impl::ProfilerStubs {
 public:
  void record(c10::DeviceIndex* device, ProfilerVoidEventStub* event, int64_t* cpu_ns) const override {
    if (device) *device = current_device();
    *event = translated([] { return device_at(-1).mark(); });
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    if (cpu_ns) *cpu_ns = std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
  }
  /// Microseconds.
  float elapsed(const ProfilerVoidEventStub* a, const ProfilerVoidEventStub* b) const override {
    const auto at = [](const ProfilerVoidEventStub* e) { return static_cast<const Marker*>(e->get())->reached_at_us(); };
    return static_cast<float>(at(b) - at(a));
  }
  void mark(const char*) const override {}
  void rangePush(const char*) const override {}
  void rangePop() const override {}
  bool enabled() const override { return true; }
  void onEachDevice(std::function<void(int)> f) const override {
    const c10::DeviceIndex before = current_device();
    for (c10::DeviceIndex i = 0; i < device_count(); ++i) {
      set_current_device(i);
      f(i);
    }
    set_current_device(before);
  }
  void synchronize() const override {
    translated([] { device_at(-1).synchronize(); });
  }
};

const bool stubs_registered = [] {
  torch::profiler::impl::registerPrivateUse1Methods(new Stubs);  // leaked
  return true;
}();

}  // namespace
}  // namespace anygpu::torch_frontend
