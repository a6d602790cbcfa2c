// Generated kernels of the cpu backend, or of the vulkan one (anygpu_bench_vulkan): GB/s on 64 MiB arrays beside memcpy, a triad and the
// like written by hand, and the time to compile each. Prints a table; asserts nothing.
//
//   ninja anygpu_bench_kernels && src/anygpu_bench_kernels [filter]
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <functional>
#include <string>
#include <vector>

#ifdef ANYGPU_BENCH_VULKAN
#include "backends/vulkan/entry.h"
#else
#include "backends/cpu/entry.h"
#endif

namespace {

using namespace anygpu;
using ir::Val;

double now_ms() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// Of this thread: the compiler runs on it, whatever else the machine does.
double cpu_ms() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1e3 + t.tv_nsec * 1e-6;
}

/// With one thread, time of that thread: what else the machine does counts less.
double best_ms(const std::function<void()>& f) {
  static const bool one = std::getenv("ANYGPU_NUM_THREADS") && std::atoi(std::getenv("ANYGPU_NUM_THREADS")) == 1;
  auto clock = [] { return one ? cpu_ms() : now_ms(); };
  f();
  double best = 1e30, start = now_ms();
  for (int i = 0; i < 40 && (i < 5 || now_ms() - start < 600); ++i) {
    const double t = clock();
    f();
    best = std::min(best, clock() - t);
  }
  return best;
}

struct Bench {
  ir::Generic g;
  std::vector<int64_t> bytes;  // per slot

  int access(DType t, const Dims& strides) {
    int64_t last = 0;
    for (int d = 0; d < g.rank(); ++d) last += strides[d] * (g.sizes[d] - 1);
    bytes.push_back((last + 1) * size_of(t));
    g.accesses.push_back({static_cast<int32_t>(bytes.size()) - 1, t, 0, strides});
    return static_cast<int>(g.accesses.size()) - 1;
  }
  Val in(DType t, const Dims& strides) { return ir::load(g.body, t, access(t, strides)); }
  void out(Val v, const Dims& strides) { g.stores.push_back({access(v.type(), strides), v.id}); }
};

struct Row {
  std::string name;
  std::function<void(Bench&)> make;
};

constexpr auto F = DType::F32;
constexpr int64_t N = 16 << 20;  // 64 MiB of f32

Val gelu(Val x) {
  return x * 0.5 * (1.0 + erf(x * 0.7071067811865476));
}
Val gelu_tanh(Val x) {
  return x * 0.5 * (1.0 + tanh((x + x * x * x * 0.044715) * 0.7978845608028654));
}

