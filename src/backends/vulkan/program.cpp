#include "program.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "named.h"
#include "steps.h"

namespace anygpu::vulkan {
namespace {

constexpr int64_t kAlign = 256;
constexpr int64_t kScratchRing = int64_t{32} << 20;  // steps share scratch no sooner than this, so that they need not wait for each other
// A submission ends at this or most_work(): a driver's timeout is seconds away, and the device starts while the host still records.
constexpr int kLaunchesPerSubmission = 192;
constexpr int64_t kTimedRuns = 8, kTimedEvery = 16;

int64_t rounded(int64_t bytes, int64_t to) {
  return (bytes + to - 1) / to * to;
}

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

VulkanProgram::VulkanProgram(Resources& on, std::span<const ir::Step> steps)
    : on_(on), steps_(steps.begin(), steps.end()), by_address_(steps.size()) {
  build();
  if (!on.can.device_addresses || on.heap.capacity() <= on.can.max_binding_bytes) steps_.clear();
}

void VulkanProgram::build() {
  Capabilities far = on_.can;
  far.by_address = true;
  far.texel_loads = false;
  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto* generic = std::get_if<ir::Generic>(&steps_[i]);
    add_step(generic ? generic->name : std::get<ir::Named>(steps_[i]).name, compile_step(steps_[i], by_address_[i] ? far : on_.can));
  }
  finish();
}

VulkanProgram::VulkanProgram(Resources& on, const std::string& name, std::vector<Compiled> steps) : on_(on) {
  for (Compiled& made : steps) add_step(name, std::move(made));
  finish();
}

void VulkanProgram::add_step(const std::string& name, Compiled made) {
  const auto step = static_cast<int32_t>(names_.size());
  names_.push_back(name);
  fault_at_.push_back(-1);
  const int64_t need = rounded(made.scratch_bytes, kAlign);
  if (scratch_end_ + need > kScratchRing) scratch_end_ = 0;
  scratch_at_.push_back({scratch_end_, made.scratch_bytes});
  scratch_end_ += need;
  scratch_bytes_ = std::max(scratch_bytes_, scratch_end_);
  for (Launch& l : made.launches) {
    if (l.groups[0] == 0 || l.groups[1] == 0 || l.groups[2] == 0) continue;
    Ready r{.launch = std::move(l), .step = step};
    r.pipeline = on_.pipelines.get(r.launch.shader);
    r.bound.resize(r.launch.bindings.size());
    r.views.resize(r.bound.size());
    if (static_cast<int>(r.bound.size()) != r.launch.shader->bindings)
      throw Error(ErrorKind::Internal, "[" + r.launch.shader->name + "] a launch binds other than the shader declares");
    for (const Binding& b : r.launch.bindings) {
      if (b.slot == kFaults && fault_at_.back() < 0) {
        fault_at_.back() = faults_bytes_;
        faults_bytes_ += std::max(kAlign, on_.gpu.can.binding_alignment);
      }
      if (b.slot == kParams && r.params_at < 0) {
        r.params_at = params_bytes_;
        params_bytes_ += rounded(4 * static_cast<int64_t>(r.launch.params.size()), kAlign);
      }
    }
    launches_.push_back(std::move(r));
  }
}

void VulkanProgram::finish() {
  on_.pipelines.save();
  if (faults_bytes_) faults_ = on_.host.allocate(faults_bytes_);
  allocate_sets();
  built_ = true;
}

VulkanProgram::~VulkanProgram() {
  clear();
}

void VulkanProgram::clear() {
  built_ = false;
  for (const Ready& r : launches_)
    for (const VkBufferView view : r.views) on_.gpu.vk.DestroyBufferView(on_.gpu.device, view, nullptr);
  on_.host.release(faults_);
  on_.gpu.vk.DestroyDescriptorPool(on_.gpu.device, pool_, nullptr);
  faults_ = {};
  pool_ = nullptr;
  launches_.clear(), names_.clear(), fault_at_.clear(), scratch_at_.clear(), placed_.clear(), shares_.clear();
  scratch_end_ = scratch_bytes_ = params_bytes_ = faults_bytes_ = 0;
}

bool VulkanProgram::passes_limit(const Ready& r, const Binding& b, const Bindings& bindings) const {
  if ((b.slot < 0 && b.slot != kScratch) || !r.launch.addresses.empty()) return false;
  const int64_t bytes =
      b.slot == kScratch ? scratch_at_[static_cast<size_t>(r.step)].second : bindings.slots[static_cast<size_t>(b.slot)].bytes;
  return std::min(b.end, bytes) - b.begin + on_.gpu.can.binding_alignment > on_.gpu.can.max_binding_bytes;
}

void VulkanProgram::reach(const Bindings& bindings) {
  bool any = false;
  for (const Ready& r : launches_)
    for (const Binding& b : r.launch.bindings) {
      if (steps_.empty() || by_address_[static_cast<size_t>(r.step)] || !passes_limit(r, b, bindings)) continue;
      any = by_address_[static_cast<size_t>(r.step)] = true;
    }
  if (!any && built_) return;
  clear();
  build();
}

void VulkanProgram::allocate_sets() {
  uint32_t sets = 0, buffers = 0, texels = 0;
  std::vector<VkDescriptorSetLayout> layouts;
  for (const Ready& r : launches_) {
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
  for (uint32_t i = 0; i < sets; ++i) launches_[i].set = made[i];
}

VulkanProgram::Bound VulkanProgram::resolve(const Ready& r, const Binding& b, const Bindings& bindings, int64_t* rest) const {
  Memory m;
  if (b.slot >= 0) {
    m = bindings.slots[static_cast<size_t>(b.slot)];
  } else if (b.slot == kScratch) {
    const auto& [at, bytes] = scratch_at_[static_cast<size_t>(r.step)];
    m = {on_.scratch.handle, on_.scratch.offset + at, bytes};
  } else if (b.slot == kFaults) {
    m = faults_;
    m.offset += fault_at_[static_cast<size_t>(r.step)];
  } else {
    m = on_.params;
    m.offset += r.params_at;
  }
  const auto& block = *static_cast<const Block*>(m.handle);
  const int64_t begin = m.offset + b.begin, end = m.offset + std::min(b.end, m.bytes);
  const int64_t aligned = begin / on_.gpu.can.binding_alignment * on_.gpu.can.binding_alignment;
  // Whole words, through which shaders reach bytes, and whole texels.
  const int64_t last = std::min(rounded(end, b.texel == Texel::Float4 ? 16 : 4), block.bytes);
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

void VulkanProgram::place(const Bindings& bindings) {
  auto grow = [](Heap& heap, Memory& m, int64_t bytes) {
    if (m.bytes >= bytes) return;
    heap.release(m);
    m = {};
    m = heap.allocate(bytes);
  };
  grow(on_.heap, on_.scratch, scratch_bytes_);
  grow(on_.host, on_.params, params_bytes_);
  std::vector<Placed> now;
  auto add = [&](const Memory& m) { now.push_back({m.handle ? static_cast<const Block*>(m.handle)->serial : 0, m.offset, m.bytes}); };
  for (const Memory& m : bindings.slots) add(m);
  add(on_.scratch), add(on_.params);
  if (now == placed_) return;
  placed_.clear();  // should this throw halfway, all is written the next time
  rewrite_descriptors(bindings);
  find_barriers();
  placed_ = std::move(now);
}

void VulkanProgram::rewrite_descriptors(const Bindings& bindings) {
  size_t most = 0;
  for (const Ready& r : launches_) most += r.bound.size();
  std::vector<VkDescriptorBufferInfo> infos;
  std::vector<VkWriteDescriptorSet> writes;
  infos.reserve(most);  // pointed into
  std::vector<std::pair<Bound*, Bound>> written;
  for (Ready& r : launches_) {
    r.params = r.launch.params;
    for (size_t i = 0; i < r.bound.size(); ++i) {
      const Binding& b = r.launch.bindings[i];
      int64_t rest;
      const Bound found = resolve(r, b, bindings, &rest);
      for (const AddressUse& use : r.launch.addresses) {
        if (use.binding != static_cast<int32_t>(i)) continue;
        r.params[static_cast<size_t>(use.word)] = static_cast<uint32_t>(found.address);
        r.params[static_cast<size_t>(use.word) + 1] = static_cast<uint32_t>(found.address >> 32);
      }
      if (b.word >= 0) r.params[static_cast<size_t>(b.word)] += static_cast<uint32_t>(rest / b.unit);
      if (found == r.bound[i]) continue;
      r.bound[i] = {};  // until it is written
      writes.push_back(descriptor(r, i, found, infos.emplace_back()));
      written.emplace_back(&r.bound[i], found);
    }
  }
  if (!writes.empty()) on_.gpu.vk.UpdateDescriptorSets(on_.gpu.device, static_cast<uint32_t>(writes.size()), writes.data(), 0, nullptr);
  for (const auto& [bound, found] : written) *bound = found;
}

VkWriteDescriptorSet VulkanProgram::descriptor(Ready& r, size_t i, const Bound& found, VkDescriptorBufferInfo& info) {
  const Gpu& gpu = on_.gpu;
  const Texel texel = r.launch.bindings[i].texel;
  VkWriteDescriptorSet write{VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET, nullptr, r.set, static_cast<uint32_t>(i)};
  write.descriptorCount = 1;
  if (texel == Texel::None) {
    const int64_t range = std::min(found.range, gpu.can.max_binding_bytes);  // less than all only where no shader looks
    info = {found.buffer, static_cast<VkDeviceSize>(found.offset), static_cast<VkDeviceSize>(range)};
    write.descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER;
    write.pBufferInfo = &info;
    return write;
  }
  VkBufferViewCreateInfo view{VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO};
  view.buffer = found.buffer;
  view.format = texel == Texel::Float4 ? VK_FORMAT_R32G32B32A32_SFLOAT : VK_FORMAT_R32_SFLOAT;
  view.offset = static_cast<VkDeviceSize>(found.offset);
  view.range = static_cast<VkDeviceSize>(found.range);
  gpu.vk.DestroyBufferView(gpu.device, r.views[i], nullptr);
  r.views[i] = nullptr;
  on_.gpu.check(gpu.vk.CreateBufferView(gpu.device, &view, nullptr, &r.views[i]), "vkCreateBufferView");
  write.descriptorType = VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
  write.pTexelBufferView = &r.views[i];
  return write;
}

void VulkanProgram::find_barriers() {
  Hazards hazards;
  for (Ready& r : launches_) {
    r.barrier = hazards.full();
    auto range = [&](size_t i) { return Range{r.bound[i].buffer, r.bound[i].offset, r.bound[i].offset + r.bound[i].range}; };
    for (size_t i = 0; i < r.bound.size() && !r.barrier; ++i) r.barrier = hazards.conflict(range(i), r.launch.bindings[i].write);
    if (r.barrier) hazards.clear();
    for (size_t i = 0; i < r.bound.size(); ++i) hazards.add(range(i), r.launch.bindings[i].write);
  }
}

void VulkanProgram::put_scalars(Ready& r, const Bindings& bindings) {
  for (const ScalarUse& use : r.launch.scalars)
    put_scalar(bindings.scalars[static_cast<size_t>(use.scalar)], use.type, &r.params[static_cast<size_t>(use.word)]);
  if (r.params_at >= 0 && !r.params.empty()) std::memcpy(host_pointer(on_.params) + r.params_at, r.params.data(), 4 * r.params.size());
}

void VulkanProgram::dispatch(VkCommandBuffer commands, const Ready& r) {
  const DeviceApi& vk = on_.gpu.vk;
  vk.CmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, r.pipeline.handle);
  vk.CmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, r.pipeline.layout, 0, 1, &r.set, 0, nullptr);
  // A shader may declare more words than it reads, so that many share a layout.
  if (const size_t words = std::min(static_cast<size_t>(r.launch.shader->push_words), r.params.size()))
    vk.CmdPushConstants(commands, r.pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, static_cast<uint32_t>(4 * words), r.params.data());
  vk.CmdDispatch(commands, r.launch.groups[0], r.launch.groups[1], r.launch.groups[2]);
}

std::vector<StepFailure> VulkanProgram::run(const Bindings& bindings, std::vector<StepTime>* times) {
  Gpu& gpu = on_.gpu;
  const double begin = now_us();
  gpu.check_alive();
  reach(bindings);  // may measure, which runs Programs
  if (times) times->assign(names_.size(), {begin, begin});
  if (launches_.empty()) return {};
  std::lock_guard lock(on_.run_mutex);
  Unfinished submitted(gpu);
  place(bindings);
  if (faults_bytes_) std::memset(host_pointer(faults_), 0, static_cast<size_t>(faults_bytes_));
  on_.commands.reset();

  const bool timed = times && gpu.physical.timestamp_bits && (runs_ < kTimedRuns || runs_ % kTimedEvery == 0);
  ++runs_;
  const auto stamps = static_cast<uint32_t>(names_.size()) + 1;
  if (timed) grow_queries(stamps);

  VkCommandBuffer commands = on_.commands.begin();
  uint32_t stamped = 0;  // timestamps written
  auto stamp_until = [&](uint32_t count) {
    for (; timed && stamped < count; ++stamped)
      gpu.vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, on_.queries, stamped);
  };
  if (timed) gpu.vk.CmdResetQueryPool(commands, on_.queries, 0, stamps);
  stamp_until(1);
  const double most = most_work(gpu.can);
  double work = 0;
  int recorded = 0;
  bool fresh = true;  // a submission begins with a barrier of its own
  for (Ready& r : launches_) {
    if (recorded && (work + r.launch.work > most || recorded >= kLaunchesPerSubmission)) {
      submitted.until(on_.commands.submit(commands));
      commands = on_.commands.begin();
      work = 0;
      recorded = 0;
      fresh = true;
    }
    stamp_until(static_cast<uint32_t>(r.step) + 1);
    if (r.barrier && !fresh) {
      const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_SHADER_WRITE_BIT,
                                    VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
      gpu.vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0,
                                nullptr, 0, nullptr);
    }
    fresh = false;
    put_scalars(r, bindings);
    dispatch(commands, r);
    work += r.launch.work;
    ++recorded;
  }
  stamp_until(stamps);
  full_barrier(gpu.vk, commands);
  submitted.until(on_.commands.submit(commands));
  submitted.wait();

  const double end = now_us();
  if (timed) read_queries(stamps);
  if (times) fill_times(*times, begin, end);
  on_.pipelines.save();
  return failures();
}

