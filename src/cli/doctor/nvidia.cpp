// NVIDIA's driver and libcuda, on a machine and in WSL 2.
#include <algorithm>

#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr const char* kNvidiaChain = "NVIDIA";

void check_in_wsl(const Machine& machine, Findings& findings) {
  const Wsl& wsl = machine.wsl;
  const bool driver = std::any_of(wsl.drivers.begin(), wsl.drivers.end(), [](const auto& d) { return d.vendor == "NVIDIA"; });
  if (!driver && !wsl.libcuda) return;
  if (!wsl.hiding_libcuda.empty())
    findings.fail(kNvidiaChain, "libcuda", wsl.hiding_libcuda + " is that of a Linux driver: it hides Windows' own in " + std::string(kWslFolder),
                  "sudo apt-get purge 'libcuda1' 'libnvidia-*' 'nvidia-driver-*' && sudo ldconfig", "nvidia-in-wsl");
  else if (!wsl.libcuda)
    findings.fail(kNvidiaChain, "libcuda", "no libcuda.so.1 in " + std::string(kWslFolder) + ", though Windows has NVIDIA's driver",
                  machine.where.container.empty() ? "install NVIDIA's newest driver in Windows, then in PowerShell: wsl --shutdown"
                                                  : container_mend(machine),
                  "nvidia-in-wsl");
  else
    findings.pass(kNvidiaChain, "libcuda", std::string(kWslFolder) + "/libcuda.so.1");
}

std::string install_libcuda(const Machine& machine) {
  const std::string major = machine.nvidia.kernel_driver.substr(0, machine.nvidia.kernel_driver.find('.'));
  const std::string ubuntu = "libnvidia-compute-" + major;
  const std::string command = install_command(machine.where, {machine.where.id == "ubuntu" ? ubuntu.c_str() : "libcuda1",
                                                              "xorg-x11-drv-nvidia-cuda-libs", "nvidia-utils", "nvidia-compute-G06"});
  return command.empty() ? "install the libraries of NVIDIA's driver " + machine.nvidia.kernel_driver : command;
}

}  // namespace

void check_nvidia(const Machine& machine, Findings& findings) {
  if (machine.where.wsl == 2) return check_in_wsl(machine, findings);
  const Nvidia& nvidia = machine.nvidia;
  const bool bound = std::any_of(machine.gpus.pci.begin(), machine.gpus.pci.end(), [](const auto& gpu) { return gpu.driver == "nvidia"; });
  if (!bound && nvidia.kernel_driver.empty()) return;
  const bool container = !machine.where.container.empty();
  if (nvidia.kernel_driver.empty())
    findings.fail(kNvidiaChain, "kernel driver", "a GPU is bound to nvidia, but /proc/driver/nvidia/version does not tell its version",
                  "sudo modprobe nvidia; see sudo dmesg | grep -i nvrm", "nvidia-driver");
  else
    findings.pass(kNvidiaChain, "kernel driver", nvidia.kernel_driver);
  if (nvidia.nodes.empty() || !nvidia.ctl)
    findings.fail(kNvidiaChain, "/dev/nvidia0", container ? "the container was not given the devices" : "the devices are not in /dev",
                  container
                      ? "on the host: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, then run with --device nvidia.com/gpu=all"
                      : "sudo nvidia-modprobe -c 0 -u",
                  container ? "container" : "nvidia-driver");
  else if (!nvidia.uvm)
    findings.warn(kNvidiaChain, "/dev/nvidia-uvm", "absent: CUDA cannot start without it",
                  container ? "run with --device nvidia.com/gpu=all" : "sudo nvidia-modprobe -c 0 -u", "nvidia-driver");
  else
    findings.pass(kNvidiaChain, "/dev/nvidia*", std::to_string(nvidia.nodes.size()) + " GPUs, control and memory devices");
  if (nvidia.libcuda.empty())
    findings.fail(kNvidiaChain, "libcuda", "the kernel has NVIDIA's driver, but there is no libcuda.so.1",
                  container
                      ? "on the host: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml, then run with --device nvidia.com/gpu=all"
                      : install_libcuda(machine),
                  "libcuda");
  else if (!nvidia.library.empty() && !nvidia.kernel_driver.empty() && nvidia.library != nvidia.kernel_driver)
    findings.fail(kNvidiaChain, "libcuda", "version " + nvidia.library + ", but the kernel runs driver " + nvidia.kernel_driver,
                  container ? "on the host, after each update of the driver: sudo nvidia-ctk cdi generate --output=/etc/cdi/nvidia.yaml"
                            : "restart: the driver was updated under the running kernel",
                  "libcuda");
  else
    findings.pass(kNvidiaChain, "libcuda", nvidia.libcuda);
}

}  // namespace anygpu::cli
