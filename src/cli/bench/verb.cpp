// anygpu bench
#include <iostream>
#include <memory>

#include "cli/bench/bench.h"
#include "cli/child.h"
#include "cli/doctor/live.h"
#include "cli/verbs.h"

namespace anygpu::cli {

namespace {

struct Options {
  BenchOptions bench;
  std::string plot;
  bool json = false, no_color = false;
};

/// Matplotlib draws what has ratios; empty where it did.
std::string draw(const Bench& bench, const std::string& file) {
  if (bench.python.empty() || bench.pytorch_version.empty()) return "needs PyTorch to compare with";
  if (!bench.matplotlib) return bench.python + " has no matplotlib: " + bench.python + " -m pip install matplotlib";
  Task task{{"-m", "anygpu._bench", "plot", file, bench_json(bench).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)},
            {},
            bench.python,
            {}};
  const Outcome outcome = run_children({std::move(task)}, std::chrono::seconds(60)).front();
  return outcome.failure().empty() ? "" : outcome.failure() + ": " + telling_line(outcome.err);
}

int bench(const Options& options) {
  const Bench measured = run_bench(options.bench);
  if (measured.devices.empty() && !options.json)
    return complain(kUnavailable, "[bench] no device can be opened: " + measured.no_devices + "\nSee what mends it: anygpu doctor");
  if (options.json)
    std::cout << bench_json(measured).dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  else
    std::cout << bench_text(measured, want_colour(options.no_color));
  if (measured.devices.empty()) return kUnavailable;
  if (!options.plot.empty()) {
    if (const std::string why = draw(measured, options.plot); !why.empty())
      return complain(kCannotWrite, "[bench] no picture at " + options.plot + ": " + why);
    if (!options.json) std::cout << "\nwritten: " << options.plot << "\n";
  }
  return measured.missing.empty() ? kGood : kWarnings;
}

}  // namespace

void add_bench(CLI::App& app, Run& run) {
  const auto options = std::make_shared<Options>();
  auto* verb =
      app.add_subcommand("bench", "What each device does a second, against PyTorch's CPU: copies, a pointwise chain, matmul, training");
  verb->add_option("--device", options->bench.devices, "Only this device, \"anygpu:0\"; may be given several times; without it all")
      ->type_name("DEVICE")
      ->allow_extra_args(false);
  verb->add_option("--seconds", options->bench.seconds, "About how long to measure in all (60); starting and compiling come on top")
      ->check(CLI::Range(1.0, 3600.0))
      ->type_name("N");
  verb->add_option("--plot", options->plot, "Draw the ratios into this file too (.png, .svg, .pdf), by matplotlib")->type_name("FILE");
  verb->add_option("--python", options->bench.python,
                   "The Python that has PyTorch and anygpu; without it the active environment's is looked for")
      ->check(CLI::ExistingFile)
      ->type_name("FILE");
  verb->add_flag("--json", options->json, "For programs: all figures as JSON");
  verb->add_flag("--no-color", options->no_color, "Plain text on a terminal too, as NO_COLOR=1 does");
  verb->footer(
      "Examples:\n  anygpu bench\n  anygpu bench --device anygpu:0 --seconds 20\n  anygpu bench --plot bench.png\n  anygpu bench --json > "
      "bench.json\n"
      "Takes a minute or two. Without PyTorch it measures what the library does alone, and says what is missing.\n"
      "Exit status: 0 all was measured, 1 a part is missing (it says which), 64 wrong usage, 69 no device can be opened, 73 the picture\n"
      "cannot be written.");
  verb->callback([options, &run] { run = [options] { return bench(*options); }; });
}

}  // namespace anygpu::cli
