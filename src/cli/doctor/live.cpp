#include "cli/doctor/live.h"

#include <algorithm>
#include <cstdio>

#include "cli/child.h"
#include "cli/doctor/doctor.h"
#include "cli/probe.h"

namespace anygpu::cli {

namespace {

using nlohmann::json;

/// Why a library was not loaded, in the linker's words: "libx.so.1: cannot open shared object file", "version `GLIBC_2.38' not found".
bool is_linkers(const std::string& text) {
  return text.find("cannot open shared object") != std::string::npos || text.find("' not found") != std::string::npos ||
         text.find("undefined symbol") != std::string::npos;
}

void judge_vulkan(const Machine& machine, const Asked& asked, Findings& findings) {
  const auto icd = std::find_if(machine.vulkan.icds.begin(), machine.vulkan.icds.end(), [&](const Icd& i) { return i.file == asked.what; });
  const Serves serves = icd == machine.vulkan.icds.end() ? Serves::Unknown : icd->serves;
  const std::string said = asked.said.empty() ? "" : "; it said: " + asked.said;
  if (!asked.failure.empty()) {
    // A driver without its hardware refuses, and that is right.
    const bool crashed = asked.failure.starts_with("ended by") || asked.failure.starts_with("did not end");
    const bool container = !machine.where.container.empty();
    if (is_linkers(asked.said))
      findings.fail(
          "drivers", asked.what, "the linker does not load it: " + asked.said,
          container
              ? "install what is missing into the image; or on the host: sudo anygpu cdi generate --drivers none, and in the image: " +
                    install_driver(machine.where, serves)
              : "install it again, with all it needs: " + install_driver(machine.where, serves),
          "driver-does-not-load");
    else if (crashed)
      findings.fail("drivers", asked.what, asked.failure + " when it was opened" + said,
                    install_driver(machine.where, serves) +
                        ", in the newest version; to do without it: export VK_LOADER_DRIVERS_DISABLE='*" +
                        asked.what.substr(asked.what.rfind('/') + 1) + "'",
                    "driver-crashes");
    else
      findings.info("drivers", asked.what, asked.failure + said);
    return;
  }
  const json& devices = asked.answer["devices"];
  if (devices.empty()) {
    findings.info("drivers", asked.what, "finds no device that it serves");
    return;
  }
  for (const auto& device : devices) {
    std::string text =
        device.value("name", "?") + ", Vulkan " + device.value("api", "?") + ", " + bytes_text(device.value("memory_bytes", int64_t{0}));
    if (device.contains("driver")) text += ", " + device.value("driver", "");
    int major = 0, minor = 0;
    std::sscanf(device.value("api", "0.0").c_str(), "%d.%d", &major, &minor);
    if (major * 1000 + minor < 1002)
      findings.fail("drivers", asked.what, text + ": anygpu needs Vulkan 1.2",
                    install_driver(machine.where, serves) + ", in a newer version", "vulkan-drivers");
    else
      findings.pass("drivers", asked.what, text);
  }
}

Asked asked_of(const std::string& what, const Outcome& outcome) {
  Asked asked{what, outcome.failure(), telling_line(outcome.err), json::parse(outcome.out, nullptr, false)};
  if (!asked.failure.empty()) return asked;
  const auto& answer = asked.answer;
  if (answer.is_object() && answer.contains("error"))
    asked.failure = answer["error"].is_string() ? answer["error"].get<std::string>() : answer["error"].dump();
  else if (!answer.is_object() || !answer.contains("devices") || !answer["devices"].is_array())
    asked.failure = "gave no answer";
  return asked;
}

const Task kLibrary{{"probe", "devices"}, {}, {}, {}};

}  // namespace

std::string telling_line(const std::string& text) {
  std::string chosen;
  for (const auto& row : split(text, '\n'))
    if (!trim(row).empty() && !is_linkers(chosen)) chosen = row;
  std::string line;  // loggers align with many spaces
  for (const auto& word : words(chosen)) line += (line.empty() ? "" : " ") + word;
  return line.substr(0, 300);
}

std::string bytes_text(int64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f GiB", static_cast<double>(bytes) / (1 << 30));
  return text;
}

std::vector<Asked> ask_drivers(const Machine& machine) {
  std::vector<Task> tasks;
  std::vector<std::string> names;
  const auto add = [&](const std::string& what, Task task) {
    names.push_back(what);
    tasks.push_back(std::move(task));
  };
  if (!machine.vulkan.loader.empty())
    for (const auto& icd : machine.vulkan.icds)
      if (!icd.library.empty() && tasks.size() < 16)
        // Layers that other programs install are not the driver.
        add(icd.file, {{"probe", "vulkan"},
                       {{"VK_DRIVER_FILES", icd.file},
                        {"VK_ICD_FILENAMES", icd.file},
                        {"VK_LOADER_LAYERS_DISABLE", "~implicit~"},
                        {"VK_LOADER_DEBUG", "error"}},
                       {},
                       {}});
  if (!machine.nvidia.libcuda.empty()) add("libcuda", {{"probe", "cuda"}, {}, {}, {}});
  add("anygpu", kLibrary);
  const auto outcomes = run_children(tasks, probe_limit());
  std::vector<Asked> asked;
  for (size_t i = 0; i < outcomes.size(); ++i) asked.push_back(asked_of(names[i], outcomes[i]));
  return asked;
}

Asked ask_library() {
  return asked_of("anygpu", run_children({kLibrary}, probe_limit()).front());
}

void check_live(const Machine& machine, Findings& findings) {
  for (const auto& asked : ask_drivers(machine)) {
    if (asked.what == "libcuda") {
      if (!asked.failure.empty())
        findings.fail("NVIDIA", "libcuda, opened", asked.failure,
                      "see the guide: the kernel's and the library's half of the driver do not meet", "libcuda");
      else
        findings.pass("NVIDIA", "libcuda, opened",
                      "CUDA " + asked.answer.value("version", "?") + ", " + std::to_string(asked.answer["devices"].size()) + " GPUs");
    } else if (asked.what == "anygpu") {
      if (!asked.failure.empty()) {
        findings.fail("anygpu", "its own library", asked.failure,
                      "install anygpu again: pip install --force-reinstall --no-build-isolation .", "own-library");
        continue;
      }
      for (const auto& device : asked.answer["devices"])
        if (device.contains("error"))
          findings.fail("anygpu", device.value("device", "anygpu"), device.value("error", ""),
                        "unset ANYGPU_DEVICES, or name backends that this build has", "own-library");
        else
          findings.pass("anygpu", device.value("device", "anygpu"), device.value("name", "?") + ", by " + device.value("driver", "?"));
    } else {
      judge_vulkan(machine, asked, findings);
    }
  }
}

}  // namespace anygpu::cli
