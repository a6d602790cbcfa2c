// A file that is there whole or not at all.
#pragma once

#include <stdexcept>
#include <string>

namespace anygpu::cli {

struct CannotWrite : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Writes beside `path` and renames; makes the folder. Mode 0644. Throws CannotWrite with what failed.
void write_by_rename(const std::string& path, const std::string& text);

}  // namespace anygpu::cli
