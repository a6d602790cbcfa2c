#include "cli/machine/wsl.h"

#include <algorithm>

namespace anygpu::cli {

namespace {

/// By the name of the driver's package. The folder holds all of Windows' packages, modems included: hundreds.
std::string vendor_of(const std::string& name) {
  const std::string n = lower(name);
  if (n.starts_with("nv") && n.find(".inf_") != std::string::npos) return "NVIDIA";
  if (n.starts_with("iigd_") || n.starts_with("igdlh")) return "Intel";
  if (n.starts_with("qcdx")) return "Qualcomm";
  // u0403232.inf_amd64_..., c0371105.inf_amd64_...
  if (n.size() > 12 && (n[0] == 'u' || n[0] == 'c') && n.compare(8, 5, ".inf_") == 0 &&
      std::all_of(n.begin() + 1, n.begin() + 8, [](char c) { return c >= '0' && c <= '9'; }))
    return "AMD";
  return {};
}

bool gpu_disabled(const std::string& conf) {
  std::string section;
  for (const auto& raw : split(conf, '\n')) {
    const std::string row = lower(trim(raw));
    if (row.starts_with('[')) section = row;
    if (section == "[gpu]" && value_of(row, "enabled") == "false") return true;
  }
  return false;
}

}  // namespace

Wsl find_wsl_gpu(const System& sys, const Libraries& libraries) {
  Wsl wsl;
  const std::string folder = kWslFolder;
  wsl.dxg = sys.exists("/dev/dxg");
  wsl.dxg_usable = wsl.dxg && sys.usable("/dev/dxg");
  wsl.folder = sys.exists(folder);
  for (const char* name : {"libdxcore.so", "libd3d12.so", "libd3d12core.so"})
    if (!sys.exists(folder + "/" + name)) wsl.missing.emplace_back(name);
  // Some distributions have the folder in the environment instead.
  const auto found = libraries.place("libdxcore.so");
  wsl.configured = libraries.configured(folder) || (found && found->starts_with(folder));
  wsl.cached = libraries.cached(folder);
  wsl.turned_off = gpu_disabled(sys.read("/etc/wsl.conf").text);
  wsl.libcuda = sys.exists(folder + "/libcuda.so.1");
  for (const char* other : {"/usr/lib/x86_64-linux-gnu/libcuda.so.1", "/usr/lib64/libcuda.so.1", "/usr/lib/libcuda.so.1",
                            "/usr/lib/aarch64-linux-gnu/libcuda.so.1"})
    if (const auto real = sys.resolve(other); real && !real->starts_with("/usr/lib/wsl/") && !real->starts_with("/mnt/"))
      wsl.hiding_libcuda = other;
  for (const auto& name : sys.list("/usr/lib/wsl/drivers")) {
    const std::string vendor = vendor_of(name);
    if (vendor.empty()) continue;
    WindowsDriver driver{name, vendor, false};
    for (const auto& file : sys.list("/usr/lib/wsl/drivers/" + name))
      if (file.ends_with(".so") || file.find(".so.") != std::string::npos) driver.for_linux = true;
    wsl.drivers.push_back(std::move(driver));
  }
  return wsl;
}

}  // namespace anygpu::cli
