// Tuner: ways to do one thing, measured on the device's own clock, checked, and kept on disk.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "anygpu/buffer.h"
#include "backends/cache/file_cache.h"
#include "chooser.h"
#include "tuner_file.h"

namespace anygpu::gpu {

/// Launches made ready to be run again and again.
class Trial {
 public:
  virtual ~Trial() = default;
  /// Runs them all, and waits.
  virtual void run(std::span<const Memory> slots) = 0;
  /// Microseconds of the last run, on the device's clock.
  virtual double device_us() const = 0;
  virtual int64_t launches() const = 0;
};

/// A device, as far as a Tuner needs one.
class Bench {
 public:
  virtual ~Bench() = default;
  virtual Memory allocate(int64_t bytes) = 0;
  virtual void release(Memory) = 0;
  virtual void write(Memory dst, const void* src, int64_t bytes) = 0;
  virtual void read(Memory src, void* dst, int64_t bytes) = 0;
  virtual std::unique_ptr<Trial> prepare(const std::string& name, std::vector<Compiled>) = 0;
};

class Tuner : public Chooser {
 public:
  struct Settings {
    std::string device;         ///< name and driver
    bool measures = false;      ///< else only what is known already is chosen
    std::string folder;         ///< of the cache that keeps winners
    std::string file_variable;  ///< of the environment: where it is set, winners are kept in the text file that it names
  };
  Tuner(std::unique_ptr<Bench>, Settings);

  /// ways[0] is what the others are held against, ways[1] what is taken where nothing can be measured.
  size_t choose(const std::string& key, std::span<const Way> ways, const ir::Named& timed, const ir::Named& checked) override;

  int64_t measured() const { return measured_; }  ///< keys, by this process
  int64_t refused() const { return refused_; }    ///< ways that computed something else
  std::string file() const;                       ///< where winners are kept, or ""

  /// How long ways take, in microseconds; tests put what does not depend on speed here.
  struct Clock {
    std::function<double(const Trial&)> last_run;
    double patience;  ///< for all ways of a key; those that are not reached by then are left out
  };
  Clock clock;

 private:
  class Arrays;
  size_t measure(std::span<const Way>, const ir::Named& timed, const ir::Named& checked, const std::string& key);
  void load();
  void save() const;

  const std::unique_ptr<Bench> on_;
  const Settings settings_;
  std::optional<FileCache> files_;
  std::string named_file_;
  std::mutex mutex_;
  Winners winners_;
  int64_t measured_ = 0, refused_ = 0;
};

}  // namespace anygpu::gpu
