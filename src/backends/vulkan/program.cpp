#include "program.h"

#include <algorithm>
#include <utility>

#include "backends/gpu/steps.h"
#include "core/numbers.h"

namespace anygpu::vulkan {
namespace {

constexpr int64_t kAlign = 256;
constexpr int64_t kScratchRing = int64_t{32} << 20;  // steps share scratch no sooner than this, so that they need not wait for each other
// A submission ends at this or most_work(): a driver's timeout is seconds away, and the device starts while the host still records.
constexpr int kLaunchesPerSubmission = 192;
constexpr int64_t kTimedRuns = 8, kTimedEvery = 16;

/// Puts Launches of steps one after another.
class Preparing {
 public:
  explicit Preparing(Resources& on) : on_(on) {}

  void add_step(const std::string& name, Compiled made) {
    const auto step = static_cast<int32_t>(p_.names.size());
    p_.names.push_back(name);
    p_.fault_at.push_back(-1);
    const int64_t need = round_up(made.scratch_bytes, kAlign);
    if (scratch_end_ + need > kScratchRing) scratch_end_ = 0;
    p_.scratch_at.push_back({scratch_end_, made.scratch_bytes});
    scratch_end_ += need;
    p_.scratch_bytes = std::max(p_.scratch_bytes, scratch_end_);
    for (Launch& l : made.launches) {
      if (l.groups[0] == 0 || l.groups[1] == 0 || l.groups[2] == 0) continue;
      Ready r{.launch = placed(std::move(l)), .step = step};
      r.pipeline = on_.pipelines.get(r.launch.shader);
      if (static_cast<int>(r.launch.bindings.size()) != r.launch.shader->bindings)
        throw Error(ErrorKind::Internal, "[" + r.launch.shader->name + "] a launch binds other than the shader declares");
      for (const Binding& b : r.launch.bindings) {
        if (b.slot == kFaults && p_.fault_at.back() < 0) {
          p_.fault_at.back() = p_.faults_bytes;
          p_.faults_bytes += std::max(kAlign, on_.gpu.can.binding_alignment);
        }
        if (b.slot == kParams && r.params_at < 0) {
          r.params_at = p_.params_bytes;
          p_.params_bytes += round_up(4 * static_cast<int64_t>(r.launch.params.size()), kAlign);
        }
      }
      p_.launches.push_back(std::move(r));
    }
  }

  std::shared_ptr<const Prepared> finish() {
    on_.pipelines.save();
    return std::make_shared<const Prepared>(std::move(p_));
  }

 private:
  Resources& on_;
  Prepared p_;
  int64_t scratch_end_ = 0;
};

}  // namespace

/// What a run has until it is done.
class VulkanProgram::Submitted : public Completion {
 public:
  Submitted(VulkanProgram& program, bool timed) : program_(program), timed_(timed), begin_us_(now_us()) {}
  ~Submitted() override {
    if (value_) program_.on_.gpu.settle(value_);
    give_back();
  }

  bool reached() const override { return value_ == 0 || program_.on_.gpu.reached(value_); }

  void wait() override {
    if (!value_) return;
    Gpu& gpu = program_.on_.gpu;
    const uint64_t value = std::exchange(value_, 0);
    try {
      gpu.wait(value);
      const double end = now_us(), begin = std::min(end, std::max(begin_us_, program_.on_.ended(end)));
      if (stamps_) program_.read_queries(*frame_, stamps_);
      if (timed_) program_.fill_times(times, begin, end);
      failures = placement_->failures();
      program_.on_.pipelines.save();
    } catch (...) {
      gpu.settle(value);
      give_back();
      throw;
    }
    give_back();
  }

  // Filled as the run is submitted.
  std::unique_ptr<Placement> placement_;
  std::unique_ptr<Frame> frame_;
  uint64_t value_ = 0;   // of the timeline; 0: there is nothing to wait for
  uint32_t stamps_ = 0;  // timestamps

