// Device::explain(): Plans as tables for people.
#include <algorithm>
#include <cstdio>
#include <sstream>

#include "runtime/device_impl.h"
#include "runtime/host.h"
#include "runtime/timeline.h"

namespace anygpu {

namespace {

std::string format(const char* how, double value) {
  char text[48];
  std::snprintf(text, sizeof text, how, value);
  return text;
}

std::string right(const std::string& s, size_t width) {
  return s.size() < width ? std::string(width - s.size(), ' ') + s : s;
}

std::string count(size_t n, const char* one) {
  return std::to_string(n) + " " + one + (n == 1 ? "" : "s");
}

/// Bytes with the unit that leaves up to four digits.
std::string bytes_text(int64_t bytes) {
  if (bytes < 10'000) return std::to_string(bytes) + " B";
  const double kib = static_cast<double>(bytes) / 1024;
  return kib < 10'000 ? format("%.0f KiB", kib) : format("%.0f MiB", kib / 1024);
}

std::string time_text(double us) {
  return us < 1000 ? format("%.1f us", us) : format("%.2f ms", us / 1000);
}

}  // namespace

void StepClock::add(const std::vector<StepTime>& times) {
  std::lock_guard lock(mutex_);
  // The first run packs weights and touches new memory, so the second replaces it; from then on a mean over the last ones.
  us_.resize(times.size());
  for (size_t i = 0; i < times.size(); ++i) {
    const auto t = static_cast<float>(times[i].end_us - times[i].start_us);
    us_[i] = runs_ < 2 ? t : us_[i] + (t - us_[i]) / 8;
  }
  ++runs_;
}

std::vector<float> StepClock::mean_us(int64_t& runs) const {
  std::lock_guard lock(mutex_);
  runs = runs_;
  return us_;
}

/// A line of what the Plan is, then a line a step: its time, its share of all steps' time, the bytes that it reads and writes, and how
/// fast it moves them. A library call's GB/s says little: it computes more than it moves.
std::string explain(const Plan& plan) {
  int64_t runs = 0;
  const std::vector<float> us = plan.clock.mean_us(runs);
  size_t library = 0;
  double total = 0;
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    library += std::holds_alternative<ir::Named>(plan.steps[i]);
    if (i < us.size()) total += static_cast<double>(us[i]);
  }
  std::string text = "Plan: " + count(static_cast<size_t>(plan.calls), "operator") + " as " + count(plan.steps.size() - library, "kernel") +
                     " and " + count(library, "library call") + ", " + bytes_text(plan.moved_bytes) + " moved, arena " +
                     bytes_text(plan.arena_bytes);
  text += runs == 0 ? ", not run yet\n" : ", " + time_text(total) + " (" + count(static_cast<size_t>(runs), "run") + ")\n";
  text += "  step        time  share    GB/s      bytes  what\n";
  for (size_t i = 0; i < plan.steps.size(); ++i) {
    const int64_t moved = bytes_of(plan.steps[i]);
    const bool timed = i < us.size();
    const double t = timed ? static_cast<double>(us[i]) : 0;
    text += right(std::to_string(i), 6) + right(timed ? time_text(t) : "-", 12) +
            right(total > 0 ? format("%.1f %%", 100 * t / total) : "-", 8) +
            right(t > 0 ? format("%.1f", static_cast<double>(moved) / t / 1000) : "-", 7) + right(bytes_text(moved), 11) + "  " +
            describe(plan.steps[i]) + "\n";
    if (keeps_stacks()) {
      std::stringstream lines(origin_of_step(plan, plan.origins.get(), static_cast<int32_t>(i)));
      for (std::string line; std::getline(lines, line);) text += std::string(46, ' ') + line + "\n";
    }
    for (const Cut& c : plan.cuts)
      if (c.step == static_cast<int32_t>(i)) text += std::string(46, ' ') + "not fused: " + c.why + "\n";
  }
  return text;
}

std::string origin_of_step(const Plan& plan, const std::vector<Origin>* origins, int32_t step) {
  if (!origins) return {};
  std::vector<std::pair<std::string, std::string>> places;  // where, whose
  for (const Effect& e : plan.effects) {
    if (e.step != step) continue;
    const auto o = std::find_if(origins->begin(), origins->end(), [&](const Origin& x) { return x.call == e.call; });
    if (o == origins->end()) continue;
    auto same = std::find_if(places.begin(), places.end(), [&](const auto& p) { return p.first == o->where; });
    if (same == places.end()) same = places.insert(places.end(), {o->where, ""});
    const std::string name = e.name.substr(0, e.name.find('+'));
    if ((", " + same->second + ",").find(", " + name + ",") == std::string::npos) same->second += (same->second.empty() ? "" : ", ") + name;
  }
  std::string text;
  for (const auto& [where, whose] : places) text += whose + " at\n" + where + "\n";
  return text;
}

std::string DeviceImpl::explain(int plans) {
  uint64_t ticket;
  {
    std::lock_guard lock(mutex_);
    ticket = last_ticket_;
  }
  executor.wait(ticket);  // so that the last Plan's times are there
  std::lock_guard lock(mutex_);
  std::string text;
  const size_t n = std::min(recent_.size(), static_cast<size_t>(std::max(plans, 0)));
  for (size_t i = 0; i < n; ++i) text += (i ? "\n" : "") + anygpu::explain(*recent_[i]);
  return text;
}

}  // namespace anygpu
