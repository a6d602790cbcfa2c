// Runs this very command again, or another program, as children that may crash or hang.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace anygpu::cli {

struct Task {
  std::vector<std::string> arguments;                            ///< after the command's name
  std::vector<std::pair<std::string, std::string>> environment;  ///< set in the child besides what it inherits
  std::string program;                                           ///< a file; empty: this command
  std::function<void(const std::string& line)> on_line;          ///< told each line of its standard output at once; may be empty
};

struct Outcome {
  std::string out, err;  ///< the first 64 KiB of each
  int code = -1;         ///< exit status; -1 where it did not exit by itself
  int signal = 0;        ///< that ended it
  bool timed_out = false;
  /// "ended by SIGSEGV (Segmentation fault)", "did not end within 5 s", "exit status 3"; empty for a good end
  std::string failure() const;
};

/// All at once. None outlives `limit`.
std::vector<Outcome> run_children(const std::vector<Task>&, std::chrono::milliseconds limit);

}  // namespace anygpu::cli
