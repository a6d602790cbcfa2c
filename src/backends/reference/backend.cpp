// The oracle: everything interpreted, on host memory.
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <variant>

#include "backends/reference/entry.h"
#include "backends/reference/interpreter.h"

namespace anygpu::reference {
namespace {

class ReferenceProgram : public BlockingProgram {
 public:
  explicit ReferenceProgram(std::span<const ir::Step> steps) {
    for (const ir::Step& step : steps) {
      if (const auto* g = std::get_if<ir::Generic>(&step)) {
        steps_.emplace_back(Interpreter(*g));
      } else {
        ir::verify(std::get<ir::Named>(step));
        steps_.emplace_back(std::get<ir::Named>(step));
      }
    }
  }

  int64_t launches() const override { return static_cast<int64_t>(steps_.size()); }

 protected:
  std::vector<StepFailure> run_steps(const Bindings& bindings, std::vector<StepTime>* times) override {
    std::vector<StepFailure> failures;
    if (times) times->clear();
    for (size_t i = 0; i < steps_.size(); ++i) {
      const double begin = now_us();
      if (bindings.leaves_out(i, 1, failures)) {
        if (times) times->push_back({begin, begin});
        continue;
      }
      try {
        if (auto* g = std::get_if<Interpreter>(&steps_[i])) {
          if (const ir::FaultReport report = g->run(bindings))
            failures.push_back(failed_check(static_cast<int32_t>(i), g->name(), report));
        } else {
          run_named(std::get<ir::Named>(steps_[i]), bindings);
        }
      } catch (const Error& e) {
        failures.push_back({static_cast<int32_t>(i), e});
      }
      if (times) times->push_back({begin, now_us()});
    }
    return failures;
  }

 private:
  std::vector<std::variant<Interpreter, ir::Named>> steps_;
};

class ReferenceBackend : public Backend {
 public:
  DeviceInfo describe() const override {
    return {"reference interpreter", "reference", "anygpu", static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE)};
  }

  Memory allocate(int64_t bytes) override {
    const int64_t rounded = std::max<int64_t>(64, (bytes + 63) / 64 * 64);
    void* p = std::aligned_alloc(64, static_cast<size_t>(rounded));
    if (!p) throw Error(ErrorKind::OutOfMemory, "[reference] could not allocate " + std::to_string(bytes) + " bytes");
    return {p, 0, bytes};
  }
  void release(Memory m) override { std::free(m.handle); }
  void write(Memory dst, int64_t at, const void* src, int64_t bytes) override {
    if (bytes) std::memcpy(static_cast<char*>(dst.handle) + dst.offset + at, src, static_cast<size_t>(bytes));
  }
  void read(Memory src, int64_t at, void* dst, int64_t bytes) override {
    if (bytes) std::memcpy(dst, static_cast<const char*>(src.handle) + src.offset + at, static_cast<size_t>(bytes));
  }
  char* host_address(Memory m) const override { return static_cast<char*>(m.handle) + m.offset; }

  int64_t moves_by(int64_t) const override { return 1; }
  bool is_host_memory() const override { return true; }
  bool supports(const ir::Named&) const override { return true; }
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps, std::span<const StepGroup>) override {
    return std::make_unique<ReferenceProgram>(steps);
  }
  int64_t kernels_compiled() const override { return 0; }
};

}  // namespace

const BackendEntry entry{"reference", [] { return DeviceCount{.all = 1}; },
                         [](int) -> std::unique_ptr<Backend> { return std::make_unique<ReferenceBackend>(); }};

}  // namespace anygpu::reference
