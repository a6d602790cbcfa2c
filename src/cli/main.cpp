// The `anygpu` command.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <iostream>

#include "cli/probe.h"
#include "cli/verbs.h"

namespace anygpu::cli {

bool want_colour(bool forbidden) {
  const char* none = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return !forbidden && !(none && *none) && !(terminal && std::strcmp(terminal, "dumb") == 0) && ::isatty(STDOUT_FILENO);
}

int complain(int code, const std::string& text) {
  std::cout.flush();
  std::cerr << "anygpu: " << text << "\n";
  return code;
}

}  // namespace anygpu::cli

int main(int argc, char** argv) {
  using namespace anygpu::cli;
  // Not for people, so not in the help: see probe.h.
  if (argc >= 3 && std::strcmp(argv[1], "probe") == 0) return probe(argv[2], {argv + 3, argv + argc});
  CLI::App app("Train PyTorch models on any GPU: what this machine has, why a GPU is not seen, how fast it is, and how containers get it.",
               "anygpu");
  app.set_version_flag("--version", std::string("anygpu ") + ANYGPU_VERSION, "Print the version");
  app.require_subcommand(0, 1);
  app.footer("More of a verb: anygpu VERB --help. The manual: man anygpu.");
  Run run;
  add_doctor(app, run);
  add_devices(app, run);
  add_bench(app, run);
  add_cdi(app, run);
  add_completion(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    std::string verb = app.get_subcommands().empty() ? "" : " " + app.get_subcommands().front()->get_name();
    return complain(kUsage, std::string(error.what()) + "\nType: anygpu" + verb + " --help");
  }
  if (!run) {
    std::cout << app.help();
    return kUsage;
  }
  try {
    const int code = run();
    std::cout.flush();
    return std::cout ? code : complain(kCannotWrite, "the output could not be written");
  } catch (const std::invalid_argument& error) {
    return complain(kUsage, error.what());
  } catch (const std::exception& error) {
    return complain(kInternal, error.what());
  }
}
