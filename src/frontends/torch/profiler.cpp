// torch.profiler: what the device did, handed to Kineto as a profiler beside its own. Kineto tells which operator of PyTorch runs on each
// thread; the runtime keeps who recorded what, and afterwards says which kernels and copies there were, and whose.
#include "profiler.h"

#if __has_include(<torch/csrc/profiler/standalone/privateuse1_profiler.h>) && __has_include(<kineto/libkineto.h>)
#define USE_KINETO
#include <kineto/libkineto.h>
#include <kineto/output_base.h>
#include <torch/csrc/profiler/standalone/privateuse1_profiler.h>

#include <algorithm>
#include <map>
#include <mutex>

#include "anygpu/profile.h"
#include "memory_history.h"
#include "tensor.h"

namespace anygpu::torch_frontend {
namespace {

using libkineto::ActivityType;
using libkineto::GenericTraceActivity;
using libkineto::ITraceActivity;
using Types = std::set<ActivityType>;

struct Kept {
  std::mutex mutex;
  std::vector<ProfiledKernel> kernels;
};
Kept& kept() {
  static auto* k = new Kept;  // leaked
  return *k;
}

// Rows of a device in a trace.
enum Row : int32_t { kKernels = 0, kCopies = 1, kRanges = 2 };

/// Which operators and which of the user's ranges a thread is in. Of another session than the last one that asked, nothing is kept.
struct Nesting {
  uint64_t session = 0;
  std::vector<uint64_t> ops, ranges;
};
thread_local Nesting nesting;

/// A kernel in a trace. Kineto links an event with one operator, so the arrows from all of them are drawn as the trace is written: from a
/// mark in the operator's time to one in the kernel's, in no table.
class Kernel final : public GenericTraceActivity {
 public:
  using GenericTraceActivity::GenericTraceActivity;
  std::vector<const ITraceActivity*> operators;
  uint32_t first_arrow = 0;

  void log(libkineto::ActivityLogger& logger) const override {
    GenericTraceActivity::log(logger);
    for (size_t i = 0; i < operators.size(); ++i) {
      const ITraceActivity& op = *operators[i];
      mark(logger, ActivityType::PRIVATEUSE1_RUNTIME, "anygpu::record", op, op, true, i);
      mark(logger, ActivityType::GPU_USER_ANNOTATION, op.name(), *this, op, false, i);
    }
  }

 private:
  void mark(libkineto::ActivityLogger& logger, ActivityType type, const std::string& name, const ITraceActivity& at,
            const ITraceActivity& of, bool start, size_t i) const {
    GenericTraceActivity m(*traceSpan(), type, name);
    m.startTime = m.endTime = at.timestamp();
    m.device = static_cast<int32_t>(at.deviceId());
    m.resource = static_cast<int32_t>(at.resourceId());
    m.linked = &of;
    m.flow.id = first_arrow + static_cast<uint32_t>(i);
    m.flow.type = libkineto::kLinkAsyncCpuGpu;
    m.flow.start = start;
    m.log(logger);
  }
};

/// Text between quotes of JSON: what operators and devices are called has neither quotes nor backslashes, or loses them.
std::string quotable(std::string s) {
  std::erase_if(s, [](char c) { return c == '"' || c == '\\' || static_cast<unsigned char>(c) < ' '; });
  return s;
}

/// From the runtime's events to Kineto's.
class Translation {
 public:
  using Find = libkineto::getLinkedActivityCallback;
  Translation(libkineto::CpuTraceBuffer& buffer, const Types& wanted, const Find& find) : buffer_(buffer), wanted_(wanted), find_(find) {}

