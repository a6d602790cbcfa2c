#include "cli/cdi/write.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace anygpu::cli {

void write_by_rename(const std::string& path, const std::string& text) {
  const auto fail = [&](const char* what) {
    const int error = errno;
    throw CannotWrite("[cdi] " + path + ": " + what + ": " + std::strerror(error) +
                      (error == EACCES || error == EPERM ? "; with sudo, or elsewhere: --output FILE" : "; elsewhere: --output FILE"));
  };
  const std::filesystem::path target(path);
  const std::filesystem::path folder = target.has_parent_path() ? target.parent_path() : ".";
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    errno = error.value();
    fail("its folder cannot be made");
  }
  // Not .json and not .yaml: runtimes that read the folder meanwhile pass it over.
  std::string temporary = (folder / ("." + target.filename().string() + ".XXXXXX")).string();
  const int fd = ::mkstemp(temporary.data());
  if (fd < 0) fail("cannot be written");
  size_t done = 0;
  bool good = ::fchmod(fd, 0644) == 0;
  while (good && done < text.size()) {
    const ssize_t n = ::write(fd, text.data() + done, text.size() - done);
    if (n < 0 && errno == EINTR) continue;
    good = n > 0;
    if (good) done += static_cast<size_t>(n);
  }
  good = good && ::fsync(fd) == 0;
  const int kept = errno;
  ::close(fd);
  errno = kept;
  if (!good || ::rename(temporary.c_str(), path.c_str()) != 0) {
    const int why = errno;
    ::unlink(temporary.c_str());
    errno = why;
    fail("cannot be written");
  }
}

}  // namespace anygpu::cli
