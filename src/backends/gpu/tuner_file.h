// What the tuner found, as text: a line a winner, of one device or several.
#pragma once

#include <map>
#include <optional>
#include <string>

namespace anygpu::gpu {

/// Names of winners by device and key.
using Winners = std::map<std::pair<std::string, std::string>, std::string>;

std::string to_text(const Winners&);
/// Nothing where the text is not what to_text() makes.
std::optional<Winners> from_text(const std::string&);

/// Of the file that `variable` of the environment names; none where there is no such file yet. Throws Error(Value) where it holds
/// something else.
Winners read_tiles(const std::string& file, const std::string& variable);
/// Written apart and renamed into place. Throws Error(Value).
void write_tiles(const std::string& file, const std::string& variable, const Winners&);

}  // namespace anygpu::gpu