  void add(const profile::Event& e) {
    switch (e.kind) {
      case profile::Kind::Kernel:
      case profile::Kind::Library:
        if (wanted_.contains(ActivityType::CONCURRENT_KERNEL)) add_kernel(e);
        return;
      case profile::Kind::Upload:
        return add_copy(e, "Memcpy HtoD (Host -> Device)");
      case profile::Kind::Download:
        return add_copy(e, "Memcpy DtoH (Device -> Host)");
      case profile::Kind::Host:
        return add_host(e);
      case profile::Kind::Background:
        return;  // Kineto takes what is on the host for a part of the operator that the profiled thread is in at that time
    }
  }

  std::vector<ProfiledKernel> take_profiled() { return std::move(profiled_); }

  /// On the device, a range of the user's lasts from the first of its kernels to the last.
  void add_ranges() {
    if (!wanted_.contains(ActivityType::GPU_USER_ANNOTATION)) return;
    for (const auto& [key, span] : ranges_)
      if (const ITraceActivity* range = find_(static_cast<int32_t>(key.second))) {
        auto& a = make<GenericTraceActivity>(ActivityType::GPU_USER_ANNOTATION, range->name(), span.first, span.second);
        place(a, key.first, kRanges);
        a.id = static_cast<int32_t>(range->correlationId());
      }
  }

 private:
  template <class Activity>
  Activity& make(ActivityType type, const std::string& name, int64_t begin_ns, int64_t end_ns) {
    auto made = std::make_unique<Activity>(buffer_.span, type, name);
    Activity& a = *made;
    a.startTime = begin_ns;
    a.endTime = end_ns;
    buffer_.activities.push_back(std::move(made));
    return a;
  }

  static void place(GenericTraceActivity& a, int device, Row row) {
    a.device = device;
    a.resource = row;
  }

  static uint64_t id_of(const profile::Caller& c) { return c.op ? c.op : c.range; }

  void add_kernel(const profile::Event& e) {
    auto& a = make<Kernel>(ActivityType::CONCURRENT_KERNEL, quotable(e.name), e.begin_ns, e.end_ns);
    place(a, e.device, kKernels);
    a.id = ++kernels_;
    std::string ids, names;
    for (const profile::Caller& c : e.callers) {
      if (c.range) extend(c.range, e);
      const ITraceActivity* op = find_(static_cast<int32_t>(id_of(c)));
      if (!op) continue;
      a.operators.push_back(op);
      ids += (ids.empty() ? "" : ", ") + std::to_string(op->correlationId());
      names += (names.empty() ? "\"" : ", \"") + quotable(op->name()) + "\"";
    }
    a.first_arrow = arrows_;
    arrows_ += static_cast<uint32_t>(a.operators.size());
    a.linked = a.operators.empty() ? nullptr : a.operators.back();
    a.addMetadataQuoted("kind", e.kind == profile::Kind::Kernel ? "generated kernel" : "library call");
    a.addMetadata("device", e.device);
    a.addMetadata("stream", int{kKernels});
    a.addMetadata("correlation", a.id);
    a.addMetadata("shapes", e.shapes);
    add_bytes(a, e);
    a.addMetadata("operators", "[" + names + "]");
    a.addMetadata("operator ids", "[" + ids + "]");
    profiled_.push_back({a.id, {}, e.shapes});
    for (const ITraceActivity* op : a.operators) profiled_.back().operators.push_back(op->correlationId());
  }

  void add_copy(const profile::Event& e, const char* name) {
    if (!wanted_.contains(ActivityType::GPU_MEMCPY)) return;
    auto& a = make<GenericTraceActivity>(ActivityType::GPU_MEMCPY, name, e.begin_ns, e.end_ns);
    place(a, e.device, kCopies);
    a.id = ++kernels_;
    if (!e.callers.empty()) a.linked = find_(static_cast<int32_t>(id_of(e.callers.front())));
    a.addMetadata("device", e.device);
    a.addMetadata("stream", int{kCopies});
    add_bytes(a, e);
  }

