// The cpu backend: memory, and the way to programs.
#include "backends/cpu/entry.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <thread>

#include "backends/cpu/library/library.h"
#include "core/numbers.h"
#include "jit.h"
#include "kernel.h"
#include "program.h"

namespace anygpu::cpu {
namespace {

constexpr int64_t kHugePage = 2 << 20;
constexpr int64_t kWorthHugePages = 32 << 20;  // below, zeroing them at their first touch takes longer than they spare
constexpr int64_t kCopyGrain = 1 << 20;        // bytes a thread copies at least

std::string processor() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return host_isa().cpu;
}

int64_t physical_bytes() {
  static const int64_t bytes = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE);
  return bytes;
}

void copy(void* dst, const void* src, int64_t bytes) {
  parallel_for(library(), (bytes + kCopyGrain - 1) / kCopyGrain, 4, [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kCopyGrain, last = std::min(bytes, end * kCopyGrain);
    std::memcpy(static_cast<char*>(dst) + first, static_cast<const char*>(src) + first, last - first);
  });
}

class CpuBackend : public Backend {
 public:
  DeviceInfo describe() const override {
    DeviceInfo info;
    const int cores = library().threads();
    info.name = processor() + ", " + std::to_string(cores) + (cores == 1 ? " core, " : " cores, ") + host_isa().name;
    info.backend = "cpu";
    info.driver = llvm::version() + ", " + library().version();
    info.memory_bytes = physical_bytes();
    return info;
  }

  Memory allocate(int64_t bytes) override {
    const int64_t alignment = bytes >= kWorthHugePages ? kHugePage : 64;
    const int64_t rounded = round_up(std::max<int64_t>(bytes, 1), alignment);
    // More than the machine has is refused here: the kernel would promise it, and kill us later.
    void* p = bytes < 0 || rounded < bytes || rounded > physical_bytes() ? nullptr : std::aligned_alloc(alignment, rounded);
    if (!p) throw Error(ErrorKind::OutOfMemory, "[allocate] the host has no " + std::to_string(bytes) + " bytes");
    if (alignment == kHugePage) madvise(p, rounded, MADV_HUGEPAGE);
    return {p, 0, bytes};
  }
  void release(Memory m) override { std::free(m.handle); }

  void write(Memory dst, int64_t at, const void* src, int64_t bytes) override {
    copy(static_cast<char*>(dst.handle) + dst.offset + at, src, bytes);
  }
  void read(Memory src, int64_t at, void* dst, int64_t bytes) override {
    copy(dst, static_cast<const char*>(src.handle) + src.offset + at, bytes);
  }
  char* host_address(Memory m) const override { return static_cast<char*>(m.handle) + m.offset; }
  bool is_host_memory() const override { return true; }

  bool supports(const ir::Named& n) const override { return library().supports(n); }
  // Only stores past the caches (kStreamBytes in schedule.cpp) ask for more than an element's own alignment.
  int64_t moves_by(int64_t bytes) const override { return bytes < (1 << 20) ? 1 : 64; }
  int64_t channel_block(const ir::Named& n, int operand) const override { return library().channel_block(n, operand); }
  std::vector<StepGroup> groups(std::span<const ir::Step> steps) const override { return groups_of(steps); }
  std::unique_ptr<Program> prepare(std::span<const ir::Step> steps, std::span<const StepGroup> groups) override {
    return make_program(steps, groups);
  }
  void fix_order(ir::Generic& g) const override { cpu::fix_order(g); }
  int64_t kernels_compiled() const override { return kernel_cache().compiled(); }
};

}  // namespace

// One device, whatever its number: several are made of it for tests.
const BackendEntry entry{"cpu", [] { return DeviceCount{.all = 1}; },
                         [](int) -> std::unique_ptr<Backend> { return std::make_unique<CpuBackend>(); }};

}  // namespace anygpu::cpu
