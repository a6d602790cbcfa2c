#include "backends/interface/backend.h"

namespace anygpu {

namespace {

class Reached : public Completion {
 public:
  bool reached() const override { return true; }
  void wait() override {}
};

}  // namespace

std::vector<StepFailure> Program::run(const Bindings& bindings, std::vector<StepTime>* times) {
  const std::unique_ptr<Completion> done = submit(bindings, times != nullptr);
  done->wait();
  if (times) *times = std::move(done->times);
  return std::move(done->failures);
}

std::unique_ptr<Completion> BlockingProgram::submit(const Bindings& bindings, bool timed) {
  auto done = std::make_unique<Reached>();
  done->failures = run_steps(bindings, timed ? &done->times : nullptr);
  return done;
}

}  // namespace anygpu
