// Arrays of doubles for tests of frontends/common, on the reference and on the cpu backend.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "frontends/common/operators.h"

namespace anygpu::common {

using Values = std::vector<double>;
using Places = std::vector<int64_t>;

class CommonTest : public testing::TestWithParam<int> {
 protected:
  static Device& device() {
    [[maybe_unused]] static const int set = setenv("ANYGPU_DEVICES", "reference,cpu", 1);
    return Device::get(GetParam());
  }
  static Array array(const Dims& sizes, const Values& values, DType t = DType::F64) {
    Array a = make(device(), DType::F64, sizes);
    device().upload(*a.buffer.get(), 0, values.data(), a.buffer->bytes);
    return cast(a, t);
  }
  static Array places(const Places& values) { return from_host(device(), values); }
};
#define ANYGPU_ON_BACKENDS(suite) \
  INSTANTIATE_TEST_SUITE_P(On, suite, testing::Values(0, 1), [](const auto& p) { return std::string(p.param ? "cpu" : "reference"); })

inline Values values(const Array& a) {
  return read<double>(cast(a, DType::F64));
}
inline Places integers(const Array& a) {
  return read<int64_t>(cast(a, DType::I64));
}
inline void expect_near(const Array& a, const Values& expected, double within = 1e-9) {
  const Values got = values(a);
  ASSERT_EQ(got.size(), expected.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], expected[i], within) << "element " << i;
}
template <class F>
std::string refusal(F f) {
  try {
    f();
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

}  // namespace anygpu::common
