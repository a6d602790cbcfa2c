// Every backend that this build has. One line each.
#include "conformance.h"

namespace anygpu::conformance {

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = [] {
    std::vector<Entry> found = {
        {"reference", make_reference_backend, true},
#ifdef ANYGPU_HAS_CPU
        {"cpu", make_cpu_backend, true},
#endif
    };
#ifdef ANYGPU_HAS_VULKAN
    // The first that there is: a GPU, else a software rasteriser; nothing where no driver is installed.
    if (count_vulkan_devices().all > 0) found.push_back({"vulkan", [] { return make_vulkan_backend(0); }, false});
#endif
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
