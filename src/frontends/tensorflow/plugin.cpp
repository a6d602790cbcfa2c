// The device, as TensorFlow's StreamExecutor C API wants it: memory whose addresses are opaque, copies, one stream. What is queued runs in
// the order in which it was recorded whatever the stream, copies to the host wait by themselves, and copies from it are done when they
// return: so an event has nothing to wait for.
#include <cstdlib>
#include <cstring>
#include <new>

#include "anygpu/addresses.h"
#include "anygpu/calls/pointwise.h"
#include "kernel.h"
#include "recorder.h"
#include "tensorflow/c/experimental/stream_executor/stream_executor.h"

struct SP_Stream_st {};
struct SP_Event_st {};
struct SP_Timer_st {};

namespace anygpu::tensorflow_frontend {

namespace {

Device& device_of(const SP_Device* d) {
  return *static_cast<Device*>(d->device_handle);
}

/// Runs f(); what it throws becomes the status.
template <class F>
void guarded(TF_Status* status, F&& f) {
  try {
    f();
    TF_SetStatus(status, TF_OK, "");
  } catch (const Error& e) {
    TF_SetStatus(status, e.kind() == ErrorKind::OutOfMemory ? TF_RESOURCE_EXHAUSTED : TF_INTERNAL, e.what());
  } catch (const std::exception& e) {
    TF_SetStatus(status, TF_INTERNAL, e.what());
  }
}

// ---- memory ----

void allocate(const SP_Device* d, uint64_t size, int64_t, SP_DeviceMemoryBase* mem) {
  mem->struct_size = SP_DEVICE_MEMORY_BASE_STRUCT_SIZE;
  mem->ext = nullptr;
  mem->opaque = nullptr;
  mem->size = mem->payload = 0;
  for (bool again : {true, false}) {
    try {
      mem->opaque = allocate_block(device_of(d), static_cast<int64_t>(size))->address;
      mem->size = size;
      return;
    } catch (const std::exception&) {
      // What waits to be recorded holds its intermediates.
      if (again) Recorder::of(device_of(d)).finish();
    }
  }
}

void deallocate(const SP_Device*, SP_DeviceMemoryBase* mem) {
  if (Block* block = find_block(mem->opaque)) release_block(block);
}

void* host_allocate(const SP_Device*, uint64_t size) {
  return std::aligned_alloc(64, (size + 63) / 64 * 64);
}
void host_deallocate(const SP_Device*, void* mem) {
  std::free(mem);
}

TF_Bool allocator_stats(const SP_Device* d, SP_AllocatorStats* stats) {
  const MemoryStats m = device_of(d).memory_stats();
  stats->num_allocs = m.allocations;
  stats->bytes_in_use = m.allocated;
  stats->peak_bytes_in_use = m.allocated_peak;
  stats->bytes_reserved = m.reserved;
  stats->peak_bytes_reserved = m.reserved_peak;
  stats->has_bytes_limit = 1;
  stats->bytes_limit = m.limit ? m.limit : device_of(d).info().memory_bytes;
  return 1;
}

TF_Bool memory_usage(const SP_Device* d, int64_t* free, int64_t* total) {
  const MemoryStats m = device_of(d).memory_stats();
  *total = m.limit ? m.limit : device_of(d).info().memory_bytes;
  *free = *total - m.allocated;
  return 1;
}

// ---- copies ----

Place place_of(const SP_DeviceMemoryBase* mem) {
  const Place p = find_place(mem->opaque);
  if (!p.buffer) throw Error(ErrorKind::Internal, "[tensorflow] memory that this device did not allocate");
  return p;
}

void to_host(const SP_Device* d, void* dst, const SP_DeviceMemoryBase* src, uint64_t size, TF_Status* status) {
  guarded(status, [&] {
    if (size == 0) return;
    const Place p = place_of(src);
    Recorder& recorder = Recorder::of(device_of(d));
    recorder.need(*p.buffer);
    device_of(d).download(*p.buffer, p.offset, dst, static_cast<int64_t>(size));
    if (std::exception_ptr e = recorder.take_error()) std::rethrow_exception(e);
  });
}

void from_host(const SP_Device* d, SP_DeviceMemoryBase* dst, const void* src, uint64_t size, TF_Status* status) {
  guarded(status, [&] {
    if (size == 0) return;
    const Place p = place_of(dst);
    Recorder::of(device_of(d)).touch(*p.buffer);
    device_of(d).upload(*p.buffer, p.offset, src, static_cast<int64_t>(size));
  });
}

/// `size` bytes as elements of the widest integers that fit.
struct Bytes {
  DType unit;
  int64_t n;
  static constexpr int64_t one = 1;
  Bytes(int64_t any, int64_t size) : unit(any % 8 == 0 ? DType::I64 : any % 4 == 0 ? DType::I32 : DType::U8), n(size / size_of(unit)) {}
  ViewArg at(const Place& p) const { return ViewArg(p.buffer, unit, p.offset / size_of(unit), 1, &n, &one); }
};

void within(const SP_Device* d, SP_DeviceMemoryBase* dst, const SP_DeviceMemoryBase* src, uint64_t size, TF_Status* status) {
  guarded(status, [&] {
    if (size == 0) return;
    const Place to = place_of(dst), from = place_of(src);
    const auto bytes = static_cast<int64_t>(size);
    const Bytes units(to.offset | from.offset | bytes, bytes);
    Recorder::of(device_of(d)).now([&] { calls::record(calls::copy(units.at(to), units.at(from))); });
  });
}

void fill(const SP_Device* d, SP_DeviceMemoryBase* dst, uint32_t pattern, uint64_t size, DType unit, TF_Status* status) {
  guarded(status, [&] {
    if (size == 0) return;
    const Place p = place_of(dst);
    const int64_t n = static_cast<int64_t>(size) / size_of(unit), one = 1;
    const ViewArg view(p.buffer, unit, p.offset / size_of(unit), 1, &n, &one);
    Recorder::of(device_of(d)).now([&] { calls::record(calls::fill(view, static_cast<int64_t>(pattern))); });
  });
}

void synchronize(const SP_Device* d, TF_Status* status) {
  guarded(status, [&] {
    Recorder& recorder = Recorder::of(device_of(d));
    recorder.finish();
    device_of(d).synchronize();
    if (std::exception_ptr e = recorder.take_error()) std::rethrow_exception(e);
  });
}

void ok(TF_Status* status) {
  TF_SetStatus(status, TF_OK, "");
}

SP_StreamExecutor executor_functions() {
  SP_StreamExecutor e{};
  e.struct_size = SP_STREAMEXECUTOR_STRUCT_SIZE;
  e.allocate = allocate;
  e.deallocate = deallocate;
  e.host_memory_allocate = host_allocate;
  e.host_memory_deallocate = host_deallocate;
  e.get_allocator_stats = allocator_stats;
  e.device_memory_usage = memory_usage;
  e.create_stream = [](const SP_Device*, SP_Stream* s, TF_Status* status) {
    *s = new SP_Stream_st;
    ok(status);
  };
  e.destroy_stream = [](const SP_Device*, SP_Stream s) { delete s; };
  e.create_stream_dependency = [](const SP_Device*, SP_Stream, SP_Stream, TF_Status* status) { ok(status); };
  e.get_stream_status = [](const SP_Device*, SP_Stream, TF_Status* status) { ok(status); };
  e.create_event = [](const SP_Device*, SP_Event* event, TF_Status* status) {
    *event = new SP_Event_st;
    ok(status);
  };
  e.destroy_event = [](const SP_Device*, SP_Event event) { delete event; };
  e.get_event_status = [](const SP_Device*, SP_Event) { return SE_EVENT_COMPLETE; };
  e.record_event = [](const SP_Device*, SP_Stream, SP_Event, TF_Status* status) { ok(status); };
  e.wait_for_event = [](const SP_Device*, SP_Stream, SP_Event, TF_Status* status) { ok(status); };
  e.block_host_for_event = [](const SP_Device*, SP_Event, TF_Status* status) { ok(status); };
  e.create_timer = [](const SP_Device*, SP_Timer* timer, TF_Status* status) {
    *timer = new SP_Timer_st;
    ok(status);
  };
  e.destroy_timer = [](const SP_Device*, SP_Timer timer) { delete timer; };
  e.start_timer = [](const SP_Device*, SP_Stream, SP_Timer, TF_Status* status) { ok(status); };
  e.stop_timer = [](const SP_Device*, SP_Stream, SP_Timer, TF_Status* status) { ok(status); };
  e.memcpy_dtoh = [](const SP_Device* d, SP_Stream, void* dst, const SP_DeviceMemoryBase* src, uint64_t size, TF_Status* status) {
    to_host(d, dst, src, size, status);
  };
  e.memcpy_htod = [](const SP_Device* d, SP_Stream, SP_DeviceMemoryBase* dst, const void* src, uint64_t size, TF_Status* status) {
    from_host(d, dst, src, size, status);
  };
  e.memcpy_dtod = [](const SP_Device* d, SP_Stream, SP_DeviceMemoryBase* dst, const SP_DeviceMemoryBase* src, uint64_t size,
                     TF_Status* status) { within(d, dst, src, size, status); };
  e.sync_memcpy_dtoh = to_host;
  e.sync_memcpy_htod = from_host;
  e.sync_memcpy_dtod = within;
  e.block_host_until_done = [](const SP_Device* d, SP_Stream, TF_Status* status) { synchronize(d, status); };
  e.synchronize_all_activity = synchronize;
  e.mem_zero = [](const SP_Device* d, SP_Stream, SP_DeviceMemoryBase* dst, uint64_t size, TF_Status* status) {
    fill(d, dst, 0, size, DType::U8, status);
  };
  e.memset = [](const SP_Device* d, SP_Stream, SP_DeviceMemoryBase* dst, uint8_t pattern, uint64_t size, TF_Status* status) {
    fill(d, dst, pattern, size, DType::U8, status);
  };
  e.memset32 = [](const SP_Device* d, SP_Stream, SP_DeviceMemoryBase* dst, uint32_t pattern, uint64_t size, TF_Status* status) {
    fill(d, dst, pattern, size, DType::I32, status);
  };
  e.host_callback = [](const SP_Device*, SP_Stream, SE_StatusCallbackFn f, void* arg) -> TF_Bool {
    TF_Status* status = TF_NewStatus();
    f(arg, status);
    TF_DeleteStatus(status);
    return 1;
  };
  return e;
}

// ---- the platform ----

void create_device(const SP_Platform*, SE_CreateDeviceParams* params, TF_Status* status) {
  guarded(status, [&] {
    Device& device = Device::get(params->ordinal);
    SP_Device& d = *params->device;
    d.struct_size = SP_DEVICE_STRUCT_SIZE;
    d.ordinal = params->ordinal;
    d.device_handle = &device;
    d.hardware_name = device.info().name.c_str();
    d.device_vendor = device.info().backend.c_str();
    d.pci_bus_id = "";
  });
}

void create_device_fns(const SP_Platform*, SE_CreateDeviceFnsParams* params, TF_Status* status) {
  params->device_fns->struct_size = SP_DEVICE_FNS_STRUCT_SIZE;
  params->device_fns->get_numa_node = [](const SP_Device*) { return int32_t{-1}; };
  params->device_fns->get_memory_bandwidth = [](const SP_Device*) { return int64_t{-1}; };
  params->device_fns->get_gflops = [](const SP_Device*) { return -1.0; };
  ok(status);
}

uint64_t timer_nanoseconds(SP_Timer) {
  return 0;
}

}  // namespace

}  // namespace anygpu::tensorflow_frontend

