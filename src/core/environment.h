// Variables of the environment. docs/guide/workflow.md lists those that there are.
#pragma once

#include <cstdlib>
#include <string_view>

namespace anygpu {

/// Null where it is not set, or empty.
inline const char* setting(const char* variable) {
  const char* text = std::getenv(variable);
  return text && *text ? text : nullptr;
}

/// Set, to something else than 0.
inline bool switched_on(const char* variable) {
  const char* text = setting(variable);
  return text && std::string_view(text) != "0";
}

/// Set to 0.
inline bool switched_off(const char* variable) {
  const char* text = setting(variable);
  return text && std::string_view(text) == "0";
}

/// A number at least 0 at its start; 0 where there is none, `most` where it is larger.
inline long count_setting(const char* variable, long most) {
  const char* text = setting(variable);
  const long n = text ? std::strtol(text, nullptr, 10) : 0;
  return n < 0 ? 0 : n > most ? most : n;
}

}  // namespace anygpu
