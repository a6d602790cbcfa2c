#include "tuner_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>

#include "anygpu/error.h"

namespace anygpu::gpu {
namespace {

constexpr char kFirstLine[] = "anygpu tiles 1";

[[noreturn]] void fail(const std::string& file, const std::string& variable, const std::string& why) {
  throw Error(ErrorKind::Value, "[tuner] " + variable + " is '" + file + "', which " + why);
}

}  // namespace

// Fields are parted by tabs: device, key, winner.
std::string to_text(const Winners& winners) {
  std::string text = std::string(kFirstLine) + "\n";
  for (const auto& [of, winner] : winners) text += of.first + "\t" + of.second + "\t" + winner + "\n";
  return text;
}

std::optional<Winners> from_text(const std::string& text) {
  std::istringstream in(text);
  std::string line;
  if (!std::getline(in, line) || line != kFirstLine) return {};
  Winners winners;
  while (std::getline(in, line)) {
    const size_t first = line.find('\t'), last = line.rfind('\t');
    if (first == std::string::npos || first == last || line.find('\t', first + 1) != last) return {};
    winners[{line.substr(0, first), line.substr(first + 1, last - first - 1)}] = line.substr(last + 1);
  }
  return winners;
}

Winners read_tiles(const std::string& file, const std::string& variable) {
  std::ifstream in(file, std::ios::binary);
  if (!in && errno == ENOENT) return {};
  const std::string text(std::istreambuf_iterator<char>(in), {});
  if (!in) fail(file, variable, std::string("cannot be read: ") + std::strerror(errno));
  auto winners = from_text(text);
  if (!winners) fail(file, variable, "is no list of tiles that anygpu wrote");
  return std::move(*winners);
}

void write_tiles(const std::string& file, const std::string& variable, const Winners& winners) {
  const std::string apart = file + "." + std::to_string(getpid());
  std::ofstream out(apart, std::ios::binary);
  out << to_text(winners);
  out.close();
  if (out && std::rename(apart.c_str(), file.c_str()) == 0) return;
  const int why = errno;
  unlink(apart.c_str());
  fail(file, variable, std::string("cannot be written: ") + std::strerror(why));
}

}  // namespace anygpu::gpu
