#include "cli/machine/gpus.h"

#include <algorithm>
#include <array>
#include <set>

namespace anygpu::cli {

namespace {

std::string hex4(std::string text) {
  text = lower(trim(text));
  return text.starts_with("0x") ? text.substr(2) : text;
}

/// uevent: "DRIVER=amdgpu\nPCI_CLASS=30000\nPCI_ID=1002:744C\nPCI_SLOT_NAME=0000:03:00.0"
struct Event {
  std::string driver, slot, vendor, model;
};

Event read_event(const System& sys, const std::string& folder) {
  const std::string text = sys.read(folder + "/uevent").text;
  Event event{value_of(text, "DRIVER"), lower(value_of(text, "PCI_SLOT_NAME")), {}, {}};
  if (const auto id = split(lower(value_of(text, "PCI_ID")), ':'); id.size() == 2) event.vendor = id[0], event.model = id[1];
  if (event.driver.empty()) event.driver = sys.link_name(folder + "/driver");
  return event;
}

/// A card with a frame buffer and nothing that computes.
bool only_display(const std::string& vendor, const std::string& model) {
  constexpr std::array vendors{"1234", "1b36", "1013", "102b", "1a03", "80ee", "15ad", "5333", "1414", "1d0f"};
  if (std::find(vendors.begin(), vendors.end(), vendor) != vendors.end()) return true;
  return vendor == "1002" && (model == "515e" || model == "4752");  // ES1000 and Rage XL of servers' boards
}

/// The line of pci.ids: "1002  Advanced ...\n\t744c  Navi 31 [Radeon RX 7900 XT]\n"
std::string name_in(const std::string& ids, const std::string& vendor, const std::string& model) {
  size_t at = ids.find("\n" + vendor + "  ");
  if (at == std::string::npos) return {};
  for (++at; (at = ids.find('\n', at)) != std::string::npos;) {
    ++at;
    if (at >= ids.size() || (ids[at] != '\t' && ids[at] != '#')) break;
    if (ids.compare(at, 7, "\t" + model + "  ") == 0) return ids.substr(at + 7, ids.find('\n', at) - at - 7);
  }
  return {};
}

std::string people_name(const std::string& ids, const std::string& vendor, const std::string& model) {
  const std::string known = name_in(ids, vendor, model);
  const size_t open = known.find('[');
  const size_t close = known.rfind(']');
  const std::string inner =
      open != std::string::npos && close != std::string::npos && close > open ? known.substr(open + 1, close - open - 1) : known;
  if (inner.empty()) return vendor_name(vendor) + " GPU " + vendor + ":" + model;
  return vendor_name(vendor) + " " + inner;
}

std::string group_name(const System& sys, unsigned gid) {
  for (const auto& row : split(sys.read("/etc/group").text, '\n')) {
    const auto fields = split(row, ':');
    if (fields.size() > 2 && fields[2] == std::to_string(gid)) return fields[0];
  }
  return {};
}

std::vector<RenderNode> find_nodes(const System& sys) {
  std::set<std::string> names;
  for (const char* folder : {"/dev/dri", "/sys/class/drm"})
    for (const auto& name : sys.list(folder))
      if (name.starts_with("renderD")) names.insert(name);
  std::vector<RenderNode> nodes;
  for (const auto& name : names) {
    RenderNode node;
    node.path = "/dev/dri/" + name;
    const std::string device = "/sys/class/drm/" + name + "/device";
    const Event event = read_event(sys, device);
    node.driver = event.driver, node.pci = event.slot, node.vendor = event.vendor, node.model = event.model;
    // A virtio GPU is a device on virtio's bus, whose parent is on PCI.
    if (node.driver.empty() && sys.exists("/sys/class/drm/" + name) && !sys.exists(device)) node.driver = "vgem";
    if (node.driver == "virtio_gpu" && node.pci.empty())
      if (const auto real = sys.resolve(device))
        if (const Event parent = read_event(sys, real->substr(0, real->rfind('/'))); !parent.slot.empty())
          node.pci = parent.slot, node.vendor = parent.vendor, node.model = parent.model;
    for (const auto& card : sys.list(device + "/drm"))
      if (card.starts_with("card") && sys.exists("/dev/dri/" + card)) node.card = "/dev/dri/" + card;
    if (const auto found = sys.node(node.path)) {
      node.present = true;
      node.usable = sys.usable(node.path);
      node.mode = found->mode & 0777u, node.gid = found->gid;
      node.group = group_name(sys, found->gid);
    }
    nodes.push_back(std::move(node));
  }
  // renderD128 before renderD1000.
  std::stable_sort(nodes.begin(), nodes.end(), [](const auto& a, const auto& b) { return a.path.size() < b.path.size(); });
  return nodes;
}

}  // namespace

std::string vendor_name(const std::string& vendor) {
  constexpr std::array<std::pair<const char*, const char*>, 14> names{{{"1002", "AMD"},
                                                                       {"8086", "Intel"},
                                                                       {"10de", "NVIDIA"},
                                                                       {"1af4", "Virtio"},
                                                                       {"17cb", "Qualcomm"},
                                                                       {"1414", "Microsoft"},
                                                                       {"1010", "Imagination"},
                                                                       {"13b5", "Arm"},
                                                                       {"14e4", "Broadcom"},
                                                                       {"15ad", "VMware"},
                                                                       {"1234", "QEMU"},
                                                                       {"1b36", "Red Hat"},
                                                                       {"1a03", "ASPEED"},
                                                                       {"1ed5", "Moore Threads"}}};
  for (const auto& [id, name] : names)
    if (vendor == id) return name;
  return "vendor " + vendor;
}

Gpus find_gpus(const System& sys) {
  Gpus gpus;
  gpus.nodes = find_nodes(sys);
  std::string ids;
  for (const auto& address : sys.list("/sys/bus/pci/devices")) {
    const std::string folder = "/sys/bus/pci/devices/" + address;
    const std::string kind = hex4(sys.line(folder + "/class"));
    PciGpu gpu;
    gpu.vendor = hex4(sys.line(folder + "/vendor"));
    const bool display = kind.starts_with("03");
    // AMD's Instinct, Intel's Data Center GPUs and the like are "processing accelerators".
    const bool accelerator = kind.starts_with("12") && (gpu.vendor == "1002" || gpu.vendor == "8086" || gpu.vendor == "10de");
    if (!display && !accelerator) continue;
    gpu.address = lower(address);
    gpu.model = hex4(sys.line(folder + "/device"));
    gpu.driver = read_event(sys, folder).driver;
    if (gpu.driver == "virtio-pci") gpu.driver = "virtio_gpu";
    if (ids.empty())
      for (const char* file : {"/usr/share/misc/pci.ids", "/usr/share/hwdata/pci.ids"})
        if (ids.empty() && sys.exists(file)) ids = sys.read(file, 8 * 1024 * 1024).text;
    gpu.name = people_name(ids, gpu.vendor, gpu.model);
    for (size_t i = 0; i < gpus.nodes.size(); ++i)
      if (gpus.nodes[i].pci == gpu.address) gpu.node = static_cast<int>(i);
    (only_display(gpu.vendor, gpu.model) ? gpus.displays : gpus.pci).push_back(std::move(gpu));
  }
  return gpus;
}

}  // namespace anygpu::cli
