// Launch: what a step becomes. The border between what makes kernels and what runs them: no API's words are here.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ir/named.h"

namespace anygpu::gpu {

/// What a launch starts: code, or a call of a library, as an API made it. It knows where its params and buffers go.
struct Kernel {
  std::string name;  ///< for people
  int bindings = 0;  ///< buffers that it takes, those that its API adds to a launch's included
  virtual ~Kernel() = default;
};

inline constexpr int32_t kScratch = -1;  ///< binding.slot: the step's scratch: its own, holding anything; begin is a multiple of 256
/// binding.slot: the step's two u32, 0 before the run. A Check that fails writes there its code, and the value that it tells, as an i32
/// (INT32_MIN where that is none).
inline constexpr int32_t kFaults = -2;
inline constexpr int64_t kFaultBytes = 8;

/// One buffer: bytes [begin, end) of a slot. The kernel counts its elements from `begin`, wherever that is.
struct Binding {
  static constexpr int64_t kReach = int64_t{4} << 32;

  int32_t slot;
  int64_t begin = 0, end = 0;
  bool write = false;
  int64_t reach = kReach;  ///< most bytes that the kernel's u32 element numbers reach; more is refused
};

/// A run-time Scalar put into params before each run, converted to `type` (i64, f64 take two words, low first).
struct ScalarUse {
  int32_t word;
  int32_t scalar;  ///< index into Bindings::scalars
  DType type;
};

/// The device address at which a binding begins, put into params[word] and, its high half, the next.
struct AddressUse {
  int32_t word;
  int32_t binding;
};

/// One start of a kernel.
struct Launch {
  std::shared_ptr<const Kernel> kernel;
  std::vector<Binding> bindings;
  std::vector<uint32_t> params;
  std::vector<ScalarUse> scalars;
  std::vector<AddressUse> addresses;  ///< of all slots and scratch, which are reached by them then, or none
  uint32_t groups[3] = {1, 1, 1};
  uint32_t shared_bytes = 0;  ///< of a workgroup, beside what the kernel declares itself
  double work = 0;            ///< estimated bytes moved plus operations, to bound a submission
};

/// A step made ready: its Launches in order, each depending on those before it, and the scratch that they share.
struct Compiled {
  std::vector<Launch> launches;
  int64_t scratch_bytes = 0;
};

/// The bytes that an operand touches within its slot.
struct Extent {
  int64_t begin, end;
};
Extent extent_of(const ir::Operand&);
/// All that the operand touches.
Binding bind(const ir::Operand&, bool write);
/// One more than the highest slot.
int32_t slots_of(const ir::Named&);

}  // namespace anygpu::gpu
