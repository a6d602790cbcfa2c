// Tuner: ways to do one thing, measured on the device's own clock, checked, and kept on disk.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "backends/cache/file_cache.h"
#include "chooser.h"
#include "heap.h"
#include "tuner_file.h"

namespace anygpu::vulkan {

struct Resources;
class VulkanProgram;

class Tuner : public Chooser {
 public:
  explicit Tuner(Resources&);

  /// Whether this device's ways are to be chosen so: a GPU's, unless ANYGPU_VULKAN_TUNE=0; a software device's only with
  /// ANYGPU_VULKAN_TUNE=1.
  static bool wanted(const PhysicalDevice&);

  /// ways[0] is what the others are held against, ways[1] what is taken where nothing can be measured.
  size_t choose(const std::string& key, std::span<const Way> ways, const ir::Named& timed, const ir::Named& checked) override;

  int64_t measured() const { return measured_; }  ///< keys, by this process
  int64_t refused() const { return refused_; }    ///< ways that computed something else
  std::string file() const;                       ///< where winners are kept, or ""

  /// How long ways take, in microseconds; tests put what does not depend on speed here.
  struct Clock {
    std::function<double(const VulkanProgram&)> last_run;  ///< of the program
    double patience;                                       ///< for all ways of a key; those that are not reached by then are left out
  };
  Clock clock;

 private:
  class Arrays;
  size_t measure(std::span<const Way>, const ir::Named& timed, const ir::Named& checked, const std::string& key);
  void load();
  void save() const;

  Resources& on_;
  const std::string device_;  // name and driver, in one line
  const bool measures_;
  std::optional<FileCache> files_;
  std::string named_file_;  // ANYGPU_VULKAN_TILES
  std::mutex mutex_;
  Winners winners_;
  int64_t measured_ = 0, refused_ = 0;
};

/// Null where nothing is to be chosen by measuring.
std::unique_ptr<Tuner> make_tuner(Resources&);

}  // namespace anygpu::vulkan