extern "C" {

/// TensorFlow calls these where it finds the library.
ANYGPU_API void SE_InitPlugin(SE_PlatformRegistrationParams* params, TF_Status* status) {
  using namespace anygpu;
  using namespace anygpu::tensorflow_frontend;
  SP_Platform& platform = *params->platform;
  platform.struct_size = SP_PLATFORM_STRUCT_SIZE;
  platform.name = "ANYGPU";
  platform.type = "GPU";
  platform.supports_unified_memory = 0;
  platform.use_bfc_allocator = 0;  // every tensor is a Buffer
  platform.force_memory_growth = 1;
  SP_PlatformFns& fns = *params->platform_fns;
  fns.struct_size = SP_PLATFORM_FNS_STRUCT_SIZE;
  fns.get_device_count = [](const SP_Platform*, int* count, TF_Status* s) {
    *count = Device::count();
    ok(s);
  };
  fns.create_device = create_device;
  fns.destroy_device = [](const SP_Platform*, SP_Device*) {};
  fns.create_device_fns = create_device_fns;
  fns.destroy_device_fns = [](const SP_Platform*, SP_DeviceFns*) {};
  fns.create_stream_executor = [](const SP_Platform*, SE_CreateStreamExecutorParams* p, TF_Status* s) {
    *p->stream_executor = executor_functions();
    ok(s);
  };
  fns.destroy_stream_executor = [](const SP_Platform*, SP_StreamExecutor*) {};
  fns.create_timer_fns = [](const SP_Platform*, SP_TimerFns* t, TF_Status* s) {
    t->nanoseconds = timer_nanoseconds;
    ok(s);
  };
  fns.destroy_timer_fns = [](const SP_Platform*, SP_TimerFns*) {};
  params->destroy_platform = [](SP_Platform*) {};
  params->destroy_platform_fns = [](SP_PlatformFns*) {};
  ok(status);
}

ANYGPU_API void TF_InitKernel() {
  anygpu::tensorflow_frontend::register_kernels();
  anygpu::tensorflow_frontend::run_compiled_functions_as_they_are();
}
}
