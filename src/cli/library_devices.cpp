// libanygpu_command.so: the devices that anygpu opens, asked of the library in a child of the command.
#include <nlohmann/json.hpp>

#include "anygpu/device.h"

extern "C" __attribute__((visibility("default"))) const char* anygpu_command_devices() {
  static std::string text;
  nlohmann::json list = nlohmann::json::array();
  for (int i = 0; i < anygpu::Device::count(); ++i) {
    nlohmann::json entry{{"device", "anygpu:" + std::to_string(i)}};
    try {
      const auto& info = anygpu::Device::get(i).info();
      entry.update({{"name", info.name}, {"backend", info.backend}, {"driver", info.driver}, {"memory_bytes", info.memory_bytes}});
    } catch (const std::exception& error) {
      entry["error"] = error.what();
    }
    list.push_back(std::move(entry));
  }
  text = nlohmann::json{{"devices", list}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  return text.c_str();
}
