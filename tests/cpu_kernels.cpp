// The cpu backend's own: errors of the functions it computes in line, against f64; the same numbers on any number of threads;
// many threads preparing and running at once. What every backend must do is in conformance*.cpp.
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <thread>

#include "backends/cpu/disk_cache.h"
#include "backends/cpu/entry.h"

namespace anygpu {
namespace {

using ir::Val;

/// A cache of this run's own, in a folder that is removed at the end.
class CacheFolder : public testing::Environment {
 public:
  CacheFolder() {
    char path[] = "/tmp/anygpu-test-XXXXXX";
    path_ = mkdtemp(path);
    setenv("ANYGPU_CACHE_DIR", path_.c_str(), 1);
  }
  void TearDown() override { EXPECT_EQ(std::system(("rm -r " + path_).c_str()), 0); }

 private:
  std::string path_;
};
const auto* const folder = testing::AddGlobalTestEnvironment(new CacheFolder);

/// Past its limit, the cache gives up the older half of its own entries, and nobody else's file.
TEST(DiskCache, PrunesItsOwnEntriesAlone) {
  namespace fs = std::filesystem;
  const fs::path at = fs::path(std::getenv("ANYGPU_CACHE_DIR")) / "pruned";
  FileCache("pruned", "");  // makes the folder
  auto put = [&](const std::string& name, int hours_ago, int mebibytes) {
    std::ofstream(at / name).close();
    fs::resize_file(at / name, static_cast<uintmax_t>(mebibytes) << 20);  // a hole
    fs::last_write_time(at / name, fs::file_time_type::clock::now() - std::chrono::hours(hours_ago));
  };
  const std::string oldest = digest("oldest"), old = digest("old"), fresh = digest("fresh"), unfinished = "new-a1B2c3";
  const std::vector<std::string> foreign = {"holiday.jpg",       "new-", "new-year-plans", oldest + ".bak", digest("x").substr(1),
                                            std::string(32, 'g')};
  auto kept = [&](const std::string& name) { return fs::exists(at / name); };
  for (const std::string& name : foreign) put(name, 1000, 300);
  put(oldest, 9, 60), put(unfinished, 8, 60), put(old, 7, 60), put(fresh, 1, 60);
  FileCache("pruned", "");
  EXPECT_TRUE(kept(oldest)) << "240 MiB are within the limit; what others keep there does not count";
  put(fresh, 1, 100);
  FileCache("pruned", "");
  EXPECT_FALSE(kept(oldest) || kept(unfinished) || kept(old)) << "the oldest go, until half of the limit is left";
  EXPECT_TRUE(kept(fresh));
  for (const std::string& name : foreign) EXPECT_TRUE(kept(name)) << name;
}

/// A Generic over flat f32 arrays: out = f(in).
ir::Generic unary(int64_t n, Val (*f)(Val)) {
  ir::Generic g;
  g.name = "unary";
  g.sizes = {n};
  g.accesses = {{0, DType::F32, 0, {1}}, {1, DType::F32, 0, {1}}};
  g.stores.push_back({1, f(ir::load(g.body, DType::F32, 0)).id});
  return g;
}

struct Function {
  const char* name;
  Val (*f)(Val);
  double (*exact)(double);
  double ulps;
};

class Functions : public testing::TestWithParam<Function> {};

/// Every 193rd f32, NaN, infinities and subnormals among them; whole vectors and tails.
TEST_P(Functions, AreAsExactAsStated) {
  const Function& p = GetParam();
  const auto backend = cpu::entry.make(0);
  constexpr int64_t n = (1 << 20) + 5;
  const ir::Step step = unary(n, p.f);
  const auto program = backend->prepare({&step, 1});
  std::vector<float> x(n), y(n);
  const Memory slots[] = {{x.data(), 0, 4 * n}, {y.data(), 0, 4 * n}};
  double worst = 0;
  float at = 0;
  uint64_t bits = 0;
  while (bits < uint64_t{1} << 32) {
    for (int64_t i = 0; i < n; ++i, bits += 193) x[i] = std::bit_cast<float>(static_cast<uint32_t>(bits));
    ASSERT_TRUE(program->run({slots, {}}, nullptr).empty());
    for (int64_t i = 0; i < n; ++i) {
      const double want = p.exact(x[i]);
      const float nearest = static_cast<float>(want);
      if (std::isnan(want)) {
        ASSERT_TRUE(std::isnan(y[i])) << p.name << "(" << x[i] << ") is " << y[i];
        continue;
      }
      if (std::isinf(nearest) || std::isinf(y[i])) {
        const bool close =
            nearest == y[i] || (std::fabs(want) > 3.4028233e38 && std::fabs(y[i]) > 3.4028233e38 && (want > 0) == (y[i] > 0));
        ASSERT_TRUE(close) << p.name << "(" << x[i] << ") is " << y[i] << ", not " << nearest;
        continue;
      }
      if (want == 0) {
        ASSERT_EQ(y[i], 0) << p.name << "(" << x[i] << ")";
      }
      const double ulp = std::ldexp(1.0, std::max(std::ilogb(std::fabs(want) > 0 ? want : 1e-300), -126) - 23);
      const double error = std::fabs(y[i] - want) / ulp;
      if (error > worst) worst = error, at = x[i];
    }
  }
  std::printf("%-6s %.3f ULP at %.9g\n", p.name, worst, at);
  EXPECT_LE(worst, p.ulps) << p.name << " at " << at;
}

INSTANTIATE_TEST_SUITE_P(InLine, Functions,
                         testing::Values(Function{"exp", ir::exp, std::exp, 1.0}, Function{"exp2", ir::exp2, std::exp2, 2.0},
                                         Function{"expm1", ir::expm1, std::expm1, 2.0}, Function{"log", ir::log, std::log, 1.0},
                                         Function{"log2", ir::log2, std::log2, 2.0}, Function{"log10", ir::log10, std::log10, 2.0},
                                         Function{"log1p", ir::log1p, std::log1p, 2.0}, Function{"tanh", ir::tanh, std::tanh, 2.0},
                                         Function{"erf", ir::erf, std::erf, 2.0}),
                         [](const auto& info) { return std::string(info.param.name); });

/// Programs with kernels of their own, prepared and run from several threads.
TEST(CpuKernels, ManyThreadsPrepareAndRun) {
  const auto backend = cpu::entry.make(0);
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&backend, t] {
      for (int k = 0; k < 6; ++k) {
        constexpr int64_t n = 1 << 16;
        ir::Generic g = unary(n, [](Val v) { return v + 1.0; });
        g.stores[0].value = (Val{&g.body, g.stores[0].value} * static_cast<double>(2 + t * 8 + k)).id;
        const ir::Step step = g;
        const auto program = backend->prepare({&step, 1});
        std::vector<float> x(n, 3), y(n);
        const Memory slots[] = {{x.data(), 0, 4 * n}, {y.data(), 0, 4 * n}};
        EXPECT_TRUE(program->run({slots, {}}, nullptr).empty());
        EXPECT_EQ(y, std::vector<float>(n, 4.0f * (2 + t * 8 + k)));
      }
    });
  }
  for (auto& t : threads) t.join();
}

