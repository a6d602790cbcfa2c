// What DistributedDataParallel logs of its steps; for a device without a Timer it warns in each process.
#include <torch/csrc/distributed/c10d/reducer_timer.hpp>

namespace anygpu::torch_frontend::distributed {
namespace {

/// Times of the calling thread: a device's own would have each step flushed where they are taken.
class HostTimer final : public c10d::Timer {
 public:
  explicit HostTimer(c10::Device) {}
  std::optional<int64_t> measureDifference(Event start, Event end) override {
    const std::optional<int64_t> from = getTimestamp(start), to = getTimestamp(end);
    return from && to && *to >= *from ? std::optional(*to - *from) : std::nullopt;
  }
};

}  // namespace
}  // namespace anygpu::torch_frontend::distributed

namespace c10d {
C10_REGISTER_TYPED_CLASS(TimerRegistry, c10::kPrivateUse1, anygpu::torch_frontend::distributed::HostTimer)
}
