// The files of a machine, or of a recorded tree of one: all that the probes see.
#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace anygpu::cli {

/// What became of reading a file.
enum class Read { Ok, Absent, Denied, TooLarge, NotAFile, Loop, OutOfTime };

/// For a report: "it is no plain file", ...
const char* describe(Read);

struct Text {
  Read state = Read::Absent;
  std::string text;  ///< empty unless Ok
  explicit operator bool() const { return state == Read::Ok; }
};

/// A file's owner and mode. For device nodes in a recorded tree, what the tree's list says of them.
struct Node {
  unsigned mode = 0;  ///< type and permission bits
  unsigned uid = 0, gid = 0;
};

/// A limit of time; ANYGPU_DOCTOR_SECONDS, where that is set, in the place of each: there are slow machines.
std::chrono::milliseconds patience(std::chrono::milliseconds usual);

/// Reads below one root and never outside of it: links are followed here, component by component, with absolute targets taken from the
/// root, so that a link out of a recorded tree leads to the tree's own file. Opens plain files only (a fifo would block), reads at most
/// a bound, and answers OutOfTime once its time is spent: garbage costs a bounded time.
///
/// A recorded tree cannot hold device nodes without root; its file `.anygpu-nodes` lists them, "path mode uid gid" a line, mode in octal.
class System {
 public:
  /// "/" is the machine itself. Throws std::invalid_argument where `root` is no folder.
  explicit System(const std::string& root, std::chrono::milliseconds time = patience(std::chrono::milliseconds(1500)));

  bool live() const { return root_.empty(); }

  Text read(std::string_view path, size_t bound = 256 * 1024) const;
  /// The bytes [at, at + size) of a file; fewer at its end.
  Text read_range(std::string_view path, size_t at, size_t size) const;
  /// The first line, without its end; empty where there is none.
  std::string line(std::string_view path) const;
  bool exists(std::string_view path) const;
  /// Names in a folder, sorted, without . and ..; empty where there is none.
  std::vector<std::string> list(std::string_view path) const;
  /// The path with no link left in it, as seen from the root.
  std::optional<std::string> resolve(std::string_view path) const;
  /// Last component of what a link points to.
  std::string link_name(std::string_view path) const;
  std::optional<Node> node(std::string_view path) const;
  /// Whether the user of /proc/self/status under the root may read and write it; on the machine itself the kernel is asked.
  bool usable(std::string_view path) const;

  /// Reads that failed for another reason than absence: "path: why".
  const std::vector<std::string>& trouble() const { return trouble_; }
  bool out_of_time() const;

 private:
  Read walk(std::string_view path, std::string& resolved) const;
  void complain(std::string_view path, Read) const;
  Text read_resolved(std::string_view path, size_t at, size_t size, bool whole) const;

  std::string root_;  // empty for "/"
  std::chrono::steady_clock::time_point deadline_;
  std::map<std::string, Node, std::less<>> nodes_;
  mutable std::vector<std::string> trouble_;
};

/// Lower case, for comparisons.
std::string lower(std::string);
/// Without white space at both ends.
std::string trim(std::string_view);
std::vector<std::string> split(std::string_view, char at);
std::vector<std::string> words(std::string_view);
/// The value of a line "key<separator>value" of a file such as os-release or uevent, without quotes.
std::string value_of(std::string_view text, std::string_view key, char separator = '=');

}  // namespace anygpu::cli
