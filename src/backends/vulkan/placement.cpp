#include "placement.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "backends/gpu/hazards.h"
#include "core/numbers.h"

namespace anygpu::vulkan {
namespace {

/// A Scalar as the words that a shader reads. f: .f, i and b: .i, converted to the type.
void put_scalar(const Scalar& s, DType t, uint32_t* to) {
  auto narrow = [&](auto v) { *to = static_cast<uint32_t>(static_cast<int32_t>(v)); };
  switch (t) {
    case DType::F32:
      *to = std::bit_cast<uint32_t>(static_cast<float>(s.f));
      return;
    case DType::F64:
    case DType::I64:
      std::memcpy(to, &s, 8);
      return;
    case DType::Bool:
      return narrow(s.i != 0);
    case DType::U8:
      return narrow(static_cast<uint8_t>(s.i));
    case DType::I8:
      return narrow(static_cast<int8_t>(s.i));
    case DType::I16:
      return narrow(static_cast<int16_t>(s.i));
    case DType::I32:
      return narrow(s.i);
    default:
      throw Error(ErrorKind::Internal, std::string("[vulkan] a scalar of type ") + name_of(t));
  }
}

}  // namespace

std::vector<Place> places(const Bindings& bindings, const Memory& scratch) {
  std::vector<Place> all;
  auto add = [&](const Memory& m) { all.push_back({m.handle ? static_cast<const Block*>(m.handle)->serial : 0, m.offset, m.bytes}); };
  for (const Memory& m : bindings.slots) add(m);
  add(scratch);
  return all;
}

Placement::Placement(Resources& on, std::shared_ptr<const Prepared> of) : of_(std::move(of)), on_(on), sets_(of_->launches.size()) {
  for (size_t n = 0; n < sets_.size(); ++n) {
    sets_[n].bound.resize(of_->launches[n].launch.bindings.size());
    sets_[n].views.resize(sets_[n].bound.size());
  }
  try {
    if (of_->params_bytes) params_ = on.host.allocate(of_->params_bytes);
    if (of_->faults_bytes) faults_ = on.host.allocate(of_->faults_bytes);
    allocate_sets();
  } catch (...) {
    give_back();
    throw;
  }
}

Placement::~Placement() {
  give_back();
}

void Placement::give_back() {
  for (const Set& s : sets_)
    for (const VkBufferView view : s.views) on_.gpu.vk.DestroyBufferView(on_.gpu.device, view, nullptr);
  on_.host.release(params_);
  on_.host.release(faults_);
  on_.gpu.vk.DestroyDescriptorPool(on_.gpu.device, pool_, nullptr);
}

void Placement::allocate_sets() {
  uint32_t sets = 0, buffers = 0, texels = 0;
  std::vector<VkDescriptorSetLayout> layouts;
  for (const Ready& r : of_->launches) {
    ++sets;
    for (const Binding& b : r.launch.bindings) ++(b.texel == Texel::None ? buffers : texels);
    layouts.push_back(r.pipeline.set_layout);
  }
  if (sets == 0) return;
  const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, std::max(buffers, 1u)},
                                        {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, std::max(texels, 1u)}};
  const VkDescriptorPoolCreateInfo info{VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO, nullptr, 0, sets, 2, sizes};
  Gpu& gpu = on_.gpu;
  gpu.check(gpu.vk.CreateDescriptorPool(gpu.device, &info, nullptr, &pool_), "vkCreateDescriptorPool");
  std::vector<VkDescriptorSet> made(sets);
  const VkDescriptorSetAllocateInfo allocate{VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO, nullptr, pool_, sets, layouts.data()};
  gpu.check(gpu.vk.AllocateDescriptorSets(gpu.device, &allocate, made.data()), "vkAllocateDescriptorSets");
  for (uint32_t i = 0; i < sets; ++i) sets_[i].set = made[i];
}

void Placement::begin(std::vector<Place> now, const Bindings& bindings) {
  if (faults_.handle) std::memset(host_pointer(faults_), 0, static_cast<size_t>(of_->faults_bytes));
  if (now == placed_) return;
  placed_.clear();  // should this throw halfway, all is written the next time
  rewrite_descriptors(bindings);
  find_barriers();
  placed_ = std::move(now);
}