std::vector<Row> rows() {
  std::vector<Row> all;
  auto flat = [&](const std::string& name, std::function<void(Bench&)> body) {
    all.push_back({name, [=](Bench& b) {
                     b.g.sizes = {N};
                     body(b);
                   }});
  };
  flat("copy", [](Bench& b) { b.out(b.in(F, {1}), {1}); });
  flat("fill", [](Bench& b) { b.out(ir::constant(b.g.body, F, 1.0), {1}); });
  flat("add", [](Bench& b) { b.out(b.in(F, {1}) + b.in(F, {1}), {1}); });
  flat("add f16", [](Bench& b) { b.out(cast(cast(b.in(DType::F16, {1}), F) + cast(b.in(DType::F16, {1}), F), DType::F16), {1}); });
  flat("add i64", [](Bench& b) { b.out(b.in(DType::I64, {1}) + b.in(DType::I64, {1}), {1}); });
  flat("mask u8", [](Bench& b) { b.out(b.in(F, {1}) > ir::constant(b.g.body, F, 0.0), {1}); });
  flat("exp", [](Bench& b) { b.out(exp(b.in(F, {1})), {1}); });
  flat("log", [](Bench& b) { b.out(log(b.in(F, {1})), {1}); });
  flat("tanh", [](Bench& b) { b.out(tanh(b.in(F, {1})), {1}); });
  flat("sigmoid", [](Bench& b) { b.out(1.0 / (1.0 + exp(-b.in(F, {1}))), {1}); });
  flat("sin", [](Bench& b) { b.out(sin(b.in(F, {1})), {1}); });
  flat("pow", [](Bench& b) { b.out(pow(b.in(F, {1}), b.in(F, {1})), {1}); });
  flat("gelu", [](Bench& b) { b.out(gelu(b.in(F, {1})), {1}); });
  flat("gelu tanh", [](Bench& b) { b.out(gelu_tanh(b.in(F, {1})), {1}); });
  flat("dropout", [](Bench& b) {
    Val x = b.in(F, {1});
    Val i = ir::index(b.g.body, 0);
    Val key = ir::constant(b.g.body, DType::I64, int64_t{1234});
    Val bits = ir::philox(i, key, key, 0);
    Val u = cast(ir::shr(bits, ir::constant(b.g.body, DType::I64, int64_t{8})), F) * 0x1p-24;
    b.out(select(u < ir::like(u, 0.5), x * 2.0, ir::like(x, 0.0)), {1});
  });
  flat("adam", [](Bench& b) {
    Val p = b.in(F, {1}), g = b.in(F, {1}), m = b.in(F, {1}), v = b.in(F, {1});
    Val m1 = m * 0.9 + g * 0.1, v1 = v * 0.999 + g * g * 0.001;
    b.out(m1, {1}), b.out(v1, {1}), b.out(p - m1 * 0.001 / (sqrt(v1) + 1e-8), {1});
  });
  all.push_back({"bias add 16384x1024", [](Bench& b) {
                   b.g.sizes = {16384, 1024};
                   b.out(b.in(F, {1024, 1}) + b.in(F, {0, 1}), {1024, 1});
                 }});
  all.push_back({"channel add 256x64x1024", [](Bench& b) {
                   b.g.sizes = {256, 64, 1024};
                   b.out(b.in(F, {65536, 1024, 1}) + b.in(F, {0, 1, 0}), {65536, 1024, 1});
                 }});
  all.push_back({"transpose 4096x4096", [](Bench& b) {
                   b.g.sizes = {4096, 4096};
                   b.out(b.in(F, {1, 4096}), {4096, 1});
                 }});
  all.push_back({"nhwc to nchw 64x64x4096", [](Bench& b) {
                   b.g.sizes = {64, 64, 4096};
                   b.out(b.in(F, {262144, 1, 64}), {262144, 4096, 1});
                 }});
  auto reduced = [&](const std::string& name, Dims sizes, uint32_t mask, std::function<void(Bench&)> body) {
    all.push_back({name, [=](Bench& b) {
                     b.g.sizes = sizes;
                     b.g.reduce = mask;
                     body(b);
                   }});
  };
  using K = ir::ReduceKind;
  reduced("sum all", {N}, 1, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {1})), {0}); });
  reduced("max all", {N}, 1, [](Bench& b) { b.out(reduce(K::Max, b.in(F, {1})), {0}); });
  reduced("mse", {N}, 1, [](Bench& b) {
    Val d = b.in(F, {1}) - b.in(F, {1});
    b.out(reduce(K::Sum, d * d), {0});
  });
  reduced("argmax rows 16384x1024", {16384, 1024}, 2, [](Bench& b) {
    b.out(reduce_arg(K::ArgMax, b.in(F, {1024, 1}), ir::index(b.g.body, 1)), {1, 0});
  });
  reduced("sum rows 16384x1024", {16384, 1024}, 2, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {1024, 1})), {1, 0}); });
  reduced("sum rows 1Mx16", {1 << 20, 16}, 2, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {16, 1})), {1, 0}); });
  reduced("sum columns 16384x1024", {16384, 1024}, 1, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {1024, 1})), {0, 1}); });
  reduced("sum columns 1Mx16", {1 << 20, 16}, 1, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {16, 1})), {0, 1}); });
  reduced("sum columns 1Mx10", {1 << 20, 10}, 1, [](Bench& b) { b.out(reduce(K::Sum, b.in(F, {10, 1})), {0, 1}); });
  auto softmax = [](Bench& b, int64_t n) {
    Val x = b.in(F, {n, 1});
    Val e = exp(x - reduce(K::Max, x));
    b.out(e / reduce(K::Sum, e), {n, 1});
  };
  reduced("softmax 16384x1024", {16384, 1024}, 2, [=](Bench& b) { softmax(b, 1024); });
  reduced("softmax 256Kx64", {1 << 18, 64}, 2, [=](Bench& b) { softmax(b, 64); });
  reduced("softmax 16x1M", {16, 1 << 20}, 2, [=](Bench& b) { softmax(b, 1 << 20); });
  reduced("layer norm 16384x1024", {16384, 1024}, 2, [](Bench& b) {
    Val x = b.in(F, {1024, 1});
    Val mean = reduce(K::Sum, x) * (1.0 / 1024), d = x - mean;
    Val var = reduce(K::Sum, d * d) * (1.0 / 1024);
    b.out(d * (1.0 / sqrt(var + 1e-5)) * b.in(F, {0, 1}) + b.in(F, {0, 1}), {1024, 1});
  });
  reduced("batch norm 256x64x1024", {256, 64, 1024}, 5, [](Bench& b) {
    Val x = b.in(F, {65536, 1024, 1});
    Val mean = reduce(K::Sum, x) * (1.0 / 262144), d = x - mean;
    Val var = reduce(K::Sum, d * d) * (1.0 / 262144);
    b.out(d * (1.0 / sqrt(var + 1e-5)) * b.in(F, {0, 1, 0}) + b.in(F, {0, 1, 0}), {65536, 1024, 1});
    b.out(mean, {0, 1, 0});
  });
  reduced("cross entropy 1Mx10", {1 << 20, 10}, 2, [](Bench& b) {
    Val x = b.in(F, {10, 1});
    Val m = reduce(K::Max, x);
    b.out(x - m - log(reduce(K::Sum, exp(x - m))), {10, 1});
  });
  all.push_back({"embedding 32Kx512 of 50000", [](Bench& b) {
                   b.g.sizes = {1 << 15, 512};
                   Val i = b.in(DType::I64, {1, 0});
                   const int table = b.access(F, {0, 1});
                   b.bytes[table] = 50000 * 512 * 4;
                   b.out(ir::load(b.g.body, F, table, i * ir::constant(b.g.body, DType::I64, int64_t{512})), {512, 1});
                 }});
  all.push_back({"embedding grad 32Kx512 of 50000", [](Bench& b) {
                   b.g.sizes = {1 << 15, 512};
                   Val i = b.in(DType::I64, {1, 0});
                   Val v = b.in(F, {512, 1});
                   const int table = b.access(F, {0, 1});
                   b.bytes[table] = 50000 * 512 * 4;
                   b.g.stores.push_back({table, v.id, (i * ir::constant(b.g.body, DType::I64, int64_t{512})).id, -1, ir::Combine::Add});
                 }});
  return all;
}

