// What `anygpu bench` measures, and how it is shown.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace anygpu::cli {

struct Measure {
  const char* id;     ///< what the children call it
  const char* title;  ///< for people
  const char* unit;
  double scale;   ///< of the unit
  bool library;   ///< anygpu's library measures it alone; else PyTorch trains on the device
  bool compared;  ///< PyTorch's CPU does the same
};

inline constexpr Measure kMeasures[] = {
    {"upload", "copy to the device", "GB/s", 1e9, true, false},  {"download", "copy from the device", "GB/s", 1e9, true, false},
    {"copy", "copy within the device", "GB/s", 1e9, true, true}, {"pointwise", "gelu(x + b) * sigmoid(x)", "GB/s", 1e9, true, true},
    {"matmul", "matrix product", "GFLOP/s", 1e9, true, true},    {"training", "training step of a small CNN", "images/s", 1, false, true},
};

inline constexpr const char* kPyTorch = "pytorch-cpu";

struct Result {
  std::string measure;
  int64_t size = 0;
  double seconds = 0, per_second = 0;
};

struct Contestant {
  std::string device;  ///< "anygpu:0"; kPyTorch
  std::string name, backend, driver;
  std::vector<Result> results;
};

struct Missing {
  std::string device, measure, why;
};

struct Bench {
  std::vector<Contestant> devices;
  Contestant pytorch{kPyTorch, "PyTorch on the CPU", {}, {}, {}};
  std::string python, pytorch_version;  ///< empty where there is none
  int threads = 0;
  bool matplotlib = false;
  double load = 0;  ///< of the machine, before
  std::vector<Missing> missing;
  std::string no_devices;  ///< why none can be opened

  /// How many times PyTorch's CPU; 0 where that has not done the same in the same size.
  double ratio(const Result&) const;
};

struct BenchOptions {
  std::vector<std::string> devices;  ///< empty: all
  double seconds = 60;               ///< of measuring, in all
  std::string python;                ///< empty: looked for
};

/// Runs it, in children, one after the other; says on a terminal's standard error how far it is.
Bench run_bench(const BenchOptions&);

nlohmann::ordered_json bench_json(const Bench&);
/// A table with bars.
std::string bench_text(const Bench&, bool colour);

}  // namespace anygpu::cli
