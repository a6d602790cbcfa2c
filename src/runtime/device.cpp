// Devices: which there are, and the recording side of each.
#include "anygpu/device.h"

#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include "anygpu/calls/pointwise.h"
#include "anygpu/visible.h"
#include "backends/table/table.h"
#include "core/environment.h"
#include "ops/op.h"
#include "runtime/device_impl.h"
#include "runtime/host.h"
#include "runtime/timeline.h"

namespace anygpu {

namespace {

// A Trace is flushed when it grows past either: planning time and memory stay bounded.
constexpr int kMaxCalls = 8192;
constexpr int64_t kMaxNewBytesDivisor = 2;  // of the device's memory
// A loop that updates one View and is never read is planned once for so many rounds, and then found. A training step rewrites none so
// often.
constexpr int kMaxRewrites = 64;
constexpr int kRunsInFlight = 4;
constexpr size_t kPlans = 128;  // some MiB each: a library keeps code for each shape

std::atomic<bool> forked{false};

/// Whether the kernel shows a GPU. Drivers are loaded only then: that takes a tenth of a second, and a software rasteriser is not wanted.
bool machine_has_gpu() {
  if (access("/dev/dxg", F_OK) == 0 || access("/dev/nvidiactl", F_OK) == 0) return true;
  for (int i = 128; i < 136; ++i)
    if (access(("/dev/dri/renderD" + std::to_string(i)).c_str(), F_OK) == 0) return true;
  return false;
}

/// "vulkan:1", "cpu", ...: what ANYGPU_DEVICES says, else the GPUs that there are, then the processor.
std::vector<std::string> device_names() {
  std::vector<std::string> names;
  if (const char* text = setting("ANYGPU_DEVICES")) {
    std::stringstream stream(text);
    for (std::string name; std::getline(stream, name, ',');)
      if (!name.empty()) names.push_back(name);
    return names;
  }
  if (machine_has_gpu())
    for (const BackendEntry* b : backends())
      for (int i = 0, gpus = b->count().gpus; i < gpus; ++i) names.push_back(b->name + (":" + std::to_string(i)));
  names.emplace_back(backends()[0]->name);
  return names;
}

struct Devices {
  std::vector<std::string> names = device_names();
  std::mutex mutex;
  std::vector<DeviceImpl*> made = std::vector<DeviceImpl*>(names.size());
};

Devices& devices() {
  static auto* d = new Devices;  // leaked: Buffers may outlive every static object
  return *d;
}

/// text: a backend's name, and the number of its device after a colon (0 where there is none): "vulkan:1".
std::unique_ptr<Backend> make_backend(const std::string& text) {
  const size_t colon = text.find(':');
  const std::string name = text.substr(0, colon), number = colon == std::string::npos ? "0" : text.substr(colon + 1);
  if (number.empty() || number.size() > 4 || number.find_first_not_of("0123456789") != std::string::npos)
    throw Error(ErrorKind::Value, "[device] ANYGPU_DEVICES names '" + text + "'; what follows the colon is not a number");
  if (const BackendEntry* b = find_backend(name)) return b->make(std::stoi(number));
  std::string all;
  for (const BackendEntry* b : backends()) all += (all.empty() ? "" : ", ") + std::string(b->name);
  throw Error(ErrorKind::Value, "[device] ANYGPU_DEVICES names '" + text + "', which this build does not have; it has " + all);
}

/// ANYGPU_MEMORY_LIMIT: "1500000000", "512M", "4G", a number of bytes, KiB, MiB or GiB; 0 where there is none.
int64_t bytes_named(const char* set) {
  if (!set) return 0;
  const std::string text = set;
  char* end = nullptr;
  errno = 0;
  const long long n = std::strtoll(text.c_str(), &end, 10);
  const std::string unit = end;
  const int shift = unit.empty() ? 0 : unit == "K" ? 10 : unit == "M" ? 20 : unit == "G" ? 30 : -1;
  if (end == text.c_str() || shift < 0 || n < 0 || errno == ERANGE || n > INT64_MAX >> shift)
    throw Error(ErrorKind::Value,
                "[device] ANYGPU_MEMORY_LIMIT is '" + text + "', which is no number of bytes; 4G, 512M or 1000000000 are");
  return n << shift;
}

/// The executors' threads live as long as the process: at its end they must not be in the middle of a compilation or a kernel. What is
/// recorded and not yet flushed nobody can see any more, and is not run: drivers may have let go of what they need.
void retire_executors() {
  if (forked.load(std::memory_order_relaxed)) return;
  Devices& d = devices();
  std::lock_guard lock(d.mutex);
  for (DeviceImpl* device : d.made)
    if (device) device->executor.retire();
}

}  // namespace

void settle_devices() noexcept {
  if (forked.load(std::memory_order_relaxed)) return;
  std::vector<DeviceImpl*> open;
  {
    std::lock_guard lock(devices().mutex);
    open = devices().made;
  }
  for (DeviceImpl* device : open) {
    try {
      if (device) device->settle();
    } catch (...) {  // what failed stays with the Buffers that it spoils
    }
  }
}

namespace {

void refuse_in_child() {
  if (forked.load(std::memory_order_relaxed))
    throw Error(ErrorKind::Value, "[device] cannot use anygpu in a forked child process; start workers with the 'spawn' method instead");
}

}  // namespace

const RuntimeOptions& RuntimeOptions::get() {
  static const bool blocking = switched_on("ANYGPU_BLOCKING");
  static const RuntimeOptions o{switched_on("ANYGPU_EAGER") || blocking, blocking, switched_on("ANYGPU_VERIFY"),
                                bytes_named(setting("ANYGPU_MEMORY_LIMIT"))};
  return o;
}

int Device::count() {
  return static_cast<int>(devices().names.size());
}

Device& Device::get(int index) {
  Devices& d = devices();
  if (index < 0 || index >= static_cast<int>(d.names.size()))
    throw Error(ErrorKind::Value, "[device] no device anygpu:" + std::to_string(index) + "; there are " + std::to_string(d.names.size()));
  refuse_in_child();
  std::lock_guard lock(d.mutex);
  auto& made = d.made[static_cast<size_t>(index)];
  // From the first device on, not from the first question about them: a child of a process that only asked may use its own.
  [[maybe_unused]] static const int once = pthread_atfork(nullptr, nullptr, [] { forked = true; });
  if (!made) {
    RuntimeOptions::get();  // before a backend and an executor have threads
    made = new DeviceImpl(index, make_backend(d.names[static_cast<size_t>(index)]));
    // After the libraries' own static objects were made, so before they go.
    [[maybe_unused]] static const int at_exit = std::atexit(retire_executors);
  }
  return made->device;
}

bool Device::inherited() noexcept {
  return forked.load(std::memory_order_relaxed);
}

int Device::index() const {
  return impl_->index;
}
const DeviceInfo& Device::info() const {
  return impl_->info;
}
BufferRef Device::allocate(int64_t bytes) {
  return impl_->allocate(bytes);
}
void Device::record(const Op& op, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs,
                    bool in_order) {
  impl_->record(op, views, scalars, attrs, in_order);
}
void Device::upload(Buffer& dst, int64_t at, const void* src, int64_t bytes) {
  impl_->upload(dst, at, src, bytes);
}
void Device::download(Buffer& src, int64_t at, void* dst, int64_t bytes) {
  impl_->download(src, at, dst, bytes);
}
void Device::flush() {
  impl_->flush();
}
void Device::synchronize() {
  impl_->synchronize();
}
void* host_bytes(Buffer& b) {
  return b.device.impl().host_bytes(b);
}
std::shared_ptr<Marker> Device::mark() {
  return impl_->mark();
}
MemoryStats Device::memory_stats() const {
  return impl_->memory_stats();
}
void Device::set_memory_limit(int64_t bytes) {
  impl_->limit = bytes;
}
RunStats Device::run_stats() const {
  return impl_->run_stats();
}
std::string Device::explain(int plans) {
  return impl_->explain(plans);
}
void Device::reset_peak_memory_stats() {
  impl_->allocated_peak = impl_->allocated.load();
  impl_->pool.reset_peak();
}
void Device::empty_cache() {
  impl_->synchronize();
  impl_->pool.trim();
}

void Buffer::destroy(Buffer* b) {
  if (!forked.load(std::memory_order_relaxed)) b->device.impl().pool.release(b->memory);
  delete b;
}
void Buffer::release_bytes_of_dead(Buffer* b) {
  b->device.impl().on_user_gone(*b);
}

DeviceImpl::DeviceImpl(int index, std::unique_ptr<Backend> made)
    : device(this),
      index(index),
      backend(std::move(made)),
      info(backend->describe()),
      pool(*backend),
      executor(*backend, pool, RuntimeOptions::get().verify),
      plans_(kPlans) {
  limit = RuntimeOptions::get().limit;
}

BufferRef DeviceImpl::allocate(int64_t bytes) {
  refuse_in_child();
  int64_t most = limit.load(std::memory_order_relaxed);
  if (most == 0) most = info.memory_bytes;
  int64_t now = allocated.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  if (now > most && most > 0) {
    allocated.fetch_sub(bytes);
    // Users' Buffers alone pass the limit, so waiting for the queue frees none of them: only the caches can go.
    out_of_memory.fetch_add(1);
    synchronize();
    pool.trim();
    auto mib = [](int64_t b) { return std::to_string(b / 1048576) + "." + std::to_string(b % 1048576 * 10 / 1048576) + " MiB"; };
    throw Error(ErrorKind::OutOfMemory, "[allocate] anygpu:" + std::to_string(index) + " is out of memory: tried to allocate " +
                                            mib(bytes) + ", " + mib(now - bytes) + " are in use, the limit is " + mib(most));
  }
  int64_t peak = allocated_peak.load(std::memory_order_relaxed);
  while (now > peak && !allocated_peak.compare_exchange_weak(peak, now, std::memory_order_relaxed)) {
  }
  allocations.fetch_add(1, std::memory_order_relaxed);
  requested.fetch_add(bytes, std::memory_order_relaxed);
  return BufferRef(new Buffer(device, bytes));
}

void DeviceImpl::on_user_gone(Buffer& b) {
  allocated.fetch_sub(b.bytes, std::memory_order_relaxed);
  frees.fetch_add(1, std::memory_order_relaxed);
}

void DeviceImpl::record(const Op& op, std::span<const ViewArg> views, std::span<const Scalar> scalars, std::span<const int64_t> attrs,
                        bool in_order) {
  refuse_in_child();
  std::string where = origin_of_call(ops::check_call({op, views, scalars, attrs}, lacking_));
  bool flushed = false;
  {
    std::lock_guard lock(mutex_);
    trace_.record(op, views, scalars, attrs, in_order, std::move(where));
    if (Profiler::on()) trace_.note_caller(Profiler::caller());
    ++operators_;
    const bool full =
        trace_.calls() >= kMaxCalls || trace_.rewrites() >= kMaxRewrites || trace_.new_bytes() > info.memory_bytes / kMaxNewBytesDivisor;
    if (full || RuntimeOptions::get().eager) {
      flush_locked();
      flushed = true;
    }
  }
  if (RuntimeOptions::get().blocking) return synchronize();
  if (flushed) executor.wait_for_room(kRunsInFlight);
}

std::shared_ptr<Plan> DeviceImpl::plan_locked() {
  trace_.seal(*backend);
  if (std::shared_ptr<Plan> known = plans_.find(trace_.words())) return known;
  PlanOptions options;
  options.fuse = !RuntimeOptions::get().eager;
  options.keep_unfused = RuntimeOptions::get().verify;
  const Timeline::HostSpan span("plan", trace_.calls(), "operators");
  std::shared_ptr<Plan> plan = make_plan(trace_, *backend, options);
  plans_.insert(trace_.words(), plan);
  ++plans_compiled_;
  return plan;
}

uint64_t DeviceImpl::flush_locked(bool awaited) {
  if (trace_.empty()) return last_ticket_;
  Run run;
  // Whatever happens, the next operator finds an empty Trace.
  try {
    run.plan = plan_locked();
    recent_.push_front(run.plan);
    if (recent_.size() > 16) recent_.pop_back();
  } catch (...) {
    run.plan = nullptr;
    run.lost = std::make_shared<Failure>(error_of(std::current_exception()));
  }
  ++flushes_;
  for (size_t i = 0; i < trace_.buffers().size(); ++i) {
    Buffer& b = *trace_.buffers()[i].get();
    b.last_run = last_ticket_ + 1;
    run.bases.push_back(trace_.base(static_cast<int>(i)));
    b.has_bytes |= run.plan && run.plan->slots[i].stored && run.plan->slots[i].live_after;
  }
  run.scalars = trace_.take_scalars();
  if (Profiler::on()) run.callers = trace_.take_callers();
  if (std::vector<Origin> origins = trace_.take_origins(); !origins.empty())
    run.origins = std::make_shared<const std::vector<Origin>>(std::move(origins));
  if (run.plan) run.plan->origins = run.origins;
  run.buffers = run.lost ? trace_.take_written() : trace_.take_buffers();
  trace_.clear();
  last_ticket_ = executor.submit(std::move(run), awaited);
  return last_ticket_;
}

void DeviceImpl::flush() {
  refuse_in_child();
  {
    std::lock_guard lock(mutex_);
    flush_locked();
  }
  executor.wait_for_room(kRunsInFlight);
}

void DeviceImpl::settle() {
  refuse_in_child();
  uint64_t ticket;
  {
    std::lock_guard lock(mutex_);
    ticket = flush_locked(true);
  }
  executor.wait(ticket);
}

void DeviceImpl::synchronize() {
  settle();
  executor.throw_untold(false);
}

std::shared_ptr<Marker> DeviceImpl::mark() {
  refuse_in_child();
  auto marker = std::make_shared<QueueMarker>(executor);
  std::lock_guard lock(mutex_);
  flush_locked();
  Run run;
  run.marker = marker;
  last_ticket_ = executor.submit(std::move(run));
  return marker;
}

void DeviceImpl::upload(Buffer& dst, int64_t at, const void* src, int64_t bytes) {
  refuse_in_child();
  if (at < 0 || bytes < 0 || at + bytes > dst.bytes)
    throw Error(ErrorKind::Internal, "[upload] bytes " + std::to_string(at) + " to " + std::to_string(at + bytes) + " of a buffer of " +
                                         std::to_string(dst.bytes));
  if (bytes == 0) return;
  {
    // A Buffer that nothing has touched yet takes the bytes at once.
    std::lock_guard lock(mutex_);
    if (at == 0 && bytes == dst.bytes && !dst.has_bytes && !trace_.mentions(dst) && dst.last_run == 0) {
      Memory m = pool.allocate(bytes);
      const Timeline::HostSpan span(profile::Kind::Upload, bytes, index);
      backend->write(m, 0, src, bytes);
      dst.memory = m;
      dst.has_bytes = true;
      return;
    }
  }
  BufferRef staged(new Buffer(device, bytes));
  allocated.fetch_add(bytes, std::memory_order_relaxed);
  allocations.fetch_add(1, std::memory_order_relaxed);
  upload(*staged.get(), 0, src, bytes);
  const DType unit = (at | bytes) % 8 == 0 ? DType::I64 : (at | bytes) % 4 == 0 ? DType::I32 : DType::U8;
  const int64_t item = size_of(unit), n = bytes / item, one = 1;
  calls::record(calls::copy(ViewArg(&dst, unit, at / item, 1, &n, &one), ViewArg(staged.get(), unit, 0, 1, &n, &one)));
}

void DeviceImpl::download(Buffer& src, int64_t at, void* dst, int64_t bytes) {
  refuse_in_child();
  if (at < 0 || bytes < 0 || at + bytes > src.bytes)
    throw Error(ErrorKind::Internal, "[download] bytes " + std::to_string(at) + " to " + std::to_string(at + bytes) + " of a buffer of " +
                                         std::to_string(src.bytes));
  std::optional<Executor::Reading> reading;
  const Memory memory = settled(src, reading);
  if (bytes == 0) return;
  const Timeline::HostSpan span(profile::Kind::Download, bytes, index);
  backend->read(memory, at, dst, bytes);
}

Memory DeviceImpl::settled(Buffer& b, std::optional<Executor::Reading>& reading) {
  uint64_t ticket;
  {
    std::lock_guard lock(mutex_);
    if (trace_.mentions(b)) flush_locked(true);
    ticket = b.last_run;
    reading.emplace(executor, b, ticket);
  }
  executor.wait(ticket);
  executor.wait_for_writers(b);
  throw_if_matters(b.poison);
  executor.throw_untold(true);
  std::lock_guard lock(mutex_);                                            // other readers may be here
  if (!b.memory.handle && b.bytes > 0) b.memory = pool.allocate(b.bytes);  // never written: any bytes will do
  return b.memory;
}

void* DeviceImpl::host_bytes(Buffer& b) {
  refuse_in_child();
  if (!backend->is_host_memory()) return nullptr;
  std::optional<Executor::Reading> reading;
  const Memory memory = settled(b, reading);
  std::lock_guard lock(mutex_);
  b.has_bytes = true;  // the host may write them
  return backend->host_address(memory);
}

MemoryStats DeviceImpl::memory_stats() const {
  MemoryStats s;
  s.allocated = allocated;
  s.allocated_peak = allocated_peak;
  s.reserved = pool.reserved();
  s.reserved_peak = pool.reserved_peak();
  s.allocations = allocations;
  s.frees = frees;
  s.requested = requested;
  s.limit = limit ? limit.load() : info.memory_bytes;
  s.retries = pool.retries();
  s.out_of_memory = out_of_memory;
  return s;
}

RunStats DeviceImpl::run_stats() {
  std::lock_guard lock(mutex_);
  RunStats s;
  s.flushes = flushes_;
  s.plans_compiled = plans_compiled_;
  s.kernels_compiled = backend->kernels_compiled();
  s.kernels_run = executor.kernels_run();
  s.operators = operators_;
  return s;
}

}  // namespace anygpu