void handmade() {
  std::vector<float> a(N, 1), b(N, 2), c(N, 3);
  auto row = [](const char* name, double bytes, const std::function<void()>& f) {
    std::printf("%-34s %8.1f GB/s  (by hand, one thread)\n", name, bytes / best_ms(f) / 1e6);
  };
  row("memcpy", 8.0 * N, [&] { std::memcpy(a.data(), b.data(), 4 * N); });
  row("triad", 12.0 * N, [&] {
    for (int64_t i = 0; i < N; ++i) a[i] = b[i] + 3 * c[i];
    asm volatile("" ::"r"(a.data()) : "memory");
  });
}

/// Compiles each kernel many times, a little different each time: for profiles of the compiler.
void compile_only(Backend& backend) {
  for (const Row& row : rows()) {
    Bench b;
    row.make(b);
    const double start = cpu_ms();
    constexpr int kTimes = 20;
    for (int k = 0; k < kTimes; ++k) {
      ir::Generic g = b.g;
      ir::Store& s = g.stores[0];
      if (g.body[s.value].type != F) break;
      s.value = (Val{&g.body, s.value} + static_cast<double>(k + 2)).id;
      const ir::Step step = g;
      backend.prepare({&step, 1});
    }
    std::printf("%-34s compiled in %6.2f ms\n", row.name.c_str(), (cpu_ms() - start) / kTimes);
  }
}

