// anygpu doctor
#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>
#include <memory>

#include "cli/doctor/report.h"
#include "cli/verbs.h"

namespace anygpu::cli {

namespace {

struct DoctorOptions {
  std::string root;  // empty: this machine, whose drivers are asked too
  bool json = false, verbose = false, no_color = false;
};

int doctor(const DoctorOptions& options) {
  const System sys(options.root.empty() ? "/" : options.root);
  const Machine machine(sys);
  Findings findings;
  for (const auto check : {check_where, check_wsl, check_kernel, check_nvidia, check_vulkan}) check(machine, findings);
  if (options.root.empty()) check_live(machine, findings);
  for (const auto check : {check_frameworks, check_containers, check_reach}) check(machine, findings);
  if (options.json) {
    std::cout << report_json(machine, findings, options.root.empty() ? "/" : options.root);
  } else {
    ReportOptions how{options.verbose, want_colour(options.no_color)};
    winsize size{};
    if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 8) how.rows = size.ws_row, how.columns = size.ws_col;
    std::cout << report_text(machine, findings, how);
  }
  return findings.count(Status::Fail) ? kFailures : findings.count(Status::Warn) ? kWarnings : kGood;
}

}  // namespace

void add_doctor(CLI::App& app, Run& run) {
  const auto options = std::make_shared<DoctorOptions>();
  auto* verb = app.add_subcommand("doctor", "Say why a GPU is not seen, and what to type to mend it");
  verb->add_option("--root", options->root, "Examine the files under this folder instead of this machine; nothing is run then")
      ->type_name("DIR");
  verb->add_flag("--json", options->json, "For programs: each finding as JSON");
  verb->add_flag("-v,--verbose", options->verbose, "Each link, also those that pass, however long");
  verb->add_flag("--no-color", options->no_color, "Plain text on a terminal too, as NO_COLOR=1 does");
  verb->footer("Changes nothing and needs no root. Exit status: 0 all is well, 1 warnings, 2 failures, 64 wrong usage.");
  verb->callback([options, &run] { run = [options] { return doctor(*options); }; });
}

}  // namespace anygpu::cli
