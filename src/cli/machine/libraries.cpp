#include "cli/machine/libraries.h"

#include <elf.h>
#include <fnmatch.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

namespace anygpu::cli {

Libraries::Libraries(const System& sys) : sys_(sys) {
  if (sys.live())
    if (const char* path = std::getenv("LD_LIBRARY_PATH"))
      for (const auto& folder : split(path, ':'))
        if (folder.starts_with('/')) folders_.push_back(folder);
  configure("/etc/ld.so.conf", 0);
  folders_.insert(folders_.end(), configured_.begin(), configured_.end());
  // /usr first: where /lib is a link to /usr/lib, the path without a link is the one to show.
  for (const char* folder : {"/usr/lib/x86_64-linux-gnu", "/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib/aarch64-linux-gnu",
                             "/usr/lib64", "/lib64", "/usr/lib", "/lib", "/usr/local/lib", "/run/opengl-driver/lib"})
    folders_.emplace_back(folder);
  if (sys.exists("/etc/ld.so.cache")) cache_ = sys.read("/etc/ld.so.cache", 8 * 1024 * 1024).text;
}

void Libraries::configure(const std::string& file, int depth) {
  if (depth > 4 || configured_.size() > 256) return;
  for (auto row : split(sys_.read(file).text, '\n')) {
    row = trim(std::string_view(row).substr(0, row.find('#')));
    if (row.starts_with("include ") || row.starts_with("include\t")) {
      std::string pattern = trim(std::string_view(row).substr(8));
      if (!pattern.starts_with('/')) pattern = file.substr(0, file.rfind('/') + 1) + pattern;
      const std::string folder = pattern.substr(0, pattern.rfind('/'));
      for (const auto& name : sys_.list(folder))
        if (::fnmatch(pattern.c_str() + folder.size() + 1, name.c_str(), 0) == 0) configure(folder + "/" + name, depth + 1);
    } else if (row.starts_with('/')) {
      while (row.size() > 1 && row.back() == '/') row.pop_back();
      configured_.push_back(row);
    }
  }
}

std::optional<std::string> Libraries::place(const std::string& name) const {
  if (name.starts_with('/')) return sys_.exists(name) ? std::optional(name) : std::nullopt;
  if (name.empty()) return std::nullopt;
  for (const auto& folder : folders_)
    if (sys_.exists(folder + "/" + name)) return folder + "/" + name;
  return std::nullopt;
}

std::optional<std::string> Libraries::find(const std::string& name) const {
  const auto path = place(name);
  return path ? sys_.resolve(*path) : std::nullopt;
}

bool Libraries::configured(const std::string& folder) const {
  return std::find(configured_.begin(), configured_.end(), folder) != configured_.end();
}

bool Libraries::cached(const std::string& folder) const {
  return cache_.empty() || cache_.find(folder + "/") != std::string::npos;  // its strings are plain
}

std::vector<std::string> Libraries::needed(const std::string& path) const {
  const std::string head = sys_.read_range(path, 0, sizeof(Elf64_Ehdr)).text;
  Elf64_Ehdr header;
  if (head.size() < sizeof header) return {};
  std::memcpy(&header, head.data(), sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0 || header.e_ident[EI_CLASS] != ELFCLASS64 ||
      header.e_ident[EI_DATA] != ELFDATA2LSB || header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum > 128)
    return {};
  const std::string table = sys_.read_range(path, header.e_phoff, size_t{header.e_phnum} * sizeof(Elf64_Phdr)).text;
  std::vector<Elf64_Phdr> segments(table.size() / sizeof(Elf64_Phdr));
  if (!segments.empty()) std::memcpy(segments.data(), table.data(), segments.size() * sizeof(Elf64_Phdr));
  std::string dynamic;
  for (const auto& segment : segments)
    if (segment.p_type == PT_DYNAMIC && segment.p_filesz < 1024 * 1024)
      dynamic = sys_.read_range(path, segment.p_offset, segment.p_filesz).text;
  std::vector<uint64_t> names;
  uint64_t strings = 0;
  for (size_t at = 0; at + sizeof(Elf64_Dyn) <= dynamic.size(); at += sizeof(Elf64_Dyn)) {
    Elf64_Dyn entry;
    std::memcpy(&entry, dynamic.data() + at, sizeof entry);
    if (entry.d_tag == DT_NULL) break;
    if (entry.d_tag == DT_NEEDED) names.push_back(entry.d_un.d_val);
    if (entry.d_tag == DT_STRTAB) strings = entry.d_un.d_ptr;
  }
  // The table's address, as an offset into the file.
  uint64_t offset = 0;
  for (const auto& segment : segments)
    if (segment.p_type == PT_LOAD && strings >= segment.p_vaddr && strings - segment.p_vaddr < segment.p_filesz)
      offset = strings - segment.p_vaddr + segment.p_offset;
  if (offset == 0 || names.size() > 256) return {};
  std::vector<std::string> found;
  for (const uint64_t name : names) {
    const std::string text = sys_.read_range(path, offset + name, 256).text;
    if (const size_t end = text.find('\0'); end != std::string::npos && end > 0) found.push_back(text.substr(0, end));
  }
  return found;
}

}  // namespace anygpu::cli