/// What a step costs where there is nothing to do: 16 elements.
void tiny(Backend& backend) {
  Bench b;
  b.g.sizes = {16};
  b.out(b.in(F, {1}) + b.in(F, {1}), {1});
  float x[3][16] = {};
  std::vector<Memory> slots;
  for (auto& a : x) slots.push_back({a, 0, 64});
  constexpr int kSteps = 1000;
  const std::vector<ir::Step> steps(kSteps, b.g);
  const double start = cpu_ms();
  const auto program = backend.prepare(steps);
  const double prepared = cpu_ms() - start;
  const double ms = best_ms([&] { program->run({slots, {}}, nullptr); });
  std::printf("%-34s %8.3f us to run, %.3f us to prepare when compiled\n", "add of 16 elements", 1e3 * ms / kSteps,
              1e3 * prepared / kSteps);
}

}  // namespace

int main(int argc, char** argv) {
  setenv("ANYGPU_CACHE_DIR", "", 0);  // compile times, not those of the disk
#ifdef ANYGPU_BENCH_VULKAN
  const auto backend = vulkan::entry.make(0);
#else
  const auto backend = cpu::entry.make(0);
#endif
  if (argc > 1 && !std::strcmp(argv[1], "compile")) return compile_only(*backend), 0;
  const DeviceInfo info = backend->describe();
  std::printf("%s; %s\n", info.name.c_str(), info.driver.c_str());
#ifndef ANYGPU_BENCH_VULKAN
  if (argc < 2 || !std::strcmp(argv[1], "tiny")) tiny(*backend);
  if (argc < 2) handmade();
#endif
  for (const Row& row : rows()) {
    if (argc > 1 && row.name.find(argv[1]) == std::string::npos) continue;
    Bench b;
    row.make(b);
    b.g.name = row.name;
    ir::verify(b.g);
    std::vector<Memory> slots;
    double bytes = 0;
    for (size_t s = 0; s < b.bytes.size(); ++s) {
      slots.push_back(backend->allocate(b.bytes[s]));
      const std::vector<char> zeros(b.bytes[s]);
      backend->write(slots[s], 0, zeros.data(), b.bytes[s]);
      bytes += static_cast<double>(b.bytes[s]);
    }
    for (size_t a = 0; a < b.g.accesses.size(); ++a) {
      const ir::Access& access = b.g.accesses[a];
      std::vector<char> contents(b.bytes[access.slot]);
      char* p = contents.data();
      const int64_t n = b.bytes[access.slot] / size_of(access.dtype);
      if (access.dtype == DType::F32) {
        for (int64_t i = 0; i < n; ++i) reinterpret_cast<float*>(p)[i] = static_cast<float>((i * 7919) % 1000) * 0.004f - 1.9f;
      }
      if (access.dtype == DType::I64 && row.name.find("embedding") == 0) {
        for (int64_t i = 0; i < n; ++i) reinterpret_cast<int64_t*>(p)[i] = (i * 7919) % 50000;
      }
      backend->write(slots[access.slot], 0, p, b.bytes[access.slot]);
    }
    if (row.name.find("embedding") == 0) bytes = 2.0 * 4 * 512 * (1 << 15) * (row.name.find("grad") != std::string::npos ? 1.5 : 1);
    const ir::Step step = b.g;
    const double start = cpu_ms();
    const auto program = backend->prepare({&step, 1});
    const double compiled = cpu_ms() - start;
    const double ms = best_ms([&] { program->run({slots, {}}, nullptr); });
    std::printf("%-34s %8.1f GB/s  %8.3f ms   compiled in %6.2f ms\n", row.name.c_str(), bytes / ms / 1e6, ms, compiled);
    for (const Memory& m : slots) backend->release(m);
  }
}
