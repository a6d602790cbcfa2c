#include "cli/machine/frameworks.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

namespace anygpu::cli {

namespace {

void add_prefix(const System& sys, const std::string& prefix, std::vector<std::string>& folders) {
  for (const char* lib : {"/lib", "/lib64"})
    for (const auto& name : sys.list(prefix + lib))
      if (name.starts_with("python3"))
        for (const char* packages : {"/site-packages", "/dist-packages"})
          if (const std::string folder = prefix + lib + "/" + name + packages; sys.exists(folder)) folders.push_back(folder);
}

/// "torch-2.13.0+cpu.dist-info" -> 2.13.0+cpu
std::string version_of(const std::string& entry, const std::string& package) {
  for (const char* suffix : {".dist-info", ".egg-info"})
    if (lower(entry).starts_with(package + "-") && entry.ends_with(suffix)) {
      const std::string version = entry.substr(package.size() + 1, entry.size() - package.size() - 1 - std::string(suffix).size());
      return version.substr(0, version.find('-'));
    }
  return {};
}

PythonPlace look(const System& sys, const std::string& folder) {
  PythonPlace place;
  place.folder = folder;
  for (const auto& entry : sys.list(folder)) {
    if (const auto v = version_of(entry, "torch"); !v.empty()) place.torch = v;
    for (const char* name : {"tensorflow", "tensorflow_cpu", "tensorflow_intel"})
      if (const auto v = version_of(entry, name); !v.empty()) place.tensorflow = v;
    if (const auto v = version_of(entry, "anygpu"); !v.empty()) {
      place.anygpu = v;
      for (const auto& row : split(sys.read(folder + "/" + entry + "/METADATA").text, '\n'))
        if (row.starts_with("Requires-Dist: torch") && row.find("extra") == std::string::npos && row.find("vision") == std::string::npos)
          place.wants = trim(std::string_view(row).substr(20));
    }
  }
  // A folder that a .pth file adds, as a build tree does.
  if (place.anygpu.empty())
    if (const std::string added = sys.line(folder + "/anygpu.pth"); added.starts_with('/'))
      for (const auto& entry : sys.list(added))
        if (const auto v = version_of(entry, "anygpu"); !v.empty()) place.anygpu = v;
  return place;
}

}  // namespace

std::vector<PythonPlace> find_frameworks(const System& sys) {
  std::vector<std::string> folders;
  std::vector<std::string> homes{"/root"};
  if (sys.live()) {
    for (const char* name : {"VIRTUAL_ENV", "CONDA_PREFIX"})
      if (const char* prefix = std::getenv(name); prefix && *prefix == '/') add_prefix(sys, prefix, folders);
    std::error_code error;
    const auto here = std::filesystem::current_path(error);
    if (!error) add_prefix(sys, here.string() + "/.venv", folders);
    // The environment into which this command was installed: its bin/anygpu.
    const auto self = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error) add_prefix(sys, self.parent_path().parent_path().string(), folders);
    homes.clear();
    if (const char* home = std::getenv("HOME"); home && *home == '/') homes.emplace_back(home);
  } else {
    for (const auto& name : sys.list("/home"))
      if (homes.size() < 16) homes.push_back("/home/" + name);
  }
  for (const auto& home : homes)
    for (const char* prefix : {"/.local", "/.venv", "/venv"}) add_prefix(sys, home + prefix, folders);
  for (const char* prefix : {"/usr/local", "/usr", "/opt/venv", "/opt/conda", "/venv"}) add_prefix(sys, prefix, folders);
  folders.emplace_back("/usr/lib/python3/dist-packages");
  std::vector<PythonPlace> found;
  for (const auto& folder : folders) {
    const auto real = sys.resolve(folder);
    if (!real || std::any_of(found.begin(), found.end(), [&](const auto& p) { return p.folder == *real; })) continue;
    PythonPlace place = look(sys, *real);
    if (!place.torch.empty() || !place.tensorflow.empty() || !place.anygpu.empty()) found.push_back(std::move(place));
  }
  return found;
}

std::pair<int, int> major_minor(const std::string& version) {
  int major = 0, minor = 0;
  if (std::sscanf(version.c_str(), "%d.%d", &major, &minor) != 2) return {0, 0};
  return {major, minor};
}

}  // namespace anygpu::cli
