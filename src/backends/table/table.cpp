#include "backends/table/table.h"

#include "backends/cpu/entry.h"
#include "backends/reference/entry.h"
#include "backends/vulkan/entry.h"

namespace anygpu {

std::span<const BackendEntry* const> backends() {
  // A line each, and one in this folder's CMakeLists.txt.
  static constexpr const BackendEntry* all[] = {
      &cpu::entry,
      &vulkan::entry,
      &reference::entry,
  };
  return all;
}

const BackendEntry* find_backend(std::string_view name) {
  for (const BackendEntry* b : backends())
    if (name == b->name) return b;
  return nullptr;
}

}  // namespace anygpu