void VulkanProgram::grow_queries(uint32_t stamps) {
  if (on_.query_count >= stamps) return;
  Gpu& gpu = on_.gpu;
  gpu.vk.DestroyQueryPool(gpu.device, on_.queries, nullptr);
  on_.queries = nullptr;
  VkQueryPoolCreateInfo info{VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO};
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = std::max(stamps, 2 * std::exchange(on_.query_count, 0));
  gpu.check(gpu.vk.CreateQueryPool(gpu.device, &info, nullptr, &on_.queries), "vkCreateQueryPool");
  on_.query_count = info.queryCount;
}

void VulkanProgram::read_queries(uint32_t stamps) {
  Gpu& gpu = on_.gpu;
  std::vector<uint64_t> ticks(stamps);
  gpu.check(gpu.vk.GetQueryPoolResults(gpu.device, on_.queries, 0, stamps, 8 * ticks.size(), ticks.data(), 8,
                                       VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
            "vkGetQueryPoolResults");
  const uint64_t mask = gpu.physical.timestamp_bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << gpu.physical.timestamp_bits) - 1;
  shares_.assign(names_.size(), 0);
  double all = 0;
  for (size_t i = 0; i < shares_.size(); ++i) all += shares_[i] = static_cast<double>((ticks[i + 1] - ticks[i]) & mask);
  device_us_ = all * gpu.physical.tick_ns * 1e-3;
  for (double& s : shares_) s = all > 0 ? s / all : 1 / static_cast<double>(shares_.size());
}

/// Each step's share of the run, one after another. Shares are measured in some runs only: a timestamp keeps neighbours from overlapping.
void VulkanProgram::fill_times(std::vector<StepTime>& times, double begin, double end) {
  if (shares_.empty()) shares_.assign(names_.size(), 1 / static_cast<double>(names_.size()));
  double at = begin;
  for (size_t i = 0; i < times.size(); ++i) {
    const double next = i + 1 == times.size() ? end : std::min(end, at + shares_[i] * (end - begin));
    times[i] = {at, next};
    at = next;
  }
}

std::vector<StepFailure> VulkanProgram::failures() const {
  std::vector<StepFailure> all;
  for (size_t i = 0; i < names_.size(); ++i) {
    if (fault_at_[i] < 0) continue;
    uint32_t word;
    std::memcpy(&word, host_pointer(faults_) + fault_at_[i], 4);
    if (word == 0) continue;
    all.push_back(failed_check(static_cast<int32_t>(i), names_[i], static_cast<ir::Fault>(word)));
  }
  return all;
}

std::unique_ptr<Program> make_program(Resources& on, std::span<const ir::Step> steps) {
  return std::make_unique<VulkanProgram>(on, steps);
}

}  // namespace anygpu::vulkan
