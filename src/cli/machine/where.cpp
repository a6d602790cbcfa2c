#include "cli/machine/where.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace anygpu::cli {

namespace {

/// Where sudo looks, as distributions set it up.
constexpr std::array kRootsPath{"/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"};

int find_wsl(const System& sys, const std::string& kernel) {
  const std::string version = lower(kernel + " " + sys.line("/proc/version"));
  if (version.find("microsoft") == std::string::npos) {
    // A kernel that the user built himself need not have the name; the interop handler is WSL's own, and only 2 has /dev/dxg.
    if (sys.exists("/dev/dxg")) return 2;
    return sys.exists("/run/WSL") ? 2 : 0;
  }
  if (version.find("wsl2") != std::string::npos || sys.exists("/dev/dxg")) return 2;
  // WSL 1 says "4.4.0-19041-Microsoft"; 2 has always had a real kernel, from 4.19 on.
  return kernel.starts_with("4.4.") || kernel.starts_with("3.") ? 1 : 2;
}

std::string find_container(const System& sys) {
  if (sys.exists("/var/run/secrets/kubernetes.io")) return "kubernetes";
  if (sys.exists("/run/.containerenv")) return "podman";
  if (sys.exists("/.dockerenv")) return "docker";
  std::string told = sys.line("/run/systemd/container");
  if (told.empty() && sys.live()) {
    // systemd's convention for the first process; only its own user may read it.
    if (const auto environment = sys.resolve("/proc/1/environ"); environment && sys.usable(*environment))
      for (const auto& entry : split(sys.read("/proc/1/environ").text, '\0'))
        if (entry.starts_with("container=")) told = entry.substr(10);
  }
  if (told == "wsl") told.clear();  // WSL is not a container here
  if (!told.empty()) return told == "oci" ? "container" : told;
  const std::string groups = sys.read("/proc/1/cgroup").text;
  constexpr std::array<std::pair<const char*, const char*>, 6> names{{{"kubepods", "kubernetes"},
                                                                      {"libpod", "podman"},
                                                                      {"docker", "docker"},
                                                                      {"containerd", "containerd"},
                                                                      {"/lxc", "lxc"},
                                                                      {"garden", "container"}}};
  for (const auto& [part, name] : names)
    if (groups.find(part) != std::string::npos) return name;
  // Under cgroups 2 the groups say nothing; containerd's root file system still has its name.
  for (const auto& row : split(sys.read("/proc/self/mountinfo", 1024 * 1024).text, '\n'))
    if (row.find(" / / ") != std::string::npos && row.find("containerd") != std::string::npos) return "containerd";
  return {};
}

std::string find_vm(const System& sys, int wsl) {
  if (wsl == 2) return "hyper-v";
  const std::string maker = lower(sys.line("/sys/class/dmi/id/sys_vendor") + " " + sys.line("/sys/class/dmi/id/product_name"));
  constexpr std::array<std::pair<const char*, const char*>, 9> names{{{"vmware", "vmware"},
                                                                      {"virtualbox", "virtualbox"},
                                                                      {"innotek", "virtualbox"},
                                                                      {"microsoft corporation virtual machine", "hyper-v"},
                                                                      {"kvm", "kvm"},
                                                                      {"qemu", "kvm"},
                                                                      {"amazon ec2", "kvm"},
                                                                      {"google compute engine", "kvm"},
                                                                      {"xen", "xen"}}};
  for (const auto& [part, name] : names)
    if (maker.find(part) != std::string::npos) return name;
  if (!sys.line("/sys/hypervisor/type").empty()) return sys.line("/sys/hypervisor/type");
  // The processor says that there is a hypervisor, not which.
  const std::string flags = value_of(sys.read("/proc/cpuinfo", 4 * 1024 * 1024).text, "flags", ':');
  return (" " + flags + " ").find(" hypervisor ") != std::string::npos ? "vm" : "";
}

Packages find_packages(const std::string& id, const std::string& like) {
  const std::string all = " " + id + " " + like + " ";
  const auto is = [&](const char* name) { return all.find(std::string(" ") + name + " ") != std::string::npos; };
  if (is("debian") || is("ubuntu")) return Packages::Apt;
  if (is("fedora") || is("rhel") || is("centos")) return Packages::Dnf;
  if (is("arch")) return Packages::Pacman;
  if (is("suse") || is("opensuse")) return Packages::Zypper;
  if (is("alpine")) return Packages::Apk;
  return Packages::Unknown;
}

}  // namespace

