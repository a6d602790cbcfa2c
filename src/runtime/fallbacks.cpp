// The ledger of what the processor does instead of a device.
#include "anygpu/fallbacks.h"

#include <mutex>
#include <set>

#include "core/environment.h"

namespace anygpu::fallbacks {

namespace {

enum class Mode { Warn, Error, Silent };

Mode mode_named(const std::string& name) {
  if (name == "error") return Mode::Error;
  if (name == "silent") return Mode::Silent;
  if (name != "warn") throw Error(ErrorKind::Value, "ANYGPU_FALLBACK is warn, error or silent, not '" + name + "'");
  return Mode::Warn;
}

struct Ledger {
  std::mutex mutex;
  std::map<std::string, int64_t> counts;
  std::set<std::string> warned;
  Mode mode = Mode::Warn;
  Ledger() {
    if (const char* name = setting("ANYGPU_FALLBACK")) mode = mode_named(name);
  }
};
Ledger& ledger() {
  static auto* l = new Ledger;
  return *l;
}

}  // namespace

Entry enter(const std::string& name) {
  Ledger& l = ledger();
  std::lock_guard<std::mutex> lock(l.mutex);
  if (l.mode == Mode::Error)
    return {true, "anygpu does not implement " + name + ", and ANYGPU_FALLBACK=error forbids to run it on the CPU"};
  ++l.counts[name];
  if (l.mode != Mode::Warn || !l.warned.insert(name).second) return {false, ""};
  return {false, "anygpu does not implement " + name +
                     ": it runs on the CPU, with copies there and back. anygpu.fallbacks() counts such calls; "
                     "ANYGPU_FALLBACK=error makes them errors, ANYGPU_FALLBACK=silent hides this warning."};
}

std::map<std::string, int64_t> counts() {
  Ledger& l = ledger();
  std::lock_guard<std::mutex> lock(l.mutex);
  return l.counts;
}

void reset_counts() {
  Ledger& l = ledger();
  std::lock_guard<std::mutex> lock(l.mutex);
  l.counts.clear();
}

void set_mode(const std::string& name) {
  const Mode mode = mode_named(name);
  Ledger& l = ledger();
  std::lock_guard<std::mutex> lock(l.mutex);
  l.mode = mode;
}

std::string mode() {
  Ledger& l = ledger();
  std::lock_guard<std::mutex> lock(l.mutex);
  return l.mode == Mode::Error ? "error" : l.mode == Mode::Silent ? "silent" : "warn";
}

}  // namespace anygpu::fallbacks
