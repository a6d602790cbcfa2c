#include "cli/doctor/report.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace anygpu::cli {

namespace {

constexpr const char* kGuide = "docs/guide/not-seen.md";

const char* word(Status status) {
  switch (status) {
    case Status::Pass:
      return "pass";
    case Status::Info:
      return "info";
    case Status::Warn:
      return "warn";
    case Status::Fail:
      return "fail";
  }
  return "";
}

std::string painted(const std::string& text, Status status, bool colour) {
  if (!colour) return text;
  const char* code = status == Status::Fail   ? "\x1b[31m"
                     : status == Status::Warn ? "\x1b[33m"
                     : status == Status::Pass ? "\x1b[32m"
                                              : "\x1b[2m";
  return code + text + "\x1b[0m";
}

/// What a file holds may end up here: no control character of it reaches the terminal.
std::string clean(std::string text) {
  for (char& c : text)
    if (static_cast<unsigned char>(c) < 32 || c == 127) c = '?';
  return text;
}

struct Block {
  Status status;
  std::vector<std::string> lines;
  /// Rows on the screen, long lines wrapped. Colour codes count as text: rather one row too many.
  int rows(int columns) const {
    int n = 0;
    for (const auto& line : lines) n += 1 + static_cast<int>(line.size()) / std::max(20, columns);
    return n;
  }
};

Block block_of(const Finding& finding, bool colour) {
  Block block{finding.status, {}};
  block.lines.push_back(painted(word(finding.status), finding.status, colour) + "  " + finding.chain + ": " + clean(finding.link) + ": " +
                        clean(finding.found));
  if (!finding.mend.empty()) block.lines.push_back("      mend:  " + clean(finding.mend));
  if (!finding.guide.empty()) block.lines.push_back("      guide: " + std::string(kGuide) + "#" + finding.guide);
  return block;
}

/// A chain in which all is well, in one line.
Block summary_of(const std::string& chain, const Findings& findings, bool colour) {
  std::string links;
  int shown = 0, passed = 0;
  for (const auto& finding : findings.all()) {
    if (finding.chain != chain || finding.status != Status::Pass) continue;
    ++passed;
    if (shown == 6 || links.size() > 90) continue;
    ++shown;
    std::string link =
        finding.link.substr(finding.link.starts_with("/usr/") || finding.link.starts_with("/etc/") ? finding.link.rfind('/') + 1 : 0);
    if (link.starts_with("in ")) link = finding.found;
    links += (links.empty() ? "" : ", ") + clean(link);
  }
  if (passed > shown) links += ", " + std::to_string(passed - shown) + " more";
  return {Status::Pass, {painted("pass", Status::Pass, colour) + "  " + chain + ": " + links}};
}

std::string plural(int n, const char* one, const char* many) {
  return std::to_string(n) + " " + (n == 1 ? one : many);
}

}  // namespace

std::string report_text(const Machine& machine, const Findings& findings, const ReportOptions& options) {
  const Where& where = machine.where;
  std::string text = where.text() + " · " + (where.distribution.empty() ? "unknown distribution" : clean(where.distribution)) + " · " +
                     (where.kernel.empty() ? "unknown kernel" : "Linux " + clean(where.kernel)) + "\n\n";
  std::vector<Block> blocks;
  std::vector<std::string> chains;
  for (const auto& finding : findings.all()) {
    if (options.verbose) {
      blocks.push_back(block_of(finding, options.colour));
      continue;
    }
    if (std::find(chains.begin(), chains.end(), finding.chain) != chains.end()) continue;
    const std::string& chain = chains.emplace_back(finding.chain);
    const auto& all = findings.all();
    if (std::any_of(all.begin(), all.end(), [&](const Finding& other) { return other.chain == chain && other.status == Status::Pass; }))
      blocks.push_back(summary_of(chain, findings, options.colour));
    for (const auto& other : all)
      if (other.chain == chain && other.status >= Status::Warn) blocks.push_back(block_of(other, options.colour));
  }
  int hidden = 0;
  if (!options.verbose) {
    // What passed goes first, then warnings, then failures, from the end: what comes first in a chain breaks what follows.
    const auto rows = [&] {
      int n = 5;  // heading, sum, and what is said of the hidden
      for (const auto& block : blocks) n += block.rows(options.columns);
      return n;
    };
    for (const Status least : {Status::Pass, Status::Warn, Status::Fail})
      for (size_t i = blocks.size(); i-- > 0 && rows() > options.rows && blocks.size() > 1;)
        if (blocks[i].status == least) blocks.erase(blocks.begin() + static_cast<ptrdiff_t>(i)), ++hidden;
  }
  for (const auto& block : blocks)
    for (const auto& line : block.lines) text += line + "\n";
  if (hidden) text += "and " + std::to_string(hidden) + " more: anygpu doctor --verbose\n";
  text += "\n" + plural(findings.count(Status::Pass), "link passes", "links pass") + ", " +
          plural(findings.count(Status::Warn), "warning", "warnings") + ", " + plural(findings.count(Status::Fail), "failure", "failures") +
          "\n";
  return text;
}

std::string report_json(const Machine& machine, const Findings& findings, const std::string& root) {
  using nlohmann::ordered_json;
  const Where& where = machine.where;
  ordered_json out{{"anygpu", ANYGPU_VERSION}, {"root", root}};
  out["place"] = ordered_json{{"wsl", where.wsl}, {"container", where.container}, {"vm", where.vm}, {"distribution", where.distribution},
                              {"id", where.id},   {"kernel", where.kernel}};
  out["reached"] = reached(machine);
  out["findings"] = ordered_json::array();
  for (const auto& f : findings.all()) {
    ordered_json entry{{"status", word(f.status)}, {"chain", f.chain}, {"link", f.link}, {"found", f.found}};
    if (!f.mend.empty()) entry["mend"] = f.mend;
    if (!f.guide.empty()) entry["guide"] = std::string(kGuide) + "#" + f.guide;
    out["findings"].push_back(std::move(entry));
  }
  out["pass"] = findings.count(Status::Pass), out["warn"] = findings.count(Status::Warn), out["fail"] = findings.count(Status::Fail);
  return out.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace anygpu::cli
