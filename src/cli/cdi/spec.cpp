#include "cli/cdi/spec.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

namespace anygpu::cli {

namespace {

using nlohmann::ordered_json;

/// Mounts by their place in the container, so that each is there once and the order is fixed.
using Mounts = std::map<std::string, std::string>;

/// Libraries that an image has in a version of its own, on which its programs rely: never hidden by the host's.
bool is_images(const std::string& name) {
  constexpr std::array stems{"ld-linux",     "libc.so",      "libm.so",       "libdl.so",  "libpthread.so", "librt.so",   "libresolv.so",
                             "libstdc++.so", "libgcc_s.so",  "libz.so",       "libzstd.",  "liblzma.so",    "libbz2.so",  "libexpat.so",
                             "libffi.so",    "libtinfo.so",  "libxml2.so",    "libicu",    "libcap.so",     "libudev.so", "libsystemd",
                             "libssl.so",    "libcrypto.so", "libselinux.so", "linux-vdso"};
  return std::any_of(stems.begin(), stems.end(), [&](const char* stem) { return name.starts_with(stem); });
}

/// Where the linker would open it, with no link in the folders: /lib is often one to /usr/lib.
std::string placed(const Machine& machine, const std::string& path) {
  const size_t slash = path.rfind('/');
  const auto folder = machine.sys.resolve(path.substr(0, slash));
  return folder ? *folder + path.substr(slash) : path;
}

/// A library and what it needs, but for what images have; the names of that go to `images`.
void add_library(const Machine& machine, const std::string& path, Mounts& mounts, std::set<std::string>& images) {
  std::vector<std::string> ahead{path};
  std::set<std::string> seen;
  while (!ahead.empty() && seen.size() < 256) {
    const std::string place = placed(machine, ahead.back());
    ahead.pop_back();
    const auto real = machine.sys.resolve(place);
    if (!real || !seen.insert(place).second) continue;
    mounts[place] = *real;
    for (const auto& name : machine.libraries.needed(*real)) {
      if (is_images(name)) {
        images.insert(name);
        continue;
      }
      if (const auto found = machine.libraries.place(name)) ahead.push_back(*found);
    }
  }
}

void add_drivers(const Machine& machine, Serves serves, Mounts& mounts, std::set<std::string>& images) {
  for (const auto& icd : machine.vulkan.icds) {
    if (icd.serves != serves || icd.library.empty()) continue;
    const auto real = machine.sys.resolve(icd.file);
    if (!real) continue;
    mounts[icd.file] = *real;
    add_library(machine, icd.library, mounts, images);
  }
}

ordered_json mounts_json(const Mounts& mounts) {
  ordered_json list = ordered_json::array();
  for (const auto& [place, host] : mounts)
    list.push_back({{"hostPath", host}, {"containerPath", place}, {"options", {"ro", "nosuid", "nodev", "rbind", "rprivate"}}});
  return list;
}

ordered_json node_json(const std::string& path) {
  // For everybody in the container, as in the container everybody is who was given it: the host's group has no member there.
  return {{"path", path}, {"permissions", "rw"}, {"fileMode", 0666}};
}

struct Device {
  std::string name;
  std::vector<std::string> nodes;
  Mounts mounts;
};

ordered_json device_json(const Device& device) {
  ordered_json edits = ordered_json::object();
  for (const auto& node : device.nodes) edits["deviceNodes"].push_back(node_json(node));
  if (!device.mounts.empty()) edits["mounts"] = mounts_json(device.mounts);
  return {{"name", device.name}, {"containerEdits", edits}};
}

Serves driver_of(const RenderNode& node) {
  if (node.driver == "amdgpu") return Serves::Amd;
  if (node.driver == "i915" || node.driver == "xe") return Serves::Intel;
  if (node.driver == "nouveau") return Serves::Nouveau;
  if (node.driver == "virtio_gpu") return Serves::Virtio;
  return node.pci.empty() ? Serves::Soc : Serves::Unknown;
}

void note_nvidia(const Machine& machine, std::vector<std::string>& notes) {
  const bool driven = std::any_of(machine.gpus.pci.begin(), machine.gpus.pci.end(), [](const auto& gpu) { return gpu.driver == "nvidia"; });
  if (!driven && !machine.wsl.libcuda) return;
  const auto& files = machine.containers.cdi;
  const auto theirs = std::find_if(files.begin(), files.end(), [](const auto& file) { return file.kind == "nvidia.com/gpu"; });
  const std::string use = theirs != files.end() ? theirs->path + " has it: --device nvidia.com/gpu=all"
                                                : "write its file with: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml";
  notes.push_back(
      (driven ? "NVIDIA's driver is given to containers by NVIDIA's own toolkit; " : "for CUDA there is NVIDIA's own toolkit; ") + use);
}

}  // namespace

CdiSpec make_cdi_spec(const Machine& machine, const CdiOptions& options) {
  CdiSpec spec;
  std::vector<Device> devices;
  Mounts common;
  std::set<std::string> images;
  ordered_json environment;
  if (machine.where.wsl == 2 && machine.wsl.dxg) {
    devices.push_back({"dxg", {"/dev/dxg"}, {}});
    // Whole folders: Windows' update of a driver renames the folders within, and the file stays right.
    for (const char* folder : {"/usr/lib/wsl/lib", "/usr/lib/wsl/drivers"})
      if (machine.sys.exists(folder)) common[folder] = folder;
    environment = {"LD_LIBRARY_PATH=/usr/lib/wsl/lib"};
    if (options.drivers) add_drivers(machine, Serves::Dxg, common, images);
    if (options.drivers && !machine.vulkan.has(Serves::Dxg))
      spec.notes.push_back("dzn is not installed here, so containers get none: the image must have it; see: anygpu doctor");
  } else if (!machine.where.wsl) {
    int index = 0;
    for (const auto& node : machine.gpus.nodes) {
      if (!node.present || node.driver == "nvidia" || node.driver == "vgem" || node.driver.empty()) continue;
      Device device{std::to_string(index++), {node.path}, {}};
      if (options.drivers) add_drivers(machine, driver_of(node), device.mounts, images);
      if (options.drivers && device.mounts.empty())
        spec.notes.push_back(node.path + ": no Vulkan driver for " + node.driver +
                             " is installed here, so containers get none: the image must have it");
      devices.push_back(device);
      // A name that stays the GPU's when another one is put in.
      if (!node.pci.empty()) device.name = node.pci, devices.push_back(std::move(device));
    }
  }
  if (options.software) {
    Device device{"lavapipe", {}, {}};
    add_drivers(machine, Serves::Software, device.mounts, images);
    if (device.mounts.empty())
      spec.notes.push_back("lavapipe is not installed here: its device is left out");
    else
      devices.push_back(std::move(device));
  }
  note_nvidia(machine, spec.notes);
  if (devices.empty()) return spec;
  Device all{"all", {}, {}};
  for (const auto& device : devices) {
    for (const auto& node : device.nodes)
      if (std::find(all.nodes.begin(), all.nodes.end(), node) == all.nodes.end()) all.nodes.push_back(node);
    all.mounts.insert(device.mounts.begin(), device.mounts.end());
  }
  devices.push_back(std::move(all));
  // 0.5.0 is the lowest version with names that begin with a digit: older runtimes read it, newer ones too.
  spec.file = {{"cdiVersion", "0.5.0"}, {"kind", kCdiKind}};
  for (const auto& device : devices) spec.file["devices"].push_back(device_json(device));
  ordered_json edits = ordered_json::object();
  if (!environment.is_null()) edits["env"] = environment;
  if (!common.empty()) edits["mounts"] = mounts_json(common);
  if (!edits.empty()) spec.file["containerEdits"] = edits;
  std::erase_if(images, [](const std::string& name) {
    return name.starts_with("ld-linux") || name.starts_with("libc.") || name.starts_with("libm.") || name.starts_with("libdl.") ||
           name.starts_with("libpthread.") || name.starts_with("librt.");
  });
  if (!images.empty()) {
    std::string names;
    for (const auto& name : images) names += " " + name;
    spec.notes.push_back("the image must be of this system's age or newer (glibc), and have:" + names +
                         "; one with a Mesa of its own is better served by --drivers none");
  }
  return spec;
}

namespace {

std::string scalar(const ordered_json& value) {
  return value.dump();  // JSON's scalars are YAML's
}

void write_yaml(const ordered_json& value, const std::string& indent, std::string& out) {
  if (value.is_array()) {
    for (const auto& entry : value) {
      if (entry.is_object() && !entry.empty()) {
        // The first key stands beside the dash.
        std::string body;
        write_yaml(entry, indent + "  ", body);
        out += indent + "- " + body.substr(indent.size() + 2);
      } else {
        out += indent + "- " + scalar(entry) + "\n";
      }
    }
    return;
  }
  for (const auto& [key, entry] : value.items()) {
    out += indent + key + ":";
    if (entry.is_structured() && !entry.empty()) {
      out += "\n";
      write_yaml(entry, entry.is_array() ? indent : indent + "  ", out);
    } else {
      out += " " + scalar(entry) + "\n";
    }
  }
}

}  // namespace

std::string to_yaml(const ordered_json& value) {
  std::string out;
  write_yaml(value, "", out);
  return out;
}

}  // namespace anygpu::cli
