#include "pipelines.h"

#include "backends/interface/backend.h"
#include "core/environment.h"
#include "core/hash.h"

namespace anygpu::vulkan {
namespace {

constexpr char kKey[] = "pipelines";
constexpr double kSaveEvery = 1e6;  // microseconds: all of the driver's data is written each time

uint64_t hash(const std::vector<uint32_t>& words, uint64_t h) {
  for (const uint32_t w : words) h = hashed(h, w);
  return h;
}

uint64_t hash(const Shader& s) {
  const uint64_t start = (static_cast<uint64_t>(s.texels) << 8 | static_cast<uint64_t>(s.bindings)) << 16;
  return hash(s.constants, hash(s.words, start | static_cast<uint64_t>(s.push_words)));
}

bool same(const Shader& a, const Shader& b) {
  return a.bindings == b.bindings && a.texels == b.texels && a.push_words == b.push_words && a.full_subgroups == b.full_subgroups &&
         a.constants == b.constants && a.words == b.words;
}

}  // namespace

Pipelines::Pipelines(Gpu& gpu) : gpu_(gpu) {
  open_cache();
}

Pipelines::~Pipelines() {
  save(true);
  entries_.clear();
  for (auto& [key, l] : layouts_) gpu_.vk.DestroyPipelineLayout(gpu_.device, l, nullptr);
  for (auto& [key, l] : set_layouts_) gpu_.vk.DestroyDescriptorSetLayout(gpu_.device, l, nullptr);
  gpu_.vk.DestroyPipelineCache(gpu_.device, cache_, nullptr);
}

bool Pipelines::Key::operator==(const Key& other) const {
  return shader == other.shader || (hash == other.hash && same(*shader, *other.shader));
}

void Pipelines::keep(size_t most) {
  std::lock_guard lock(mutex_);
  entries_.keep(most);
}

int64_t Pipelines::kept() {
  std::lock_guard lock(mutex_);
  return static_cast<int64_t>(entries_.size());
}

Pipeline Pipelines::get(const std::shared_ptr<const Shader>& shader) {
  const Key key{shader, hash(*shader)};
  std::unique_lock lock(mutex_);
  if (const std::shared_ptr<Entry> found = entries_.find(key)) {
    lock.unlock();
    found->made.get();
    return {found->handle, found->layout, found->set_layout, found};
  }
  const Pipeline layouts = layouts_of(*shader);
  std::promise<void> promise;
  const std::shared_ptr<Entry> entry(new Entry{gpu_});
  entry->layout = layouts.layout, entry->set_layout = layouts.set_layout;
  entry->made = promise.get_future().share();
  entries_.insert(key, entry);
  lock.unlock();
  try {
    entry->handle = make(*shader, entry->layout);
  } catch (...) {
    promise.set_exception(std::current_exception());
    lock.lock();
    entries_.erase(key);  // the next one who asks tries again
    throw;
  }
  promise.set_value();
  compiled_.fetch_add(1, std::memory_order_relaxed);
  return {entry->handle, entry->layout, entry->set_layout, entry};
}

VkDescriptorSetLayout Pipelines::set_layout(const Shader& s) {
  VkDescriptorSetLayout& l = set_layouts_[{s.bindings, s.texels}];
  if (l) return l;
  std::vector<VkDescriptorSetLayoutBinding> all(static_cast<size_t>(s.bindings));
  for (uint32_t i = 0; i < all.size(); ++i)
    all[i] = {i, s.texels >> i & 1 ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
              VK_SHADER_STAGE_COMPUTE_BIT, nullptr};
  const VkDescriptorSetLayoutCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, nullptr, 0,
                                             static_cast<uint32_t>(all.size()), all.data()};
  gpu_.check(gpu_.vk.CreateDescriptorSetLayout(gpu_.device, &info, nullptr, &l), "vkCreateDescriptorSetLayout");
  return l;
}

VkPipelineLayout Pipelines::layout(const Shader& s) {
  VkPipelineLayout& l = layouts_[{s.bindings, s.texels, s.push_words}];
  if (l) return l;
  const VkDescriptorSetLayout sets = set_layout(s);
  const VkPushConstantRange range{VK_SHADER_STAGE_COMPUTE_BIT, 0, static_cast<uint32_t>(4 * s.push_words)};
  const uint32_t ranges = s.push_words ? 1 : 0;
  const VkPipelineLayoutCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO, nullptr, 0, 1, &sets, ranges, &range};
  gpu_.check(gpu_.vk.CreatePipelineLayout(gpu_.device, &info, nullptr, &l), "vkCreatePipelineLayout");
  return l;
}

