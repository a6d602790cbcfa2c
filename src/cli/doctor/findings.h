// What the doctor found: a line a link of a chain.
#pragma once

#include <string>
#include <vector>

namespace anygpu::cli {

enum class Status { Pass, Info, Warn, Fail };

struct Finding {
  Status status;
  std::string chain;  ///< "WSL", "kernel", "Vulkan", ...: links of one chain depend on those before them
  std::string link;   ///< "/dev/dxg"
  std::string found;
  std::string mend;   ///< a command to type, or what to do; empty for Pass and Info
  std::string guide;  ///< anchor in the guide; empty for Pass and Info
};

class Findings {
 public:
  void pass(std::string chain, std::string link, std::string found) {
    add({Status::Pass, std::move(chain), std::move(link), std::move(found), {}, {}});
  }
  /// A fact that is neither right nor wrong.
  void info(std::string chain, std::string link, std::string found) {
    add({Status::Info, std::move(chain), std::move(link), std::move(found), {}, {}});
  }
  /// Slower or less than it could be, or wrong where no chain of this machine needs it.
  void warn(std::string chain, std::string link, std::string found, std::string mend, std::string guide) {
    add({Status::Warn, std::move(chain), std::move(link), std::move(found), std::move(mend), std::move(guide)});
  }
  /// A chain of this machine is broken here.
  void fail(std::string chain, std::string link, std::string found, std::string mend, std::string guide) {
    add({Status::Fail, std::move(chain), std::move(link), std::move(found), std::move(mend), std::move(guide)});
  }
  const std::vector<Finding>& all() const { return all_; }
  int count(Status status) const {
    int n = 0;
    for (const auto& finding : all_) n += finding.status == status;
    return n;
  }

 private:
  void add(Finding finding) { all_.push_back(std::move(finding)); }
  std::vector<Finding> all_;
};

}  // namespace anygpu::cli
