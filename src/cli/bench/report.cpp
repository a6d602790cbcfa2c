#include <algorithm>
#include <cmath>
#include <cstdio>

#include "cli/bench/bench.h"

namespace anygpu::cli {

namespace {

using nlohmann::ordered_json;

constexpr int kBar = 24;

std::string format(const char* pattern, double value) {
  char text[64];
  std::snprintf(text, sizeof text, pattern, value);
  return text;
}

/// Three digits that count.
std::string number(double value) {
  return format(value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
}

std::string size_text(const std::string& measure, int64_t size) {
  const auto mebibytes = [](int64_t bytes) { return format("%g", static_cast<double>(bytes) / (1 << 20)) + " MiB"; };
  if (measure == "matmul") return std::to_string(size) + " x " + std::to_string(size);
  if (measure == "training") return std::to_string(size) + " images";
  return mebibytes(measure == "pointwise" ? 4 * size : size);
}

struct Row {
  const Contestant* who;
  const Result* result;
};

std::vector<Row> rows_of(const Bench& bench, const std::string& measure) {
  std::vector<Row> rows;
  const auto add = [&](const Contestant& who) {
    for (const auto& result : who.results)
      if (result.measure == measure) rows.push_back({&who, &result});
  };
  add(bench.pytorch);
  for (const auto& device : bench.devices) add(device);
  return rows;
}

std::string left(std::string text, size_t width) {
  if (text.size() < width) text.append(width - text.size(), ' ');
  return text;
}
std::string right(const std::string& text, size_t width) {
  return text.size() < width ? std::string(width - text.size(), ' ') + text : text;
}

}  // namespace

ordered_json bench_json(const Bench& bench) {
  ordered_json out{{"anygpu", ANYGPU_VERSION}, {"load", bench.load}};
  out["pytorch"] = bench.pytorch_version.empty()
                       ? ordered_json(nullptr)
                       : ordered_json{{"version", bench.pytorch_version}, {"threads", bench.threads}, {"python", bench.python}};
  out["devices"] = ordered_json::array();
  for (const auto& d : bench.devices)
    out["devices"].push_back({{"device", d.device}, {"name", d.name}, {"backend", d.backend}, {"driver", d.driver}});
  out["measures"] = ordered_json::array();
  for (const auto& measure : kMeasures) {
    ordered_json results = ordered_json::array();
    for (const auto& [who, result] : rows_of(bench, measure.id)) {
      ordered_json entry{
          {"device", who->device}, {"size", result->size}, {"seconds", result->seconds}, {"value", result->per_second / measure.scale}};
      if (const double ratio = bench.ratio(*result); ratio > 0) entry["ratio"] = ratio;
      results.push_back(std::move(entry));
    }
    if (!results.empty())
      out["measures"].push_back({{"measure", measure.id}, {"title", measure.title}, {"unit", measure.unit}, {"results", results}});
  }
  out["missing"] = ordered_json::array();
  for (const auto& m : bench.missing) out["missing"].push_back({{"device", m.device}, {"measure", m.measure}, {"why", m.why}});
  return out;
}

std::string bench_text(const Bench& bench, bool colour) {
  const auto painted = [&](const std::string& text, const char* code) {
    return colour ? "\x1b[" + std::string(code) + "m" + text + "\x1b[0m" : text;
  };
  std::string out = "anygpu " ANYGPU_VERSION;
  if (!bench.pytorch_version.empty())
    out += " against PyTorch " + bench.pytorch_version + " on the CPU, " + std::to_string(bench.threads) + " threads";
  out += "\n";
  for (const auto& d : bench.devices) out += "  " + d.device + "  " + d.name + "\n            " + d.backend + ": " + d.driver + "\n";
  if (bench.load > 0.7)
    out += "  the machine was busy before: load " + format("%.1f", bench.load) + "; figures of a busy machine say little\n";
  for (const auto& measure : kMeasures) {
    const auto rows = rows_of(bench, measure.id);
    if (rows.empty()) continue;
    const bool same = std::all_of(rows.begin(), rows.end(), [&](const Row& r) { return r.result->size == rows[0].result->size; });
    const bool ratios = std::any_of(rows.begin(), rows.end(), [&](const Row& r) { return bench.ratio(*r.result) > 0; });
    double most = 0;
    for (const auto& row : rows) most = std::max(most, row.result->per_second);
    const std::string title = measure.title + (same ? ", " + size_text(measure.id, rows[0].result->size) : "");
    out += "\n" + painted(left(title, 42) + right(measure.unit, 10), "1") + (ratios ? painted("  x PyTorch", "1") : "") + "\n";
    for (const auto& [who, result] : rows) {
      const double ratio = bench.ratio(*result);
      const int bar = std::max(1, static_cast<int>(std::lround(result->per_second / most * kBar)));
      const std::string label =
          (who == &bench.pytorch ? who->name : who->device) + (same ? "" : ", " + size_text(measure.id, result->size));
      out += left("  " + label, 42) + right(number(result->per_second / measure.scale), 10) + right(ratio > 0 ? number(ratio) : "", 11) +
             "  " +
             painted(std::string(static_cast<size_t>(bar), '#'), who == &bench.pytorch      ? "2"
                                                                 : ratio == 0 || ratio >= 1 ? "32"
                                                                                            : "33") +
             "\n";
    }
  }
  if (!bench.missing.empty()) out += "\nmissing\n";
  for (const auto& m : bench.missing)
    out +=
        "  " + (m.device == kPyTorch ? "PyTorch on the CPU" : m.device) + (m.measure.empty() ? "" : ", " + m.measure) + ": " + m.why + "\n";
  return out;
}

}  // namespace anygpu::cli