Pipeline Pipelines::layouts_of(const Shader& s) {
  if (s.bindings > static_cast<int>(gpu_.can.max_bindings))
    throw Error(ErrorKind::NotImplemented, "[" + s.name + "] a kernel over " + std::to_string(s.bindings) + " buffers; " +
                                               gpu_.physical.name + " binds " + std::to_string(gpu_.can.max_bindings));
  if (4 * s.push_words > static_cast<int>(gpu_.can.push_bytes))
    throw Error(ErrorKind::Internal, "[" + s.name + "] " + std::to_string(4 * s.push_words) + " bytes of push constants; the device has " +
                                         std::to_string(gpu_.can.push_bytes));
  gpu_.check_alive();
  return {nullptr, layout(s), set_layout(s), nullptr};
}

VkPipeline Pipelines::make(const Shader& s, VkPipelineLayout layout) {
  VkShaderModuleCreateInfo module_info{VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO};
  module_info.codeSize = 4 * s.words.size();
  module_info.pCode = s.words.data();
  VkShaderModule module = nullptr;
  gpu_.check(gpu_.vk.CreateShaderModule(gpu_.device, &module_info, nullptr, &module), "vkCreateShaderModule");
  std::vector<VkSpecializationMapEntry> entries(s.constants.size());
  for (uint32_t i = 0; i < entries.size(); ++i) entries[i] = {i, 4 * i, 4};
  const VkSpecializationInfo constants{static_cast<uint32_t>(entries.size()), entries.data(), 4 * entries.size(), s.constants.data()};
  VkComputePipelineCreateInfo info{VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO};
  info.stage = {VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                nullptr,
                VkPipelineShaderStageCreateFlags(s.full_subgroups ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0),
                VK_SHADER_STAGE_COMPUTE_BIT,
                module,
                "main",
                entries.empty() ? nullptr : &constants};
  info.layout = layout;
  VkPipeline made = nullptr;
  const VkResult r = gpu_.vk.CreateComputePipelines(gpu_.device, cache_, 1, &info, nullptr, &made);
  gpu_.vk.DestroyShaderModule(gpu_.device, module, nullptr);
  gpu_.check(r, "vkCreateComputePipelines");
  return made;
}

// The driver checks its data's own header: UUID and versions. What came to harm on its way never reaches it.
void Pipelines::open_cache() {
  std::optional<std::vector<std::string>> kept;
  if (!switched_off("ANYGPU_VULKAN_PIPELINE_CACHE")) {
    files_.emplace("vulkan", gpu_.physical.identity);
    kept = files_->load(kKey, 1);
  }
  VkPipelineCacheCreateInfo info{VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  if (kept) {
    info.initialDataSize = kept->front().size();
    info.pInitialData = kept->front().data();
    if (gpu_.vk.CreatePipelineCache(gpu_.device, &info, nullptr, &cache_) == VK_SUCCESS) return;
    info = {VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
  }
  gpu_.check(gpu_.vk.CreatePipelineCache(gpu_.device, &info, nullptr, &cache_), "vkCreatePipelineCache");
}

void Pipelines::save(bool now) {
  std::lock_guard lock(mutex_);
  if (!files_ || saved_ == compiled()) return;
  if (!now && now_us() - saved_us_ < kSaveEvery) return;
  size_t bytes = 0;
  if (gpu_.vk.GetPipelineCacheData(gpu_.device, cache_, &bytes, nullptr) != VK_SUCCESS) return;
  std::string data(bytes, 0);
  if (gpu_.vk.GetPipelineCacheData(gpu_.device, cache_, &bytes, data.data()) != VK_SUCCESS) return;
  data.resize(bytes);
  files_->save(kKey, {data});
  saved_ = compiled();
  saved_us_ = now_us();
}

std::string Pipelines::file() const {
  return files_ ? files_->file(kKey) : "";
}

}  // namespace anygpu::vulkan
