// GPUs as Linux sees them: on the PCI bus, and as render nodes of DRM drivers.
#pragma once

#include "cli/machine/system.h"

namespace anygpu::cli {

struct RenderNode {
  std::string path;           ///< /dev/dri/renderD128
  std::string card;           ///< /dev/dri/card0 of the same device, empty where there is none
  std::string driver;         ///< kernel driver by sysfs: amdgpu, i915, xe, nouveau, virtio_gpu, vgem ...; empty where sysfs does not tell
  std::string pci;            ///< 0000:03:00.0; empty for one that is not on PCI
  std::string vendor, model;  ///< four hexadecimal digits, empty without PCI
  bool present = false;       ///< the node is in /dev/dri; else sysfs alone knows it (a container that was not given it)
  bool usable = false;        ///< this user may read and write it
  unsigned mode = 0, gid = 0;
  std::string group;  ///< name of gid, empty where /etc/group has none
};

struct PciGpu {
  std::string address;        ///< 0000:03:00.0
  std::string vendor, model;  ///< four hexadecimal digits, lower case
  std::string driver;         ///< bound kernel driver, empty for none
  std::string name;           ///< for people: by pci.ids where it is installed, else "AMD GPU 1002:744c"
  int node = -1;              ///< index into Gpus::nodes
};

struct Gpus {
  std::vector<PciGpu> pci;        ///< by address; displays without a GPU (VGA of a server's board, of a VM) are not among them
  std::vector<PciGpu> displays;   ///< those
  std::vector<RenderNode> nodes;  ///< by number
};

Gpus find_gpus(const System&);

/// "AMD", "Intel", "NVIDIA", "Virtio" ..., or "vendor 1234".
std::string vendor_name(const std::string& vendor);

}  // namespace anygpu::cli
