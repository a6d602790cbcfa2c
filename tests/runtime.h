// A device on the reference backend, for tests of the runtime.
#pragma once

#include <cstdlib>
#include <vector>

#include "anygpu/calls/pointwise.h"
#include "anygpu/device.h"

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

/// A pointwise operator of one output, which comes first. Other calls: calls::record.
inline void record(const char* name, std::initializer_list<View> views, std::initializer_list<Scalar> scalars = {},
                   DType compute = DType::F32) {
  calls::Pointwise call(op(name), compute);
  for (const View& v : views) &v == views.begin() ? call.out(v) : call.in(v);
  for (const Scalar& s : scalars) call.scalar(s);
  calls::record(call);
}

}  // namespace anygpu
