// Every backend that this build has and this machine can make.
#include "backends/reference/entry.h"
#include "backends/table/table.h"
#include "conformance.h"

namespace anygpu::conformance {

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> found{{reference::entry.name, reference::entry.make, true}};
    // Of each the first device: a GPU, else a software rasteriser. What every machine has computes in all types.
    for (const BackendEntry* b : backends())
      if (b != &reference::entry && b->count().all > 0) found.push_back({b->name, b->make, b == backends()[0]});
    return found;
  }();
  return all;
}

std::string name(const testing::TestParamInfo<Entry>& info) {
  return info.param.name;
}

// The reference runs them too: that proves the cases sound, and ir::lower right.
INSTANTIATE_TEST_SUITE_P(On, Conformance, testing::ValuesIn(entries()), name);

INSTANTIATE_TEST_SUITE_P(On, LargeConformance, testing::ValuesIn(entries().begin() + 1, entries().end()), name);
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(LargeConformance);

}  // namespace anygpu::conformance
