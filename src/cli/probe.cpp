#include "cli/probe.h"

#include <dlfcn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <nlohmann/json.hpp>

namespace anygpu::cli {

namespace {

int answer(const nlohmann::json& json) {
  // A device's name need not be UTF-8.
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  return 0;
}

}  // namespace

int probe_cuda() {
  void* library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!library) return answer({{"error", ::dlerror()}});
  const auto init = reinterpret_cast<int (*)(unsigned)>(::dlsym(library, "cuInit"));
  const auto version = reinterpret_cast<int (*)(int*)>(::dlsym(library, "cuDriverGetVersion"));
  const auto count = reinterpret_cast<int (*)(int*)>(::dlsym(library, "cuDeviceGetCount"));
  const auto name = reinterpret_cast<int (*)(char*, int, int)>(::dlsym(library, "cuDeviceGetName"));
  if (!init || !version || !count || !name) return answer({{"error", "libcuda.so.1 lacks functions that each version has"}});
  if (const int code = init(0)) return answer({{"error", "cuInit gave error " + std::to_string(code)}});
  int v = 0, n = 0;
  version(&v);
  if (const int code = count(&n)) return answer({{"error", "cuDeviceGetCount gave error " + std::to_string(code)}});
  nlohmann::json devices = nlohmann::json::array();
  for (int i = 0; i < n; ++i) {
    char text[256] = {};
    if (name(text, sizeof text - 1, i) == 0) devices.push_back(text);
  }
  return answer({{"version", std::to_string(v / 1000) + "." + std::to_string(v % 1000 / 10)}, {"devices", devices}});
}

int probe_devices() {
  // A library of its own, so that the command starts, and can say what is wrong, where anygpu's libraries cannot be loaded.
  void* library = ::dlopen("libanygpu_command.so", RTLD_NOW | RTLD_LOCAL);
  if (!library) return answer({{"error", ::dlerror()}});
  const auto list = reinterpret_cast<const char* (*)()>(::dlsym(library, "anygpu_command_devices"));
  if (!list) return answer({{"error", "libanygpu_command.so is of another version"}});
  std::cout << list() << std::endl;
  return 0;
}

int probe(const std::string& what) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);     // a crash here is a finding, not a file
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody reads any more
  ::alarm(2 * static_cast<unsigned>(kProbeLimit.count() / 1000));
  int code = 64;
  if (what == "vulkan") code = probe_vulkan();
  if (what == "cuda") code = probe_cuda();
  if (what == "devices") code = probe_devices();
  if (what == "crash") ::raise(SIGSEGV);  // for tests of those who start this
  if (what == "hang") ::pause();
  // Not exit: the destructors of drivers are not trusted either.
  std::cout.flush();
  ::_exit(code);
}

}  // namespace anygpu::cli
