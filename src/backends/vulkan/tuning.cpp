#include "tuning.h"

#include "core/environment.h"
#include "program.h"
#include "transfer.h"

namespace anygpu::vulkan {
namespace {

constexpr const char *kSwitch = "ANYGPU_VULKAN_TUNE", *kNamedFile = "ANYGPU_VULKAN_TILES";

class VulkanTrial : public gpu::Trial {
 public:
  VulkanTrial(Resources& on, const std::string& name, std::vector<Compiled> steps) : program_(on, name, std::move(steps)) {}
  void run(std::span<const Memory> slots) override { program_.run({slots, {}}, &times_); }
  double device_us() const override { return program_.device_us(); }
  int64_t launches() const override { return program_.launches(); }

 private:
  VulkanProgram program_;
  std::vector<StepTime> times_;
};

class VulkanBench : public gpu::Bench {
 public:
  explicit VulkanBench(Resources& on) : on_(on) {}
  Memory allocate(int64_t bytes) override { return on_.heap.allocate(bytes); }
  void release(Memory m) override { on_.heap.release(m); }
  void write(Memory dst, const void* src, int64_t bytes) override { Transfer(on_.gpu, on_.host).write(dst, 0, src, bytes); }
  void read(Memory src, void* dst, int64_t bytes) override { Transfer(on_.gpu, on_.host).read(src, 0, dst, bytes); }
  std::unique_ptr<gpu::Trial> prepare(const std::string& name, std::vector<Compiled> steps) override {
    return std::make_unique<VulkanTrial>(on_, name, std::move(steps));
  }

 private:
  Resources& on_;
};

}  // namespace

bool tuning_wanted(const PhysicalDevice& d) {
  return setting(kSwitch) ? switched_on(kSwitch) : !d.software();
}

std::unique_ptr<gpu::Tuner> make_tuner(Resources& on) {
  const PhysicalDevice& d = on.gpu.physical;
  if (!tuning_wanted(d) && !setting(kNamedFile)) return nullptr;
  return std::make_unique<gpu::Tuner>(
      std::make_unique<VulkanBench>(on),
      gpu::Tuner::Settings{d.name + "; " + d.driver, tuning_wanted(d) && d.timestamp_bits != 0, "vulkan", kNamedFile});
}

}  // namespace anygpu::vulkan
