#include "cli/machine/system.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <set>
#include <sstream>
#include <stdexcept>

namespace anygpu::cli {

namespace {

constexpr int kLinks = 40;           // as many as the kernel follows
constexpr size_t kComponents = 512;  // of a path, with those of its links
constexpr size_t kNames = 4096;      // of a folder
constexpr size_t kTroubles = 16;

Read from_errno(int error) {
  switch (error) {
    case ENOENT:
    case ENOTDIR:
      return Read::Absent;
    case ELOOP:
    case ENAMETOOLONG:
      return Read::Loop;
    default:
      return Read::Denied;
  }
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

}  // namespace

const char* describe(Read state) {
  switch (state) {
    case Read::Ok:
      return "read";
    case Read::Absent:
      return "absent";
    case Read::Denied:
      return "may not be read by this user, or not at all";
    case Read::TooLarge:
      return "larger than such a file ever is";
    case Read::NotAFile:
      return "is no plain file";
    case Read::Loop:
      return "links that lead round in a circle";
    case Read::OutOfTime:
      return "not read: the time for this report was spent";
  }
  return "";
}

std::chrono::milliseconds patience(std::chrono::milliseconds usual) {
  const char* set = std::getenv("ANYGPU_DOCTOR_SECONDS");
  const double seconds = set ? std::strtod(set, nullptr) : 0;
  return seconds > 0 ? std::chrono::milliseconds(static_cast<int64_t>(1000 * std::min(seconds, 1e6))) : usual;
}

System::System(const std::string& root, std::chrono::milliseconds time) : root_(root), deadline_(std::chrono::steady_clock::now() + time) {
  while (!root_.empty() && root_.back() == '/') root_.pop_back();
  struct stat s {};
  if (!root_.empty() && (::stat(root_.c_str(), &s) != 0 || !S_ISDIR(s.st_mode)))
    throw std::invalid_argument("[root] " + root + " is no folder that can be read; name one: --root DIR");
  if (live()) return;
  std::stringstream lines(read("/.anygpu-nodes").text);
  for (std::string text; std::getline(lines, text);) {
    const auto fields = words(text);
    if (fields.size() != 4) continue;
    try {
      const auto permissions = static_cast<unsigned>(std::stoul(fields[1], nullptr, 8));
      nodes_[fields[0]] = {S_IFCHR | permissions, static_cast<unsigned>(std::stoul(fields[2])),
                           static_cast<unsigned>(std::stoul(fields[3]))};
    } catch (const std::exception&) {
      trouble_.push_back("/.anygpu-nodes: not \"path mode uid gid\": " + text);
    }
  }
}

bool System::out_of_time() const {
  return std::chrono::steady_clock::now() > deadline_;
}

Read System::walk(std::string_view path, std::string& resolved) const {
  resolved.clear();
  std::deque<std::string> ahead;
  for (auto& part : split(path, '/')) ahead.push_back(std::move(part));
  int links = 0;
  size_t components = 0;
  while (!ahead.empty()) {
    if (out_of_time()) return Read::OutOfTime;
    if (++components > kComponents) return Read::Loop;
    const std::string part = std::move(ahead.front());
    ahead.pop_front();
    if (part.empty() || part == ".") continue;
    if (part == "..") {
      resolved.resize(resolved.rfind('/') == std::string::npos ? 0 : resolved.rfind('/'));
      continue;
    }
    const std::string next = resolved + "/" + part;
    struct stat s {};
    if (::lstat((root_ + next).c_str(), &s) != 0) return from_errno(errno);
    if (!S_ISLNK(s.st_mode)) {
      resolved = next;
      continue;
    }
    if (++links > kLinks) return Read::Loop;
    char target[4096];
    const ssize_t n = ::readlink((root_ + next).c_str(), target, sizeof target);
    if (n < 0) return from_errno(errno);
    const std::string_view text(target, static_cast<size_t>(n));
    if (text.starts_with('/')) resolved.clear();
    auto parts = split(text, '/');
    ahead.insert(ahead.begin(), std::make_move_iterator(parts.begin()), std::make_move_iterator(parts.end()));
  }
  if (resolved.empty()) resolved = "/";
  return Read::Ok;
}

void System::complain(std::string_view path, Read state) const {
  if (state == Read::Ok || state == Read::Absent) return;
  // One that ran out of time says it for all after it.
  const std::string text =
      state == Read::OutOfTime ? "all from " + std::string(path) + " on: " + describe(state) : std::string(path) + ": " + describe(state);
  if (state == Read::OutOfTime && !trouble_.empty() && trouble_.back().ends_with(describe(state))) return;
  if (trouble_.size() < kTroubles && std::find(trouble_.begin(), trouble_.end(), text) == trouble_.end()) trouble_.push_back(text);
}

Text System::read_resolved(std::string_view path, size_t at, size_t size, bool whole) const {
  std::string resolved;
  Read state = walk(path, resolved);
  if (state != Read::Ok) return {state, {}};
  const std::string full = root_ + resolved;
  struct stat s {};
  if (::lstat(full.c_str(), &s) != 0) return {from_errno(errno), {}};
  if (!S_ISREG(s.st_mode)) return {Read::NotAFile, {}};
  // It may have become another kind of file since: NOFOLLOW and NONBLOCK keep that harmless.
  const Descriptor file{::open(full.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)};
  if (file.fd < 0) return {from_errno(errno), {}};
  if (::fstat(file.fd, &s) != 0 || !S_ISREG(s.st_mode)) return {Read::NotAFile, {}};
  if (whole && s.st_size > static_cast<off_t>(size)) return {Read::TooLarge, {}};
  if (at > 0 && ::lseek(file.fd, static_cast<off_t>(at), SEEK_SET) < 0) return {Read::Denied, {}};
  // Files of /proc have no size: read on until they end or pass the bound.
  std::string text;
  const size_t most = whole ? size + 1 : size;
  char block[65536];
  while (text.size() < most) {
    if (out_of_time()) return {Read::OutOfTime, {}};
    const ssize_t n = ::read(file.fd, block, std::min(sizeof block, most - text.size()));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return {Read::Denied, {}};
    if (n == 0) break;
    text.append(block, static_cast<size_t>(n));
  }
  if (whole && text.size() > size) return {Read::TooLarge, {}};
  return {Read::Ok, std::move(text)};
}

Text System::read(std::string_view path, size_t bound) const {
  Text text = read_resolved(path, 0, bound, true);
  complain(path, text.state);
  return text;
}

Text System::read_range(std::string_view path, size_t at, size_t size) const {
  Text text = read_resolved(path, at, size, false);
  complain(path, text.state);
  return text;
}

std::string System::line(std::string_view path) const {
  const std::string text = read(path, 64 * 1024).text;
  return trim(std::string_view(text).substr(0, text.find('\n')));
}

bool System::exists(std::string_view path) const {
  std::string resolved;
  const Read state = walk(path, resolved);
  complain(path, state);
  return state == Read::Ok || (state == Read::Absent && nodes_.contains(path));
}

std::vector<std::string> System::list(std::string_view path) const {
  std::set<std::string> names;
  std::string resolved;
  const Read state = walk(path, resolved);
  complain(path, state);
  if (state == Read::Ok) {
    const int fd = ::open((root_ + resolved).c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 && errno != ENOTDIR) complain(path, from_errno(errno));
    if (DIR* folder = fd < 0 ? nullptr : ::fdopendir(fd)) {
      while (const dirent* entry = ::readdir(folder)) {
        if (names.size() >= kNames || out_of_time()) {
          complain(path, out_of_time() ? Read::OutOfTime : Read::TooLarge);
          break;
        }
        if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) names.insert(entry->d_name);
      }
      ::closedir(folder);
    } else if (fd >= 0) {
      ::close(fd);
    }
  }
  const std::string folder = std::string(path) + "/";
  for (const auto& [name, node] : nodes_)
    if (name.starts_with(folder) && name.find('/', folder.size()) == std::string::npos) names.insert(name.substr(folder.size()));
  return {names.begin(), names.end()};
}

std::optional<std::string> System::resolve(std::string_view path) const {
  std::string resolved;
  const Read state = walk(path, resolved);
  complain(path, state);
  if (state == Read::Ok) return resolved;
  if (state == Read::Absent && nodes_.contains(path)) return std::string(path);
  return std::nullopt;
}

std::string System::link_name(std::string_view path) const {
  const size_t slash = path.rfind('/');
  const auto folder = resolve(path.substr(0, slash));
  if (!folder) return {};
  char target[4096];
  const ssize_t n = ::readlink((root_ + *folder + std::string(path.substr(slash))).c_str(), target, sizeof target);
  if (n <= 0) return {};
  const std::string_view text(target, static_cast<size_t>(n));
  return std::string(text.substr(text.rfind('/') + 1));
}

std::optional<Node> System::node(std::string_view path) const {
  const auto resolved = resolve(path);
  if (!resolved) return std::nullopt;
  if (const auto it = nodes_.find(*resolved); it != nodes_.end()) return it->second;
  struct stat s {};
  if (::lstat((root_ + *resolved).c_str(), &s) != 0) return std::nullopt;
  return Node{s.st_mode, s.st_uid, s.st_gid};
}

bool System::usable(std::string_view path) const {
  const auto resolved = resolve(path);
  if (!resolved) return false;
  if (live()) return ::faccessat(AT_FDCWD, resolved->c_str(), R_OK | W_OK, AT_EACCESS) == 0;
  const auto found = node(*resolved);
  const std::string status = read("/proc/self/status").text;
  const auto uids = words(value_of(status, "Uid", ':'));
  // A tree that does not say who looks at it is looked at by whoever runs this.
  if (!found || uids.size() < 2) return found.has_value();
  if (uids[1] == "0") return true;
  auto groups = words(value_of(status, "Groups", ':'));
  if (const auto gids = words(value_of(status, "Gid", ':')); gids.size() > 1) groups.push_back(gids[1]);
  const bool member = std::find(groups.begin(), groups.end(), std::to_string(found->gid)) != groups.end();
  const unsigned bits = uids[1] == std::to_string(found->uid) ? found->mode >> 6 : member ? found->mode >> 3 : found->mode;
  return (bits & 6) == 6;
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

std::string trim(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return std::string(text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1));
}

std::vector<std::string> split(std::string_view text, char at) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(at, begin), text.size());
    parts.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<std::string> words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> found;
  for (std::string word; stream >> word;) found.push_back(std::move(word));
  return found;
}

std::string value_of(std::string_view text, std::string_view key, char separator) {
  for (const auto& row : split(text, '\n')) {
    const size_t at = row.find(separator);
    if (at == std::string::npos || trim(std::string_view(row).substr(0, at)) != key) continue;
    std::string value = trim(std::string_view(row).substr(at + 1));
    if (value.size() > 1 && (value.front() == '"' || value.front() == '\'') && value.back() == value.front())
      value = value.substr(1, value.size() - 2);
    return value;
  }
  return {};
}

}  // namespace anygpu::cli