/// A first step has many of these: they wait for no compiler.
TEST(CpuKernels, FillsAndCopiesCompileNothing) {
  const auto backend = cpu::entry.make(0);
  const int64_t before = backend->kernels_compiled();
  for (DType t : {DType::F32, DType::F64, DType::I64, DType::I32}) {
    ir::Generic copy;
    copy.name = "copy";
    copy.sizes = {30, 40};
    copy.accesses = {{0, t, 0, {44, 1}}, {1, t, 0, {40, 1}}};
    copy.stores.push_back({1, ir::load(copy.body, t, 0).id});
    ir::Generic fill = copy;
    fill.name = "fill";
    fill.body = {};
    fill.accesses.erase(fill.accesses.begin());
    fill.args = {0};
    fill.stores[0] = {0, ir::arg(fill.body, t, 0).id};
    for (const ir::Generic& g : {copy, fill}) {
      const ir::Step step = g;
      backend->prepare({&step, 1});
    }
  }
  EXPECT_EQ(backend->kernels_compiled(), before);
}

/// Code that no Program uses is let go, past a bound; what one uses stays, and what is asked for again is there again.
TEST(CpuKernels, UnusedCodeIsLetGo) {
  const auto backend = cpu::entry.make(0);
  constexpr size_t most = 8;
  cpu::kernel_cache().keep(most);
  auto program = [&](int k) {  // whose constant makes it a kernel of its own
    ir::Generic g = unary(64, [](Val v) { return v + 1.0; });
    g.stores[0].value = (Val{&g.body, g.stores[0].value} * (k + 0.25)).id;
    const ir::Step step = g;
    return backend->prepare({&step, 1});
  };
  auto result = [](Program& p) {
    std::vector<float> x(64, 3), y(64);
    const Memory slots[] = {{x.data(), 0, 256}, {y.data(), 0, 256}};
    EXPECT_TRUE(p.run({slots, {}}, nullptr).empty());
    return y[63];
  };
  auto mappings = [] {
    std::ifstream maps("/proc/self/maps");
    return std::count(std::istreambuf_iterator<char>(maps), {}, '\n');
  };
  const auto held = program(1000);
  for (int k = 0; k < 20; ++k) program(k);
  const auto before = mappings();
  for (int k = 20; k < 60; ++k) EXPECT_EQ(result(*program(k)), 4 * (k + 0.25));
  EXPECT_LE(cpu::kernel_cache().kept(), most);
  EXPECT_LT(mappings(), before + 40);  // each would be one at least
  EXPECT_EQ(result(*held), 4001);
  EXPECT_EQ(result(*program(3)), 13);

  std::vector<std::unique_ptr<Program>> many;
  for (int k = 0; k < 20; ++k) many.push_back(program(k));
  EXPECT_GE(cpu::kernel_cache().kept(), 20);
  for (int k = 0; k < 20; ++k) EXPECT_EQ(result(*many[k]), 4 * (k + 0.25));
  many.clear();
  cpu::kernel_cache().keep(most);
  EXPECT_LE(cpu::kernel_cache().kept(), most);
  cpu::kernel_cache().keep(kept_kernels());
}

