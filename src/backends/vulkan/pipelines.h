// Pipelines: shaders made ready by the driver, kept for as long as the device.
#pragma once

#include <future>
#include <map>
#include <optional>
#include <tuple>
#include <unordered_map>

#include "backends/cache/file_cache.h"
#include "gpu.h"

namespace anygpu::vulkan {

struct Pipeline {
  VkPipeline handle = nullptr;
  VkPipelineLayout layout = nullptr;
  VkDescriptorSetLayout set_layout = nullptr;
};

class Pipelines {
 public:
  explicit Pipelines(Gpu&);
  ~Pipelines();
  Pipelines(const Pipelines&) = delete;

  /// Equal shaders are one pipeline, which one thread creates and the others wait for. From any thread; different ones at once.
  Pipeline get(const std::shared_ptr<const Shader>&);
  int64_t compiled() const { return compiled_.load(std::memory_order_relaxed); }
  /// Writes what the driver has compiled to disk where there is something new; unless `now`, once a second at most.
  void save(bool now = false);
  /// Where save() writes, or "".
  std::string file() const;

 private:
  struct Entry {
    std::shared_ptr<const Shader> shader;
    std::shared_future<Pipeline> pipeline;
  };
  using Entries = std::multimap<uint64_t, Entry>;

  /// The entry of a shader like this, or the end.
  Entries::iterator find(uint64_t hash, const Shader&);
  Pipeline layouts_of(const Shader&);
  VkPipeline make(const Shader&, VkPipelineLayout);
  VkDescriptorSetLayout set_layout(const Shader&);
  VkPipelineLayout layout(const Shader&);
  void open_cache();

  Gpu& gpu_;
  std::mutex mutex_;  // of what follows, but for the driver's cache, which locks itself
  VkPipelineCache cache_ = nullptr;
  std::optional<FileCache> files_;
  std::unordered_map<const Shader*, std::pair<std::shared_ptr<const Shader>, Pipeline>> by_address_;  // what was asked for before
  Entries by_words_;                                                                                  // by their hashes
  std::map<std::pair<int, uint32_t>, VkDescriptorSetLayout> set_layouts_;                             // by bindings and texels
  std::map<std::tuple<int, uint32_t, int>, VkPipelineLayout> layouts_;                                // and push words
  std::atomic<int64_t> compiled_{0};
  int64_t saved_ = 0;
  double saved_us_ = 0;
};

}  // namespace anygpu::vulkan
