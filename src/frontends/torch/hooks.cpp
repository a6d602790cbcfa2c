// What PyTorch's generic code asks a device about, and the device's name. Registered when the library is loaded.
#include <ATen/detail/PrivateUse1HooksInterface.h>

#include "copy.h"
#include "pinned.h"
#include "random.h"
#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

class Hooks final : public at::PrivateUse1HooksInterface {
 public:
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return device_count() > 0; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return initialized(); }
  void init() const override { device_at(-1); }

  c10::DeviceIndex deviceCount() const override { return device_count(); }
  void setCurrentDevice(c10::DeviceIndex i) const override { c10::impl::getDeviceGuardImpl(kType)->setDevice({kType, i}); }
  c10::DeviceIndex getCurrentDevice() const override { return current_device(); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex i) const override {
    return c10::impl::getDeviceGuardImpl(kType)->exchangeDevice({kType, i}).index();
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex i) const override { return i < 0 ? current_device() : exchangeDevice(i); }

  const at::Generator& getDefaultGenerator(c10::DeviceIndex i) const override { return default_generator(i); }
  at::Generator getNewGenerator(c10::DeviceIndex i) const override { return make_generator(i); }

  at::Device getDeviceFromPtr(void* data) const override {
    Block* b = find_block(data);
    TORCH_CHECK(b, "anygpu: the pointer belongs to no tensor of this device");
    return {kType, static_cast<c10::DeviceIndex>(b->buffer->device.index())};
  }
  bool isPinnedPtr(const void* data) const override { return is_pinned(data); }
  at::Allocator* getPinnedMemoryAllocator() const override { return &host_allocator(); }
  void resizePrivateUse1Bytes(const c10::Storage& s, size_t bytes) const override { resize_storage(s.unsafeGetStorageImpl(), bytes); }
};

/// PyTorch has room for one device of this kind. If another one came first, nothing is touched here, and importing anygpu says so.
const bool registered = [] {
  if (at::isPrivateUse1HooksRegistered()) return false;
  at::RegisterPrivateUse1HooksInterface(new Hooks);  // leaked: used while the process exits
  if (!c10::is_privateuse1_backend_registered()) c10::register_privateuse1_backend("anygpu");
  return true;
}();

}  // namespace
}  // namespace anygpu::torch_frontend
