#include "runtime/timeline.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "core/environment.h"

namespace anygpu {

// The list is closed whenever nobody writes, so that the file of a process that was killed can be read.
constexpr char kEnd[] = "\n]\n";

Timeline& Timeline::get() {
  static auto* t = new Timeline;
  return *t;
}

Timeline::Timeline() {
  const char* path = setting("ANYGPU_TRACE");
  if (path) file_ = std::fopen(path, "w");
  if (path && !file_) std::fprintf(stderr, "anygpu: ANYGPU_TRACE=%s cannot be written: %s\n", path, std::strerror(errno));
  if (!file_) return;
  std::fputs("[\n{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":0,\"tid\":0,\"args\":{\"name\":\"device\"}},\n", file_);
  std::fputs("{\"name\":\"thread_name\",\"ph\":\"M\",\"pid\":0,\"tid\":1,\"args\":{\"name\":\"host\"}}", file_);
  close_list();
}

void Timeline::open_list() {
  std::fseek(file_, -static_cast<long>(sizeof kEnd - 1), SEEK_CUR);
}

void Timeline::close_list() {
  std::fputs(kEnd, file_);
  std::fflush(file_);
}

void Timeline::write(Track track, const std::string& name, double start_us, double end_us, const std::string& more) {
  std::fprintf(file_, ",\n{\"name\":\"%s\",\"ph\":\"X\",\"pid\":0,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f%s}", name.c_str(), track, start_us,
               end_us - start_us, more.c_str());
}

void Timeline::add(const Plan& plan, const std::vector<StepTime>& times) {
  std::lock_guard lock(mutex_);
  open_list();
  for (size_t i = 0; i < times.size() && i < plan.steps.size(); ++i) {
    const std::string bytes = std::to_string(bytes_of(plan.steps[i]));
    write(kDevice, describe(plan.steps[i]), times[i].start_us, times[i].end_us, ",\"args\":{\"bytes\":" + bytes + "}");
  }
  close_list();
}

Timeline::HostSpan::~HostSpan() {
  if (start_us_ < 0) return;
  const double end_us = now_us();
  const std::string detail = std::to_string(count_) + " " + of_;
  Timeline& t = get();
  if (t.file_) {
    std::lock_guard lock(t.mutex_);
    t.open_list();
    t.write(kHost, what_ + (" " + detail), start_us_, end_us, "");
    t.close_list();
  }
  if (!Profiler::on()) return;
  profile::Event e;
  e.kind = kind_;
  e.name = what_;
  e.detail = detail;
  e.device = device_;
  if (device_ >= 0) e.bytes = count_;
  Profiler::get().add(std::move(e), start_us_, end_us);
}

std::string list_of(const Dims& d) {
  std::string s = "[";
  for (int i = 0; i < d.size(); ++i) s += (i ? ", " : "") + std::to_string(d[i]);
  return s + "]";
}

std::string describe(const ir::Step& step) {
  if (auto* g = std::get_if<ir::Generic>(&step)) {
    std::string s = "kernel  " + g->name + " " + list_of(g->sizes);
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
    if (o.slot >= 0) s += " " + list_of(o.sizes);
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