/// Sizes are parameters: a mean of any length is one kernel, but for vectors that are not full.
TEST(CpuKernels, OtherLengthsCompileNothing) {
  const auto backend = cpu::entry.make(0);
  auto mean = [&](int64_t n) {
    ir::Generic g;
    g.name = "mean";
    g.sizes = {3, n};
    g.reduce = 2;
    g.accesses = {{0, DType::F32, 0, {n, 1}}, {1, DType::F32, 0, {1, 0}}};
    const Val sum = ir::reduce(ir::ReduceKind::Sum, ir::load(g.body, DType::F32, 0));
    g.stores.push_back({1, (sum / ir::size_like(sum, n)).id});
    const ir::Step step = g;
    const auto program = backend->prepare({&step, 1});
    std::vector<float> x(3 * n, 1.5f), y(3);
    const Memory slots[] = {{x.data(), 0, 12 * n}, {y.data(), 0, 12}};
    EXPECT_TRUE(program->run({slots, {}}, nullptr).empty());
    EXPECT_EQ(y, std::vector<float>(3, 1.5f)) << n;
  };
  mean(1001);
  const int64_t before = backend->kernels_compiled();
  for (int64_t n = 1000; n < 1100; ++n) mean(n);
  EXPECT_EQ(backend->kernels_compiled(), before);
}

/// Sums that are split, over rows, columns and all: how they are split follows from sizes alone, so that runs agree to the bit.
TEST(CpuKernels, SplitSumsRepeatToTheBit) {
  const auto backend = cpu::entry.make(0);
  constexpr int64_t rows = 3001, columns = 517;
  std::vector<float> x(rows * columns);
  for (size_t i = 0; i < x.size(); ++i) x[i] = std::sin(static_cast<float>(i)) * 1e3f;
  for (uint32_t mask : {1u, 2u, 3u}) {
    ir::Generic g;
    g.name = "sum";
    g.sizes = {rows, columns};
    g.reduce = mask;
    g.accesses = {{0, DType::F32, 0, {columns, 1}}, {1, DType::F32, 0, {mask & 1 ? 0 : 1, mask & 2 ? 0 : 1}}};
    g.stores.push_back({1, ir::reduce(ir::ReduceKind::Sum, ir::load(g.body, DType::F32, 0)).id});
    const ir::Step step = g;
    const auto program = backend->prepare({&step, 1});
    std::vector<float> first;
    for (int run = 0; run < 5; ++run) {
      std::vector<float> y(mask == 1 ? columns : mask == 2 ? rows : 1);
      const Memory slots[] = {{x.data(), 0, rows * columns * 4}, {y.data(), 0, static_cast<int64_t>(y.size() * 4)}};
      EXPECT_TRUE(program->run({slots, {}}, nullptr).empty());
      if (run == 0) first = y;
      EXPECT_EQ(y, first);
    }
    double want = 0;
    for (int64_t i = 0; i < (mask == 1 ? rows : mask == 2 ? columns : rows * columns); ++i) want += x[mask == 1 ? i * columns : i];
    EXPECT_NEAR(first[0], want, 0.5);
  }
}

TEST(DiskCache, GivesBackWhatIsWholeAndOurs) {
  const cpu::CachedObject object{{{"one", "two"}, {cpu::Over::Chunks, cpu::Over::Blocks}}, {'a', '\0', 'b'}};
  const std::string key("a\0key", 5);
  EXPECT_FALSE(cpu::load_object(key));
  cpu::save_object(key, object);
  const auto back = cpu::load_object(key);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->code.functions, object.code.functions);
  EXPECT_EQ(back->code.over, object.code.over);
  EXPECT_EQ(back->object, object.object);
  EXPECT_FALSE(cpu::load_object("another key"));

  const std::string path = cpu::cache_file(key);
  struct stat s;
  ASSERT_EQ(stat(path.c_str(), &s), 0);
  EXPECT_EQ(s.st_mode & 0777, 0600u);
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  auto write = [&](const std::string& b) { std::ofstream(path, std::ios::binary | std::ios::trunc) << b; };
  for (size_t at = 0; at < bytes.size(); at += 7) {
    std::string damaged = bytes;
    damaged[at] ^= 1;
    write(damaged);
    EXPECT_FALSE(cpu::load_object(key)) << "byte " << at;
    write(bytes.substr(0, at));
    EXPECT_FALSE(cpu::load_object(key)) << "cut at " << at;
  }
  write(bytes);
  EXPECT_TRUE(cpu::load_object(key));
  chmod(path.c_str(), 0666);
  EXPECT_FALSE(cpu::load_object(key));
}

}  // namespace
}  // namespace anygpu
