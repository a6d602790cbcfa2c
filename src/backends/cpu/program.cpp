#include "program.h"

#include "backends/cpu/library/library.h"
#include "bundle.h"
#include "generic_step.h"
#include "lanes.h"

namespace anygpu::cpu {
namespace {

/// What a group runs as: StepGroup::kind.
enum Kind : int32_t { kStep, kLanes, kBundle };

/// Of the steps in front of `rest`.
StepGroup next_group(std::span<const ir::Step> rest) {
  if (const size_t n = lanes_from(rest)) return {static_cast<int32_t>(n), kLanes};
  if (const size_t n = bundle_from(rest)) return {static_cast<int32_t>(n), kBundle};
  return {1, kStep};
}

/// One step of the Plan, or a run of them as Lanes or as a Bundle.
struct Part {
  size_t first, steps;
  std::unique_ptr<GenericStep> generic;
  std::unique_ptr<PreparedNamed> named;
  std::unique_ptr<Lanes> lanes;
  std::unique_ptr<Bundle> bundle;
};

class CpuProgram : public BlockingProgram {
 public:
  CpuProgram(std::span<const ir::Step> steps, std::span<const StepGroup> groups) : steps_(steps.size()) {
    size_t i = 0;
    for (const StepGroup& group : groups) {
      const auto n = static_cast<size_t>(group.steps);
      const std::span<const ir::Step> mine = steps.subspan(i, n);
      Part made{i, n, nullptr, nullptr, nullptr, nullptr};
      if (group.kind == kLanes) {
        made.lanes = make_lanes(mine);
      } else if (group.kind == kBundle) {
        made.bundle = std::make_unique<Bundle>(mine);
      } else if (const auto* g = std::get_if<ir::Generic>(&steps[i])) {
        made.generic = std::make_unique<GenericStep>(*g);
      } else {
        made.named = library().prepare(std::get<ir::Named>(steps[i]));
      }
      parts_.push_back(std::move(made));
      i += n;
    }
    // All were asked for: they compile at once.
    for (Part& part : parts_) {
      if (part.generic) part.generic->wait();
      if (part.lanes) part.lanes->wait();
      if (part.bundle) part.bundle->wait();
    }
  }

  int64_t launches() const override { return static_cast<int64_t>(parts_.size()); }

 protected:
  std::vector<StepFailure> run_steps(const Bindings& bindings, std::vector<StepTime>* times) override {
    std::vector<StepFailure> failures;
    if (times) times->resize(steps_);
    for (const Part& part : parts_) {
      const double start = times ? now_us() : 0;
      if (bindings.leaves_out(part.first, part.steps, failures)) {
        for (size_t i = 0; times && i < part.steps; ++i) (*times)[part.first + i] = {start, start};
        continue;
      }
      auto failed = [&](const Error& error) {
        for (size_t i = 0; i < part.steps; ++i) failures.push_back({static_cast<int32_t>(part.first + i), error});
      };
      try {
        if (part.lanes) {
          part.lanes->run(bindings, times ? times->data() + part.first : nullptr);
          continue;
        }
        if (part.bundle) {
          part.bundle->run(bindings, times ? times->data() + part.first : nullptr);
          continue;
        }
        if (part.generic) {
          if (const ir::FaultReport report = part.generic->run(library(), bindings))
            failures.push_back(failed_check(static_cast<int32_t>(part.first), part.generic->name(), report));
        } else {
          part.named->run(bindings.slots.data());
        }
      } catch (const Error& e) {
        failed(e);
      } catch (const std::bad_alloc&) {
        failed(Error(ErrorKind::OutOfMemory, "[cpu] no memory for a kernel's scratch"));
      }
      if (times) (*times)[part.first] = {start, now_us()};
    }
    return failures;
  }

 private:
  size_t steps_;
  std::vector<Part> parts_;
};

}  // namespace

std::vector<StepGroup> groups_of(std::span<const ir::Step> steps) {
  std::vector<StepGroup> groups;
  for (size_t i = 0; i < steps.size(); i += static_cast<size_t>(groups.back().steps)) groups.push_back(next_group(steps.subspan(i)));
  return groups;
}

std::unique_ptr<Program> make_program(std::span<const ir::Step> steps, std::span<const StepGroup> groups) {
  return std::make_unique<CpuProgram>(steps, groups);
}

}  // namespace anygpu::cpu
