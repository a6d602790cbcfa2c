// Random numbers: a function of a key and a counter. Stateless operators are given them, stateful ones keep a generator each, seeded by the
// node. The streams are not those of TensorFlow's CPU, but equal seeds give equal numbers.
#include "anygpu/calls/random.h"

#include <memory>
#include <random>

#include "../kernel.h"

namespace anygpu::tensorflow_frontend {

namespace {

enum class Law { Uniform, Normal, Truncated };

void draw(const Array& y, Philox from, Law law) {
  if (law == Law::Uniform) return record(calls::random_uniform(from, y.dtype, 0, 1).out(y));
  if (law == Law::Normal) return record(calls::random_normal(from, y.dtype, 0, 1).out(y));
  // Within two deviations: the quantiles between those of -2 and 2.
  constexpr double low = 0.02275013194817921;
  const Array u = common::make(y.device(), y.dtype == DType::F64 ? DType::F64 : DType::F32, y.sizes);
  record(calls::random_uniform(from, u.dtype, low, 1 - low).out(u));
  record(calls::Pointwise(ANYGPU_OP("ndtri"), u.dtype).out(y).in(u));
}

Dims sizes_of(Call& c, int input) {
  const std::vector<int64_t> list = c.host_list(input);
  return Dims(list.data(), static_cast<int>(list.size()));
}

// ---- stateless ----

/// Operands key [1] and counter [2], in host memory.
Philox philox_of(Call& c, int key) {
  return {c.host(key).flat<tf::uint64>()(0), c.host(key + 1).flat<tf::uint64>()(0)};
}

std::function<Body(const Node&)> stateless(Law law) {
  return [law](const Node&) {
    return [law](Call& c) {
      const Philox from = philox_of(c, 1);
      const Array y = c.out(0, sizes_of(c, 0));
      if (y.elements()) c.record([=] { draw(y, from, law); });
    };
  };
}

Body stateless_int(const Node&) {
  return [](Call& c) {
    const Philox from = philox_of(c, 1);
    const int64_t low = c.host_int(4), high = c.host_int(5);
    require(low < high, "Need minval < maxval, got ", low, " >= ", high);
    const Array y = c.out(0, sizes_of(c, 0));
    const uint64_t count = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    if (y.elements()) c.record([=] { record(calls::random_integer(from, y.dtype, low, count).out(y)); });
  };
}

Body stateless_bits(const Node&) {
  return [](Call& c) {
    const Philox from = philox_of(c, 1);
    const Array y = c.out(0, sizes_of(c, 0));
    if (y.elements()) c.record([=] { record(calls::random_bits(from, y.dtype).out(y)); });
  };
}

// ---- stateful ----

/// A node's generator.
struct Generator {
  std::mutex mutex;
  PhiloxState state;

  explicit Generator(const Node& node) {
    auto seed = static_cast<uint64_t>(node.attr<int64_t>("seed")), second = static_cast<uint64_t>(node.attr<int64_t>("seed2"));
    if (seed == 0 && second == 0) seed = std::random_device{}(), second = std::random_device{}();
    state.set_seed(seed * 0x9E3779B97F4A7C15u + second);
  }
  Philox reserve(int64_t n) {
    std::lock_guard lock(mutex);
    return state.reserve(static_cast<uint64_t>(n));
  }
};

std::function<Body(const Node&)> stateful(Law law) {
  return [law](const Node& node) {
    return [law, generator = std::make_shared<Generator>(node)](Call& c) {
      const Array y = c.out(0, sizes_of(c, 0));
      const Philox from = generator->reserve(y.elements());
      if (y.elements()) c.record([=] { draw(y, from, law); });
    };
  };
}

Body stateful_int(const Node& node) {
  return [generator = std::make_shared<Generator>(node)](Call& c) {
    const int64_t low = c.host_int(1), high = c.host_int(2);
    require(low < high, "Need minval < maxval, got ", low, " >= ", high);
    const Array y = c.out(0, sizes_of(c, 0));
    const Philox from = generator->reserve(y.elements());
    const uint64_t count = static_cast<uint64_t>(high) - static_cast<uint64_t>(low);
    if (y.elements()) c.record([=] { record(calls::random_integer(from, y.dtype, low, count).out(y)); });
  };
}

}  // namespace

void register_random() {
  const std::vector<const char*> v2{"shape", "key", "counter", "alg"};
  std::vector<const char*> v2_int = v2;
  v2_int.insert(v2_int.end(), {"minval", "maxval"});
  add("StatelessRandomUniformV2", {{"dtype", kFloats}, {"Tshape", kIndex}}, v2, stateless(Law::Uniform));
  add("StatelessRandomNormalV2", {{"dtype", kFloats}, {"Tshape", kIndex}}, v2, stateless(Law::Normal));
  add("StatelessTruncatedNormalV2", {{"dtype", kFloats}, {"Tshape", kIndex}}, v2, stateless(Law::Truncated));
  add("StatelessRandomUniformIntV2", {{"dtype", kIndex}, {"Tshape", kIndex}}, v2_int, stateless_int);
  add("StatelessRandomUniformFullIntV2", {{"dtype", kIndex}, {"Tshape", kIndex}}, v2, stateless_bits);
  add("RandomUniform", {{"dtype", kFloats}, {"T", kIndex}}, {"shape"}, stateful(Law::Uniform));
  add("RandomStandardNormal", {{"dtype", kFloats}, {"T", kIndex}}, {"shape"}, stateful(Law::Normal));
  add("TruncatedNormal", {{"dtype", kFloats}, {"T", kIndex}}, {"shape"}, stateful(Law::Truncated));
  add("RandomUniformInt", {{"Tout", kIndex}, {"T", kIndex}}, {"shape", "minval", "maxval"}, stateful_int);
}

}  // namespace anygpu::tensorflow_frontend