Placement::Bound Placement::resolve(const Ready& r, const Binding& b, const Bindings& bindings, int64_t* rest) const {
  Memory m;
  if (b.slot >= 0) {
    m = bindings.slots[static_cast<size_t>(b.slot)];
  } else if (b.slot == kScratch) {
    const auto& [at, bytes] = of_->scratch_at[static_cast<size_t>(r.step)];
    m = {on_.scratch.handle, on_.scratch.offset + at, bytes};
  } else if (b.slot == kFaults) {
    m = faults_;
    m.offset += of_->fault_at[static_cast<size_t>(r.step)];
  } else {
    m = params_;
    m.offset += r.params_at;
  }
  const auto& block = *static_cast<const Block*>(m.handle);
  const int64_t begin = m.offset + b.begin, end = m.offset + std::min(b.end, m.bytes);
  const int64_t aligned = begin / on_.gpu.can.binding_alignment * on_.gpu.can.binding_alignment;
  // Whole words, through which shaders reach bytes, and whole texels.
  const int64_t last = std::min(round_up<int64_t>(end, b.texel == Texel::Float4 ? 16 : 4), block.bytes);
  *rest = begin - aligned;
  const std::string& name = r.launch.shader->name;
  if ((b.word == -1 && *rest) || *rest % b.unit)
    throw Error(ErrorKind::Internal, "[" + name + "] a buffer at byte " + std::to_string(begin) +
                                         " is bound where the shader takes no offset of " + std::to_string(*rest) + " bytes");
  if (end - begin > b.reach)
    throw Error(ErrorKind::Value, "[" + name + "] a tensor of " + std::to_string(end - begin) + " bytes; its shader reaches " +
                                      std::to_string(b.reach) + " of them");
  const bool described = r.launch.addresses.empty() || b.slot == kFaults || b.slot == kParams;
  if (last - aligned > on_.gpu.can.max_binding_bytes && described)
    throw Error(ErrorKind::Value, "[" + name + "] a tensor of " + std::to_string(last - aligned) + " bytes; " + on_.gpu.physical.name +
                                      " binds at most " + std::to_string(on_.gpu.can.max_binding_bytes) +
                                      (on_.gpu.can.device_addresses ? "" : ", and has no device addresses"));
  return {block.serial, block.buffer, aligned, std::max<int64_t>(last - aligned, 4), block.address + static_cast<uint64_t>(aligned)};
}

