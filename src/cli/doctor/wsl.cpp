// Windows' GPU in WSL 2: kernel device, libraries, their linker path, Windows' driver, dzn.
#include "cli/doctor/doctor.h"

namespace anygpu::cli {

namespace {

constexpr const char* kWslChain = "WSL";
constexpr const char* kUpdate = "in PowerShell: wsl --update, then wsl --shutdown, and open the distribution again";

void check_device(const Machine& machine, Findings& findings) {
  const Wsl& wsl = machine.wsl;
  if (!wsl.dxg) {
    if (!machine.where.container.empty()) {
      findings.fail(kWslChain, "/dev/dxg", "the container was not given the device", container_mend(machine), "container");
    } else if (wsl.turned_off) {
      findings.fail(kWslChain, "/dev/dxg", "absent: /etc/wsl.conf has enabled=false under [gpu]",
                    "sudo sed -i 's/^enabled *= *false/enabled=true/' /etc/wsl.conf, and in PowerShell: wsl --shutdown", "no-dxg");
    } else {
      findings.fail(kWslChain, "/dev/dxg", "absent: the kernel was lent no GPU", kUpdate, "no-dxg");
    }
  } else if (!wsl.dxg_usable) {
    findings.fail(kWslChain, "/dev/dxg", "this user may not read and write it", "sudo chmod a+rw /dev/dxg", "no-dxg");
  } else {
    findings.pass(kWslChain, "/dev/dxg", "there, and this user may use it");
  }
}

void check_libraries(const Machine& machine, Findings& findings) {
  const Wsl& wsl = machine.wsl;
  const bool container = !machine.where.container.empty();
  if (!wsl.missing.empty()) {
    std::string names;
    for (const auto& name : wsl.missing) names += (names.empty() ? "" : ", ") + name;
    findings.fail(kWslChain, "libraries",
                  (wsl.folder ? "missing in " : "there is no folder ") + std::string(kWslFolder) + (wsl.folder ? ": " + names : ""),
                  container ? container_mend(machine) : kUpdate, container ? "container" : "wsl-libraries");
    return;
  }
  findings.pass(kWslChain, "libraries", "libdxcore.so, libd3d12.so, libd3d12core.so in " + std::string(kWslFolder));
  if (!wsl.configured) {
    findings.fail(kWslChain, "linker path", "the linker does not look in " + std::string(kWslFolder),
                  "echo " + std::string(kWslFolder) + " | sudo tee /etc/ld.so.conf.d/ld.wsl.conf && sudo ldconfig", "linker-path");
  } else if (!wsl.cached) {
    findings.fail(kWslChain, "linker path", "/etc/ld.so.conf.d names " + std::string(kWslFolder) + ", but the linker's cache is older",
                  "sudo ldconfig", "linker-path");
  } else {
    findings.pass(kWslChain, "linker path", kWslFolder);
  }
}

void check_windows_driver(const Machine& machine, Findings& findings) {
  std::string vendors;
  bool for_linux = machine.wsl.libcuda;
  for (const auto& driver : machine.wsl.drivers) {
    if (vendors.find(driver.vendor) == std::string::npos) vendors += (vendors.empty() ? "" : ", ") + driver.vendor;
    for_linux |= driver.for_linux;
  }
  if (vendors.empty()) {
    if (!machine.where.container.empty() && !machine.sys.exists("/usr/lib/wsl/drivers")) return;  // said already
    findings.fail(kWslChain, "Windows' driver", "none of AMD's, Intel's, NVIDIA's or Qualcomm's under /usr/lib/wsl/drivers",
                  "install the newest driver of the GPU's maker in Windows, then in PowerShell: wsl --shutdown", "windows-driver");
  } else if (!for_linux) {
    findings.warn(kWslChain, "Windows' driver", vendors + ": without any library for Linux, as old drivers are",
                  "install the newest driver of the GPU's maker in Windows, then in PowerShell: wsl --shutdown", "windows-driver");
  } else {
    findings.pass(kWslChain, "Windows' driver", vendors);
  }
}

void check_dzn(const Machine& machine, Findings& findings) {
  const Where& where = machine.where;
  const bool container = !where.container.empty();
  if (container && !machine.wsl.dxg && !machine.vulkan.first(Serves::Dxg)) return;  // comes with the device
  std::string mesa;
  for (const char* name : {"vulkan-dzn", "mesa-vulkan-drivers", "mesa"})
    if (mesa.empty()) mesa = machine.installed.version(name);
  const std::string version = mesa.empty() ? "" : " (Mesa " + mesa + ")";
  std::string mend = "see the guide: this distribution's Mesa is built without dzn";
  if (where.packages == Packages::Pacman) mend = install_command(where, {nullptr, nullptr, "vulkan-dzn", nullptr});
  if (where.id == "ubuntu")
    mend = "sudo add-apt-repository -y ppa:kisak/kisak-mesa && sudo apt-get update && sudo apt-get install -y mesa-vulkan-drivers";
  if (container) mend = "on the host, where dzn is installed: sudo anygpu cdi generate";
  const Icd* icd = machine.vulkan.first(Serves::Dxg);
  if (!icd) {
    findings.fail(kWslChain, "dzn", "Mesa's Vulkan driver for Direct3D 12 is not installed" + version, mend, "dzn");
  } else if (!icd->error.empty() || icd->library.empty()) {
    findings.fail(kWslChain, "dzn", icd->file + (icd->error.empty() ? " names " + icd->written + ", which is not there" : ": " + icd->error),
                  mend, "dzn");
  } else {
    findings.pass(kWslChain, "dzn", icd->library + version);
  }
}

}  // namespace

void check_wsl(const Machine& machine, Findings& findings) {
  if (machine.where.wsl != 2) return;
  check_device(machine, findings);
  check_libraries(machine, findings);
  check_windows_driver(machine, findings);
  check_dzn(machine, findings);
  // vgem makes /dev/dri appear here, and people take it for the GPU.
  for (const auto& node : machine.gpus.nodes)
    if (node.present) findings.info(kWslChain, node.path, "a node for exchanging buffers, not the GPU: that is /dev/dxg");
}

}  // namespace anygpu::cli
