// GPUs of the PCI bus and of chips: kernel driver, render node, permission; Venus in virtual machines.
#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr const char* kKernelChain = "kernel";

std::string nvidia_driver(const Where& where) {
  if (where.id == "ubuntu") return "sudo ubuntu-drivers install, then restart";
  const std::string command = install_command(
      where, {"nvidia-driver", "akmod-nvidia xorg-x11-drv-nvidia-cuda", "nvidia nvidia-utils", "nvidia-driver-G06-kmp-default"});
  return command.empty() ? "install NVIDIA's driver as the distribution says" : command + ", then restart";
}

/// False where nothing after the driver can be right.
bool check_driver(const Machine& machine, const PciGpu& gpu, Findings& findings) {
  const Where& where = machine.where;
  const std::string link = gpu.name + " at " + gpu.address;
  if (gpu.driver == "vfio-pci") {
    findings.warn(kKernelChain, link, "bound to vfio-pci: it is lent to a virtual machine",
                  "give it back to its driver, or look for it inside that machine", "no-driver");
    return false;
  }
  if (gpu.driver == "radeon") {
    findings.fail(
        kKernelChain, link, "driven by radeon, for which there is no Vulkan",
        "add radeon.si_support=0 radeon.cik_support=0 amdgpu.si_support=1 amdgpu.cik_support=1 to the kernel's command line, and restart",
        "no-driver");
    return false;
  }
  if (gpu.driver == "nouveau") {
    findings.warn(kKernelChain, link, "driven by nouveau: no CUDA, and Vulkan only by Mesa's NVK (from Mesa 24.1 and Turing on)",
                  nvidia_driver(where), "nouveau");
    return true;
  }
  if (!gpu.driver.empty()) {
    findings.pass(kKernelChain, link, "driven by " + gpu.driver);
    return true;
  }
  std::string mend = "see the guide: the kernel has no driver for it";
  if (gpu.vendor == "1002")
    mend = "sudo modprobe amdgpu; where that says no firmware: " +
           (where.id == "ubuntu"
                ? std::string("sudo apt-get install -y linux-firmware")
                : install_command(where, {"firmware-amd-graphics", "amd-gpu-firmware", "linux-firmware", "kernel-firmware-amdgpu"}));
  if (gpu.vendor == "8086") mend = "sudo modprobe i915 || sudo modprobe xe; see what they say: sudo dmesg | grep -E 'i915|xe'";
  if (gpu.vendor == "10de") mend = nvidia_driver(where);
  if (gpu.vendor == "1af4") mend = "sudo modprobe virtio-gpu";
  findings.fail(kKernelChain, link, "no driver is bound to it", mend, "no-driver");
  return false;
}

void check_node(const Machine& machine, const RenderNode& node, Findings& findings) {
  const bool container = !machine.where.container.empty();
  if (!node.present) {
    findings.fail(
        kKernelChain, node.path, container ? "the kernel has it, but the container was not given it" : "the kernel has it, but it is not in /dev",
        container ? container_mend(machine) : "sudo udevadm trigger --subsystem-match=drm", container ? "container" : "no-render-node");
  } else if (!node.usable) {
    const std::string owner = node.group.empty() ? "group " + std::to_string(node.gid) : "group " + node.group;
    const std::string groups = node.group.empty() ? std::to_string(node.gid) : node.group;
    findings.fail(
        kKernelChain, node.path, "this user may not read and write it: it is for " + owner,
        container ? "start the container with --group-add " + std::to_string(node.gid) + " (podman without root: --group-add keep-groups)"
                  : "sudo usermod -aG " + groups + " $USER, then log out and in again",
        "permissions");
  } else {
    findings.pass(kKernelChain, node.path, "there, and this user may use it");
  }
}

void check_venus(const Machine& machine, const PciGpu& gpu, Findings& findings) {
  int major = 0, minor = 0;
  if (std::sscanf(machine.where.kernel.c_str(), "%d.%d", &major, &minor) == 2 && major * 1000 + minor < 5016)
    findings.fail("Venus", "kernel", machine.where.kernel + ": Venus needs 5.16 or newer", "update the guest's kernel", "venus");
  if (!machine.vulkan.has(Serves::Virtio))
    findings.fail("Venus", "Vulkan driver", "Mesa's virtio driver is not installed", install_driver(machine.where, Serves::Virtio),
                  "venus");
  else
    findings.pass("Venus", "Vulkan driver", machine.vulkan.first(Serves::Virtio)->library);
  if (gpu.node < 0)
    findings.fail("Venus", "render node", "the virtual GPU has none: the host gives no 3D",
                  "on the host, for QEMU: -device virtio-gpu-gl,hostmem=4G,blob=true,venus=true", "venus");
}

}  // namespace

std::string install_driver(const Where& where, Serves serves) {
  const char* mesa = "mesa-vulkan-drivers";
  Package package{mesa, mesa, "mesa", "Mesa-vulkan-device-select"};
  if (serves == Serves::Amd) package.pacman = "vulkan-radeon", package.zypper = "libvulkan_radeon";
  if (serves == Serves::Intel) package.pacman = "vulkan-intel", package.zypper = "libvulkan_intel";
  if (serves == Serves::Virtio) package.pacman = "vulkan-virtio";
  if (serves == Serves::Nouveau) package.pacman = "vulkan-nouveau";
  if (serves == Serves::Soc) package.pacman = "vulkan-freedreno", package.zypper = "libvulkan_freedreno";
  if (serves == Serves::Software) package.pacman = "vulkan-swrast", package.zypper = "libvulkan_lvp";
  const std::string command = install_command(where, package);
  if (!command.empty()) return command;
  return where.packages == Packages::Apk ? (where.uid == "0" ? "" : "sudo ") + std::string("apk add mesa-vulkan-ati mesa-vulkan-intel")
                                         : "install Mesa's Vulkan drivers as the distribution says";
}

void check_kernel(const Machine& machine, Findings& findings) {
  if (machine.where.wsl) return;
  for (const auto& gpu : machine.gpus.displays) findings.info(kKernelChain, gpu.name + " at " + gpu.address, "a display without a GPU");
  for (const auto& gpu : machine.gpus.pci) {
    if (!check_driver(machine, gpu, findings)) continue;
    const bool virtio = gpu.driver == "virtio_gpu";
    if (gpu.node >= 0) {
      check_node(machine, machine.gpus.nodes[static_cast<size_t>(gpu.node)], findings);
    } else if (gpu.driver != "nvidia" && !virtio) {  // NVIDIA's driver has nodes of its own
      const bool container = !machine.where.container.empty();
      findings.fail(
          kKernelChain, "/dev/dri",
          container ? "the container was not given a render node of " + gpu.name : gpu.driver + " made no render node for " + gpu.name,
          container ? container_mend(machine) : "see why: sudo dmesg | grep -i " + gpu.driver, container ? "container" : "no-render-node");
    }
    if (virtio) check_venus(machine, gpu, findings);
  }
  for (const auto& node : machine.gpus.nodes)
    if (node.pci.empty() && node.driver != "vgem") check_node(machine, node, findings);
}

}  // namespace anygpu::cli
