// The Vulkan loader and the driver files.
#include <set>

#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr const char* kVulkanChain = "Vulkan";

/// The kinds of driver that this machine's GPUs need; dzn and Venus are judged in chains of their own.
std::set<Serves> needed(const Machine& machine) {
  std::set<Serves> kinds;
  if (machine.where.wsl) return kinds;
  for (const auto& gpu : machine.gpus.pci) {
    if (gpu.driver == "amdgpu") kinds.insert(Serves::Amd);
    if (gpu.driver == "i915" || gpu.driver == "xe") kinds.insert(Serves::Intel);
    if (gpu.driver == "nvidia") kinds.insert(Serves::Nvidia);
    if (gpu.driver == "nouveau") kinds.insert(Serves::Nouveau);
  }
  return kinds;
}

}  // namespace

void check_vulkan(const Machine& machine, Findings& findings) {
  const Vulkan& vulkan = machine.vulkan;
  const auto kinds = needed(machine);
  const bool gpu = !kinds.empty() || machine.where.wsl == 2 || !machine.gpus.pci.empty();
  if (vulkan.loader.empty()) {
    std::string mend = install_command(machine.where, {"libvulkan1", "vulkan-loader", "vulkan-icd-loader", "libvulkan1"});
    if (machine.where.packages == Packages::Apk) mend = "apk add vulkan-loader";
    if (mend.empty()) mend = "install the Vulkan loader as the distribution says";
    if (gpu)
      findings.fail(kVulkanChain, "loader", "there is no libvulkan.so.1", mend, "vulkan-loader");
    else
      findings.warn(kVulkanChain, "loader", "there is no libvulkan.so.1 (and no GPU seen that would need it)", mend, "vulkan-loader");
  } else {
    findings.pass(kVulkanChain, "loader", vulkan.loader);
  }
  if (!vulkan.forced.empty())
    findings.warn(kVulkanChain, "environment", vulkan.forced + " hides every other driver",
                  "unset " + vulkan.forced.substr(0, vulkan.forced.find('=')), "vulkan-drivers");
  int whole = 0;
  for (const auto& icd : vulkan.icds) {
    if (icd.serves == Serves::Dxg && machine.where.wsl == 2) {
      ++whole;
      continue;  // judged as a link of WSL's chain
    }
    // One that no GPU here needs may be broken without harm.
    const bool harmless = !kinds.contains(icd.serves) && icd.serves != Serves::Unknown;
    const std::string mend = icd.serves == Serves::Nvidia
                                 ? "install the driver's libraries again, in the kernel driver's version"
                                 : install_driver(machine.where, icd.serves) + ", or remove the file if nothing owns it";
    std::string wrong;
    if (!icd.error.empty()) wrong = icd.error;
    if (wrong.empty() && icd.library.empty()) wrong = "it names " + icd.written + ", which the linker does not find";
    if (wrong.empty())
      findings.pass(kVulkanChain, icd.file, icd.library + ", for " + serves_name(icd.serves)), ++whole;
    else if (harmless)
      findings.warn(kVulkanChain, icd.file, wrong, mend, "vulkan-drivers");
    else
      findings.fail(kVulkanChain, icd.file, wrong, mend, "vulkan-drivers");
  }
  for (const Serves kind : kinds) {
    if (vulkan.has(kind) || vulkan.first(kind)) continue;  // there, or already judged broken
    std::string mend = kind == Serves::Nvidia ? "install the graphics libraries of NVIDIA's driver " + machine.nvidia.kernel_driver
                                              : install_driver(machine.where, kind);
    if (kind == Serves::Nvidia && !machine.where.container.empty())
      mend = "run with -e NVIDIA_DRIVER_CAPABILITIES=all, or --device nvidia.com/gpu=all";
    findings.fail(kVulkanChain, "driver", std::string("no Vulkan driver for ") + serves_name(kind) + " is installed", mend, "vulkan-drivers");
  }
  if (vulkan.icds.empty() && kinds.empty() && !vulkan.loader.empty()) findings.info(kVulkanChain, "driver", "no driver is installed");
}

}  // namespace anygpu::cli