  /// Planning, compiling, waiting: on the thread that did it.
  void add_host(const profile::Event& e) {
    if (!wanted_.contains(ActivityType::PRIVATEUSE1_RUNTIME)) return;
    auto& a = make<GenericTraceActivity>(ActivityType::PRIVATEUSE1_RUNTIME, "anygpu::" + e.name, e.begin_ns, e.end_ns);
    a.device = libkineto::processId();
    a.resource = static_cast<int32_t>(e.thread);
    if (!e.callers.empty()) a.linked = find_(static_cast<int32_t>(id_of(e.callers.front())));
    a.addMetadataQuoted("detail", quotable(e.detail));
  }

  static void add_bytes(GenericTraceActivity& a, const profile::Event& e) {
    a.addMetadata("bytes", e.bytes);
    if (e.end_ns > e.begin_ns)
      a.addMetadata("memory bandwidth (GB/s)", static_cast<double>(e.bytes) / static_cast<double>(e.end_ns - e.begin_ns));
  }

  void extend(uint64_t range, const profile::Event& e) {
    auto [at, fresh] = ranges_.try_emplace({e.device, range}, e.begin_ns, e.end_ns);
    if (fresh) return;
    at->second.first = std::min(at->second.first, e.begin_ns);
    at->second.second = std::max(at->second.second, e.end_ns);
  }

  libkineto::CpuTraceBuffer& buffer_;
  const Types& wanted_;
  const Find& find_;
  std::vector<ProfiledKernel> profiled_;
  int32_t kernels_ = 0;
  uint32_t arrows_ = 1 << 24;  // PyTorch numbers its own arrows, from forward to backward, from 1
  std::map<std::pair<int, uint64_t>, std::pair<int64_t, int64_t>> ranges_;  // by device and range
};

class Session final : public libkineto::IActivityProfilerSession {
 public:
  explicit Session(const Types& wanted) : wanted_(wanted) {
    static std::atomic<uint64_t> sessions{0};
    number_ = ++sessions;
  }
  ~Session() override {
    if (running_) profile::stop();
  }

  void start() override {
    profile::start();
    running_ = true;
    status_ = libkineto::TraceStatus::RECORDING;
  }
  void stop() override {
    if (!std::exchange(running_, false)) return;
    events_ = profile::stop();
    status_ = libkineto::TraceStatus::PROCESSING;
  }

  std::vector<std::string> errors() override { return {}; }
  void processTrace(libkineto::ActivityLogger& logger) override {
    processTrace(
        logger, [](int32_t) { return nullptr; }, 0, 0);
  }
  void processTrace(libkineto::ActivityLogger& logger, libkineto::getLinkedActivityCallback find, int64_t begin, int64_t end) override {
    buffer_ = std::make_unique<libkineto::CpuTraceBuffer>();
    buffer_->span = libkineto::TraceSpan(begin, end, "anygpu");
    buffer_->gpuOpCount = static_cast<int>(events_.size());
    Translation translation(*buffer_, wanted_, find);
    std::set<int> devices;
    for (const profile::Event& e : events_) {
      translation.add(e);
      if (e.device >= 0) devices.insert(e.device);
    }
    translation.add_ranges();
    for (const auto& a : buffer_->activities) logger.handleActivity(*a);
    for (int d : devices) describe(logger, d, begin);
    events_.clear();
    std::lock_guard lock(kept().mutex);
    kept().kernels = translation.take_profiled();
  }

  /// Where no profiler has a device, Kineto names sixteen GPUs.
  std::unique_ptr<libkineto::DeviceInfo> getDeviceInfo() override { return std::make_unique<libkineto::DeviceInfo>(info(0)); }
  std::vector<libkineto::ResourceInfo> getResourceInfos() override { return {}; }
  std::unique_ptr<libkineto::CpuTraceBuffer> getTraceBuffer() override { return std::move(buffer_); }

  void pushCorrelationId(uint64_t id) override { push(&Nesting::ops, id); }
  void popCorrelationId() override { pop(&Nesting::ops); }
  void pushUserCorrelationId(uint64_t id) override { push(&Nesting::ranges, id); }
  void popUserCorrelationId() override { pop(&Nesting::ranges); }

