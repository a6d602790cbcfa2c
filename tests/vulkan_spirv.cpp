// What the emitter makes is valid SPIR-V: spirv-val says so, for Generics of every shape, operation and type.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "backends/gpu/steps.h"
#include "backends/vulkan/shader.h"
#include "ir/generic.h"

namespace anygpu::vulkan {
namespace {

using ir::ExprOp;
using ir::Generic;
using ir::ReduceKind;
using ir::Val;

constexpr DType kAll[] = {DType::Bool, DType::U8,  DType::I8,   DType::I16, DType::I32,
                          DType::I64,  DType::F16, DType::BF16, DType::F32, DType::F64};

/// What WSL's GPU offers at least (with 64 bits), and what lavapipe does.
Target poor() {
  Target c;
  c.int64 = c.float64 = true;
  c.max_bindings = 16;
  return c;
}
Target rich() {
  Target c = poor();
  c.int16 = c.storage16 = c.int8 = c.storage8 = c.float_controls_f32 = c.denormals = true;
  c.software = c.texel_loads = true;
  return c;
}

/// Reaches all by address.
Target far() {
  Target c = poor();
  c.int16 = c.storage16 = c.int8 = c.storage8 = c.device_addresses = c.by_address = true;
  return c;
}

bool have_validator() {
  static const bool have = std::system("spirv-val --version > /dev/null 2>&1") == 0;
  return have;
}

/// "" or what spirv-val says about the modules of a Generic.
std::string complaints(const Generic& g, const Target& can) {
  std::string all;
  for (const Launch& l : compile_generic(g, can).launches) {
    const auto& words = static_cast<const Shader&>(*l.kernel).words;
    const std::string file = (std::filesystem::temp_directory_path() / ("anygpu_" + std::to_string(getpid()) + ".spv")).string();
    std::ofstream(file, std::ios::binary)
        .write(reinterpret_cast<const char*>(words.data()), static_cast<std::streamsize>(4 * words.size()));
    FILE* p = popen(("spirv-val --target-env vulkan1.2 " + file + " 2>&1").c_str(), "r");
    char line[512];
    while (std::fgets(line, sizeof line, p)) all += line;
    pclose(p);
    std::filesystem::remove(file);
  }
  return all;
}

#define EXPECT_VALID(g)                                   \
  do {                                                    \
    EXPECT_EQ(complaints(g, poor()), "") << to_string(g); \
    EXPECT_EQ(complaints(g, rich()), "") << to_string(g); \
    EXPECT_EQ(complaints(g, far()), "") << to_string(g);  \
  } while (false)

int access(Generic& g, int slot, DType t, uint32_t dims = ~0u) {
  ir::Access a{slot, t, 0, Dims::filled(g.rank(), 0)};
  int64_t stride = 1;
  for (int d = g.rank() - 1; d >= 0; --d) {
    if (dims >> d & 1) a.strides[d] = stride, stride *= g.sizes[d];
  }
  g.accesses.push_back(a);
  return static_cast<int>(g.accesses.size()) - 1;
}

Val load(Generic& g, int a) {
  return ir::load(g.body, g.accesses[a].dtype, a);
}

void store(Generic& g, int a, Val v, ir::Combine how = ir::Combine::None, Val index = {}, Val guard = {}) {
  g.stores.push_back({a, ir::cast(v, g.accesses[a].dtype).id, index.id, guard.id, how});
}

class Spirv : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_validator()) GTEST_SKIP() << "spirv-val is not installed";
  }
};

TEST_F(Spirv, EveryOperation) {
  for (DType t : {DType::F32, DType::F64, DType::I64, DType::I32, DType::I8, DType::U8}) {
    for (size_t i = 0; i < std::size(ir::kExprOps); ++i) {
      const auto op = static_cast<ExprOp>(i);
      if (ir::info(op).types == ir::TypeRule::Own) continue;
      Generic g;
      g.name = std::string(ir::name_of(op)) + "_" + name_of(t);
      g.sizes = {100, 7};
      const int x = access(g, 0, t), y = access(g, 1, t);
      const Val a = load(g, x), b = load(g, y);
      try {
        const Val r = ir::arity(op) > 1 ? binary(op, a, b) : unary(op, a);
        store(g, access(g, 2, r.type()), r);
        ir::verify(g);
      } catch (const Error&) {
        continue;  // not defined on this type
      }
      EXPECT_VALID(g);
    }
  }
}

