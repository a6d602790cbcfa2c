#include "cli/machine/containers.h"

#include <nlohmann/json.hpp>

namespace anygpu::cli {

namespace {

using nlohmann::json;

std::string text_at(const json& object, const char* key) {
  return object.is_object() && object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : std::string();
}

void add_host_paths(const json& edits, std::vector<std::string>& host) {
  if (!edits.is_object()) return;
  for (const char* list : {"deviceNodes", "mounts"})
    if (edits.contains(list) && edits[list].is_array())
      for (const auto& entry : edits[list]) {
        std::string path = text_at(entry, "hostPath");
        if (path.empty()) path = text_at(entry, "path");
        if (!path.empty()) host.push_back(std::move(path));
      }
}

void read_json(const json& spec, CdiFile& file) {
  file.kind = text_at(spec, "kind");
  if (spec.contains("containerEdits")) add_host_paths(spec["containerEdits"], file.host);
  if (!spec.contains("devices") || !spec["devices"].is_array()) return;
  for (const auto& device : spec["devices"]) {
    file.devices.push_back(text_at(device, "name"));
    if (device.is_object() && device.contains("containerEdits")) add_host_paths(device["containerEdits"], file.host);
  }
}

/// Of YAML, what the writers of CDI files write: a top-level kind, and a list of devices whose names are one level down.
void read_yaml(const std::string& text, CdiFile& file) {
  const auto plain = [](std::string value) {
    value = trim(value);
    if (value.size() > 1 && (value.front() == '"' || value.front() == '\'')) value = value.substr(1, value.size() - 2);
    return value;
  };
  bool in_devices = false;
  size_t item = std::string::npos;  // column of a device's keys
  for (const auto& row : split(text, '\n')) {
    const size_t column = row.find_first_not_of(' ');
    if (column == std::string::npos || row[column] == '#') continue;
    const bool dash = row[column] == '-';
    if (column == 0 && !dash) {
      in_devices = row.starts_with("devices:");
      item = std::string::npos;
      if (row.starts_with("kind:")) file.kind = plain(row.substr(5));
    } else if (in_devices) {
      size_t key = column;
      if (dash) key = std::min(row.find_first_not_of(" ", column + 1), row.size());
      if (dash && item == std::string::npos) item = key;
      if (key == item && row.compare(key, 5, "name:") == 0) file.devices.push_back(plain(row.substr(key + 5)));
    }
  }
}

CdiFile read_cdi(const System& sys, const std::string& path) {
  CdiFile file;
  file.path = path;
  const Text text = sys.read(path, 4 * 1024 * 1024);
  if (!text) {
    file.error = describe(text.state);
    return file;
  }
  const auto spec = json::parse(text.text, nullptr, false);
  if (!spec.is_discarded()) {
    read_json(spec, file);
  } else if (path.ends_with(".json")) {
    file.error = "it is not JSON";
  } else {
    read_yaml(text.text, file);
  }
  if (file.error.empty() && file.kind.find('/') == std::string::npos) file.error = "it has no kind \"vendor/class\"";
  return file;
}

}  // namespace

std::vector<CdiFile> read_cdi_folder(const System& sys, const std::string& folder) {
  std::vector<CdiFile> files;
  for (const auto& name : sys.list(folder))
    if ((name.ends_with(".json") || name.ends_with(".yaml")) && files.size() < 64) files.push_back(read_cdi(sys, folder + "/" + name));
  return files;
}

Containers find_containers(const System& sys, const Installed& installed) {
  Containers found;
  const auto add = [&](const char* name, std::initializer_list<const char*> binaries, std::initializer_list<const char*> packages) {
    for (const char* binary : binaries) {
      if (!sys.exists(binary)) continue;
      Runtime runtime{name, binary, {}};
      for (const char* package : packages)
        if (runtime.version.empty()) runtime.version = installed.version(package);
      // "5:27.3.1-1~ubuntu.24.04~noble" -> 27.3.1
      if (const size_t epoch = runtime.version.find(':'); epoch != std::string::npos) runtime.version.erase(0, epoch + 1);
      runtime.version = runtime.version.substr(0, runtime.version.find_first_not_of("0123456789."));
      found.runtimes.push_back(std::move(runtime));
      return;
    }
  };
  add("docker", {"/usr/bin/dockerd", "/usr/local/bin/dockerd", "/usr/sbin/dockerd"}, {"docker-ce", "docker.io", "docker", "moby-engine"});
  add("podman", {"/usr/bin/podman", "/usr/local/bin/podman"}, {"podman"});
  add("containerd", {"/usr/bin/containerd", "/usr/local/bin/containerd"}, {"containerd.io", "containerd"});
  for (const char* folder : {"/etc/cdi", "/var/run/cdi"})
    for (auto& file : read_cdi_folder(sys, folder)) found.cdi.push_back(std::move(file));
  const auto daemon = json::parse(sys.read("/etc/docker/daemon.json").text, nullptr, false);
  if (daemon.is_object() && daemon.contains("features") && daemon["features"].is_object())
    found.docker_cdi = daemon["features"].value("cdi", json(false)) == json(true);
  return found;
}

}  // namespace anygpu::cli
