#include "cli/machine/vulkan.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <nlohmann/json.hpp>

namespace anygpu::cli {

namespace {

/// By the name of the file, else of the library: the format has no field for it.
Serves served(const std::string& file, const std::string& library) {
  constexpr std::array<std::pair<const char*, Serves>, 22> names{{{"dzn", Serves::Dxg},
                                                                  {"radeon", Serves::Amd},
                                                                  {"amd", Serves::Amd},
                                                                  {"intel", Serves::Intel},
                                                                  {"nvidia", Serves::Nvidia},
                                                                  {"nouveau", Serves::Nouveau},
                                                                  {"virtio", Serves::Virtio},
                                                                  {"gfxstream", Serves::Virtio},
                                                                  {"lvp", Serves::Software},
                                                                  {"lavapipe", Serves::Software},
                                                                  {"swiftshader", Serves::Software},
                                                                  {"freedreno", Serves::Soc},
                                                                  {"panfrost", Serves::Soc},
                                                                  {"broadcom", Serves::Soc},
                                                                  {"powervr", Serves::Soc},
                                                                  {"asahi", Serves::Soc},
                                                                  {"libglx_nvidia", Serves::Nvidia},
                                                                  {"vulkan_radeon", Serves::Amd},
                                                                  {"vulkan_intel", Serves::Intel},
                                                                  {"mali", Serves::Soc},
                                                                  {"adreno", Serves::Soc},
                                                                  {"msm", Serves::Soc}}};
  for (const std::string& text : {lower(file.substr(file.rfind('/') + 1)), lower(library)})
    for (const auto& [name, serves] : names)
      if (text.find(name) != std::string::npos) return serves;
  return Serves::Unknown;
}

Icd read_icd(const System& sys, const Libraries& libraries, const std::string& file) {
  Icd icd;
  icd.file = file;
  const Text text = sys.read(file);
  if (!text) {
    icd.error = describe(text.state);
  } else {
    const auto json = nlohmann::json::parse(text.text, nullptr, false);
    if (json.is_discarded()) {
      icd.error = "it is not JSON";
    } else if (!json.is_object() || !json.contains("ICD") || !json["ICD"].is_object()) {
      icd.error = "it has no object \"ICD\"";
    } else if (const auto& body = json["ICD"]; !body.contains("library_path") || !body["library_path"].is_string()) {
      icd.error = "its \"ICD\" has no \"library_path\"";
    } else {
      icd.written = body["library_path"];
      if (body.contains("api_version") && body["api_version"].is_string()) icd.api = body["api_version"];
      // With a slash it is a path, from the file's folder where it is relative; else the linker looks for it.
      std::string path = icd.written;
      if (path.find('/') != std::string::npos && !path.starts_with('/')) path = file.substr(0, file.rfind('/') + 1) + path;
      if (const auto place = libraries.place(path)) icd.library = *place;
    }
  }
  icd.serves = served(file, icd.written);
  return icd;
}

}  // namespace

bool Vulkan::has(Serves serves) const {
  return std::any_of(icds.begin(), icds.end(), [&](const Icd& icd) { return icd.serves == serves && !icd.library.empty(); });
}

const Icd* Vulkan::first(Serves serves) const {
  const auto it = std::find_if(icds.begin(), icds.end(), [&](const Icd& icd) { return icd.serves == serves; });
  return it == icds.end() ? nullptr : &*it;
}

Vulkan find_vulkan(const System& sys, const Libraries& libraries) {
  Vulkan vulkan;
  if (const auto loader = libraries.find("libvulkan.so.1")) vulkan.loader = *loader;
  std::vector<std::string> folders{"/etc/vulkan/icd.d", "/usr/local/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d",
                                   "/usr/share/vulkan/icd.d", "/run/opengl-driver/share/vulkan/icd.d"};
  if (sys.live()) {
    for (const char* name : {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"})
      if (const char* value = std::getenv(name); value && *value && vulkan.forced.empty()) vulkan.forced = std::string(name) + "=" + value;
    if (const char* home = std::getenv("HOME"); home && *home == '/')
      folders.insert(folders.begin(), std::string(home) + "/.local/share/vulkan/icd.d");
  }
  for (const auto& folder : folders)
    for (const auto& name : sys.list(folder))
      if (name.ends_with(".json") && vulkan.icds.size() < 64) vulkan.icds.push_back(read_icd(sys, libraries, folder + "/" + name));
  return vulkan;
}

const char* serves_name(Serves serves) {
  switch (serves) {
    case Serves::Amd:
      return "AMD";
    case Serves::Intel:
      return "Intel";
    case Serves::Nvidia:
      return "NVIDIA";
    case Serves::Nouveau:
      return "NVIDIA by nouveau";
    case Serves::Dxg:
      return "Direct3D 12 of WSL 2";
    case Serves::Virtio:
      return "virtio-gpu";
    case Serves::Soc:
      return "a system on a chip";
    case Serves::Software:
      return "the CPU";
    case Serves::Unknown:
      return "unknown hardware";
  }
  return "";
}

}  // namespace anygpu::cli
