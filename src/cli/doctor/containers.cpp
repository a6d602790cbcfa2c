// Container runtimes and the files that tell them of GPUs.
#include <algorithm>

#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr const char* kChain = "containers";

std::tuple<int, int, int> number(const std::string& version) {
  int a = 0, b = 0, c = 0;
  if (std::sscanf(version.c_str(), "%d.%d.%d", &a, &b, &c) < 1) return {0, 0, 0};
  return {a, b, c};
}

void check_runtime(const Machine& machine, const Runtime& runtime, Findings& findings) {
  if (runtime.version.empty()) {
    findings.info(kChain, runtime.name, runtime.binary + ", in a version that no record tells");
    return;
  }
  const auto version = number(runtime.version);
  const std::string found = runtime.name + " " + runtime.version;
  if (runtime.name == "docker" && version < std::tuple(25, 0, 0)) {
    findings.warn(kChain, "docker", found + ": CDI devices need 25 or newer", "update docker", "container-runtimes");
  } else if (runtime.name == "docker" && version < std::tuple(28, 2, 0) && !machine.containers.docker_cdi) {
    findings.warn(kChain, "docker", found + ": CDI devices are off before 28.2",
                  "put {\"features\": {\"cdi\": true}} into /etc/docker/daemon.json, then: sudo systemctl restart docker",
                  "container-runtimes");
  } else if (runtime.name == "podman" && version < std::tuple(4, 1, 0)) {
    findings.warn(kChain, "podman", found + ": CDI devices need 4.1 or newer", "update podman", "container-runtimes");
  } else if (runtime.name == "containerd" && version < std::tuple(1, 7, 0)) {
    findings.warn(kChain, "containerd", found + ": CDI devices need 1.7 or newer", "update containerd", "container-runtimes");
  } else {
    findings.pass(kChain, runtime.name, found + ", which knows CDI devices");
  }
}

}  // namespace

void check_containers(const Machine& machine, Findings& findings) {
  const Containers& containers = machine.containers;
  for (const auto& runtime : containers.runtimes) check_runtime(machine, runtime, findings);
  bool ours = false, nvidias = false;
  for (const auto& file : containers.cdi) {
    ours |= file.kind == "anygpu.dev/gpu";
    nvidias |= file.kind == "nvidia.com/gpu";
    const std::string again = file.kind == "anygpu.dev/gpu" || file.path.find("anygpu") != std::string::npos
                                  ? generate_command(machine.sys)
                                  : "write it again, by the program that made it, or remove it: sudo rm " + file.path;
    if (!file.error.empty()) {
      findings.warn(kChain, file.path, file.error, again, "cdi");
      continue;
    }
    const auto gone = std::find_if(file.host.begin(), file.host.end(), [&](const auto& path) { return !machine.sys.exists(path); });
    if (gone != file.host.end() && machine.where.container.empty())
      findings.warn(kChain, file.path, "it names " + *gone + ", which is gone: containers with " + file.kind + " will not start", again,
                    "cdi");
    else
      findings.pass(kChain, file.path, std::to_string(file.devices.size()) + " devices of " + file.kind);
  }
  if (containers.runtimes.empty()) return;
  if (!ours && !reached(machine).empty())
    findings.info(kChain, "CDI", "no file for anygpu.dev/gpu; " + generate_command(machine.sys) + " writes it");
  const bool nvidia =
      std::any_of(machine.gpus.pci.begin(), machine.gpus.pci.end(), [](const auto& gpu) { return gpu.driver == "nvidia"; }) ||
      machine.wsl.libcuda;
  if (!nvidia) return;
  if (machine.nvidia.ctk.empty())
    findings.warn(kChain, "NVIDIA's toolkit", "nvidia-ctk is not installed: containers get no NVIDIA GPU",
                  "install nvidia-container-toolkit; see the guide", "nvidia-toolkit");
  else
    findings.pass(kChain, "NVIDIA's toolkit",
                  machine.nvidia.ctk + (machine.nvidia.ctk_version.empty() ? "" : ", version " + machine.nvidia.ctk_version));
  if (!machine.nvidia.ctk.empty() && !nvidias)
    findings.warn(kChain, "NVIDIA's CDI file", "there is none for nvidia.com/gpu",
                  "sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml", "nvidia-toolkit");
}

}  // namespace anygpu::cli
