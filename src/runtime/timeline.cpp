#include "runtime/timeline.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace anygpu {

Timeline& Timeline::get() {
  static auto* t = new Timeline;
  return *t;
}

Timeline::Timeline() {
  const char* path = std::getenv("ANYGPU_TRACE");
  if (path && *path) file_ = std::fopen(path, "w");
  if (path && *path && !file_) std::fprintf(stderr, "anygpu: ANYGPU_TRACE=%s cannot be written: %s\n", path, std::strerror(errno));
  if (file_) std::fputs("[\n", file_);  // viewers accept the array form without its closing bracket
}

void Timeline::add(const Plan& plan, const std::vector<StepTime>& times) {
  std::lock_guard lock(mutex_);
  for (size_t i = 0; i < times.size() && i < plan.steps.size(); ++i) {
    std::fprintf(file_, "%s{\"name\":\"%s\",\"ph\":\"X\",\"pid\":0,\"tid\":0,\"ts\":%.3f,\"dur\":%.3f,\"args\":{\"bytes\":%lld}}",
                 first_ ? "" : ",\n", describe(plan.steps[i]).c_str(), times[i].start_us, times[i].end_us - times[i].start_us,
                 static_cast<long long>(bytes_of(plan.steps[i])));
    first_ = false;
  }
  std::fflush(file_);
}

static std::string list(const Dims& d) {
  std::string s = "[";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + "]";
}

std::string describe(const ir::Step& step) {
  if (auto* g = std::get_if<ir::Generic>(&step)) {
    std::string s = "kernel  " + g->name + " " + list(g->sizes);
    if (g->reduce) {
      s += " reduces";
      for (int d = 0; d < g->rank(); ++d)
        if (g->reduces(d)) s += " " + std::to_string(d);
    }
    return s;
  }
  const auto& n = std::get<ir::Named>(step);
  std::string s = std::string("library ") + ir::name_of(n.kind) + " (" + n.name + ")";
  for (const ir::Operand& o : n.operands)
    if (o.slot >= 0) s += " " + list(o.sizes);
  return s;
}

int64_t bytes_of(const ir::Step& step) {
  int64_t bytes = 0;
  if (auto* g = std::get_if<ir::Generic>(&step)) {
    for (const ir::Access& a : g->accesses) {
      int64_t n = 1;
      for (int d = 0; d < g->rank(); ++d) n *= a.strides[d] != 0 ? g->sizes[d] : 1;
      bytes += n * size_of(a.dtype);
    }
    return bytes;
  }
  for (const ir::Operand& o : std::get<ir::Named>(step).operands)
    if (o.slot >= 0) bytes += product(o.sizes) * size_of(o.dtype);
  return bytes;
}

}  // namespace anygpu
