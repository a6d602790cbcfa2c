#include "allocator.h"

#include <atomic>
#include <map>
#include <mutex>

#include "anygpu/calls/pointwise.h"
#include "memory_history.h"
#include "tensor.h"

namespace anygpu::torch_frontend {

namespace {

using c10::CachingAllocator::Stat;
using c10::CachingAllocator::StatArray;

/// Where what PyTorch calls accumulated statistics begins: at the start, or at resetAccumulatedStats().
std::atomic<int64_t> asked_at_reset[kMaxDevices], allocated_at_reset[kMaxDevices];

void set_stat(StatArray& stat, int64_t current, int64_t peak, int64_t allocated, int64_t freed) {
  for (auto type : {c10::CachingAllocator::StatType::AGGREGATE, c10::CachingAllocator::StatType::LARGE_POOL}) {
    Stat& s = stat[static_cast<size_t>(type)];
    s.current = current;
    s.peak = peak;
    s.allocated = allocated;
    s.freed = freed;
  }
}

class Allocator final : public c10::DeviceAllocator {
 public:
  c10::DataPtr allocate(size_t bytes) override { return allocate_on(current_device(), bytes); }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }  // pointer and context differ

  /// Byte ranges of two live storages, by address: what Allocator::clone needs.
  void copy_data(void* dst, const void* src, size_t bytes) const override {
    if (bytes == 0) return;
    const Place to = find_place(dst), from = find_place(src);
    TORCH_CHECK(to.buffer && from.buffer, "anygpu: copy between addresses that belong to no storage");
    const int64_t size = static_cast<int64_t>(bytes), one = 1;
    record(calls::copy(ViewArg(to.buffer, DType::U8, to.offset, 1, &size, &one), ViewArg(from.buffer, DType::U8, from.offset, 1, &size, &one)));
  }

  bool initialized() override { return torch_frontend::initialized(); }
  void emptyCache(c10::MempoolId_t) override {
    for (int i = 0; i < device_count(); ++i) translated([&] { device_at(static_cast<c10::DeviceIndex>(i)).empty_cache(); });
  }
  void recordStream(const c10::DataPtr&, c10::Stream) override {}  // one queue in order: nothing can be used after it is freed

  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    const MemoryStats m = device_at(index).memory_stats();
    c10::CachingDeviceAllocator::DeviceStats s;
    const int64_t live = m.allocations - m.frees;
    set_stat(s.allocation, live, live, m.allocations, m.frees);
    set_stat(s.active, live, live, m.allocations, m.frees);
    const int64_t asked = m.requested - asked_at_reset[index].load();
    const int64_t freed = asked + allocated_at_reset[index].load() - m.allocated;
    for (StatArray* bytes : {&s.allocated_bytes, &s.active_bytes, &s.requested_bytes})
      set_stat(*bytes, m.allocated, m.allocated_peak, asked, freed);
    set_stat(s.reserved_bytes, m.reserved, m.reserved_peak, m.reserved_peak, m.reserved_peak - m.reserved);
    s.num_alloc_retries = m.retries;
    s.num_ooms = m.out_of_memory;
    return s;
  }
  void resetAccumulatedStats(c10::DeviceIndex index) override {
    const MemoryStats m = device_at(index).memory_stats();
    asked_at_reset[index] = m.requested;
    allocated_at_reset[index] = m.allocated;
  }
  void resetPeakStats(c10::DeviceIndex index) override { device_at(index).reset_peak_memory_stats(); }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    Device& device = device_at(index);
    const MemoryStats m = device.memory_stats();
    const int64_t total = m.limit ? m.limit : device.info().memory_bytes;
    return {static_cast<size_t>(std::max<int64_t>(0, total - m.allocated)), static_cast<size_t>(total)};
  }
};

}  // namespace

c10::DeviceAllocator& allocator() {
  static auto* a = new Allocator;
  return *a;
}

c10::DataPtr allocate_on(c10::DeviceIndex index, size_t bytes) {
  Device& device = device_at(index);
  try {
    Block* b = allocate_block(device, static_cast<int64_t>(bytes));
    return {b->address, b, &release_block, c10::Device(c10::DeviceType::PrivateUse1, static_cast<c10::DeviceIndex>(device.index()))};
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::OutOfMemory) memory_history::refused(static_cast<c10::DeviceIndex>(device.index()), static_cast<int64_t>(bytes));
    rethrow_as_torch(e);
  }
}

/// What storages without bytes have for a Buffer, wherever they point.
Buffer* empty_buffer(c10::DeviceIndex index) {
  static std::mutex mutex;
  static auto* made = new std::map<c10::DeviceIndex, c10::DataPtr>;  // leaked, as the pool
  std::lock_guard<std::mutex> lock(mutex);
  c10::DataPtr& p = (*made)[index];
  if (!p.get_context()) p = allocate_on(index, 0);
  return static_cast<Block*>(p.get_context())->buffer.get();
}

Place unusual_place(const c10::Storage& storage) {
  TORCH_CHECK(storage && storage.device_type() == c10::DeviceType::PrivateUse1,
              "Expected all tensors to be on the same device, but found at least two devices, anygpu and ",
              storage ? storage.device().str() : std::string("a tensor without storage"), "!");
  const c10::DataPtr& p = storage.unsafeGetStorageImpl()->data_ptr();
  if (p.get_deleter() == &release_block) return {static_cast<Block*>(p.get_context())->buffer.get(), 0};
  if (storage.nbytes() == 0) return {empty_buffer(index_of(storage.device())), 0};
  const Place place = find_place(p.get());
  TORCH_CHECK(place.buffer, "anygpu: a tensor's memory was not allocated by this device");
  return place;
}

REGISTER_ALLOCATOR(c10::DeviceType::PrivateUse1, &allocator())

}  // namespace anygpu::torch_frontend
