// Container runtimes, and the CDI files that tell them of devices.
#pragma once

#include "cli/machine/where.h"

namespace anygpu::cli {

struct Runtime {
  std::string name;     ///< docker, podman, containerd
  std::string binary;   ///< path
  std::string version;  ///< empty where no record tells it
};

struct CdiFile {
  std::string path;
  std::string error;                 ///< why it cannot be used
  std::string kind;                  ///< "anygpu.dev/gpu"
  std::vector<std::string> devices;  ///< their names
  std::vector<std::string> host;     ///< paths on the host that it names, where the file is JSON
};

struct Containers {
  std::vector<Runtime> runtimes;
  std::vector<CdiFile> cdi;  ///< of /etc/cdi and /var/run/cdi
  bool docker_cdi = false;   ///< /etc/docker/daemon.json turns it on
};

Containers find_containers(const System&, const Installed&);

/// The .json and .yaml files of one folder.
std::vector<CdiFile> read_cdi_folder(const System&, const std::string& folder);

}  // namespace anygpu::cli
