// Shared libraries as the dynamic linker would find them, and what they need.
#pragma once

#include "cli/machine/system.h"

namespace anygpu::cli {

class Libraries {
 public:
  explicit Libraries(const System&);

  /// The path, with no link left in it, of "libx.so.1" or of an absolute path; nothing where the linker would not find it.
  std::optional<std::string> find(const std::string& name) const;
  /// As find, but the path that the linker would open, links and all.
  std::optional<std::string> place(const std::string& name) const;
  /// Whether the configuration of the linker names the folder.
  bool configured(const std::string& folder) const;
  /// Whether its cache, which is what counts, has a library of the folder. True where there is no cache to judge by.
  bool cached(const std::string& folder) const;

  /// Names that an ELF file says it needs (DT_NEEDED); empty for another kind of file.
  std::vector<std::string> needed(const std::string& path) const;

 private:
  void configure(const std::string& file, int depth);

  const System& sys_;
  std::vector<std::string> configured_, folders_;
  std::string cache_;
};

}  // namespace anygpu::cli
