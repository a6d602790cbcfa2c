// A device on the reference backend, for tests of the runtime.
#pragma once

#include <cstdlib>
#include <vector>

#include "anygpu/device.h"
#include "anygpu/ops.h"

namespace anygpu {

inline Device& device() {
  static Device& d = []() -> Device& {
    setenv("ANYGPU_DEVICES", "reference", 1);
    return Device::get(0);
  }();
  return d;
}

inline View make(const Dims& sizes, const std::vector<float>& values = {}) {
  View v{device().allocate(product(sizes) * 4), DType::F32, 0, sizes, contiguous_strides(sizes)};
  if (!values.empty()) device().upload(*v.buffer.get(), 0, values.data(), v.buffer->bytes);
  return v;
}

inline std::vector<float> values(const View& v) {
  std::vector<float> out(static_cast<size_t>(v.buffer->bytes / 4));
  device().download(*v.buffer.get(), 0, out.data(), v.buffer->bytes);
  return out;
}

inline void record(const char* name, std::initializer_list<View> views, std::initializer_list<Scalar> scalars = {},
            std::initializer_list<int64_t> attrs = {static_cast<int64_t>(DType::F32)}) {
  std::vector<ViewArg> args(views.begin(), views.end());
  std::vector<Scalar> s(scalars);
  std::vector<int64_t> a(attrs);
  device().record(op(name), args, s, a);
}

}  // namespace anygpu
