// What the runtime asks of the program that uses it: where it is, and whether it wants to stop. A frontend answers.
#pragma once

#include <string>

#include "anygpu/error.h"

namespace anygpu {

/// Each may be null. Called without locks of the runtime; any thread.
struct HostHooks {
  /// Where the calling thread's program is, a line for each frame: the innermost that is the user's, or `all` of them, innermost last.
  /// Empty where nothing is known. Never throws.
  std::string (*where)(bool all) = nullptr;
  /// Called about twenty times a second while a thread waits for a device. What it throws ends the wait; then what no device has begun yet
  /// does not happen.
  void (*interrupt)() = nullptr;
};
ANYGPU_API void set_host_hooks(const HostHooks&);

/// Whether every operator keeps where it was recorded, all frames of it: for explain(), and for what fails. Else those that may fail keep
/// one frame. At the start: whether ANYGPU_STACKS is set.
ANYGPU_API void keep_stacks(bool);
ANYGPU_API bool keeps_stacks();

}  // namespace anygpu