 private:
  friend class VulkanProgram;
  void give_back() {
    std::lock_guard lock(program_.on_.run_mutex);
    if (placement_ && placement_->of() == program_.prepared_) program_.idle_.push_back(std::move(placement_));
    if (frame_) program_.on_.frames.push_back(std::move(frame_));
    placement_ = nullptr;
  }

  VulkanProgram& program_;
  const bool timed_;
  const double begin_us_;
};

VulkanProgram::VulkanProgram(Resources& on, std::span<const ir::Step> steps)
    : on_(on), steps_(steps.begin(), steps.end()), by_address_(steps.size()), prepared_(build(by_address_)) {
  if (!on.can.device_addresses || on.heap.capacity() <= on.can.max_binding_bytes) steps_.clear();
}

VulkanProgram::VulkanProgram(Resources& on, const std::string& name, std::vector<Compiled> steps) : on_(on) {
  Preparing all(on);
  for (Compiled& made : steps) all.add_step(name, std::move(made));
  prepared_ = all.finish();
}

std::shared_ptr<const Prepared> VulkanProgram::build(const std::vector<bool>& by_address) {
  gpu::Target far = on_.can;
  far.by_address = true;
  far.texel_loads = false;
  Preparing all(on_);
  for (size_t i = 0; i < steps_.size(); ++i) {
    const auto* generic = std::get_if<ir::Generic>(&steps_[i]);
    all.add_step(generic ? generic->name : std::get<ir::Named>(steps_[i]).name, gpu::compile_step(steps_[i], by_address[i] ? far : on_.can));
  }
  return all.finish();
}

bool VulkanProgram::passes_limit(const Ready& r, const Binding& b, const Bindings& bindings) const {
  if ((b.slot < 0 && b.slot != kScratch) || !r.launch.addresses.empty()) return false;
  const int64_t bytes =
      b.slot == kScratch ? prepared_->scratch_at[static_cast<size_t>(r.step)].second : bindings.slots[static_cast<size_t>(b.slot)].bytes;
  return std::min(b.end, bytes) - b.begin + on_.gpu.can.binding_alignment > on_.gpu.can.max_binding_bytes;
}

void VulkanProgram::reach(const Bindings& bindings) {
  if (steps_.empty()) return;
  std::vector<bool> far = by_address_;
  for (const Ready& r : prepared_->launches)
    for (const Binding& b : r.launch.bindings)
      if (passes_limit(r, b, bindings)) far[static_cast<size_t>(r.step)] = true;
  if (far == by_address_) return;
  std::shared_ptr<const Prepared> made = build(far);
  std::lock_guard lock(on_.run_mutex);
  by_address_ = std::move(far);
  prepared_ = std::move(made);
  idle_.clear();
}

std::unique_ptr<Placement> VulkanProgram::take(const std::vector<Place>& now) {
  if (idle_.empty()) return std::make_unique<Placement>(on_, prepared_);
  auto it = std::find_if(idle_.begin(), idle_.end(), [&](const auto& p) { return p->stands(now); });
  if (it == idle_.end()) it = idle_.begin();
  std::unique_ptr<Placement> taken = std::move(*it);
  idle_.erase(it);
  return taken;
}

std::unique_ptr<Completion> VulkanProgram::submit(const Bindings& bindings, bool timed) {
  on_.gpu.check_alive();
  reach(bindings);  // may measure, which runs Programs
  auto run = std::make_unique<Submitted>(*this, timed);
  if (timed) run->times.assign(prepared_->names.size(), {run->begin_us_, run->begin_us_});
  if (prepared_->launches.empty()) return run;
  std::lock_guard lock(on_.run_mutex);
  on_.need_scratch(prepared_->scratch_bytes);
  std::vector<Place> now = places(bindings, on_.scratch);
  run->placement_ = take(now);
  run->frame_ = on_.take_frame();
  run->placement_->begin(std::move(now), bindings);
  if (timed && on_.gpu.physical.timestamp_bits && (runs_ < kTimedRuns || runs_ % kTimedEvery == 0))
    run->stamps_ = static_cast<uint32_t>(prepared_->names.size()) + 1;
  ++runs_;
  Unfinished submitted(on_.gpu);
  record(*run, submitted, bindings);
  run->value_ = submitted.keep();
  return run;
}

void VulkanProgram::record(Submitted& run, Unfinished& submitted, const Bindings& bindings) {
  Gpu& gpu = on_.gpu;
  Frame& frame = *run.frame_;
  if (run.stamps_) frame.grow_queries(run.stamps_);
  VkCommandBuffer commands = frame.commands.begin();
  uint32_t stamped = 0;  // timestamps written
  auto stamp_until = [&](uint32_t count) {
    for (; stamped < std::min(count, run.stamps_); ++stamped)
      gpu.vk.CmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, frame.queries, stamped);
  };
  if (run.stamps_) gpu.vk.CmdResetQueryPool(commands, frame.queries, 0, run.stamps_);
  stamp_until(1);
  const double most = gpu::most_work(gpu.can);
  double work = 0;
  int recorded = 0;
  for (size_t n = 0; n < prepared_->launches.size(); ++n) {
    const Ready& r = prepared_->launches[n];
    if (recorded && (work + r.launch.work > most || recorded >= kLaunchesPerSubmission)) {
      submitted.until(frame.commands.submit(commands));
      commands = frame.commands.begin();
      work = 0;
      recorded = 0;
    }
    stamp_until(static_cast<uint32_t>(r.step) + 1);
    if (run.placement_->barrier(n) && recorded) {  // a submission begins with a barrier of its own
      const VkMemoryBarrier barrier{VK_STRUCTURE_TYPE_MEMORY_BARRIER, nullptr, VK_ACCESS_SHADER_WRITE_BIT,
                                    VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT};
      gpu.vk.CmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT, 0, 1, &barrier, 0,
                                nullptr, 0, nullptr);
    }
    run.placement_->dispatch(commands, n, bindings);
    work += r.launch.work;
    ++recorded;
  }
  stamp_until(run.stamps_);
  full_barrier(gpu.vk, commands);
  submitted.until(frame.commands.submit(commands));
}

