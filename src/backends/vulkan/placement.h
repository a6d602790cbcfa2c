// Placement: the descriptors of a Program's Launches for one place of everything, and the barriers between them.
#pragma once

#include "resources.h"

namespace anygpu::vulkan {

/// A Launch with its pipeline.
struct Ready {
  Dispatch launch;
  int32_t step;
  Pipeline pipeline;
  int64_t params_at = -1;  ///< in the run's buffer of parameters, where they are not pushed
};

/// The Launches of all steps of a Program.
struct Prepared {
  std::vector<Ready> launches;
  std::vector<std::string> names;                       ///< of the steps
  std::vector<int64_t> fault_at;                        ///< per step, its word among the run's faults, or -1
  std::vector<std::pair<int64_t, int64_t>> scratch_at;  ///< per step, offset and bytes
  int64_t scratch_bytes = 0, params_bytes = 0, faults_bytes = 0;
};

/// Where a slot or the scratch lies.
struct Place {
  uint64_t block = 0;  ///< its serial number: 0 is none's
  int64_t offset = 0, bytes = 0;
  friend bool operator==(const Place&, const Place&) = default;
};
std::vector<Place> places(const Bindings&, const Memory& scratch);

/// Of one run at a time: parameters, faults and descriptors are the device's until it is done.
class Placement {
 public:
  Placement(Resources&, std::shared_ptr<const Prepared>);
  ~Placement();
  Placement(const Placement&) = delete;

  const std::shared_ptr<const Prepared>& of() const { return of_; }
  /// Whether a run with everything there writes no descriptor.
  bool stands(const std::vector<Place>& now) const { return now == placed_; }
  /// Before a run: writes descriptors and finds barriers anew where something has moved.
  void begin(std::vector<Place> now, const Bindings&);
  /// Whether launch n must wait for those before it.
  bool barrier(size_t n) const { return sets_[n].barrier; }
  void dispatch(VkCommandBuffer, size_t n, const Bindings&);
  /// After the run.
  std::vector<StepFailure> failures() const;

 private:
  /// A binding with its bytes found: what a descriptor says.
  struct Bound {
    uint64_t block = 0;
    VkBuffer buffer = nullptr;
    int64_t offset = 0, range = 0;
    uint64_t address = 0;  ///< on the device, where it has addresses
    friend bool operator==(const Bound&, const Bound&) = default;
  };
  /// Of a Launch.
  struct Set {
    VkDescriptorSet set = nullptr;
    std::vector<Bound> bound;         ///< as written into `set`
    std::vector<VkBufferView> views;  ///< of texel buffers, else null
    std::vector<uint32_t> params;     ///< with offsets; scalars are put in at each run
    bool barrier = false;
  };

  void give_back();
  void allocate_sets();
  void rewrite_descriptors(const Bindings&);
  /// Of binding i; makes the view of a texel buffer. `info` must live until the descriptors are written.
  VkWriteDescriptorSet descriptor(Set&, const Binding&, size_t i, const Bound&, VkDescriptorBufferInfo& info);
  void find_barriers();
  Bound resolve(const Ready&, const Binding&, const Bindings&, int64_t* rest) const;
  void put_scalars(const Ready&, Set&, const Bindings&);

  const std::shared_ptr<const Prepared> of_;
  Resources& on_;
  std::vector<Set> sets_;
  Memory params_, faults_;
  VkDescriptorPool pool_ = nullptr;
  std::vector<Place> placed_;  // empty: the descriptors may say anything
};

}  // namespace anygpu::vulkan
