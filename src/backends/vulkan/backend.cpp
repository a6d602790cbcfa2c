// The vulkan backend: memory, and the way to programs.
#include "backends/vulkan/entry.h"

#include "backends/gpu/steps.h"
#include "resources.h"
#include "transfer.h"
#include "validation.h"

namespace anygpu::vulkan {
namespace {

class VulkanBackend : public Backend {
 public:
  explicit VulkanBackend(const PhysicalDevice& d) : on_(d), transfer_(on_.gpu, on_.host) {}

  DeviceInfo describe() const override {
    const PhysicalDevice& d = on_.gpu.physical;
    DeviceInfo info{d.name, "vulkan", d.driver, on_.heap.capacity(), d.features, d.pci_address};
    if (d.software()) info.features += "; a software rasteriser";
    return info;
  }

  uint32_t lacking() const override {
    auto without = [](bool has, DType t) { return has ? 0u : 1u << static_cast<int>(t); };
    return without(on_.gpu.can.float64, DType::F64) | without(on_.gpu.can.int64, DType::I64);
  }

  Memory allocate(int64_t bytes) override { return on_.heap.allocate(bytes); }
  void release(Memory m) override {
    transfer_.settle();
    on_.heap.release(m);
  }
  void write(Memory dst, int64_t at, const void* src, int64_t bytes) override { transfer_.write(dst, at, src, bytes); }
  void read(Memory src, int64_t at, void* dst, int64_t bytes) override { transfer_.read(src, at, dst, bytes); }

  bool supports(const ir::Named& n) const override { return gpu::supports_named(n, on_.gpu.can); }
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps, std::span<const StepGroup>) override {
    return make_program(on_, steps);
  }
  int64_t kernels_compiled() const override { return on_.pipelines.compiled(); }

 private:
  Resources on_;
  Transfer transfer_;
};

/// Of those that the loader lists: GPUs first, software rasterisers last.
std::unique_ptr<Backend> make(int index) {
  const auto& devices = Instance::get().devices;
  if (devices.empty())
    throw Error(ErrorKind::Value,
                "[vulkan] the Vulkan loader lists no device; install your GPU's driver, or Mesa's: `sudo apt install mesa-vulkan-drivers`");
  if (index < 0 || index >= static_cast<int>(devices.size())) {
    std::string all;
    for (size_t i = 0; i < devices.size(); ++i) all += (i ? ", vulkan:" : "vulkan:") + std::to_string(i) + " is " + devices[i].name;
    throw Error(ErrorKind::Value, "[vulkan] there is no device vulkan:" + std::to_string(index) + "; " + all);
  }
  const PhysicalDevice& d = devices[static_cast<size_t>(index)];
  if (!d.missing.empty()) throw Error(ErrorKind::Value, "[vulkan] " + d.name + " cannot be used: " + d.missing);
  return std::make_unique<VulkanBackend>(d);
}

DeviceCount count() {
  DeviceCount n;
  try {
    for (const PhysicalDevice& d : Instance::get().devices) {
      if (!d.missing.empty()) continue;
      ++n.all;
      if (!d.software()) ++n.gpus;
    }
  } catch (const std::exception&) {
    // No loader or no driver: none. But who asks to be watched is not told that there is nothing to watch.
    if (Validation::wanted()) throw;
  }
  return n;
}

}  // namespace

const BackendEntry entry{"vulkan", count, make};

}  // namespace anygpu::vulkan