void VulkanProgram::read_queries(Frame& frame, uint32_t stamps) {
  Gpu& gpu = on_.gpu;
  std::vector<uint64_t> ticks(stamps);
  gpu.check(gpu.vk.GetQueryPoolResults(gpu.device, frame.queries, 0, stamps, 8 * ticks.size(), ticks.data(), 8,
                                       VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT),
            "vkGetQueryPoolResults");
  const uint64_t mask = gpu.physical.timestamp_bits >= 64 ? ~uint64_t{0} : (uint64_t{1} << gpu.physical.timestamp_bits) - 1;
  shares_.assign(prepared_->names.size(), 0);
  double all = 0;
  for (size_t i = 0; i < shares_.size(); ++i) all += shares_[i] = static_cast<double>((ticks[i + 1] - ticks[i]) & mask);
  device_us_ = all * gpu.physical.tick_ns * 1e-3;
  for (double& s : shares_) s = all > 0 ? s / all : 1 / static_cast<double>(shares_.size());
}

/// Each step's share of the run, one after another. Shares are measured in some runs only: a timestamp keeps neighbours from overlapping.
void VulkanProgram::fill_times(std::vector<StepTime>& times, double begin, double end) {
  times.resize(prepared_->names.size());
  if (shares_.empty()) shares_.assign(prepared_->names.size(), 1 / static_cast<double>(prepared_->names.size()));
  double at = begin;
  for (size_t i = 0; i < times.size(); ++i) {
    const double next = i + 1 == times.size() ? end : std::min(end, at + shares_[i] * (end - begin));
    times[i] = {at, next};
    at = next;
  }
}

std::unique_ptr<Program> make_program(Resources& on, std::span<const ir::Step> steps) {
  return std::make_unique<VulkanProgram>(on, steps);
}

}  // namespace anygpu::vulkan
