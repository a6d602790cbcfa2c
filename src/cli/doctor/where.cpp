#include "cli/doctor/doctor.h"

namespace anygpu::cli {

void check_where(const Machine& machine, Findings& findings) {
  const Where& where = machine.where;
  findings.info("where", "place", where.text());
  findings.info("where", "distribution", where.distribution.empty() ? "unknown: there is no os-release file" : where.distribution);
  findings.info("where", "kernel", where.kernel.empty() ? "unknown: /proc does not tell" : where.kernel);
  if (where.wsl == 1)
    findings.fail("where", "WSL version", "WSL 1, which has no GPU: only WSL 2 has a Linux kernel to reach one with",
                  "in PowerShell: wsl --list --verbose, then wsl --set-version NAME 2", "wsl-1");
  if (where.wsl == 2 && where.packages == Packages::Apk)
    findings.fail("where", "C library", "musl: the libraries that Windows lends are for glibc alone", "in PowerShell: wsl --install Ubuntu",
                  "musl");
}

std::string container_mend(const Machine& machine) {
  if (machine.where.container == "kubernetes") return "request the device in the pod, after on the node: sudo anygpu cdi generate";
  if (machine.where.container == "lxc") return "on the host: lxc config device add NAME gpu gpu";
  const std::string command = machine.where.container == "docker" ? "docker" : "podman";
  return "on the host: sudo anygpu cdi generate, then " + command + " run --device anygpu.dev/gpu=all ...";
}

std::vector<std::string> reached(const Machine& machine) {
  std::vector<std::string> found;
  const Vulkan& vulkan = machine.vulkan;
  if (vulkan.loader.empty()) return found;
  if (machine.where.wsl == 2) {
    const Wsl& wsl = machine.wsl;
    if (wsl.dxg_usable && wsl.missing.empty() && wsl.configured && wsl.cached && vulkan.has(Serves::Dxg))
      found.emplace_back("the GPU of Windows (dzn)");
    return found;
  }
  for (const auto& gpu : machine.gpus.pci) {
    const bool node = gpu.node >= 0 && machine.gpus.nodes[static_cast<size_t>(gpu.node)].usable;
    if (gpu.driver == "nvidia") {
      if (!machine.nvidia.kernel_driver.empty() && !machine.nvidia.nodes.empty() && vulkan.has(Serves::Nvidia))
        found.push_back(gpu.name + " (NVIDIA's driver)");
    } else if (node && gpu.driver == "amdgpu" && vulkan.has(Serves::Amd)) {
      found.push_back(gpu.name + " (amdgpu)");
    } else if (node && (gpu.driver == "i915" || gpu.driver == "xe") && vulkan.has(Serves::Intel)) {
      found.push_back(gpu.name + " (" + gpu.driver + ")");
    } else if (node && gpu.driver == "nouveau" && vulkan.has(Serves::Nouveau)) {
      found.push_back(gpu.name + " (nouveau)");
    } else if (node && gpu.driver == "virtio_gpu" && vulkan.has(Serves::Virtio)) {
      found.push_back("the host's GPU (Venus)");
    }
  }
  for (const auto& node : machine.gpus.nodes)
    if (node.pci.empty() && node.usable && node.driver != "vgem" && !node.driver.empty() && vulkan.has(Serves::Soc))
      found.push_back(node.driver + " (" + node.path + ")");
  return found;
}

void check_reach(const Machine& machine, Findings& findings) {
  const auto gpus = reached(machine);
  std::string list;
  for (const auto& gpu : gpus) list += (list.empty() ? "" : ", ") + gpu;
  if (!gpus.empty()) {
    findings.pass("reach", "GPU by Vulkan", list);
  } else if (findings.count(Status::Fail) > 0) {
    findings.warn("reach", "GPU by Vulkan", "none yet: anygpu computes on the CPU until what failed above is mended",
                  "mend the first failure, then again: anygpu doctor", "one-after-the-other");
  } else {
    findings.warn("reach", "GPU by Vulkan", "this machine shows no GPU: anygpu computes on the CPU",
                  machine.where.container.empty() ? "nothing, if it has none; else see the guide" : container_mend(machine), "no-gpu");
  }
  for (const auto& trouble : machine.sys.trouble())
    findings.warn("reach", "files", trouble,
                  "look at it: ls -l " + trouble.substr(trouble.starts_with("all from ") ? 9 : 0,
                                                        trouble.find(':') - (trouble.starts_with("all from ") ? 9 : 0)),
                  "unreadable");
}

}  // namespace anygpu::cli
