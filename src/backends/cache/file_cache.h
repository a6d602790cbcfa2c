// What backends compile, on disk, so that the second start of a program compiles nothing.
//
// ~/.cache/anygpu/<folder> (or $XDG_CACHE_HOME/anygpu/<folder>, or $ANYGPU_CACHE_DIR/<folder>; ANYGPU_CACHE_DIR= turns it off). One file
// an entry, named after its environment and key. Files are private to the user, written apart and renamed into place, and checksummed: one
// that is damaged, foreign, or writable by others is as good as none.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace anygpu {

/// 128 bits of `bytes`, as 32 hexadecimal digits. Not for secrets.
std::string digest(const std::string& bytes);

class FileCache {
 public:
  /// environment: what shapes every entry besides its key, such as versions. Makes the folder; past 256 MiB, the oldest half of its entries
  /// goes, and nothing else.
  FileCache(const std::string& folder, std::string environment);

  /// The file that holds a key's entry, or "" where nothing is kept.
  std::string file(const std::string& key) const;
  /// The `count` parts that were saved. Never throws: what cannot be read is not there.
  std::optional<std::vector<std::string>> load(const std::string& key, size_t count) const;
  /// Never throws: what cannot be written is left out.
  void save(const std::string& key, const std::vector<std::string>& parts) const;

 private:
  std::string directory_;  // with a final '/', or "" where nothing is kept
  std::string environment_;
};

}  // namespace anygpu
