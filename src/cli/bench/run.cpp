// The children of `anygpu bench`: one a device for the library, one a device for training, one for PyTorch's CPU.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <set>

#include "cli/bench/bench.h"
#include "cli/child.h"
#include "cli/doctor/live.h"
#include "cli/machine/frameworks.h"

namespace anygpu::cli {

namespace {

using nlohmann::json;

constexpr const char* kTrainingSizes = "8,64";  // images a step; the larger where it fits the time
constexpr double kMostSeconds = 3;              // a measure: more changes nothing

/// One line of a terminal, written over again; nothing where standard error is a file.
class Progress {
 public:
  explicit Progress(size_t measures) : measures_(measures), terminal_(::isatty(STDERR_FILENO)) {}
  ~Progress() { line(""); }
  void start(const std::string& device, const std::string& what) {
    line("[" + std::to_string(done_ + 1) + "/" + std::to_string(measures_) + "] " + device + ": " + what);
  }
  void done() { done_ = std::min(done_ + 1, measures_ - 1); }

 private:
  void line(const std::string& text) const {
    if (terminal_) std::cerr << "\r\x1b[K" << text << std::flush;
  }
  const size_t measures_;
  const bool terminal_;
  size_t done_ = 0;
};

const char* title_of(const std::string& id) {
  for (const auto& measure : kMeasures)
    if (id == measure.id) return measure.title;
  return "?";
}

/// The interpreter of the first place that has PyTorch and anygpu.
std::string find_python() {
  const System sys("/");
  for (const auto& place : find_frameworks(sys)) {
    if (place.torch.empty() || place.anygpu.empty()) continue;
    // PREFIX/lib/python3.11/site-packages; a folder of the user's own belongs to the machine's interpreter.
    const std::filesystem::path packages(place.folder);
    const std::string version = packages.parent_path().filename(), prefix = packages.parent_path().parent_path().parent_path();
    for (const auto& candidate : {prefix + "/bin/" + version, prefix + "/bin/python3", "/usr/local/bin/" + version, "/usr/bin/" + version})
      if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return {};
}

class Runner {
 public:
  Runner(Bench& bench, double each, size_t measures) : bench_(bench), each_(each), progress_(measures) {}

  /// Runs one child, which says lines; what of `ids` it does not tell of is missing.
  void run(Contestant& who, Task task, std::vector<std::string> ids) {
    std::string current;
    task.on_line = [&](const std::string& line) {
      const json said = json::parse(line, nullptr, false);
      if (!said.is_object()) return;
      if (said.contains("start")) {
        current = said.value("start", "");
        progress_.start(who.device, title_of(current));
      }
      if (said.contains("pytorch")) {
        bench_.pytorch_version = said.value("pytorch", "");
        bench_.threads = said.value("threads", 0);
        bench_.matplotlib = said.value("matplotlib", false);
      }
      if (!said.contains("measure")) return;
      const std::string id = said.value("measure", "");
      if (said.contains("error"))
        bench_.missing.push_back({who.device, id, said.value("error", "")});
      else
        who.results.push_back({id, said.value("size", int64_t{0}), said.value("seconds", 0.0), said.value("per_second", 0.0)});
      if (const auto at = std::find(ids.begin(), ids.end(), id); at != ids.end()) ids.erase(at);
      progress_.done();
    };
    // Compiling, and the sizes before the last, take time of their own; PyTorch's import takes seconds.
    const auto limit = std::chrono::milliseconds(static_cast<int64_t>(1000 * (20 + 4 * each_ * static_cast<double>(ids.size()))));
    const Outcome outcome = run_children({task}, limit).front();
    if (outcome.failure().empty() && ids.empty()) return;
    std::string why = outcome.timed_out ? "did not end within " + std::to_string(limit.count() / 1000) + " s" : outcome.failure();
    if (why.empty()) why = "gave no answer";
    if (const std::string said = telling_line(outcome.err); !said.empty()) why += "; it said: " + said;
    for (const auto& id : ids) bench_.missing.push_back({who.device, id, id == current || current.empty() ? why : "not reached: " + why});
  }

  void library(Contestant& device) {
    std::vector<std::string> ids;
    for (const auto& measure : kMeasures)
      if (measure.library) ids.emplace_back(measure.id);
    Task task{{"probe", "bench", device.device.substr(7), std::to_string(each_)}, {}, {}, {}};
    run(device, std::move(task), std::move(ids));
  }

  /// `wanted`: "matmul=1024", "training=8,64"
  void pytorch(Contestant& who, const std::string& device, const std::vector<std::string>& wanted) {
    Task task{{"-m", "anygpu._bench", "measure", device, std::to_string(each_)}, {}, bench_.python, {}};
    std::vector<std::string> ids;
    for (const auto& request : wanted) {
      task.arguments.push_back(request);
      ids.push_back(request.substr(0, request.find('=')));
    }
    run(who, std::move(task), std::move(ids));
  }

 private:
  Bench& bench_;
  const double each_;
  Progress progress_;
};

std::vector<Contestant> open_devices(const std::vector<std::string>& wanted, Bench& bench) {
  std::vector<Contestant> devices;
  const Asked asked = ask_library();
  bench.no_devices = asked.failure;
  if (!asked.failure.empty()) return devices;
  std::set<std::string> unknown(wanted.begin(), wanted.end());
  for (const auto& device : asked.answer["devices"]) {
    const std::string id = device.value("device", "");
    const bool chosen = wanted.empty() || unknown.erase(id);
    if (!chosen) continue;
    if (device.contains("error")) {
      bench.missing.push_back({id, "", device.value("error", "")});
      bench.no_devices = device.value("error", "");
      continue;
    }
    devices.push_back({id, device.value("name", "?"), device.value("backend", "?"), device.value("driver", "?"), {}});
  }
  if (!unknown.empty()) throw std::invalid_argument("[bench] there is no device '" + *unknown.begin() + "'; what there is: anygpu devices");
  return devices;
}

}  // namespace

double Bench::ratio(const Result& result) const {
  for (const auto& base : pytorch.results)
    if (base.measure == result.measure && base.size == result.size && base.per_second > 0) return result.per_second / base.per_second;
  return 0;
}

Bench run_bench(const BenchOptions& options) {
  Bench bench;
  if (::getloadavg(&bench.load, 1) != 1) bench.load = 0;
  bench.devices = open_devices(options.devices, bench);
  if (bench.devices.empty()) return bench;
  bench.python = options.python.empty() ? find_python() : options.python;
  // Five measures and training a device, and four of PyTorch's CPU.
  const size_t measures = bench.devices.size() * (bench.python.empty() ? 5 : 6) + (bench.python.empty() ? 0 : 4);
  Runner runner(bench, std::min(kMostSeconds, options.seconds / static_cast<double>(measures)), measures);
  for (auto& device : bench.devices) runner.library(device);
  if (bench.python.empty()) {
    bench.missing.push_back({kPyTorch, "",
                             "no Python with PyTorch and anygpu was found, so nothing is trained and nothing compared; activate its "
                             "environment, or name it: --python FILE"});
    return bench;
  }
  for (auto& device : bench.devices) runner.pytorch(device, device.device, {std::string("training=") + kTrainingSizes});
  // The same sizes as the devices reached.
  std::vector<std::string> wanted;
  for (const auto& measure : kMeasures) {
    std::set<int64_t> sizes;
    for (const auto& device : bench.devices)
      for (const auto& result : device.results)
        if (measure.compared && result.measure == measure.id) sizes.insert(result.size);
    for (const int64_t size : sizes) wanted.push_back(std::string(measure.id) + "=" + std::to_string(size));
  }
  runner.pytorch(bench.pytorch, "cpu", wanted);
  return bench;
}

}  // namespace anygpu::cli