std::string Where::text() const {
  std::string place;
  if (wsl) {
    place = wsl == 1 ? "WSL 1" : "WSL 2";
  } else if (vm == "vm") {
    place = "a virtual machine";
  } else if (!vm.empty()) {
    place = "a virtual machine (" + vm + ")";
  } else {
    place = "bare metal";
  }
  if (container.empty()) return place;
  return (container == "container" ? "a container" : "a container (" + container + ")") + " on " + place;
}

Where find_where(const System& sys) {
  Where where;
  where.kernel = sys.line("/proc/sys/kernel/osrelease");
  if (where.kernel.empty()) {
    // "Linux version 6.1.0-18-amd64 (...)"
    const auto version = words(sys.line("/proc/version"));
    if (version.size() > 2) where.kernel = version[2];
  }
  Text release = sys.read("/etc/os-release");
  if (!release) release = sys.read("/usr/lib/os-release");
  where.distribution = value_of(release.text, "PRETTY_NAME");
  where.id = value_of(release.text, "ID");
  where.packages = find_packages(where.id, value_of(release.text, "ID_LIKE"));
  where.wsl = find_wsl(sys, where.kernel);
  where.container = find_container(sys);
  where.vm = find_vm(sys, where.wsl);
  if (const auto uids = words(value_of(sys.read("/proc/self/status").text, "Uid", ':')); uids.size() > 1) where.uid = uids[1];
  return where;
}

std::string generate_command(const System& sys) {
  std::error_code error;
  const std::filesystem::path self = sys.live() ? std::filesystem::read_symlink("/proc/self/exe", error) : std::filesystem::path();
  const std::string folder = self.parent_path().string();
  const bool found = self.empty() || std::find(kRootsPath.begin(), kRootsPath.end(), folder) != kRootsPath.end();
  return "sudo " + (found ? "anygpu" : self.string()) + " cdi generate";
}

std::string install_command(const Where& where, const Package& package) {
  const std::string sudo = where.uid == "0" ? "" : "sudo ";
  const auto command = [&](const char* how, const char* name) { return name && *name ? sudo + how + " " + name : std::string(); };
  switch (where.packages) {
    case Packages::Apt:
      return command("apt-get install -y", package.apt);
    case Packages::Dnf:
      return command("dnf install -y", package.dnf);
    case Packages::Pacman:
      return command("pacman -S --noconfirm", package.pacman);
    case Packages::Zypper:
      return command("zypper install -y", package.zypper);
    case Packages::Apk:
    case Packages::Unknown:
      return {};
  }
  return {};
}

Installed::Installed(const System& sys)
    : dpkg_("\n" + sys.read("/var/lib/dpkg/status", 32 * 1024 * 1024).text), pacman_(sys.list("/var/lib/pacman/local")) {}

std::string Installed::version(const std::string& name) const {
  // "Package: a\nStatus: install ok installed\n...\nVersion: 1\n\n"; a package for two architectures is there twice.
  for (size_t at = 0; (at = dpkg_.find("\nPackage: " + name + "\n", at)) != std::string::npos; ++at) {
    const std::string entry = dpkg_.substr(at + 1, std::min(dpkg_.find("\n\n", at), dpkg_.size()) - at);
    if (value_of(entry, "Status", ':').ends_with(" installed")) return value_of(entry, "Version", ':');
  }
  for (const auto& entry : pacman_) {
    // name-version-release
    const size_t release = entry.rfind('-');
    const size_t version = release == std::string::npos || release == 0 ? std::string::npos : entry.rfind('-', release - 1);
    if (version != std::string::npos && entry.substr(0, version) == name) return entry.substr(version + 1);
  }
  return {};
}

}  // namespace anygpu::cli
