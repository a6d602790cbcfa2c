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

/// A function of libanygpu_command.so: a library of its own, so that the command starts, and can say what is wrong, where anygpu's
/// libraries cannot be loaded.
template <class F>
F* from_library(const char* name, std::string& error) {
  void* library = ::dlopen("libanygpu_command.so", RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    error = ::dlerror();
    return nullptr;
  }
  void* function = ::dlsym(library, name);
  if (!function) error = "libanygpu_command.so is of another version";
  return reinterpret_cast<F*>(function);
}

}  // namespace

int answer(const nlohmann::json& json) {
  // A device's name need not be UTF-8.
  std::cout << json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << std::endl;
  return 0;
}

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
  std::string error;
  const auto list = from_library<const char*()>("anygpu_command_devices", error);
  if (!list) return answer({{"error", error}});
  std::cout << list() << std::endl;
  return 0;
}

int probe_bench(int device, double seconds) {
  std::string error;
  const auto bench = from_library<void(int, double, void (*)(const char*))>("anygpu_command_bench", error);
  if (!bench) throw std::runtime_error(error);
  bench(device, seconds, [](const char* line) { std::cout << line << std::endl; });
  return 0;
}

int probe(const std::string& what, const std::vector<std::string>& more) {
  const rlimit none{0, 0};
  ::setrlimit(RLIMIT_CORE, &none);     // a crash here is a finding, not a file
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // nobody reads any more
  if (what != "bench") ::alarm(2 * static_cast<unsigned>(probe_limit().count() / 1000));
  int code = 64;
  if (what == "vulkan") code = probe_vulkan();
  if (what == "cuda") code = probe_cuda();
  if (what == "devices") code = probe_devices();
  if (what == "bench" && more.size() == 2) {
    try {
      code = probe_bench(std::atoi(more[0].c_str()), std::atof(more[1].c_str()));
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
      code = 70;
    }
  }
  if (what == "crash") ::raise(SIGSEGV);  // for tests of those who start this
  if (what == "hang") ::pause();
  // Not exit: the destructors of drivers are not trusted either.
  std::cout.flush();
  ::_exit(code);
}

}  // namespace anygpu::cli
