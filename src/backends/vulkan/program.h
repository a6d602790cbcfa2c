// VulkanProgram: the Launches of a Plan's steps, recorded and submitted anew in each run.
#pragma once

#include "hazards.h"
#include "resources.h"

namespace anygpu::vulkan {

class VulkanProgram : public Program {
 public:
  VulkanProgram(Resources&, std::span<const ir::Step>);
  /// Steps that are compiled, all of one name.
  VulkanProgram(Resources&, const std::string& name, std::vector<Compiled>);
  ~VulkanProgram() override;

  std::vector<StepFailure> run(const Bindings&, std::vector<StepTime>* times) override;
  int64_t launches() const override { return static_cast<int64_t>(launches_.size()); }
  /// Of all steps, on the device's clock, when a run was last timed.
  double device_us() const { return device_us_; }

 private:
  /// A binding with its bytes found: what a descriptor says.
  struct Bound {
    uint64_t block = 0;  ///< its serial number: 0 is none's
    VkBuffer buffer = nullptr;
    int64_t offset = 0, range = 0;
    uint64_t address = 0;  ///< on the device, where it has addresses
    friend bool operator==(const Bound&, const Bound&) = default;
  };
  /// Where a slot, scratch or params lay.
  struct Placed {
    uint64_t block = 0;
    int64_t offset = 0, bytes = 0;
    friend bool operator==(const Placed&, const Placed&) = default;
  };
  struct Ready {
    Launch launch;
    int32_t step;
    Pipeline pipeline;
    VkDescriptorSet set = nullptr;
    std::vector<Bound> bound;         ///< as written into `set`
    std::vector<VkBufferView> views;  ///< of texel buffers, else null
    std::vector<uint32_t> params;     ///< with offsets; scalars are put in at each run
    int64_t params_at = -1;           ///< in the run's buffer of parameters, where they are not pushed
    bool barrier = false;             ///< before it
  };

  /// Launches of all steps, in the place of those that there are.
  void build();
  void add_step(const std::string& name, Compiled);
  void finish();
  void clear();
  /// Whether a slot, or scratch, is larger than a descriptor may reach, and is reached through one.
  bool passes_limit(const Ready&, const Binding&, const Bindings&) const;
  /// Compiles anew, by address, steps whose slots pass the limit.
  void reach(const Bindings&);
  void allocate_sets();
  /// Finds where everything lies in this run; rewrites descriptors and finds barriers anew only where that has changed.
  void place(const Bindings&);
  void rewrite_descriptors(const Bindings&);
  /// Of binding i; makes the view of a texel buffer. `info` must live until the descriptors are written.
  VkWriteDescriptorSet descriptor(Ready&, size_t i, const Bound&, VkDescriptorBufferInfo& info);
  void find_barriers();
  Bound resolve(const Ready&, const Binding&, const Bindings&, int64_t* rest) const;
  void put_scalars(Ready&, const Bindings&);
  void dispatch(VkCommandBuffer, const Ready&);
  /// Room for so many timestamps.
  void grow_queries(uint32_t stamps);
  /// The steps' shares of the run that wrote these.
  void read_queries(uint32_t stamps);
  std::vector<StepFailure> failures() const;
  void fill_times(std::vector<StepTime>&, double begin, double end);

  Resources& on_;
  std::vector<ir::Step> steps_;   // kept where some may have to be compiled anew
  std::vector<bool> by_address_;  // per step
  std::vector<Ready> launches_;
  std::vector<std::string> names_;                       // of the steps
  std::vector<int64_t> fault_at_;                        // per step, its word in `faults_`, or -1
  std::vector<std::pair<int64_t, int64_t>> scratch_at_;  // per step, offset and bytes
  int64_t scratch_end_ = 0, scratch_bytes_ = 0, params_bytes_ = 0, faults_bytes_ = 0;
  Memory faults_;
  VkDescriptorPool pool_ = nullptr;
  std::vector<Placed> placed_;  // the slots, scratch and params of the last run; empty: the descriptors may say anything
  std::vector<double> shares_;  // of a run's time, per step, as last measured
  double device_us_ = 0;
  int64_t runs_ = 0;
  bool built_ = false;  // else building failed halfway, and is tried again
};

}  // namespace anygpu::vulkan
