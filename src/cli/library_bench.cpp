// libanygpu_command.so: what a device does a second, asked of the library in a child of the command. No framework is needed.
#include <algorithm>
#include <chrono>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "anygpu/calls/matmul.h"
#include "anygpu/calls/pointwise.h"
#include "anygpu/device.h"
#include "anygpu/ops.h"

namespace {

using namespace anygpu;
using nlohmann::json;
using Say = void (*)(const char* line);

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class Bench {
 public:
  Bench(Device& device, double seconds, Say say) : device_(device), seconds_(seconds), say_(say) {}

  /// Climbs the sizes for as long as the next one fits the time, and tells of the last: the median of what the time allows.
  /// `prepare` gives what is run; `work` is done in one run of size n.
  void measure(const char* name, const std::vector<int64_t>& sizes, const std::function<std::function<void()>(int64_t)>& prepare,
               const std::function<double(int64_t)>& work) {
    try {
      for (size_t i = 0; i < sizes.size(); ++i) {
        tell({{"start", name}, {"size", sizes[i]}});
        const auto run = prepare(sizes[i]);
        timed(run, 1);  // compiles, takes memory
        const double once = timed(run, 1);
        const bool last = i + 1 == sizes.size() || once * work(sizes[i + 1]) / work(sizes[i]) > seconds_;
        if (!last) continue;
        const double took = median(run, once);
        tell({{"measure", name}, {"size", sizes[i]}, {"seconds", took}, {"per_second", work(sizes[i]) / took}});
        return;
      }
    } catch (const std::exception& error) {
      tell({{"measure", name}, {"error", error.what()}});
    }
  }

  /// f32, filled with numbers that are neither equal nor denormal.
  View make(const Dims& sizes) {
    View view{device_.allocate(product(sizes) * 4), DType::F32, 0, sizes, contiguous_strides(sizes)};
    std::vector<float> values(static_cast<size_t>(product(sizes)));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i * 7919 % 1000003) * 2e-6f - 1;
    device_.upload(*view.buffer.get(), 0, values.data(), view.buffer->bytes);
    return view;
  }

  /// A pointwise operator; the output comes first.
  void record(const char* name, std::initializer_list<View> views) {
    calls::Pointwise call(op(name), DType::F32);
    for (const View& v : views) &v == views.begin() ? call.out(v) : call.in(v);
    calls::record(call);
  }

 private:
  void tell(const json& line) { say_(line.dump(-1, ' ', false, json::error_handler_t::replace).c_str()); }

  /// Seconds a run. Each run is a Plan of its own: recorded together, equal runs would be computed once.
  double timed(const std::function<void()>& run, int repeats) {
    const double start = now();
    for (int i = 0; i < repeats; ++i) {
      run();
      device_.flush();
    }
    device_.synchronize();
    return (now() - start) / repeats;
  }

  double median(const std::function<void()>& run, double once) {
    const int repeats = std::clamp(static_cast<int>(0.05 / std::max(once, 1e-6)), 1, 500);
    std::vector<double> samples{once};
    const double end = now() + seconds_;
    while (now() < end && samples.size() < 50) samples.push_back(timed(run, repeats));
    std::nth_element(samples.begin(), samples.begin() + static_cast<int64_t>(samples.size()) / 2, samples.end());
    return samples[samples.size() / 2];
  }

  Device& device_;
  const double seconds_;
  const Say say_;
};

constexpr int64_t kMi = 1 << 20;

}  // namespace

/// Measures device `index`, for about `seconds` each of five measures, and says each line of JSON as soon as it is known:
/// {"start", "size"}, then {"measure", "size", "seconds", "per_second"} or {"measure", "error"}. Sizes: bytes of a copy, elements of a
/// pointwise chain, rows of square matrices. Work: bytes that must move, floating-point operations.
extern "C" __attribute__((visibility("default"))) void anygpu_command_bench(int index, double seconds, Say say) {
  Device& device = Device::get(index);
  Bench bench(device, seconds, say);
  const std::vector<int64_t> copies{kMi, 8 * kMi, 64 * kMi};
  std::vector<char> host(static_cast<size_t>(copies.back()), 1);
  bench.measure(
      "upload", copies,
      [&](int64_t bytes) { return [&, bytes, to = device.allocate(bytes)] { device.upload(*to.get(), 0, host.data(), bytes); }; },
      [](int64_t bytes) { return static_cast<double>(bytes); });
  bench.measure(
      "download", copies,
      [&](int64_t bytes) {
        return [&, bytes, from = bench.make({bytes / 4})] { device.download(*from.buffer.get(), 0, host.data(), bytes); };
      },
      [](int64_t bytes) { return static_cast<double>(bytes); });
  bench.measure(
      "copy", copies,
      [&](int64_t bytes) {
        return [&, from = bench.make({bytes / 4}), to = bench.make({bytes / 4})] { bench.record("copy", {to, from}); };
      },
      [](int64_t bytes) { return 2.0 * static_cast<double>(bytes); });
  bench.measure(
      "pointwise", {kMi / 16, kMi, 16 * kMi},
      [&](int64_t n) {
        return [&, n, x = bench.make({n}), b = bench.make({n}), y = bench.make({n})] {
          // Temporaries that die before the flush: they are fused away, as in a model.
          const auto temporary = [&] { return View{device.allocate(n * 4), DType::F32, 0, {n}, {1}}; };
          const View sum = temporary(), gelu = temporary(), gate = temporary();
          bench.record("add", {sum, x, b});
          bench.record("gelu", {gelu, sum});
          bench.record("sigmoid", {gate, x});
          bench.record("mul", {y, gelu, gate});
        };
      },
      [](int64_t n) { return 12.0 * static_cast<double>(n); });
  bench.measure(
      "matmul", {256, 512, 1024, 2048},
      [&](int64_t n) {
        return [a = bench.make({n, n}), b = bench.make({n, n}), y = bench.make({n, n})] {
          calls::record(calls::Matmul{.dst = y, .lhs = a, .rhs = b});
        };
      },
      [](int64_t n) { return 2.0 * static_cast<double>(n) * static_cast<double>(n) * static_cast<double>(n); });
}
