// What python/anygpu asks the frontend about, by ctypes: C functions over the runtime.
#include "kernel.h"

namespace {

/// Kept for the calling thread until the next call.
const char* kept(std::string s) {
  thread_local std::string text;
  text = std::move(s);
  return text.c_str();
}

}  // namespace

extern "C" {

ANYGPU_API int anygpu_tensorflow_devices() {
  return anygpu::Device::count();
}

/// flushes, plans_compiled, kernels_compiled, kernels_run, operators
ANYGPU_API void anygpu_tensorflow_stats(int device, int64_t* five) {
  const anygpu::RunStats s = anygpu::Device::get(device).run_stats();
  const int64_t all[] = {s.flushes, s.plans_compiled, s.kernels_compiled, s.kernels_run, s.operators};
  std::copy(std::begin(all), std::end(all), five);
}

ANYGPU_API const char* anygpu_tensorflow_explain(int device, int plans) {
  return kept(anygpu::Device::get(device).explain(plans));
}

/// A line a kernel: its operator and its types.
ANYGPU_API const char* anygpu_tensorflow_kernels() {
  return kept(anygpu::tensorflow_frontend::added_kernels());
}
}
