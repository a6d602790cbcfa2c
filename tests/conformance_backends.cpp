// Every backend that this build has. One line each.
#include "conformance.h"

namespace anygpu::conformance {

const std::vector<Entry>& entries() {
  static const std::vector<Entry> all = {
      {"reference", make_reference_backend, true},
#ifdef ANYGPU_HAS_CPU
      {"cpu", make_cpu_backend, true},
#endif
  };
  return all;
}

INSTANTIATE_TEST_SUITE_P(On, Conformance, testing::ValuesIn(entries()), [](const auto& info) { return std::string(info.param.name); });

}  // namespace anygpu::conformance
