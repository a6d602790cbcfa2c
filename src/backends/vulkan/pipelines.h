// Pipelines: shaders made ready by the driver, kept while a Program uses them, and, unused, up to a bound (backends/cache/code_cache.h).
#pragma once

#include <future>
#include <map>
#include <optional>
#include <tuple>

#include "backends/cache/code_cache.h"
#include "backends/cache/file_cache.h"
#include "gpu.h"

namespace anygpu::vulkan {

struct Pipeline {
  VkPipeline handle = nullptr;
  VkPipelineLayout layout = nullptr;
  VkDescriptorSetLayout set_layout = nullptr;
  std::shared_ptr<const void> kept;  ///< while there is a copy of it, `handle` is there
};

class Pipelines {
 public:
  explicit Pipelines(Gpu&);
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;

  /// Equal shaders are one pipeline, which one thread creates and the others wait for. From any thread; different ones at once.
  Pipeline get(const std::shared_ptr<const Shader>&);
  int64_t kept();
  void keep(size_t most);  ///< for tests
  int64_t compiled() const { return compiled_.load(std::memory_order_relaxed); }
  /// Writes what the driver has compiled to disk where there is something new; unless `now`, once a second at most.
  void save(bool now = false);
  /// Where save() writes, or "".
  std::string file() const;

 private:
  /// A pipeline, which may still be in the making, and goes with this.
  struct Entry {
    Gpu& gpu;
    VkPipeline handle = nullptr;
    VkPipelineLayout layout = nullptr;
    VkDescriptorSetLayout set_layout = nullptr;
    std::shared_future<void> made = {};
    ~Entry() { gpu.vk.DestroyPipeline(gpu.device, handle, nullptr); }
  };
  /// A shader as a key: by what it says, hashed once.
  struct Key {
    std::shared_ptr<const Shader> shader;
    uint64_t hash;
    bool operator==(const Key&) const;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const { return k.hash; }
  };

  Pipeline layouts_of(const Shader&);
  VkPipeline make(const Shader&, VkPipelineLayout);
  VkDescriptorSetLayout set_layout(const Shader&);
  VkPipelineLayout layout(const Shader&);
  void open_cache();

  Gpu& gpu_;
  std::mutex mutex_;  // of what follows, but for the driver's cache, which locks itself
  VkPipelineCache cache_ = nullptr;
  std::optional<FileCache> files_;
  CodeCache<Key, Entry, KeyHash> entries_;
  std::map<std::pair<int, uint32_t>, VkDescriptorSetLayout> set_layouts_;  // by bindings and texels
  std::map<std::tuple<int, uint32_t, int>, VkPipelineLayout> layouts_;     // and push words
  std::atomic<int64_t> compiled_{0};
  int64_t saved_ = 0;
  double saved_us_ = 0;
};

}  // namespace anygpu::vulkan