  std::string getDeviceProperties() override {
    std::string all;
    for (int i = 0; initialized() && i < device_count(); ++i) {
      const DeviceInfo& d = device_at(static_cast<c10::DeviceIndex>(i)).info();
      all += fmt::format(R"({}{{"id": {}, "name": "{}", "totalGlobalMem": {}, "backend": "{}"}})", all.empty() ? "" : ", ", i,
                         quotable(d.name), d.memory_bytes, d.backend);
    }
    return all;
  }

 private:
  static libkineto::DeviceInfo info(int device) {
    const bool open = initialized() && device < device_count();
    return {device, libkineto::kExceedMaxPid + device, "anygpu:" + std::to_string(device),
            open ? quotable(device_at(static_cast<c10::DeviceIndex>(device)).info().name) : ""};
  }

  static void describe(libkineto::ActivityLogger& logger, int device, int64_t time) {
    if (device != 0) logger.handleDeviceInfo(info(device), time);
    logger.handleResourceInfo({kKernels, kKernels, device, "kernels"}, time);
    logger.handleResourceInfo({kCopies, kCopies, device, "copies"}, time);
    logger.handleResourceInfo({kRanges, kRanges, device, "ranges"}, time);
  }

  void push(std::vector<uint64_t> Nesting::*stack, uint64_t id) {
    if (nesting.session != number_) nesting = {number_, {}, {}};
    (nesting.*stack).push_back(id);
    tell();
  }
  void pop(std::vector<uint64_t> Nesting::*stack) {
    if (nesting.session == number_ && !(nesting.*stack).empty()) (nesting.*stack).pop_back();
    tell();
  }
  void tell() {
    auto top = [&](const std::vector<uint64_t>& s) { return nesting.session != number_ || s.empty() ? 0 : s.back(); };
    profile::set_caller({top(nesting.ops), top(nesting.ranges)});
  }

  const Types wanted_;
  uint64_t number_;
  bool running_ = false;
  std::vector<profile::Event> events_;
  std::unique_ptr<libkineto::CpuTraceBuffer> buffer_;
};

class Profiler final : public libkineto::IActivityProfiler {
 public:
  const std::string& name() const override {
    static const std::string name = "anygpu";
    return name;
  }
  const Types& availableActivities() const override {
    static const Types all = {ActivityType::CONCURRENT_KERNEL, ActivityType::GPU_MEMCPY, ActivityType::GPU_USER_ANNOTATION,
                              ActivityType::PRIVATEUSE1_RUNTIME};
    return all;
  }
  /// Asked before every profile, whatever it is of.
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(const Types& wanted, const libkineto::Config&) override {
    memory_history::watch();
    Types ours;
    std::ranges::set_intersection(wanted, availableActivities(), std::inserter(ours, ours.end()));
    if (ours.empty()) return nullptr;
    return std::make_unique<Session>(ours);
  }
  std::unique_ptr<libkineto::IActivityProfilerSession> configure(int64_t, int64_t, const Types& wanted,
                                                                 const libkineto::Config& c) override {
    return configure(wanted, c);
  }
};

REGISTER_PRIVATEUSE1_PROFILER(Profiler);

}  // namespace

const bool kProfilesKernels = true;

std::vector<ProfiledKernel> take_profiled_kernels() {
  std::lock_guard lock(kept().mutex);
  return std::exchange(kept().kernels, {});
}

}  // namespace anygpu::torch_frontend

#else  // before 2.13, where a device outside PyTorch's tree cannot put events into a profile

#include "memory_history.h"

namespace anygpu::torch_frontend {
const bool kProfilesKernels = [] {
  memory_history::watch();
  return false;
}();
std::vector<ProfiledKernel> take_profiled_kernels() {
  return {};
}
}  // namespace anygpu::torch_frontend
#endif
