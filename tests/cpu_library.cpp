// The CPU backend's library against naive loops: odd strides, offsets, groups, zero sizes, guard elements around every output.
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>
#include <thread>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {
namespace {

using ir::Named;
using ir::NamedKind;
using ir::Operand;
using ir::ScanKind;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

float from_bf16(uint16_t v) {
  uint32_t u = static_cast<uint32_t>(v) << 16;
  float f;
  std::memcpy(&f, &u, 4);
  return f;
}

uint16_t to_bf16(double d) {
  float f = static_cast<float>(d);
  uint32_t u;
  std::memcpy(&u, &f, 4);
  if (f != f) return 0x7fc0;
  return static_cast<uint16_t>((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

double get(DType t, const void* base, int64_t i) {
  switch (t) {
    case DType::Bool:
    case DType::U8:
      return static_cast<const uint8_t*>(base)[i];
    case DType::I8:
      return static_cast<const int8_t*>(base)[i];
    case DType::I16:
      return static_cast<const int16_t*>(base)[i];
    case DType::I32:
      return static_cast<const int32_t*>(base)[i];
    case DType::I64:
      return static_cast<double>(static_cast<const int64_t*>(base)[i]);
    case DType::BF16:
      return from_bf16(static_cast<const uint16_t*>(base)[i]);
    case DType::F32:
      return static_cast<const float*>(base)[i];
    case DType::F64:
      return static_cast<const double*>(base)[i];
    default:
      throw std::logic_error("dtype");
  }
}

void set(DType t, void* base, int64_t i, double v) {
  switch (t) {
    case DType::Bool:
    case DType::U8:
      static_cast<uint8_t*>(base)[i] = static_cast<uint8_t>(v);
      break;
    case DType::I8:
      static_cast<int8_t*>(base)[i] = static_cast<int8_t>(v);
      break;
    case DType::I16:
      static_cast<int16_t*>(base)[i] = static_cast<int16_t>(v);
      break;
    case DType::I32:
      static_cast<int32_t*>(base)[i] = static_cast<int32_t>(v);
      break;
    case DType::I64:
      static_cast<int64_t*>(base)[i] = static_cast<int64_t>(v);
      break;
    case DType::BF16:
      static_cast<uint16_t*>(base)[i] = to_bf16(v);
      break;
    case DType::F32:
      static_cast<float*>(base)[i] = static_cast<float>(v);
      break;
    case DType::F64:
      static_cast<double*>(base)[i] = v;
      break;
    default:
      throw std::logic_error("dtype");
  }
}

constexpr int64_t kGuard = 19;  // elements before and after, so that offsets are odd

/// A slot with an array in it. What no index reaches is filled with 0x5a bytes, and must stay so.
struct Array {
  Operand operand;
  std::vector<char> bytes, before;
  int64_t memory_offset = 0;

  Array(DType t, const Dims& sizes, const Dims& strides) {
    operand.dtype = t;
    operand.offset = kGuard;
    operand.sizes = sizes;
    operand.strides = strides;
    int64_t last = 0;
    for (int d = 0; d < sizes.size(); ++d) last += std::max<int64_t>(sizes[d] - 1, 0) * strides[d];
    memory_offset = 3 * size_of(t);
    bytes.assign((last + 1 + 2 * kGuard) * size_of(t) + memory_offset, 0x5a);
    before = bytes;
  }

  int64_t address(const Dims& at) const {
    int64_t i = operand.offset;
    for (int d = 0; d < at.size(); ++d) i += at[d] * operand.strides[d];
    return i;
  }
  char* base() { return bytes.data() + memory_offset; }
  double at(const Dims& index) { return get(operand.dtype, base(), address(index)); }
  void put(const Dims& index, double v) { set(operand.dtype, base(), address(index), v); }
  Memory memory() { return {bytes.data(), memory_offset, static_cast<int64_t>(bytes.size()) - memory_offset}; }
};

template <class F>
void for_each(const Dims& sizes, F f) {
  if (product(sizes) == 0) return;
  Dims at = Dims::filled(sizes.size(), 0);
  for (;;) {
    f(at);
    int d = sizes.size() - 1;
    while (d >= 0 && ++at[d] == sizes[d]) at[d--] = 0;
    if (d < 0) return;
  }
}

std::mt19937& rng() {
  static std::mt19937 r(7);
  return r;
}

void randomize(Array& a) {
  std::uniform_int_distribution<int> small(-8, 8);
  for_each(a.operand.sizes, [&](const Dims& at) { a.put(at, small(rng()) / 4.0); });
}

/// Strides for sizes whose dimensions lie in memory in the order `order` (outermost first), with a gap after each that is in `gaps`.
Dims strides_in_order(const Dims& sizes, const std::vector<int>& order, bool gaps) {
  Dims strides = Dims::filled(sizes.size(), 1);
  int64_t step = 1;
  for (int i = static_cast<int>(order.size()) - 1; i >= 0; --i) {
    strides[order[i]] = step;
    step *= std::max<int64_t>(sizes[order[i]], 1) + (gaps ? 1 : 0);
  }
  return strides;
}

class Operation {
 public:
  Named named;
  std::vector<Array*> arrays;

  Operation(NamedKind kind, std::vector<Array*> operands) : arrays(std::move(operands)) {
    named.kind = kind;
    for (size_t i = 0; i < arrays.size(); ++i) {
      named.operands.push_back(arrays[i] ? arrays[i]->operand : Operand{});
      if (arrays[i]) named.operands.back().slot = static_cast<int32_t>(arrays.size() - 1 - i);  // not simply i
    }
  }

  bool supported() const { return library().supports(named); }

  /// Runs it twice, from two threads, and checks that nothing but outputs' elements changed.
  void run(std::vector<int> outputs) {
    ir::verify(named);
    ASSERT_TRUE(supported()) << ir::to_string(named) << library().version();
    std::vector<Memory> slots;
    for (auto it = arrays.rbegin(); it != arrays.rend(); ++it) slots.push_back(*it ? (*it)->memory() : Memory{});
    std::vector<std::vector<char>> before;
    for (Array* a : arrays) before.push_back(a ? a->bytes : std::vector<char>{});
    std::unique_ptr<PreparedNamed> prepared = library().prepare(named);
    prepared->run(slots.data());
    std::thread([&] { prepared->run(slots.data()); }).join();
    for (size_t i = 0; i < arrays.size(); ++i) {
      if (!arrays[i]) continue;
      std::vector<char> expected = before[i];
      bool is_output = std::find(outputs.begin(), outputs.end(), static_cast<int>(i)) != outputs.end();
      if (is_output) {
        int64_t size = size_of(arrays[i]->operand.dtype);
        for_each(arrays[i]->operand.sizes, [&](const Dims& at) {
          int64_t byte = arrays[i]->memory_offset + arrays[i]->address(at) * size;
          std::copy_n(arrays[i]->bytes.begin() + byte, size, expected.begin() + byte);
        });
      }
      EXPECT_TRUE(expected == arrays[i]->bytes) << "operand " << i << " changed where it must not\n" << ir::to_string(named);
    }
  }
};

void expect_near(Array& got, const Dims& at, double want, double tolerance, const Named& named) {
  double v = got.at(at);
  if (std::isnan(want) ? std::isnan(v) : v == want) return;
  ASSERT_NEAR(v, want, tolerance * (1 + std::abs(want))) << ir::to_string(named);
}

bool has_onednn() {
  return library().version().starts_with("oneDNN");
}
bool has(DType t) {
  Array a(t, {4, 4}, {4, 1}), b = a, c = a;
  return Operation(NamedKind::Matmul, {&a, &b, &c}).supported();
}

#define NEEDS_ONEDNN() \
  if (!has_onednn()) GTEST_SKIP() << library().version()

// ---- threads

/// Runs this program, copied to a path, for no test at all but to say which library it opened.
std::string version_told_by(const std::filesystem::path& program) {
  std::string said;
  FILE* from =
      popen(("export ANYGPU_TELL_LIBRARY=1 ANYGPU_LIBRARY_DIR=; " + program.string() + " --gtest_filter=Loader.Tells").c_str(), "r");
  char line[512];
  while (std::fgets(line, sizeof line, from)) said += line;
  EXPECT_EQ(pclose(from), 0) << said;
  return said;
}

TEST(Loader, Tells) {
  if (!std::getenv("ANYGPU_TELL_LIBRARY")) GTEST_SKIP() << "for LooksBesideTheProgramAlone";
  std::printf("%s\n", library().version().c_str());
}

/// Whoever may write in a folder above the program's, such as /tmp, is not obeyed; nor is the folder that it is called from.
TEST(Loader, LooksBesideTheProgramAlone) {
  namespace fs = std::filesystem;
  char folder[] = "/tmp/anygpu-loader-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const fs::path root = folder, program = root / "bin" / "program", file = "libanygpu_cpu_library.so";
  fs::create_directories(root / "bin");
  fs::create_directories(root / "src");
  fs::copy_file("/proc/self/exe", program);
  for (const fs::path& trap : {root / file, root / "src" / file, root / "CMakeCache.txt"}) std::ofstream(trap) << "not to be touched";
  const std::string missing = (program.parent_path() / file).string() + " does not exist";
  EXPECT_NE(version_told_by(program).find(missing), std::string::npos) << version_told_by(program);
  EXPECT_NE(version_told_by("cd " + (root / "src").string() + " && PATH=../bin program").find(missing), std::string::npos);
  std::ofstream(program.parent_path() / file) << "beside it";
  EXPECT_EQ(version_told_by(program).find("does not exist"), std::string::npos) << "beside the program, it is opened";
  fs::remove_all(root);
}

TEST(Threads, ChunksCoverOnce) {
  for (int64_t n : {0, 1, 2, 7, 100, 12345}) {
    for (int64_t grain : {1, 3, 64, 100000}) {
      std::vector<std::atomic<int>> seen(n);
      std::atomic<int> short_chunks{0};
      parallel_for(library(), n, grain, [&](int64_t begin, int64_t end) {
        if (end - begin < grain && end != n) ++short_chunks;
        for (int64_t i = begin; i < end; ++i) ++seen[i];
      });
      for (int64_t i = 0; i < n; ++i) ASSERT_EQ(seen[i], 1) << n << " " << grain << " " << i;
      EXPECT_EQ(short_chunks, 0);
    }
  }
}

TEST(Threads, OneChunkStaysOnTheCaller) {
  std::thread::id who;
  parallel_for(library(), 100, 100, [&](int64_t, int64_t) { who = std::this_thread::get_id(); });
  EXPECT_EQ(who, std::this_thread::get_id());
}

TEST(Threads, NestedAndConcurrentCalls) {
  std::atomic<int64_t> sum{0};
  auto work = [&] {
    parallel_for(library(), 64, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        parallel_for(library(), 10, 1, [&](int64_t b, int64_t e) { sum += e - b; });
      }
    });
  };
  std::thread other(work);
  work();
  other.join();
  EXPECT_EQ(sum, 2 * 64 * 10);
}

// ---- matmul

struct MatmulCase {
  Dims batch;
  int64_t m, n, k;
};

void check_matmul(Array& dst, Array& lhs, Array& rhs, Array* bias, int64_t k) {
  Operation op(NamedKind::Matmul, bias ? std::vector<Array*>{&dst, &lhs, &rhs, bias} : std::vector<Array*>{&dst, &lhs, &rhs});
  op.run({0});
  if (testing::Test::HasFatalFailure()) return;
  int r = dst.operand.rank();
  double tolerance = dst.operand.dtype == DType::BF16 ? 1e-2 : 1e-5;
  for_each(dst.operand.sizes, [&](const Dims& at) {
    double sum = bias ? bias->at(at) : 0;
    Dims l = at, w = at;
    for (int64_t j = 0; j < k; ++j) {
      l[r - 1] = j;
      w[r - 2] = j;
      sum += lhs.at(l) * rhs.at(w);
    }
    expect_near(dst, at, sum, tolerance, op.named);
  });
}

TEST(Matmul, ShapesLayoutsAndBiases) {
  NEEDS_ONEDNN();
  const std::vector<MatmulCase> cases = {{{}, 5, 7, 3},    {{}, 1, 1, 1},     {{}, 1, 9, 17},       {{}, 9, 1, 17},
                                         {{}, 33, 65, 40}, {{}, 4, 6, 0},     {{}, 0, 6, 3},        {{}, 4, 0, 3},
                                         {{3}, 4, 5, 6},   {{2, 3}, 4, 5, 6}, {{2, 3}, 1, 5, 6},    {{2, 3}, 4, 5, 0},
                                         {{0}, 4, 5, 6},   {{1, 4}, 2, 3, 1}, {{2, 1, 3}, 4, 5, 6}, {{2, 2, 2, 2}, 3, 3, 3}};
  for (DType t : {DType::F32, DType::BF16}) {
    if (!has(t)) continue;
    for (const MatmulCase& c : cases) {
      auto with = [&](int64_t rows, int64_t columns) {
        Dims d = c.batch;
        d.push_back(rows);
        d.push_back(columns);
        return d;
      };
      Dims ds = with(c.m, c.n), ls = with(c.m, c.k), rs = with(c.k, c.n);
      int r = ds.size();
      std::vector<std::vector<int>> orders(3);
      for (int i = 0; i < r; ++i) orders[0].push_back(i);
      orders[1] = orders[2] = orders[0];
      std::swap(orders[1][r - 1], orders[1][r - 2]);                           // transposed
      std::rotate(orders[2].begin(), orders[2].begin() + 1, orders[2].end());  // the batch (or the rows) innermost
      for (int layout = 0; layout < 27; ++layout) {
        bool gaps = layout % 2;
        Array dst(t, ds, strides_in_order(ds, orders[layout % 3], gaps));
        Array lhs(t, ls, strides_in_order(ls, orders[layout / 3 % 3], gaps)), rhs(t, rs, strides_in_order(rs, orders[layout / 9], gaps));
        randomize(lhs);
        randomize(rhs);
        check_matmul(dst, lhs, rhs, nullptr, c.k);
        // A bias in turn: one row for all, one column for all, a scalar, full.
        {
          int b = (layout + r) % 4;
          Dims strides = Dims::filled(r, 0);
          if (b == 0) strides[r - 1] = gaps ? 2 : 1;
          if (b == 1) strides[r - 2] = 1;
          if (b == 3) strides = strides_in_order(ds, orders[2], gaps);
          Array bias(t, ds, strides);
          randomize(bias);
          check_matmul(dst, lhs, rhs, &bias, c.k);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST(Matmul, Broadcast) {
  NEEDS_ONEDNN();
  // Every choice of operand dimensions with stride 0.
  Dims ds{2, 3, 4, 5}, ls{2, 3, 4, 6}, rs{2, 3, 6, 5};
  for (int mask = 0; mask < 256; ++mask) {
    Dims l = contiguous_strides(ls), w = contiguous_strides(rs);
    for (int d = 0; d < 4; ++d) {
      if (mask >> d & 1) l[d] = 0;
      if (mask >> (d + 4) & 1) w[d] = 0;
    }
    Array dst(DType::F32, ds, contiguous_strides(ds)), lhs(DType::F32, ls, l), rhs(DType::F32, rs, w), bias(DType::F32, ds, {0, 0, 0, 1});
    randomize(lhs);
    randomize(rhs);
    randomize(bias);
    check_matmul(dst, lhs, rhs, mask % 2 ? &bias : nullptr, 6);
    if (HasFatalFailure()) return;
  }
}

TEST(Matmul, SharedRightSideJoinsRows) {
  NEEDS_ONEDNN();
  Dims ds{2, 3, 4, 5}, ls{2, 3, 4, 6}, rs{2, 3, 6, 5};
  for (const Dims& d : {Dims{60, 20, 5, 1}, Dims{80, 24, 6, 1}, Dims{60, 5, 15, 1}}) {
    Array dst(DType::F32, ds, d), lhs(DType::F32, ls, contiguous_strides(ls)), rhs(DType::F32, rs, {0, 0, 1, 7}),
        bias(DType::F32, ds, {0, 0, 0, 1});
    randomize(lhs);
    randomize(rhs);
    randomize(bias);
    check_matmul(dst, lhs, rhs, &bias, 6);
  }
}

TEST(Matmul, WindowsOverlap) {
  NEEDS_ONEDNN();
  Array dst(DType::F32, {6, 4}, {4, 1}), lhs(DType::F32, {6, 5}, {1, 1}), rhs(DType::F32, {5, 4}, {2, 3});
  randomize(lhs);
  randomize(rhs);
  check_matmul(dst, lhs, rhs, nullptr, 5);
}

TEST(Matmul, BiasIsDst) {
  NEEDS_ONEDNN();
  Array dst(DType::F32, {4, 5}, {6, 1}), lhs(DType::F32, {4, 3}, {3, 1}), rhs(DType::F32, {3, 5}, {5, 1});
  randomize(dst);
  randomize(lhs);
  randomize(rhs);
  Array old = dst;
  Named named{NamedKind::Matmul, {dst.operand, lhs.operand, rhs.operand, dst.operand}, {}, ""};
  for (int i = 0; i < 4; ++i) named.operands[i].slot = i % 3;
  Memory slots[] = {dst.memory(), lhs.memory(), rhs.memory()};
  library().prepare(named)->run(slots);
  for_each(dst.operand.sizes, [&](const Dims& at) {
    double sum = old.at(at);
    for (int64_t j = 0; j < 3; ++j) sum += lhs.at({at[0], j}) * rhs.at({j, at[1]});
    expect_near(dst, at, sum, 1e-5, named);
  });
}

TEST(Matmul, RefusesWhatItWouldComputeOtherwise) {
  for (DType t : {DType::F64, DType::F16, DType::I32, DType::I64, DType::C64}) EXPECT_FALSE(has(t)) << name_of(t);
  Array a(DType::F64, {4, 4}, {4, 1}), b = a, c = a;
  Operation op(NamedKind::Matmul, {&a, &b, &c});
  EXPECT_THROW(library().prepare(op.named), Error);
}

// ---- convolution

struct ConvCase {
  int64_t batch, in_channels, out_channels, groups;
  Dims in, kernel, stride, padding, dilation;
};

int64_t output_size(const ConvCase& c, int d) {
  return (c.in[d] + 2 * c.padding[d] - c.dilation[d] * (c.kernel[d] - 1) - 1) / c.stride[d] + 1;
}

/// Calls f(src index, weight index, dst index) for each product that a convolution sums.
template <class F>
void for_each_product(const ConvCase& c, const Dims& dst, const Dims& weight, F f) {
  int spatial = c.in.size();
  Dims filter = weight;
  if (filter[0] > 0) filter[0] = 1;
  for_each(dst, [&](const Dims& o) {
    for_each(filter, [&](Dims w) {
      w[0] = o[1];
      Dims s{o[0], o[1] / (c.out_channels / c.groups) * (c.in_channels / c.groups) + w[1]};
      for (int d = 0; d < spatial; ++d) {
        int64_t at = o[d + 2] * c.stride[d] - c.padding[d] + w[d + 2] * c.dilation[d];
        if (at < 0 || at >= c.in[d]) return;
        s.push_back(at);
      }
      f(s, w, o);
    });
  });
}

void check_conv(const ConvCase& c, DType t, int layout, int64_t output_shrink = 0) {
  int spatial = c.in.size();
  Dims ss{c.batch, c.in_channels}, ws{c.out_channels, c.in_channels / c.groups}, ds{c.batch, c.out_channels};
  std::vector<int> first, last{0};
  for (int d = 0; d < spatial; ++d) {
    ss.push_back(c.in[d]);
    ws.push_back(c.kernel[d]);
    ds.push_back(output_size(c, d) - output_shrink);
    last.push_back(d + 2);
  }
  for (int d = 0; d < spatial + 2; ++d) first.push_back(d);
  last.push_back(1);
  auto strides = [&](const Dims& sizes) { return strides_in_order(sizes, layout & 1 ? last : first, layout & 2); };
  Array src(t, ss, strides(ss)), weight(t, ws, strides(ws)), dst(t, ds, strides(ds));
  Array bias(t, {c.out_channels}, {layout & 2 ? 2 : 1});
  // Each transform of Winograd's rounds at the scale of the sum, which grows as the root of how much is summed.
  const double most =
      static_cast<double>(std::max(product(ds), product(ss)) / std::max<int64_t>(1, std::min(c.in_channels, c.out_channels)));
  double tolerance = t == DType::BF16 ? 2e-2 : std::max(1e-4, 1e-5 * std::sqrt(most));
  auto attrs = [&](Operation& op) {
    op.named.attrs.stride = c.stride;
    op.named.attrs.padding = c.padding;
    op.named.attrs.dilation = c.dilation;
    op.named.attrs.groups = c.groups;
  };
  auto sums = [](const Dims& sizes) { return Array(DType::F64, sizes, contiguous_strides(sizes)); };
  randomize(src);
  randomize(weight);
  randomize(bias);
  if (output_shrink == 0) {
    for (Array* b : {static_cast<Array*>(nullptr), &bias}) {
      Operation op(NamedKind::Conv, {&dst, &src, &weight, b});
      attrs(op);
      op.run({0});
      if (testing::Test::HasFatalFailure()) return;
      Array want = sums(ds);
      for_each(ds, [&](const Dims& at) { want.put(at, b ? b->at({at[1]}) : 0); });
      for_each_product(c, ds, ws, [&](const Dims& s, const Dims& w, const Dims& o) { want.put(o, want.at(o) + src.at(s) * weight.at(w)); });
      for_each(ds, [&](const Dims& at) { expect_near(dst, at, want.at(at), tolerance, op.named); });
    }
  }
  randomize(dst);
  {
    Array grad(t, ss, strides(ss));
    Operation op(NamedKind::ConvSrcGrad, {&grad, &dst, &weight});
    attrs(op);
    op.run({0});
    if (testing::Test::HasFatalFailure()) return;
    Array want = sums(ss);
    for_each(ss, [&](const Dims& at) { want.put(at, 0); });
    for_each_product(c, ds, ws, [&](const Dims& s, const Dims& w, const Dims& o) { want.put(s, want.at(s) + dst.at(o) * weight.at(w)); });
    for_each(ss, [&](const Dims& at) { expect_near(grad, at, want.at(at), tolerance, op.named); });
  }
  {
    Array grad(t, ws, strides(ws));
    Operation op(NamedKind::ConvWeightGrad, {&grad, &dst, &src});
    attrs(op);
    op.run({0});
    if (testing::Test::HasFatalFailure()) return;
    Array want = sums(ws);
    for_each(ws, [&](const Dims& at) { want.put(at, 0); });
    for_each_product(c, ds, ws, [&](const Dims& s, const Dims& w, const Dims& o) { want.put(w, want.at(w) + dst.at(o) * src.at(s)); });
    for_each(ws, [&](const Dims& at) { expect_near(grad, at, want.at(at), tolerance, op.named); });
  }
}

TEST(Convolution, AllDirections) {
  NEEDS_ONEDNN();
  const std::vector<ConvCase> cases = {
      {2, 3, 4, 1, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
      {2, 16, 32, 1, {9, 8}, {3, 3}, {2, 1}, {1, 0}, {1, 1}},
      {1, 4, 6, 2, {7, 9}, {3, 2}, {2, 3}, {1, 0}, {2, 1}},
      {2, 8, 8, 8, {7, 7}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},     // depthwise
      {2, 16, 32, 16, {6, 6}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},  // depthwise with a multiplier
      {3, 20, 24, 1, {5, 6}, {1, 1}, {1, 1}, {0, 0}, {1, 1}},   // pointwise
      {3, 20, 24, 1, {5, 6}, {1, 1}, {2, 2}, {0, 0}, {1, 1}},
      {1, 1, 1, 1, {5, 5}, {5, 5}, {1, 1}, {0, 0}, {1, 1}},
      {2, 5, 7, 1, {12}, {4}, {3}, {2}, {1}},  // 1d
      {2, 4, 4, 2, {11}, {3}, {1}, {2}, {2}},
      {1, 3, 4, 1, {5, 6, 4}, {3, 2, 3}, {1, 2, 1}, {1, 1, 0}, {1, 1, 1}},  // 3d
      {2, 4, 4, 4, {4, 4, 4}, {2, 2, 2}, {2, 2, 2}, {0, 0, 0}, {1, 1, 1}},
      {0, 3, 4, 1, {9, 8}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},  // an empty batch
      {2, 0, 4, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},  // nothing to sum
      {2, 3, 0, 1, {5, 5}, {3, 3}, {1, 1}, {1, 1}, {1, 1}},
      {1, 2, 3, 1, {3, 3}, {3, 3}, {1, 1}, {4, 4}, {1, 1}},  // more padding than window
  };
  for (DType t : {DType::F32, DType::BF16}) {
    if (!has(t)) continue;
    for (const ConvCase& c : cases) {
      for (int layout = 0; layout < 4; ++layout) {
        check_conv(c, t, layout);
        if (HasFatalFailure()) return;
      }
    }
  }
}

/// Large enough for Winograd's transforms, where the library and the CPU have them.
TEST(Convolution, LargeThreeByThree) {
  NEEDS_ONEDNN();
  check_conv({4, 32, 32, 1, {32, 32}, {3, 3}, {1, 1}, {1, 1}, {1, 1}}, DType::F32, 0);
  check_conv({5, 48, 20, 1, {29, 31}, {3, 3}, {1, 1}, {0, 1}, {1, 1}}, DType::F32, 2);
}

TEST(Convolution, GradientsOfAnOutputThatStopsShort) {
  NEEDS_ONEDNN();
  // Transposed convolution with output_padding: the last windows are missing.
  check_conv({2, 4, 5, 1, {9, 8}, {3, 3}, {3, 2}, {1, 1}, {1, 1}}, DType::F32, 0, 0);
  check_conv({2, 4, 5, 1, {10, 10}, {3, 3}, {3, 3}, {1, 1}, {1, 1}}, DType::F32, 0, 0);
  check_conv({2, 16, 16, 1, {12}, {3}, {4}, {1}, {1}}, DType::F32, 0, 0);
}

TEST(Convolution, ExpandedGradient) {
  NEEDS_ONEDNN();
  // The gradient of a sum: one number seen as an array.
  Dims ss{2, 3, 6, 6}, ws{4, 3, 3, 3}, ds{2, 4, 4, 4};
  Array grad(DType::F32, ss, contiguous_strides(ss)), dst(DType::F32, ds, {0, 0, 0, 0}), weight(DType::F32, ws, contiguous_strides(ws));
  randomize(weight);
  dst.put({0, 0, 0, 0}, 1.5);
  Operation op(NamedKind::ConvSrcGrad, {&grad, &dst, &weight});
  op.named.attrs.stride = op.named.attrs.dilation = {1, 1};
  op.named.attrs.padding = {0, 0};
  op.run({0});
  for_each(ss, [&](const Dims& at) {
    double sum = 0;
    for_each(ws, [&](const Dims& w) {
      int64_t y = at[2] - w[2], x = at[3] - w[3];
      if (w[1] == at[1] && y >= 0 && y < 4 && x >= 0 && x < 4) sum += 1.5 * weight.at(w);
    });
    expect_near(grad, at, sum, 1e-5, op.named);
  });
}

// ---- pooling

TEST(AvgPool, BothDirections) {
  NEEDS_ONEDNN();
  struct Case {
    Dims in, out, kernel, stride, padding;
    bool include_pad, supported;
  };
  const std::vector<Case> cases = {
      {{8, 9}, {4, 4}, {2, 2}, {2, 2}, {0, 0}, true, true},
      {{8, 9}, {4, 5}, {3, 3}, {2, 2}, {1, 1}, true, true},
      {{8, 9}, {4, 5}, {3, 3}, {2, 2}, {1, 1}, false, true},
      {{7, 7}, {3, 3}, {2, 2}, {3, 3}, {0, 0}, true, false},  // ceil_mode: the last window leaves the padding
      {{7, 7}, {3, 3}, {2, 2}, {3, 3}, {0, 0}, false, true},
      {{10}, {5}, {3}, {2}, {1}, false, true},
      {{5, 6, 7}, {2, 3, 3}, {2, 2, 2}, {2, 2, 2}, {0, 0, 0}, true, true},
      {{7, 5}, {1, 1}, {7, 5}, {1, 1}, {0, 0}, true, true},
  };
  for (DType t : {DType::F32, DType::BF16}) {
    if (!has(t)) continue;
    for (const Case& c : cases) {
      for (int layout = 0; layout < 4; ++layout) {
        int spatial = c.in.size();
        Dims ss{2, 20}, ds{2, 20};
        std::vector<int> first{0, 1}, last{0};
        for (int d = 0; d < spatial; ++d) {
          ss.push_back(c.in[d]);
          ds.push_back(c.out[d]);
          first.push_back(d + 2);
          last.push_back(d + 2);
        }
        last.push_back(1);
        auto strides = [&](const Dims& sizes) { return strides_in_order(sizes, layout & 1 ? last : first, layout & 2); };
        Array src(t, ss, strides(ss)), dst(t, ds, strides(ds)), grad(t, ss, strides(ss));
        randomize(src);
        Array want(DType::F64, ds, contiguous_strides(ds)), want_grad(DType::F64, ss, contiguous_strides(ss));
        for_each(ss, [&](const Dims& at) { want_grad.put(at, 0); });
        auto attrs = [&](Operation& op) {
          op.named.attrs.stride = c.stride;
          op.named.attrs.padding = c.padding;
          op.named.attrs.kernel = c.kernel;
          op.named.attrs.count_include_pad = c.include_pad;
        };
        Operation forward(NamedKind::AvgPool, {&dst, &src}), backward(NamedKind::AvgPoolGrad, {&grad, &dst});
        attrs(forward);
        attrs(backward);
        EXPECT_EQ(forward.supported(), c.supported);
        EXPECT_EQ(backward.supported(), c.supported);
        if (!c.supported) continue;
        // visit(f): f(dst index, src index, divisor) for each element under each window.
        auto visit = [&](auto f) {
          for_each(ds, [&](const Dims& o) {
            double divisor = 1;
            for (int d = 0; d < spatial; ++d) {
              int64_t begin = o[d + 2] * c.stride[d] - c.padding[d], end = std::min(begin + c.kernel[d], c.in[d] + c.padding[d]);
              if (!c.include_pad) begin = std::max<int64_t>(begin, 0), end = std::min(end, c.in[d]);
              divisor *= static_cast<double>(end - begin);
            }
            for_each(c.kernel, [&](const Dims& k) {
              Dims s{o[0], o[1]};
              for (int d = 0; d < spatial; ++d) {
                int64_t at = o[d + 2] * c.stride[d] - c.padding[d] + k[d];
                if (at < 0 || at >= c.in[d]) return;
                s.push_back(at);
              }
              f(o, s, divisor);
            });
          });
        };
        double tolerance = t == DType::BF16 ? 2e-2 : 1e-5;
        forward.run({0});
        for_each(ds, [&](const Dims& at) { want.put(at, 0); });
        visit([&](const Dims& o, const Dims& s, double n) { want.put(o, want.at(o) + src.at(s) / n); });
        for_each(ds, [&](const Dims& at) { expect_near(dst, at, want.at(at), tolerance, forward.named); });
        randomize(dst);
        backward.run({0});
        visit([&](const Dims& o, const Dims& s, double n) { want_grad.put(s, want_grad.at(s) + dst.at(o) / n); });
        for_each(ss, [&](const Dims& at) { expect_near(grad, at, want_grad.at(at), tolerance, backward.named); });
        if (HasFatalFailure()) return;
      }
    }
  }
  Array src(DType::F32, {1, 1, 4, 4}, {16, 16, 4, 1}), dst(DType::F32, {1, 1, 2, 2}, {4, 4, 2, 1});
  Operation op(NamedKind::AvgPool, {&dst, &src});
  op.named.attrs.stride = op.named.attrs.kernel = {2, 2};
  op.named.attrs.padding = {0, 0};
  op.named.attrs.divisor_override = 3;
  EXPECT_FALSE(op.supported());
}

// ---- scans

double log_add_exp(double a, double b) {
  if (std::isnan(a) || std::isnan(b)) return kNaN;
  double high = std::max(a, b), low = std::min(a, b);
  return std::isinf(high) && high == low ? high : high + std::log1p(std::exp(low - high));
}

void check_scan(ScanKind kind, DType t, const Dims& sizes, int axis, const std::vector<int>& order, bool gaps) {
  Array src(t, sizes, strides_in_order(sizes, order, gaps)), dst(t, sizes, strides_in_order(sizes, {2, 1, 0}, gaps));
  Array indices(DType::I64, sizes, strides_in_order(sizes, {1, 0, 2}, gaps));
  bool extremum = kind == ScanKind::Max || kind == ScanKind::Min;
  std::uniform_int_distribution<int> few(-3, 3), rare(0, 40);
  for_each(sizes, [&](const Dims& at) {
    double v = few(rng());
    if (kind == ScanKind::Prod) v = v > 0 ? 1 : is_float(t) ? -1 : 2;
    if (t == DType::U8 || t == DType::Bool) v = std::abs(v);
    if (t == DType::Bool) v = v > 1;
    if (is_float(t) && rare(rng()) == 0) v = std::vector<double>{kNaN, kInf, -kInf}[at[axis] % 3];
    src.put(at, v);
  });
  Operation op(NamedKind::Scan, extremum ? std::vector<Array*>{&dst, &src, &indices} : std::vector<Array*>{&dst, &src});
  op.named.attrs.axis = axis;
  op.named.attrs.scan = kind;
  op.run({0, 2});
  if (testing::Test::HasFatalFailure()) return;
  Dims rows = sizes;
  rows[axis] = std::min<int64_t>(sizes[axis], 1);
  for_each(rows, [&](Dims at) {
    double a = 0;
    int64_t from = 0;
    for (int64_t j = 0; j < sizes[axis]; ++j) {
      at[axis] = j;
      double x = src.at(at);
      switch (kind) {
        case ScanKind::Sum:
          a = j ? a + x : x;
          break;
        case ScanKind::Prod:
          a = j ? a * x : x;
          break;
        case ScanKind::LogAddExp:
          a = j ? log_add_exp(a, x) : x;
          break;
        case ScanKind::Max:
          if (j == 0 || std::isnan(x) || x >= a) a = x, from = j;
          break;
        case ScanKind::Min:
          if (j == 0 || std::isnan(x) || x <= a) a = x, from = j;
          break;
      }
      double want = a;
      if (!is_float(t)) {  // integers wrap
        if (kind == ScanKind::Prod) a = std::remainder(a, 0x1p32);
        if (t == DType::Bool) want = a != 0;
        if (t == DType::U8) want = a - 256 * std::floor(a / 256);
        if (t == DType::I8) want = a - 256 * std::floor((a + 128) / 256);
        if (t == DType::I16) want = a - 65536 * std::floor((a + 32768) / 65536);
        if (t == DType::I32 || t == DType::I64) want = a;
        if (kind == ScanKind::Prod && t > DType::I16) continue;  // beyond what this oracle's doubles hold
      }
      expect_near(dst, at, want, t == DType::BF16 ? 1e-2 : t == DType::F32 ? 1e-6 : 1e-12, op.named);
      if (extremum) {
        ASSERT_EQ(indices.at(at), static_cast<double>(from)) << ir::to_string(op.named);
      }
    }
  });
}

TEST(Scan, KindsTypesAndLayouts) {
  for (DType t : {DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::BF16, DType::F32, DType::F64}) {
    for (ScanKind kind : {ScanKind::Sum, ScanKind::Prod, ScanKind::Max, ScanKind::Min, ScanKind::LogAddExp}) {
      if (kind == ScanKind::LogAddExp && !is_float(t)) continue;
      for (int axis = 0; axis < 3; ++axis) {
        for (const std::vector<int>& order : {std::vector<int>{0, 1, 2}, {2, 0, 1}, {1, 2, 0}}) {
          check_scan(kind, t, {5, 7, 6}, axis, order, axis % 2);
          if (HasFatalFailure()) return;
        }
        check_scan(kind, t, {3, 300, 2}, axis, {0, 1, 2}, false);
        check_scan(kind, t, {300, 2, 270}, axis, {0, 1, 2}, false);
        check_scan(kind, t, {1, 0, 2}, axis, {0, 1, 2}, false);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Scan, TiesTakeTheLaterIndexAndNaNSticks) {
  Array src(DType::F32, {7}, {1}), dst = src, indices(DType::I64, {7}, {1});
  double values[] = {1, 2, 2, 0, kNaN, 5, kNaN};
  for (int64_t i = 0; i < 7; ++i) src.put({i}, values[i]);
  Operation op(NamedKind::Scan, {&dst, &src, &indices});
  op.named.attrs.scan = ScanKind::Max;
  op.run({0, 2});
  const double want[] = {1, 2, 2, 2, kNaN, kNaN, kNaN}, want_indices[] = {0, 1, 2, 2, 4, 4, 6};
  for (int64_t i = 0; i < 7; ++i) {
    expect_near(dst, {i}, want[i], 0, op.named);
    EXPECT_EQ(indices.at({i}), want_indices[i]);
  }
}

TEST(Scan, ConvertsBeforeItAdds) {
  Array src(DType::Bool, {300}, {1}), dst(DType::I64, {300}, {1}), real(DType::F32, {300}, {1});
  for (int64_t i = 0; i < 300; ++i) src.put({i}, 1), real.put({i}, 0.75);
  Operation op(NamedKind::Scan, {&dst, &src});
  op.run({0});
  EXPECT_EQ(dst.at({299}), 300);
  Operation of_real(NamedKind::Scan, {&dst, &real});
  of_real.run({0});
  EXPECT_EQ(dst.at({299}), 0);
  Array scalar(DType::F32, {1}, {0}), out(DType::F32, {1}, {0});
  scalar.put({0}, 3);
  Operation one(NamedKind::Scan, {&out, &scalar});
  one.run({0});
  EXPECT_EQ(out.at({0}), 3);
}

// ---- sorts

void check_sort(DType t, const Dims& sizes, int axis, bool descending, const std::vector<int>& order, bool gaps) {
  Array src(t, sizes, strides_in_order(sizes, order, gaps)), values(t, sizes, strides_in_order(sizes, {2, 1, 0}, gaps));
  Array indices(DType::I64, sizes, strides_in_order(sizes, {1, 0, 2}, gaps));
  std::uniform_int_distribution<int> any(-100, 100), rare(0, 20);
  for_each(sizes, [&](const Dims& at) {
    double v = any(rng());
    if (size_of(t) > 2 && rare(rng()) < 5) v *= 1e6;
    if (t == DType::U8) v = std::abs(v);
    if (t == DType::Bool) v = v > 0;
    if (is_float(t)) {
      v *= 0.25;
      if (rare(rng()) == 0) v = std::vector<double>{kNaN, kInf, -kInf, 0.0, -0.0, -kNaN}[std::abs(any(rng())) % 6];
    }
    src.put(at, v);
  });
  Operation op(NamedKind::Sort, {&values, &indices, &src});
  op.named.attrs.axis = axis;
  op.named.attrs.descending = descending;
  op.run({0, 1});
  if (testing::Test::HasFatalFailure()) return;
  Dims rows = sizes;
  rows[axis] = std::min<int64_t>(sizes[axis], 1);
  for_each(rows, [&](Dims at) {
    std::vector<int64_t> want(sizes[axis]);
    for (size_t i = 0; i < want.size(); ++i) want[i] = static_cast<int64_t>(i);
    auto element = [&](int64_t i) {
      at[axis] = i;
      return src.at(at);
    };
    auto less = [](double a, double b) { return a < b || (std::isnan(b) && !std::isnan(a)); };
    std::stable_sort(want.begin(), want.end(),
                     [&](int64_t a, int64_t b) { return descending ? less(element(b), element(a)) : less(element(a), element(b)); });
    for (size_t i = 0; i < want.size(); ++i) {
      double v = element(want[i]);
      at[axis] = static_cast<int64_t>(i);
      ASSERT_EQ(indices.at(at), static_cast<double>(want[i])) << ir::to_string(op.named);
      ASSERT_TRUE(std::isnan(v) ? std::isnan(values.at(at)) : v == values.at(at) && std::signbit(v) == std::signbit(values.at(at)));
    }
  });
}

TEST(Sort, TypesAndLayouts) {
  for (DType t : {DType::Bool, DType::U8, DType::I8, DType::I16, DType::I32, DType::I64, DType::BF16, DType::F32, DType::F64}) {
    for (bool descending : {false, true}) {
      for (int axis = 0; axis < 3; ++axis) {
        check_sort(t, {5, 7, 6}, axis, descending, {0, 1, 2}, false);
        check_sort(t, {5, 7, 6}, axis, descending, {2, 0, 1}, true);
        check_sort(t, {3, 1500, 2}, axis, descending, {0, 1, 2}, false);
        check_sort(t, {2, 1, 700}, axis, descending, {2, 1, 0}, true);
        check_sort(t, {2, 0, 3}, axis, descending, {0, 1, 2}, false);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Sort, LongRows) {
  for (DType t : {DType::I8, DType::BF16, DType::F32, DType::I64}) {
    for (int64_t rows : {1, 5}) {
      check_sort(t, {rows, 40000, 1}, 1, rows == 1, {0, 1, 2}, false);
      if (HasFatalFailure()) return;
    }
  }
  Array same(DType::F32, {40000}, {1}), values = same, indices(DType::I64, {40000}, {1});
  for (int64_t i = 0; i < 40000; ++i) same.put({i}, 2.5);
  Operation op(NamedKind::Sort, {&values, &indices, &same});
  op.run({0, 1});
  for (int64_t i = 0; i < 40000; ++i) ASSERT_EQ(indices.at({i}), static_cast<double>(i));
}

TEST(Sort, InPlace) {
  Array values(DType::F32, {6}, {1}), indices(DType::I64, {6}, {1});
  for (int64_t i = 0; i < 6; ++i) values.put({i}, static_cast<double>((i * 5) % 6));
  Named named{NamedKind::Sort, {values.operand, indices.operand, values.operand}, {}, ""};
  named.operands[0].slot = named.operands[2].slot = 0;
  named.operands[1].slot = 1;
  Memory slots[] = {values.memory(), indices.memory()};
  library().prepare(named)->run(slots);
  for (int64_t i = 0; i < 6; ++i) {
    EXPECT_EQ(values.at({i}), static_cast<double>(i));
    EXPECT_EQ(indices.at({i}), static_cast<double>((i * 5) % 6));
  }
}

}  // namespace
}  // namespace anygpu::cpu
