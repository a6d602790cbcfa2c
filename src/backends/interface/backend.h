// What a way to reach hardware must offer. A Backend knows Generics and Nameds, no operators, no frameworks.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "anygpu/device.h"
#include "ir/named.h"

namespace anygpu {

/// Where a Program finds its slots and scalars in one run.
struct Bindings {
  std::span<const Memory> slots;    ///< per slot; for a temporary, a range of the arena
  std::span<const Scalar> scalars;  ///< the Trace's scalars, in the order in which they were recorded
};

/// A step that failed in a run, and why. The other steps have run.
struct StepFailure {
  int32_t step;
  Error error;
  /// Which Check did not hold: then what depends on no Check of the step is right all the same. None: all that it writes is undefined.
  ir::Fault fault = ir::Fault::None;
};
/// The failure of a Check in the step of this name.
inline StepFailure failed_check(int32_t step, const std::string& name, ir::Fault fault) {
  return {step, ir::fault_error(fault, name), fault};
}

/// Time of each step in the last run, when asked for: both ends as of now_us().
struct StepTime {
  double start_us, end_us;
};

/// Microseconds on a clock that never goes back; only differences mean something.
inline double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Steps made ready to run, many times, with other Bindings each time.
class Program {
 public:
  virtual ~Program() = default;
  /// Runs all steps in order. Returns those that failed.
  /// times: null, or filled with one entry a step.
  virtual std::vector<StepFailure> run(const Bindings&, std::vector<StepTime>* times) = 0;
  /// Kernels and library calls that one run starts: fewer than it has steps where several start as one, more where a step takes several.
  virtual int64_t launches() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual DeviceInfo describe() const = 0;
  /// The dtypes that the device does not compute in, bit t for DType t: what needs one is refused when it is recorded.
  virtual uint32_t lacking() const { return 0; }

  /// At least 64-byte aligned. Throws Error(OutOfMemory). Called from any thread.
  virtual Memory allocate(int64_t bytes) = 0;
  virtual void release(Memory) = 0;
  /// Host to device and back, `bytes` at byte offset `at`. The caller has seen to ordering.
  virtual void write(Memory dst, int64_t at, const void* src, int64_t bytes) = 0;
  virtual void read(Memory src, int64_t at, void* dst, int64_t bytes) = 0;

  /// Whether a Named is done better here than by ir::lower. What is not supported is lowered before prepare().
  virtual bool supports(const ir::Named&) const = 0;
  /// How many channels of this operand of a supported Named this backend likes interleaved (Operand::block); 0: none, its strides will do.
  virtual int64_t channel_block(const ir::Named&, int /*operand*/) const { return 0; }
  /// Per step, the number of its group, from 0 and rising. Steps of one group may run at once or interleaved, so the memory plan gives none
  /// of them bytes of another's temporaries. By default each step is a group.
  virtual std::vector<int32_t> groups(std::span<const ir::Step> steps) const {
    std::vector<int32_t> ids(steps.size());
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
    return ids;
  }
  /// A Program serves a slot of so many bytes that has moved by a multiple of this (a power of two), too.
  virtual int64_t moves_by(int64_t /*bytes*/) const { return 256; }
  /// Sets Generic::order of a Generic as an operator describes it, before anything is fused, where results shall have the same bits fused or
  /// not. By default nothing is set, and fusion is free.
  virtual void fix_order(ir::Generic&) const {}
  /// Throws Error(Type) where a step needs a dtype that the device lacks.
  virtual std::unique_ptr<Program> prepare(std::span<const ir::Step>) = 0;

  /// Kernels compiled since the start: a training loop that is warm compiles none.
  virtual int64_t kernels_compiled() const = 0;
};

std::unique_ptr<Backend> make_reference_backend();
std::unique_ptr<Backend> make_cpu_backend();

/// Device `index` of those that the Vulkan loader lists: GPUs first, software rasterisers last.
/// Throws Error(Value) that says what is missing: the loader, a driver, that device, or something that it lacks.
std::unique_ptr<Backend> make_vulkan_backend(int index);
/// How many such devices could be made: all, and those that are GPUs. Loads the drivers. Never throws.
struct VulkanCount {
  int all = 0, gpus = 0;
};
VulkanCount count_vulkan_devices();

}  // namespace anygpu