void Placement::rewrite_descriptors(const Bindings& bindings) {
  size_t most = 0;
  for (const Set& s : sets_) most += s.bound.size();
  std::vector<VkDescriptorBufferInfo> infos;
  std::vector<VkWriteDescriptorSet> writes;
  infos.reserve(most);  // pointed into
  std::vector<std::pair<Bound*, Bound>> written;
  for (size_t n = 0; n < sets_.size(); ++n) {
    const Ready& r = of_->launches[n];
    Set& s = sets_[n];
    s.params = r.launch.params;
    for (size_t i = 0; i < s.bound.size(); ++i) {
      const Binding& b = r.launch.bindings[i];
      int64_t rest;
      const Bound found = resolve(r, b, bindings, &rest);
      for (const AddressUse& use : r.launch.addresses) {
        if (use.binding != static_cast<int32_t>(i)) continue;
        s.params[static_cast<size_t>(use.word)] = static_cast<uint32_t>(found.address);
        s.params[static_cast<size_t>(use.word) + 1] = static_cast<uint32_t>(found.address >> 32);
      }
      if (b.word >= 0) s.params[static_cast<size_t>(b.word)] += static_cast<uint32_t>(rest / b.unit);
      if (found == s.bound[i]) continue;
      s.bound[i] = {};  // until it is written
      writes.push_back(descriptor(s, b, i, found, infos.emplace_back()));
      written.emplace_back(&s.bound[i], found);
    }
  }
  if (!writes.empty()) on_.gpu.vk.UpdateDescriptorSets(on_.gpu.device, static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
  for (const auto& [bound, found] : written) *bound = found;
}

VkWriteDescriptorSet Placement::descriptor(Set& s, const Binding& b, size_t i, const Bound& found, VkDescriptorBufferInfo& info) {
  const Gpu& gpu = on_.gpu;
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, s.set, static_cast<uint32_t>(i)};
  write.descriptorCount = 1;
  if (b.texel == Texel::None) {
    const int64_t range = std::min(found.range, gpu.can.max_binding_bytes);  // less than all only where no shader looks
    info = {found.buffer, static_cast<VkDeviceSize>(found.offset), static_cast<VkDeviceSize>(range)};
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = &info;
    return write;
  }
  VkBufferViewCreateInfo view{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  view.buffer = found.buffer;
  view.format = b.texel == Texel::Float4 ? VK_FORMAT_R32G32B32A32_SFLOAT : VK_FORMAT_R32_SFLOAT;
  view.offset = static_cast<VkDeviceSize>(found.offset);
  view.range = static_cast<VkDeviceSize>(found.range);
  gpu.vk.DestroyBufferView(gpu.device, s.views[i], nullptr);
  s.views[i] = nullptr;
  on_.gpu.check(gpu.vk.CreateBufferView(gpu.device, &view, nullptr, &s.views[i]), "vkCreateBufferView");
  write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
  write.pTexelBufferView = &s.views[i];
  return write;
}

void Placement::find_barriers() {
  gpu::Hazards hazards;
  for (size_t n = 0; n < sets_.size(); ++n) {
    const std::vector<Binding>& bindings = of_->launches[n].launch.bindings;
    Set& s = sets_[n];
    s.barrier = hazards.full();
    auto range = [&](size_t i) { return gpu::Range{s.bound[i].buffer, s.bound[i].offset, s.bound[i].offset + s.bound[i].range}; };
    for (size_t i = 0; i < s.bound.size() && !s.barrier; ++i) s.barrier = hazards.conflict(range(i), bindings[i].write);
    if (s.barrier) hazards.clear();
    for (size_t i = 0; i < s.bound.size(); ++i) hazards.add(range(i), bindings[i].write);
  }
}

void Placement::put_scalars(const Ready& r, Set& s, const Bindings& bindings) {
  for (const ScalarUse& use : r.launch.scalars)
    put_scalar(bindings.scalars[static_cast<size_t>(use.scalar)], use.type, &s.params[static_cast<size_t>(use.word)]);
  if (r.params_at >= 0 && !s.params.empty()) std::memcpy(host_pointer(params_) + r.params_at, s.params.data(), 4 * s.params.size());
}

void Placement::dispatch(VkCommandBuffer commands, size_t n, const Bindings& bindings) {
  const DeviceApi& vk = on_.gpu.vk;
  const Ready& r = of_->launches[n];
  Set& s = sets_[n];
  put_scalars(r, s, bindings);
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, r.pipeline.handle);
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, r.pipeline.layout, 0, 1, &s.set, 0, nullptr);
  // A shader may declare more words than it reads, so that many share a layout.
  if (const size_t words = std::min(static_cast<size_t>(r.launch.shader->push_words), s.params.size()))
    vk.CmdPushConstants(commands, r.pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, static_cast<uint32_t>(4 * words), s.params.data());
  vk.CmdDispatch(commands, r.launch.groups[0], r.launch.groups[1], r.launch.groups[2]);
}

std::vector<StepFailure> Placement::failures() const {
  std::vector<StepFailure> all;
  for (size_t i = 0; i < of_->names.size(); ++i) {
    if (of_->fault_at[i] < 0) continue;
    uint32_t words[gpu::kFaultBytes / 4];
    std::memcpy(words, host_pointer(faults_) + of_->fault_at[i], sizeof words);
    if (words[0] == 0) continue;
    const auto value = static_cast<int32_t>(words[1]);
    all.push_back(failed_check(static_cast<int32_t>(i), of_->names[i],
                               {words[0], value == INT32_MIN ? ir::FaultReport::kUnknown : int64_t{value}}));
  }
  return all;
}

}  // namespace anygpu::vulkan
