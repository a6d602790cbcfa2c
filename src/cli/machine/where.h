// Where the command runs: which kernel, in what, which distribution, as whom.
#pragma once

#include "cli/machine/system.h"

namespace anygpu::cli {

enum class Packages { Apt, Dnf, Pacman, Zypper, Apk, Unknown };

struct Where {
  int wsl = 0;               ///< 0: no WSL; 1; 2
  std::string container;     ///< "", docker, podman, containerd, kubernetes, lxc, systemd-nspawn, or "container" where nothing says which
  std::string vm;            ///< "", kvm, qemu, hyper-v, vmware, virtualbox, xen, or "vm"
  std::string distribution;  ///< for people: "Ubuntu 24.04.1 LTS"
  std::string id;            ///< of os-release: ubuntu, debian, fedora, arch, alpine ...
  std::string kernel;
  std::string uid;  ///< effective, empty where /proc does not tell
  Packages packages = Packages::Unknown;

  /// "WSL 2", "docker container in WSL 2", "KVM virtual machine", "bare metal"
  std::string text() const;
};

Where find_where(const System&);

/// What installs a package here: its names for apt, dnf, pacman and zypper; an empty one where there is no such package.
/// Empty where there is none for this distribution.
struct Package {
  const char *apt, *dnf, *pacman, *zypper;
};
std::string install_command(const Where&, const Package&);

/// "sudo anygpu cdi generate", for this machine's user to type. sudo looks for programs only in the system's folders, so a command that
/// is elsewhere (in a virtual environment, say) goes by its path.
std::string generate_command(const System&);

/// Versions of installed packages, by the package managers whose records are text (dpkg, pacman).
class Installed {
 public:
  explicit Installed(const System&);
  /// Empty where it is not installed, or where nobody can tell without running a program.
  std::string version(const std::string& name) const;

 private:
  std::string dpkg_;
  std::vector<std::string> pacman_;
};

}  // namespace anygpu::cli
