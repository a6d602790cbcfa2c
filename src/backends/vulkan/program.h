// VulkanProgram: the Launches of a Plan's steps, recorded and submitted anew in each run.
#pragma once

#include "placement.h"

namespace anygpu::vulkan {

class VulkanProgram : public Program {
 public:
  VulkanProgram(Resources&, std::span<const ir::Step>);
  /// Steps that are compiled, all of one name.
  VulkanProgram(Resources&, const std::string& name, std::vector<Compiled>);

  std::unique_ptr<Completion> submit(const Bindings&, bool timed) override;
  int64_t launches() const override { return static_cast<int64_t>(prepared_->launches.size()); }
  /// Of all steps, on the device's clock, when a run was last timed.
  double device_us() const { return device_us_; }

 private:
  class Submitted;

  std::shared_ptr<const Prepared> build(const std::vector<bool>& by_address);
  /// Compiles anew, by address, steps whose slots pass the device's limit.
  void reach(const Bindings&);
  /// Whether a slot, or scratch, is larger than a descriptor may reach, and is reached through one.
  bool passes_limit(const Ready&, const Binding&, const Bindings&) const;
  /// One that no run has: where all is as it was, if there is such.
  std::unique_ptr<Placement> take(const std::vector<Place>&);
  void record(Submitted&, Unfinished&, const Bindings&);
  /// The steps' shares of the run that wrote these timestamps.
  void read_queries(Frame&, uint32_t stamps);
  void fill_times(std::vector<StepTime>&, double begin, double end);

  Resources& on_;
  std::vector<ir::Step> steps_;   // kept where some may have to be compiled anew
  std::vector<bool> by_address_;  // per step
  std::shared_ptr<const Prepared> prepared_;
  std::vector<std::unique_ptr<Placement>> idle_;  // under the run_mutex
  int64_t runs_ = 0;
  // As last measured; of who waits for Completions.
  std::vector<double> shares_;  // of a run's time, per step
  double device_us_ = 0;
};

}  // namespace anygpu::vulkan
