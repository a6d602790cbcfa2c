// What becomes of Blocks, for profilers and histories of memory.
#pragma once

#include <vector>

#include "anygpu/addresses.h"

namespace anygpu {

/// Called on the thread that makes a Block or lets it go, as long as it is whole. Blocks without bytes are not told of.
using BlockObserver = void (*)(const Block&, bool made) noexcept;
/// There is one; null: nobody.
ANYGPU_API void observe_blocks(BlockObserver);

struct LiveBlock {
  const char* address;
  int64_t bytes;  ///< of its Buffer
  int64_t room;   ///< addresses that it takes up
  int device;
};
/// Those with bytes, by address.
ANYGPU_API std::vector<LiveBlock> live_blocks();

}  // namespace anygpu
