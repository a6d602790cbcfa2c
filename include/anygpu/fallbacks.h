// The ledger of what runs on the processor because the device does not do it: counted by name, warned of once, or forbidden.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "anygpu/error.h"

namespace anygpu::fallbacks {

/// What a frontend does about a call.
struct Entry {
  bool forbidden;     ///< to be refused, with these words
  std::string words;  ///< else what to warn with; empty where nothing is to be said
};

/// Counts a call of the operator of this name, unless it is forbidden.
/// This function and all below throw Error(Value) where ANYGPU_FALLBACK is no mode.
ANYGPU_API Entry enter(const std::string& name);

/// How often each operator has run on the processor.
ANYGPU_API std::map<std::string, int64_t> counts();
ANYGPU_API void reset_counts();

/// What becomes of such calls: "warn", "error" or "silent". The start value is ANYGPU_FALLBACK, else "warn".
ANYGPU_API void set_mode(const std::string&);
ANYGPU_API std::string mode();

}  // namespace anygpu::fallbacks
