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

/// A step that failed in a run, and why. The other steps have run, but for those that were left out.
struct StepFailure {
  int32_t step;
  Error error;
  /// Which Check did not hold: then what depends on no Check of the step is right all the same. None: all that it writes is undefined.
  ir::FaultReport report = {};
};
/// The failure of a Check in the step of this name.
inline StepFailure failed_check(int32_t step, const std::string& name, const ir::FaultReport& report) {
  return {step, ir::fault_error(report, name), report};
}

/// Asked by a run, where that costs nothing, before it starts steps: whether these shall not happen, because the run is to end, or because
/// what they would compute depends on a step that has failed. Who is told yes starts none of them.
class Gate {
 public:
  virtual ~Gate() = default;
  virtual bool leaves_out(int32_t first, int32_t steps, std::span<const StepFailure> so_far) = 0;
};

/// Where a Program finds its slots and scalars in one run.
struct Bindings {
  std::span<const Memory> slots;    ///< per slot; for a temporary, a range of the arena
  std::span<const Scalar> scalars;  ///< the Trace's scalars, in the order in which they were recorded
  Gate* gate = nullptr;             ///< null: every step is run. Only asked before submit() returns

  bool leaves_out(size_t first, size_t steps, std::span<const StepFailure> so_far) const {
    return gate && gate->leaves_out(static_cast<int32_t>(first), static_cast<int32_t>(steps), so_far);
  }
};

/// Time of each step in the last run, when asked for: both ends as of now_us().
struct StepTime {
  double start_us, end_us;
};

/// Microseconds on a clock that never goes back; only differences mean something.
inline double now_us() {
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// A run that has been submitted. Its Program and all that is bound to it stay as they are until it is reached: until wait() has returned
/// or thrown, or this is gone, which waits too. For one thread at a time.
class Completion {
 public:
  virtual ~Completion() = default;
  /// Whether all steps have run, so that wait() would return at once. Never throws.
  virtual bool reached() const = 0;
  /// Blocks until they have. Throws what became of the device.
  virtual void wait() = 0;

  // Of a run that was waited for.
  std::vector<StepFailure> failures;
  std::vector<StepTime> times;  ///< one entry a step, where they were asked for
};

/// Steps made ready to run, many times, with other Bindings each time.
class Program {
 public:
  virtual ~Program() = default;
  /// Starts all steps, in order, each after all that was submitted to its Backend before: what earlier runs write these read, and where
  /// runs share memory the later ones wait. What `bindings` points to is not looked at after the return. What it throws, nothing is running
  /// any more of this run. One thread submits at a time.
  virtual std::unique_ptr<Completion> submit(const Bindings& bindings, bool timed) = 0;
  /// Kernels and library calls that one run starts: fewer than it has steps where several start as one, more where a step takes several.
  virtual int64_t launches() const = 0;

  /// submit() and wait(). Returns the steps that failed. times: null, or filled with one entry a step.
  std::vector<StepFailure> run(const Bindings&, std::vector<StepTime>* times);
};

/// Runs its steps on the thread that submits them.
class BlockingProgram : public Program {
 public:
  std::unique_ptr<Completion> submit(const Bindings&, bool timed) final;

 protected:
  /// As Program::run.
  virtual std::vector<StepFailure> run_steps(const Bindings&, std::vector<StepTime>* times) = 0;
};

/// Neighbouring steps that may run at once or interleaved.
struct StepGroup {
  int32_t steps = 1;
  int32_t kind = 0;  ///< how: the backend's own business
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
  /// Where the host finds the first byte, to load and store it as it likes; null where it does not see this memory.
  virtual char* host_address(Memory) const { return nullptr; }

  /// Whether its memory is the host's own, so that host_address() may be lent for good. (A GPU's that the host sees is slow to read.)
  virtual bool is_host_memory() const { return false; }

  /// Whether a Named is done better here than by ir::lower. What is not supported is lowered before prepare().
  virtual bool supports(const ir::Named&) const = 0;
  /// How many channels of this operand of a supported Named this backend likes interleaved (Operand::block); 0: none, its strides will do.
  virtual int64_t channel_block(const ir::Named&, int /*operand*/) const { return 0; }
  /// The steps in groups, for prepare(). The memory plan gives no step of a group bytes of another's temporaries. By default each step is a
  /// group.
  virtual std::vector<StepGroup> groups(std::span<const ir::Step> steps) const { return std::vector<StepGroup>(steps.size()); }
  /// A Program serves a slot of so many bytes that has moved by a multiple of this (a power of two), too.
  virtual int64_t moves_by(int64_t /*bytes*/) const { return 256; }
  /// Sets Generic::order of a Generic as an operator describes it, before anything is fused, where results shall have the same bits fused
  /// or not. By default nothing is set, and fusion is free.
  virtual void fix_order(ir::Generic&) const {}
  /// A Program that runs each of the groups that groups() made of these steps as one. Throws Error(Type) where a step needs a dtype that
  /// the device lacks.
  virtual std::unique_ptr<Program> prepare(std::span<const ir::Step>, std::span<const StepGroup>) = 0;
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps) { return prepare(steps, groups(steps)); }

  /// Kernels compiled since the start: a training loop that is warm compiles none.
  virtual int64_t kernels_compiled() const = 0;
};

/// How many devices a way to reach hardware finds: all that it can make a Backend of, and those that are GPUs.
struct DeviceCount {
  int all = 0, gpus = 0;
};

/// A way to reach hardware, as the table of them all (backends/table/table.h) has it.
struct BackendEntry {
  const char* name;        ///< as ANYGPU_DEVICES says it: "vulkan" of "vulkan:1"
  DeviceCount (*count)();  ///< Loads drivers. Finds nothing rather than throw.
  /// The Backend of the device of this number. Throws Error(Value) that says what is missing: a library, a driver, that device, or
  /// something that it lacks.
  std::unique_ptr<Backend> (*make)(int index);
};

}  // namespace anygpu