TEST_F(Spirv, EveryCast) {
  for (DType from : kAll) {
    Generic g;
    g.name = std::string("casts_of_") + name_of(from);
    g.sizes = {1000};
    const Val v = load(g, access(g, 0, from));
    int slot = 1;
    for (DType to : kAll) store(g, access(g, slot++, to), cast(v, to));
    EXPECT_VALID(g);
  }
}

TEST_F(Spirv, EveryReduction) {
  for (DType t : kAll) {
    for (int kind = 0; kind <= static_cast<int>(ReduceKind::ArgMin); ++kind) {
      const auto k = static_cast<ReduceKind>(kind);
      const bool is_bool = k == ReduceKind::Any || k == ReduceKind::All;
      if (is_bool != (t == DType::Bool)) continue;
      for (const auto& [sizes, mask] : {std::pair<Dims, uint32_t>{{50, 1000}, 0b10},
                                        {{1000, 50}, 0b01},
                                        {{3, 1000000}, 0b10},
                                        {{100000, 8}, 0b01},
                                        {{3, 5, 7}, 0b010},
                                        {{9, 40, 5}, 0b110}}) {
        Generic g;
        g.name = std::string(ir::name_of(k)) + "_" + name_of(t);
        g.sizes = sizes;
        g.reduce = mask;
        const Val v = cast(load(g, access(g, 0, t)), compute_type(t));
        const bool arg = k == ReduceKind::ArgMax || k == ReduceKind::ArgMin;
        const Val r = arg ? reduce_arg(k, v, ir::index(g.body, sizes.size() - 1)) : reduce(k, v);
        store(g, access(g, 1, arg ? DType::I64 : t, ~mask & ((1u << sizes.size()) - 1)), r);
        if (!arg && !is_bool) store(g, access(g, 2, compute_type(t)), v - r);
        EXPECT_VALID(g);
      }
    }
  }
}

TEST_F(Spirv, EveryStore) {
  for (DType t : kAll) {
    for (int how = 0; how <= static_cast<int>(ir::Combine::Min); ++how) {
      for (bool guarded : {false, true}) {
        for (bool indexed : {false, true}) {
          Generic g;
          g.name = std::string("store_") + name_of(t);
          g.sizes = {300, 5};
          const Val v = load(g, access(g, 0, t)), at = load(g, access(g, 1, DType::I64, 0b01)), ok = load(g, access(g, 2, DType::Bool));
          check(at >= 0.0, ir::Fault::IndexOutOfRange);
          store(g, access(g, 3, t, indexed ? 0b10 : 0b11), v, static_cast<ir::Combine>(how), indexed ? at * 5.0 : Val{},
                guarded ? ok : Val{});
          EXPECT_VALID(g);
        }
      }
    }
  }
}

/// More than push constants hold.
TEST_F(Spirv, ManyParams) {
  Generic g;
  g.name = "many";
  g.sizes = {3, 4, 5, 6};
  Val sum = ir::constant(g.body, DType::F32, 0.0);
  for (int slot = 0; slot < 8; ++slot) {
    const int a = access(g, slot, DType::F32);
    for (int d = 0; d < 4; ++d) g.accesses[a].strides[d] = 1 + (slot * 5 + d * 3) % 11;
    sum = sum + load(g, a);
  }
  store(g, access(g, 8, DType::F32), sum);
  const Compiled c = compile_generic(g, poor());
  EXPECT_EQ(placed(c.launches.at(0)).bindings.back().slot, kParams);
  EXPECT_VALID(g);
}

/// Shaders are found again where only sizes change: a recurrent layer or the last batch compiles nothing new.
TEST(SpirvCache, SizesAreParams) {
  auto shader = [](int64_t n, int64_t m) {
    Generic g;
    g.name = "add";
    g.sizes = {n, m};
    store(g, access(g, 2, DType::F32), load(g, access(g, 0, DType::F32)) + load(g, access(g, 1, DType::F32, 0b10)));
    return compile_generic(g, poor()).launches.at(0).kernel;
  };
  EXPECT_EQ(shader(100, 200), shader(300, 500));
}

TEST(SpirvCache, RefusesTypesThatTheDeviceLacks) {
  Target none = poor();
  none.float64 = none.int64 = false;
  for (DType t : {DType::F64, DType::I64}) {
    Generic g;
    g.name = "copy";
    g.sizes = {10};
    store(g, access(g, 1, t), load(g, access(g, 0, t)));
    try {
      compile_generic(g, none);
      ADD_FAILURE() << name_of(t);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::Type);
    }
  }
}

}  // namespace
}  // namespace anygpu::vulkan
