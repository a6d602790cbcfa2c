#include "anygpu/loan.h"

#include "runtime/device_impl.h"

namespace anygpu {

/// Holds a pin, not a user: whether a Buffer is dead stays a function of the program alone, never of how far a collective has come.
class LentBuffer final : public Loan {
 public:
  LentBuffer(DeviceImpl& device, Buffer& b, bool writes, uint64_t ticket)
      : device_(device), buffer_(&b), ticket_(ticket), reading_(device.executor, b, ticket, writes) {}

  void wait(bool whole) override {
    device_.executor.wait(ticket_);
    Buffer& b = *buffer_.get();
    if (!whole) throw_if_matters(b.poison);
    std::lock_guard lock(device_.mutex_);  // other readers may be here
    if (whole) b.poison = nullptr;
    if (!b.memory.handle) b.memory = device_.pool.allocate(b.bytes);
    memory_ = b.memory;
  }
  char* address() const override { return device_.backend->host_address(memory_); }
  void read(int64_t at, void* dst, int64_t bytes) const override { device_.backend->read(memory_, at, dst, bytes); }
  void write(int64_t at, const void* src, int64_t bytes) override { device_.backend->write(memory_, at, src, bytes); }
  void spoil(const Error& error) override {
    std::lock_guard lock(device_.mutex_);
    buffer_.get()->poison = std::make_shared<Failure>(error);
  }

 private:
  DeviceImpl& device_;
  const BufferPin buffer_;
  const uint64_t ticket_;
  const Executor::Reading reading_;  // ends before the pin does
  Memory memory_;
};

std::unique_ptr<Loan> DeviceImpl::lend(Buffer& b, bool writes) {
  std::lock_guard lock(mutex_);
  if (trace_.mentions(b)) flush_locked();
  b.has_bytes = true;  // from here on in the program, however long the writing takes
  return std::make_unique<LentBuffer>(*this, b, writes, b.last_run);
}

std::unique_ptr<Loan> lend(Buffer& b, bool writes) {
  if (Device::inherited())
    throw Error(ErrorKind::Value, "[device] cannot use anygpu in a forked child process; start workers with the 'spawn' method instead");
  return b.device.impl().lend(b, writes);
}

}  // namespace anygpu
