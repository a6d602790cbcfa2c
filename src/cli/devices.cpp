// anygpu devices
#include <iostream>
#include <memory>

#include "cli/doctor/doctor.h"
#include "cli/doctor/live.h"
#include "cli/verbs.h"

namespace anygpu::cli {

namespace {

using nlohmann::ordered_json;

/// There is no TensorFlow frontend in this build, so no device has a name there.
constexpr const char* kTensorFlow = "no name: its frontend is not built";

ordered_json collect(const Machine& machine) {
  ordered_json out{{"anygpu", ordered_json::array()},
                   {"vulkan", ordered_json::array()},
                   {"cuda", ordered_json::array()},
                   {"not_reached", ordered_json::array()}};
  for (const auto& asked : ask_drivers(machine)) {
    if (asked.what == "anygpu") {
      if (!asked.failure.empty()) out["error"] = asked.failure;
      for (const auto& device : asked.failure.empty() ? asked.answer["devices"] : nlohmann::json::array()) {
        ordered_json entry = device;
        if (!device.contains("error")) entry.update(ordered_json{{"pytorch", device["device"]}, {"tensorflow", nullptr}});
        out["anygpu"].push_back(std::move(entry));
      }
    } else if (asked.failure.empty()) {
      for (const auto& device : asked.answer["devices"]) {
        ordered_json entry =
            asked.what == "libcuda" ? ordered_json{{"name", device}, {"version", asked.answer.value("version", "")}} : ordered_json(device);
        if (asked.what == "libcuda")
          entry["pytorch"] = "cuda:" + std::to_string(out["cuda"].size());
        else
          entry["icd"] = asked.what;
        out[asked.what == "libcuda" ? "cuda" : "vulkan"].push_back(std::move(entry));
      }
    }
  }
  const auto vulkan_has = [&](const std::string& vendor) {
    for (const auto& device : out["vulkan"])
      if (device.contains("vendor") && vendor == [](unsigned id) {
            char text[16];
            std::snprintf(text, sizeof text, "%04x", id);
            return std::string(text);
          }(device["vendor"].get<unsigned>()))
        return true;
    return false;
  };
  for (const auto& gpu : machine.gpus.pci)
    if (!vulkan_has(gpu.vendor)) out["not_reached"].push_back({{"name", gpu.name}, {"address", gpu.address}, {"driver", gpu.driver}});
  return out;
}

std::string text_at(const ordered_json& object, const char* key) {
  return object.contains(key) && object[key].is_string() ? object[key].get<std::string>() : "";
}

void print(const ordered_json& all) {
  std::cout << "anygpu computes on\n";
  for (const auto& device : all["anygpu"]) {
    std::cout << "  " << text_at(device, "device") << "  ";
    if (device.contains("error"))
      std::cout << text_at(device, "error") << "\n";
    else
      std::cout << text_at(device, "name") << "\n            backend " << text_at(device, "backend") << ", "
                << bytes_text(device["memory_bytes"]) << ", " << text_at(device, "driver") << "\n            in PyTorch: torch.device(\""
                << text_at(device, "pytorch") << "\")\n            in TensorFlow: " << kTensorFlow << "\n";
  }
  if (all.contains("error")) std::cout << "  nothing: " << text_at(all, "error") << "\n  see what mends it: anygpu doctor\n";
  if (!all["vulkan"].empty()) std::cout << "Vulkan reaches\n";
  for (const auto& device : all["vulkan"]) {
    std::cout << "  " << text_at(device, "name") << "\n            " << text_at(device, "type") << ", Vulkan " << text_at(device, "api")
              << ", " << bytes_text(device["memory_bytes"]) << ", " << text_at(device, "driver") << "\n";
    if (!device.contains("features")) continue;
    std::cout << "            has";
    for (const auto& feature : device["features"]) std::cout << " " << feature.get<std::string>();
    std::cout << "\n";
  }
  if (!all["cuda"].empty()) std::cout << "CUDA reaches\n";
  for (const auto& device : all["cuda"])
    std::cout << "  " << text_at(device, "name") << ", CUDA " << text_at(device, "version")
              << "\n            in a CUDA build of PyTorch: torch.device(\"" << text_at(device, "pytorch") << "\")\n";
  if (all["not_reached"].empty()) return;
  std::cout << "Not reached by Vulkan; see why: anygpu doctor\n";
  for (const auto& gpu : all["not_reached"]) std::cout << "  " << text_at(gpu, "name") << " at " << text_at(gpu, "address") << "\n";
}

int devices(bool json) {
  const System sys("/");
  const Machine machine(sys);
  const ordered_json all = collect(machine);
  if (json)
    std::cout << all.dump(2, ' ', false, ordered_json::error_handler_t::replace) << "\n";
  else
    print(all);
  for (const auto& device : all["anygpu"])
    if (!device.contains("error")) return kGood;
  return kUnavailable;
}

}  // namespace

void add_devices(CLI::App& app, Run& run) {
  const auto json = std::make_shared<bool>(false);
  auto* verb = app.add_subcommand("devices", "What this machine can compute on, and by what: anygpu's devices, Vulkan, CUDA");
  verb->add_flag("--json", *json, "For programs: the devices as JSON");
  verb->footer("ANYGPU_DEVICES says which devices anygpu opens. Exit status: 0 there is one, 64 wrong usage, 69 none can be opened.");
  verb->callback([json, &run] { run = [json] { return devices(*json); }; });
}

}  // namespace anygpu::cli
