#include "backends/cache/file_cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <tuple>

#include "core/hash.h"

namespace anygpu {
namespace {

constexpr char kMagic[] = "anygpu kernel 1\n";
constexpr size_t kDigits = 32;           // of a digest, which is an entry's name
constexpr char kTemporary[] = "new-";    // and six characters: an entry that is being written, or was when its process died
constexpr size_t kMostBytes = 64 << 20;  // of one entry
constexpr off_t kMostKept = 256 << 20;   // bytes of all entries

/// With a final '/', or "" where nothing is to be kept.
std::string find_directory(const std::string& folder) {
  std::string path;
  if (const char* set = std::getenv("ANYGPU_CACHE_DIR")) {
    if (!*set) return "";
    path = set;
  } else if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && *xdg == '/') {
    path = std::string(xdg) + "/anygpu";
  } else if (const char* home = std::getenv("HOME"); home && *home == '/') {
    path = std::string(home) + "/.cache/anygpu";
  } else {
    return "";
  }
  path += "/" + folder;
  for (size_t at = 1; at != std::string::npos; at = path.find('/', at + 1)) mkdir(path.substr(0, path.find('/', at)).c_str(), 0700);
  mkdir(path.c_str(), 0700);
  struct stat s;
  // Whoever can write here can run code as us.
  if (stat(path.c_str(), &s) || !S_ISDIR(s.st_mode) || s.st_uid != geteuid() || s.st_mode & (S_IWGRP | S_IWOTH)) return "";
  return path + "/";
}

/// Whether a file of this name is one that save() makes: nobody else's is counted, or taken away.
bool is_ours(const std::string& name) {
  constexpr size_t prefix = sizeof kTemporary - 1;
  if (name.compare(0, prefix, kTemporary) == 0) return name.size() == prefix + 6;
  return name.size() == kDigits && name.find_first_not_of("0123456789abcdef") == std::string::npos;
}

/// Keeps the folder small: past the limit, the oldest half of the entries goes.
void prune(const std::string& path) {
  DIR* dir = path.empty() ? nullptr : opendir(path.c_str());
  if (!dir) return;
  std::vector<std::tuple<time_t, off_t, std::string>> files;
  off_t total = 0;
  while (const dirent* entry = readdir(dir)) {
    struct stat s;
    const std::string file = path + entry->d_name;
    if (!is_ours(entry->d_name) || lstat(file.c_str(), &s) || !S_ISREG(s.st_mode)) continue;
    files.emplace_back(s.st_mtime, s.st_size, file);
    total += s.st_size;
  }
  closedir(dir);
  if (total <= kMostKept) return;
  std::sort(files.begin(), files.end());
  for (const auto& [time, size, file] : files) {
    if (total <= kMostKept / 2) break;
    if (!unlink(file.c_str())) total -= size;
  }
}

std::string read_file(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return "";
  std::string bytes;
  struct stat s;
  if (!fstat(fd, &s) && S_ISREG(s.st_mode) && s.st_uid == geteuid() && !(s.st_mode & (S_IWGRP | S_IWOTH)) &&
      s.st_size <= static_cast<off_t>(kMostBytes)) {
    bytes.resize(s.st_size);
    size_t have = 0;
    while (have < bytes.size()) {
      const ssize_t n = read(fd, bytes.data() + have, bytes.size() - have);
      if (n <= 0) break;
      have += n;
    }
    if (have != bytes.size()) bytes.clear();
  }
  close(fd);
  return bytes;
}

void put(std::string& to, const std::string& bytes) {
  const uint64_t n = bytes.size();
  to.append(reinterpret_cast<const char*>(&n), 8);
  to += bytes;
}

struct Reader {
  const std::string& from;
  size_t at;
  bool good = true;
  std::string next() {
    uint64_t n = 0;
    if (from.size() - at < 8) return good = false, "";
    std::memcpy(&n, from.data() + at, 8);
    at += 8;
    if (from.size() - at < n) return good = false, "";
    at += n;
    return from.substr(at - n, n);
  }
};

}  // namespace

std::string digest(const std::string& bytes) {
  char text[kDigits + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash_of(bytes, 0x243f6a8885a308d3u)),
                static_cast<unsigned long long>(hash_of(bytes, 0x13198a2e03707344u)));
  return text;
}

FileCache::FileCache(const std::string& folder, std::string environment)
    : directory_(find_directory(folder)), environment_(std::move(environment)) {
  prune(directory_);
}

std::string FileCache::file(const std::string& key) const {
  return directory_.empty() ? "" : directory_ + digest(environment_ + key);
}

// magic, digest of the rest, then with their lengths: environment, key, parts.
std::optional<std::vector<std::string>> FileCache::load(const std::string& key, size_t count) const {
  if (directory_.empty()) return {};
  const std::string bytes = read_file(file(key));
  const size_t head = sizeof kMagic - 1 + kDigits;
  if (bytes.size() < head || bytes.compare(0, sizeof kMagic - 1, kMagic) != 0) return {};
  if (bytes.compare(sizeof kMagic - 1, kDigits, digest(bytes.substr(head))) != 0) return {};
  Reader r{bytes, head};
  if (r.next() != environment_ || r.next() != key) return {};
  std::vector<std::string> parts;
  for (size_t i = 0; i < count; ++i) parts.push_back(r.next());
  if (!r.good || r.at != bytes.size()) return {};
  return parts;
}

void FileCache::save(const std::string& key, const std::vector<std::string>& parts) const {
  if (directory_.empty()) return;
  std::string body;
  put(body, environment_), put(body, key);
  for (const std::string& part : parts) put(body, part);
  if (body.size() > kMostBytes) return;
  const std::string bytes = kMagic + digest(body) + body;
  std::string temporary = directory_ + kTemporary + "XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);  // mode 0600
  if (fd < 0) return;
  const bool written = write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  if (close(fd) || !written || rename(temporary.c_str(), file(key).c_str())) unlink(temporary.c_str());
}

}  // namespace anygpu
