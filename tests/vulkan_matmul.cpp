// The shader of products for GPUs in every tile, way of loading and type; and the tuner that chooses among tiles.
#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "backends/gpu/chooser.h"
#include "backends/gpu/matmul.h"
#include "backends/vulkan/program.h"
#include "core/numbers.h"
#include "vulkan.h"

namespace anygpu::vulkan {
namespace {

using gpu::CooperativeTile;
using gpu::MatmulTile;
using gpu::problem_of;
using gpu::SharedTile;
using gpu::Tuner;
using gpu::Way;

/// dst = lhs @ rhs + bias of small whole numbers, in slots 0 to 3: exact in every type.
struct Product {
  DType t = DType::F32;
  int64_t batch = 2, m = 0, n = 0, k = 0;
  bool lhs_turned = false, rhs_turned = false, dst_turned = false;
  int64_t spare = 0;  // elements at the end of each line, so that no four neighbours are one load
  bool bias = false;
  bool wide_dst = false;  // f32, whatever t is

  DType type_of(int32_t slot) const { return slot == 0 && wide_dst ? DType::F32 : t; }
  int64_t line(int64_t inner) const { return inner + spare; }
  ir::Operand stack(int32_t slot, int64_t rows, int64_t columns, bool turned) const {
    const int64_t inner = line(turned ? rows : columns), outer = turned ? columns : rows;
    return {slot, type_of(slot), 0, {batch, rows, columns}, turned ? Dims{inner * outer, 1, inner} : Dims{inner * outer, inner, 1}};
  }
  ir::Named named() const {
    std::vector<ir::Operand> operands{stack(0, m, n, dst_turned), stack(1, m, k, lhs_turned), stack(2, k, n, rhs_turned)};
    if (bias) operands.push_back({3, t, 0, {batch, m, n}, {0, 0, 1}});
    return {ir::NamedKind::Matmul, std::move(operands), {}, "matmul"};
  }
};

int value_of(int64_t i, int32_t slot) {
  return static_cast<int>((i * 7 + slot * 3 + i / 11) % 5) - 2;
}

void encode(DType t, double v, char* to) {
  const auto f = static_cast<float>(v);
  uint32_t bits;
  std::memcpy(&bits, &f, 4);
  uint16_t half = static_cast<uint16_t>(bits >> 16);
  if (t == DType::F16)
    half = v == 0 ? 0 : static_cast<uint16_t>((bits >> 16 & 0x8000) | ((bits >> 23 & 0xff) - 112) << 10 | (bits >> 13 & 0x3ff));
  if (t == DType::F64) {
    std::memcpy(to, &v, 8);
  } else if (t == DType::F32) {
    std::memcpy(to, &f, 4);
  } else {
    std::memcpy(to, &half, 2);
  }
}

/// "" or where the result is not what it should be.
std::string wrong(Resources& on, const Product& p, const MatmulTile& tile) {
  const ir::Named n = p.named();
  auto made = compile_matmul_in(tile, n, on.gpu.can);
  if (!made) return "not compiled";
  Transfer transfer(on.gpu, on.host);
  std::vector<Memory> slots;
  std::vector<std::vector<char>> bytes;
  for (size_t i = 0; i < n.operands.size(); ++i) {
    const ir::Operand& o = n.operands[i];
    const int64_t size = size_of(o.dtype);
    int64_t last = 0;
    for (int d = 0; d < o.rank(); ++d) last += (o.sizes[d] - 1) * o.strides[d];
    bytes.emplace_back(static_cast<size_t>((last + 1) * size), 0);
    for (int64_t e = 0; e <= last; ++e) encode(o.dtype, value_of(e, o.slot), bytes.back().data() + e * size);
    slots.push_back(on.heap.allocate(static_cast<int64_t>(bytes.back().size())));
    transfer.write(slots.back(), 0, bytes.back().data(), slots.back().bytes);
  }
  std::vector<char> right = bytes[0];
  const DType dst = n.operands[0].dtype;
  auto at = [&](int i, int64_t b, int64_t row, int64_t column) {
    const Dims& s = n.operands[static_cast<size_t>(i)].strides;
    return b * s[0] + row * s[1] + column * s[2];
  };
  for (int64_t b = 0; b < p.batch; ++b)
    for (int64_t i = 0; i < p.m; ++i)
      for (int64_t j = 0; j < p.n; ++j) {
        int sum = p.bias ? value_of(at(3, b, i, j), 3) : 0;
        for (int64_t k = 0; k < p.k; ++k) sum += value_of(at(1, b, i, k), 1) * value_of(at(2, b, k, j), 2);
        encode(dst, sum, right.data() + at(0, b, i, j) * size_of(dst));
      }
  std::vector<Compiled> steps;
  steps.push_back(std::move(*made));
  VulkanProgram(on, "matmul", std::move(steps)).run({slots, {}}, nullptr);
  transfer.read(slots[0], 0, bytes[0].data(), slots[0].bytes);
  for (const Memory& m : slots) on.heap.release(m);
  for (size_t i = 0; i < right.size(); ++i)
    if (right[i] != bytes[0][i]) return "byte " + std::to_string(i) + " of " + std::to_string(right.size()) + " is wrong";
  return "";
}

/// Sizes that leave a tile of m x n, k at a time, ragged on every side, in whole fours or not. Sums stay below 256, which a bf16 holds.
Product ragged(int64_t m, int64_t n, int64_t k, bool fours) {
  Product p;
  p.m = m + (fours ? 4 : 3), p.n = n + (fours ? 8 : 5), p.k = k + (fours ? 4 : 1);
  p.spare = fours ? 0 : 1;
  return p;
}
Product ragged(const SharedTile& t, bool fours) {
  return ragged(t.m, t.n, t.k, fours);
}

TEST_F(Vulkan, EveryTileIsRight) {
  Resources on(physical());
  const std::vector<SharedTile> tiles = tiles_of(on.gpu.can, 4);
  ASSERT_FALSE(tiles.empty()) << "no tile fits " << physical().name;
  for (const SharedTile& tile : tiles) {
    for (const bool fours : {true, false}) {
      Product p = ragged(tile, fours);
      p.bias = fours;
      p.lhs_turned = p.rhs_turned = !fours;
      EXPECT_EQ(wrong(on, p, tile), "") << tile.name() << (fours ? " in fours" : "");
    }
  }
}

TEST_F(Vulkan, EveryWayOfLoadingIsRight) {
  Resources on(physical());
  for (const DType t : {DType::F32, DType::F16, DType::BF16, DType::F64}) {
    Product first;
    first.t = t;
    if (!has_matmul(first.named(), physical().can)) continue;  // it is rounded from f32
    const SharedTile tile = tiles_of(on.gpu.can, size_of(t)).back();
    for (const bool fours : {true, false})
      for (const bool lhs : {true, false})
        for (const bool rhs : {true, false}) {
          Product p = ragged(tile, fours);
          p.t = t;
          p.lhs_turned = lhs, p.rhs_turned = rhs;
          p.dst_turned = lhs && rhs, p.bias = !lhs;
          const std::string where = std::string(name_of(t)) + (fours ? " in fours" : "") + (lhs ? " lhs^T" : "") + (rhs ? " rhs^T" : "");
          EXPECT_EQ(wrong(on, p, tile), "") << where << ", " << tile.name();
          if (t != DType::F32) continue;
          EXPECT_EQ(wrong(on, p, {}), "") << where << ", plain";
        }
  }
}

/// Of products of f16, on devices that multiply such matrices: `./run test mesa` has one.
class VulkanCooperative : public Vulkan {
 protected:
  void SetUp() override {
    Vulkan::SetUp();
    if (IsSkipped()) return;
    if (!physical().can.cooperative) GTEST_SKIP() << physical().name << " has no cooperative matrices";
  }
  Product ragged_for(const CooperativeTile& t, bool fours) {
    const Capabilities& can = physical().can;
    Product p = ragged(2 * t.rows * can.cooperative_m, 2 * t.columns * can.cooperative_n, 64, fours);
    p.t = DType::F16;
    return p;
  }
};

TEST_F(VulkanCooperative, EveryTileIsRight) {
  Resources on(physical());
  const Product p = ragged_for({1, 1}, true);
  ASSERT_TRUE(takes_cooperative(p.named(), on.gpu.can));
  const std::vector<CooperativeTile> tiles = cooperative_tiles(problem_of(p.named()), on.gpu.can);
  ASSERT_FALSE(tiles.empty());
  for (const CooperativeTile& t : tiles) EXPECT_EQ(wrong(on, ragged_for(t, true), t), "") << t.name();
}

TEST_F(VulkanCooperative, EveryWayOfLoadingIsRight) {
  Resources on(physical());
  const CooperativeTile tile{1, 1};
  for (const bool fours : {true, false})
    for (const bool lhs : {true, false})
      for (const bool rhs : {true, false})
        for (const bool wide : {true, false}) {
          Product p = ragged_for(tile, fours);
          p.lhs_turned = lhs, p.rhs_turned = rhs, p.dst_turned = lhs && rhs;
          p.wide_dst = wide, p.bias = lhs;
          EXPECT_EQ(wrong(on, p, tile), "") << (fours ? "in fours" : "singly") << (lhs ? " lhs^T" : "") << (rhs ? " rhs^T" : "")
                                            << (wide ? " to f32" : "");
        }
}

TEST_F(VulkanCooperative, LongSumsAreMadeInParts) {
  Product p;
  p.t = DType::F16, p.m = 40, p.n = 24, p.k = 300, p.bias = true, p.wide_dst = true;
  PhysicalDevice less = physical();
  less.can.max_iterations = 4;
  const auto made = compile_matmul_in(CooperativeTile{1, 1}, p.named(), less.can);
  ASSERT_TRUE(made);
  EXPECT_GT(made->launches.size(), 1u);
  Resources on_less(less);
  EXPECT_EQ(wrong(on_less, p, CooperativeTile{1, 1}), "");
}

/// Which shader runs: a GPU's, whatever the device is made of, unless the variable says otherwise.
TEST_F(Vulkan, TheTierIsChosenAndForced) {
  Product p;
  p.m = 70, p.n = 40, p.k = 30;
  auto tiled = [&](const char* tier, bool software, int64_t m) {
    Product q = p;
    q.m = m;
    const std::string said = in_child("ANYGPU_VULKAN_MATMUL", tier, [&] {
      Target can = Instance::get().devices[0].can;
      can.software = software;
      const ir::Named n = q.named();
      throw Error(ErrorKind::Value, std::holds_alternative<SharedTile>(choose_tile(problem_of(n), n, can)) ? "shared" : "other");
    });
    return said;
  };
  EXPECT_EQ(tiled("", false, 70), "shared");
  EXPECT_EQ(tiled("", false, 3), "other");
  EXPECT_EQ(tiled("", true, 70), "other");
  EXPECT_EQ(tiled("shared", true, 3), "shared");
  EXPECT_EQ(tiled("plain", false, 70), "other");
  EXPECT_EQ(tiled("lanes", false, 70), "other");
  EXPECT_EQ(tiled("sideways", false, 70), "[vulkan] ANYGPU_VULKAN_MATMUL is 'sideways'; there are: plain, lanes, shared, cooperative");
}

/// Rows of one result are written by several launches, which need not wait for each other.
TEST_F(Vulkan, LaunchesOfOneProductWriteApart) {
  Target can = physical().can;
  can.max_groups[1] = 1;
  Product p;
  p.batch = 1, p.m = 500, p.n = 64, p.k = 16;
  const SharedTile tile = tiles_of(can, 4)[0];
  const auto made = compile_matmul_in(tile, p.named(), can);
  ASSERT_TRUE(made);
  ASSERT_EQ(made->launches.size(), static_cast<size_t>(round_up<int64_t>(p.m, tile.m) / tile.m));
  int64_t end = 0;
  for (const Launch& l : made->launches) {
    EXPECT_EQ(l.bindings[0].begin, end);
    end = l.bindings[0].end;
  }
  EXPECT_EQ(end, 4 * p.m * p.n);
}

// ---- the tuner ----

class VulkanTuner : public Vulkan {
 protected:
  void SetUp() override {
    Vulkan::SetUp();
    if (IsSkipped()) return;
    char folder[] = "/tmp/anygpu-tuner-XXXXXX";
    ASSERT_NE(mkdtemp(folder), nullptr);
    folder_ = folder;
  }
  void TearDown() override {
    if (folder_.empty()) return;
    EXPECT_EQ(std::system(("rm -r " + folder_).c_str()), 0);
  }
  /// In a child that measures, software or not, and keeps what it finds in the test's folder.
  template <class F>
  std::string tuned(F f) {
    return in_child("ANYGPU_CACHE_DIR", folder_.c_str(), [&] {
      setenv("ANYGPU_VULKAN_TUNE", "1", 0);
      Resources on(Instance::get().devices[0]);
      by_launches(*on.tuner);
      f(on);
    });
  }
  /// A way takes as long as it has launches, and there is time for all: no verdict depends on a machine's speed.
  static void by_launches(Tuner& tuner) {
    tuner.clock = {[](const gpu::Trial& p) { return static_cast<double>(p.launches()); }, std::numeric_limits<double>::infinity()};
  }
  std::string folder_;
};

Product small() {
  Product p;
  p.batch = 1, p.m = p.n = p.k = 16;
  return p;
}

std::optional<Compiled> plain(const ir::Named& n) {
  return compile_matmul_in({}, n, Instance::get().devices[0].can);
}

Way harmed(const char* name, void (*harm)(Launch&)) {
  return {name, [=](const ir::Named& n) {
            auto made = plain(n);
            for (Launch& l : made->launches) harm(l);
            return made;
          }};
}

TEST_F(VulkanTuner, WhatComputesOtherwiseIsRefused) {
  const std::string said = tuned([](Resources& on) {
    on.tuner->clock.last_run = [turn = 0](const gpu::Trial&) mutable { return -++turn; };  // the later, the faster
    const Way ways[] = {{"plain", plain},
                        harmed("lazy", [](Launch& l) { l.params[2] /= 2; }),  // half of the sum, in half of the time
                        harmed("idle", [](Launch& l) { l.groups[0] = 0; }),
                        harmed("astray", [](Launch& l) { ++l.params[5], l.bindings[0].end += 4; })};  // an element further on
    const ir::Named n = small().named();
    const size_t best = on.tuner->choose("some product", ways, n, n);
    throw Error(ErrorKind::Value, std::to_string(best) + " after " + std::to_string(on.tuner->refused()));
  });
  EXPECT_EQ(said, "0 after 3");
}

TEST_F(VulkanTuner, TheFasterIsTakenAndKept) {
  Product large = small();
  large.m = large.n = large.k = 128;
  auto choose = [&] {
    return tuned([&](Resources& on) {
      // The first takes eight times as long as it need.
      const Way ways[] = {{"slow",
                           [](const ir::Named& n) {
                             auto made = plain(n);
                             const Launch once = made->launches[0];
                             for (int i = 0; i < 7; ++i) made->launches.push_back(once);
                             return made;
                           }},
                          {"fast", plain}};
      const size_t best = on.tuner->choose("some product", ways, large.named(), small().named());
      throw Error(ErrorKind::Value, std::to_string(best) + " measured " + std::to_string(on.tuner->measured()) + " " + on.tuner->file());
    });
  };
  const std::string first = choose(), again = choose();
  EXPECT_EQ(first.substr(0, 12), "1 measured 1");
  EXPECT_EQ(again.substr(0, 12), "1 measured 0");
  // What came to harm is measured anew, and whole again.
  const std::string file = first.substr(13);
  auto contents = [&] {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string sound = contents();
  ASSERT_FALSE(sound.empty()) << file;
  std::string harmed = sound;
  harmed[harmed.size() / 2] ^= 0x20;
  for (const std::string& broken : {harmed, sound.substr(0, sound.size() / 2), std::string()}) {
    std::ofstream(file, std::ios::binary) << broken;
    EXPECT_EQ(choose().substr(0, 12), "1 measured 1");
    EXPECT_EQ(contents(), sound);
  }
}

TEST_F(VulkanTuner, ANamedFileIsWrittenAndReadWithoutMeasuring) {
  const std::string file = folder_ + "/tiles.txt";
  auto choose = [&](const char* tune, const std::string& named) {
    return tuned([&](Resources&) {
      setenv("ANYGPU_VULKAN_TUNE", tune, 1);
      setenv("ANYGPU_VULKAN_TILES", named.c_str(), 1);
      Resources on(Instance::get().devices[0]);
      by_launches(*on.tuner);
      const Way ways[] = {{"plain", plain}, harmed("lazy", [](Launch& l) { l.params[2] /= 2; })};
      const size_t best = on.tuner->choose("some product", ways, small().named(), small().named());
      throw Error(ErrorKind::Value, std::to_string(best) + " measured " + std::to_string(on.tuner->measured()));
    });
  };
  EXPECT_EQ(choose("0", file), "1 measured 0") << "the guess, where nothing is known";
  EXPECT_EQ(choose("1", file), "0 measured 1");
  EXPECT_EQ(choose("0", file), "0 measured 0");
  std::ofstream(file, std::ios::binary) << "a shopping list\n";
  EXPECT_NE(choose("1", file).find("is no list of tiles that anygpu wrote"), std::string::npos);
  EXPECT_NE(choose("1", "/nowhere/tiles.txt").find("cannot be written: No such file"), std::string::npos);
}

TEST_F(VulkanTuner, ProductsOfOneClassAreMeasuredOnce) {
  const std::string said = tuned([](Resources& on) {
    on.can.matmul = MatmulTier::Best, on.can.software = false;
    std::string counts;
    for (const int64_t m : {100, 120, 60}) {
      Product p;
      p.batch = 1, p.m = m, p.n = 24, p.k = 20;
      const std::vector<ir::Step> steps{p.named()};
      make_program(on, steps);
      counts += std::to_string(on.tuner->measured()) + " ";
    }
    throw Error(ErrorKind::Value, counts + std::to_string(on.tuner->refused()));
  });
  EXPECT_EQ(said, "1 1 2 0");
}

TEST_F(VulkanTuner, SoftwareIsNotMeasured) {
  const std::string said = in_child("ANYGPU_VULKAN_TUNE", "", [] {
    PhysicalDevice d = Instance::get().devices[0];
    d.type = VK_PHYSICAL_DEVICE_TYPE_CPU;
    std::string all = tuning_wanted(d) ? "software " : "";
    d.type = VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    if (tuning_wanted(d)) all += "gpu ";
    setenv("ANYGPU_VULKAN_TUNE", "0", 1);
    if (tuning_wanted(d)) all += "switched off";
    throw Error(ErrorKind::Value, all);
  });
  EXPECT_EQ(said, "gpu ");
}

}  // namespace
}  // namespace anygpu::vulkan
