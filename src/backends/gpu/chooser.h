// Several ways to do one thing, of which only the device can tell the best.
#pragma once

#include <functional>
#include <optional>
#include <span>
#include <string>

#include "launch.h"

namespace anygpu::gpu {

struct Way {
  std::string name;  ///< the same from run to run
  std::function<std::optional<Compiled>(const ir::Named&)> compile;
};

class Chooser {
 public:
  virtual ~Chooser() = default;
  /// The number of the way that is fastest at `timed`, of those that compute for `checked` what the first computes, to the bit. What was
  /// found for a key before is not measured again.
  virtual size_t choose(const std::string& key, std::span<const Way> ways, const ir::Named& timed, const ir::Named& checked) = 0;
};

}  // namespace anygpu::gpu
