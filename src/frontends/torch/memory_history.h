// What became of the device's memory: told to torch.profiler, and kept for torch.anygpu.memory._snapshot().
#pragma once

#include <c10/core/Device.h>

#include <memory>
#include <vector>

namespace torch {
struct CapturedTraceback;
}

#pragma GCC visibility push(default)  // _torch.so calls these
namespace anygpu::torch_frontend::memory_history {

/// How much is kept. By default nothing is.
struct Wanted {
  bool live = false;         ///< where what is allocated now was allocated
  bool events = false;       ///< what was allocated and freed, in order
  bool live_stack = false;   ///< with the stack that allocated what is live,
  bool alloc_stack = false;  ///< of each allocation,
  bool free_stack = false;   ///< and of each that frees
  bool cpp = false;          ///< C++ frames, too
  size_t most_events = 0;    ///< of a device; then the oldest go
};
using Stack = std::shared_ptr<torch::CapturedTraceback>;

struct Event {
  enum Action { Alloc, Free, OutOfMemory } action;
  uint64_t address;
  int64_t bytes;
  int64_t time_us;  ///< since the epoch
  int64_t left;     ///< of OutOfMemory: bytes that users might still have had
  Stack stack;      ///< may be null
};
struct Live {
  uint64_t address;
  int64_t bytes, room;
  c10::DeviceIndex device;
  Stack stack;  ///< may be null
};

/// From now on torch.profiler is told of what is allocated and freed where it asks; before the first profile nobody pays for the question.
void watch();

/// forget: what has been kept so far.
void record(const Wanted&, bool forget);
/// By device, the oldest first.
std::vector<std::vector<Event>> events();
/// All that is allocated now, whether recorded or not.
std::vector<Live> live();
/// The stack that allocated what begins here; null where it is not known.
Stack stack_of(uint64_t address);

/// An allocation was refused. For allocate_on().
void refused(c10::DeviceIndex, int64_t bytes);

}  // namespace anygpu::torch_frontend::memory_history
#pragma GCC visibility pop
