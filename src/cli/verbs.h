// The verbs of the command, a file each.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>

namespace anygpu::cli {

// Exit statuses, see the manual page.
constexpr int kGood = 0, kWarnings = 1, kFailures = 2, kUsage = 64, kUnavailable = 69, kInternal = 70, kCannotWrite = 73;

/// What the parsed command line asks for; returns the exit status.
using Run = std::function<int()>;

void add_doctor(CLI::App&, Run&);
void add_bench(CLI::App&, Run&);
void add_cdi(CLI::App&, Run&);
void add_devices(CLI::App&, Run&);
void add_completion(CLI::App&, Run&);

/// Colour: on a terminal, unless NO_COLOR or TERM=dumb says otherwise.
bool want_colour(bool forbidden);

/// "anygpu: [verb] text" on standard error; returns `code`.
int complain(int code, const std::string& text);

}  // namespace anygpu::cli
