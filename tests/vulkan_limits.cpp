// A device with less than the one at hand: what fits is split, what does not is refused by name.
#include "backends/gpu/emit/kernel.h"
#include "backends/gpu/steps.h"
#include "backends/vulkan/program.h"
#include "vulkan.h"

namespace anygpu::vulkan {
namespace {

using ir::Generic;
using ir::NamedKind;

std::string refusal(ErrorKind kind, auto f) {
  try {
    f();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), kind) << e.what();
    return e.what();
  }
  return "";
}

/// dst[i] = src[i] * 2, of slots 0 and 1.
Generic doubled(DType t, int64_t n) {
  Generic g;
  g.name = "doubled";
  g.sizes = {n};
  g.accesses = {{0, t, 0, {1}}, {1, t, 0, {1}}};
  const ir::Val x = ir::load(g.body, t, 1);
  g.stores.push_back({0, (x + x).id});
  return g;
}

ir::Operand operand(int32_t slot, Dims sizes) {
  return {slot, DType::F32, 0, sizes, contiguous_strides(sizes)};
}

void expect_within(const Compiled& made, const Capabilities& can) {
  EXPECT_FALSE(made.launches.empty());
  for (const Launch& l : made.launches)
    for (int d = 0; d < 3; ++d) EXPECT_LE(l.groups[d], can.max_groups[d]) << l.kernel->name << " in dimension " << d;
}

TEST_F(Vulkan, TypesThatADeviceLacksAreNamed) {
  Target can = physical().can;
  can.float64 = can.int64 = false;
  const std::string f64 = refusal(ErrorKind::Type, [&] { compile_step(doubled(DType::F64, 10), can); });
  EXPECT_NE(f64.find("[doubled] this device has no 64-bit floats"), std::string::npos) << f64;
  const std::string i64 = refusal(ErrorKind::Type, [&] { compile_step(doubled(DType::I64, 10), can); });
  EXPECT_NE(i64.find("[doubled] this device has no 64-bit integers"), std::string::npos) << i64;
  EXPECT_FALSE(compile_step(doubled(DType::F32, 10), can).launches.empty());
  const ir::Operand a{0, DType::F64, 0, {3, 3}, {3, 1}}, b{1, DType::F64, 0, {3, 3}, {3, 1}};
  EXPECT_FALSE(supports_named({NamedKind::Matmul, {a, b, b}, {}, "matmul"}, can));
}

TEST_F(Vulkan, NoAllocationPassesTheDevicesLargest) {
  PhysicalDevice small = physical();
  small.max_allocation = 8 << 20;
  Gpu gpu(small);
  Heap heap(gpu, Heap::Kind::Device);
  const std::string said = refusal(ErrorKind::OutOfMemory, [&] { heap.allocate(9 << 20); });
  EXPECT_NE(said.find("its largest allocation is 8388608"), std::string::npos) << said;
  std::vector<Memory> held;
  for (int i = 0; i < 6; ++i) held.push_back(heap.allocate(7 << 20));  // the usual block would be larger
  for (int i = 0; i < 100; ++i) held.push_back(heap.allocate(100000));
  for (const Memory& m : held) heap.release(m);
}

/// The same results from many launches as from one.
TEST_F(Vulkan, FewWorkgroupsAtATime) {
  PhysicalDevice small = physical();
  small.can.max_groups[0] = 20, small.can.max_groups[1] = 3, small.can.max_groups[2] = 2;
  Resources on(small);
  const int64_t batch = 5, m = 150, k = 9, n = 70;
  Filled lhs(on, batch * m * k, 2), rhs(on, batch * k * n, 3), dst(on, batch * m * n, 0);
  auto run = [&](const ir::Step& step, Memory to, Memory a, Memory b) {
    expect_within(compile_step(step, small.can), small.can);
    const std::vector<ir::Step> steps{step};
    const Memory slots[] = {to, a, b};
    EXPECT_TRUE(make_program(on, steps)->run({slots, {}}, nullptr).empty());
  };
  run(ir::Named{NamedKind::Matmul, {operand(0, {batch, m, n}), operand(1, {batch, m, k}), operand(2, {batch, k, n})}, {}, "matmul"},
      dst.memory, lhs.memory, rhs.memory);
  for (const float v : dst.values()) ASSERT_EQ(v, 2 * 3 * k);

  ir::NamedAttrs attrs;
  attrs.stride = attrs.dilation = {1, 1};
  attrs.padding = {0, 0};
  Filled image(on, 3 * 2 * 20 * 21, 1), weight(on, 100 * 2 * 3 * 3, 2), result(on, 3 * 100 * 18 * 19, 0);
  run(ir::Named{NamedKind::Conv, {operand(0, {3, 100, 18, 19}), operand(1, {3, 2, 20, 21}), operand(2, {100, 2, 3, 3})}, attrs, "conv"},
      result.memory, image.memory, weight.memory);
  for (const float v : result.values()) ASSERT_EQ(v, 2 * 2 * 9);

  // What the emitter makes is laid out in two dimensions; more is refused.
  Filled src(on, 3000, 4), twice(on, 3000, 0);
  run(doubled(DType::F32, 3000), twice.memory, src.memory, {});
  for (const float v : twice.values()) ASSERT_EQ(v, 8);
  const std::string said = refusal(ErrorKind::Value, [&] { compile_step(doubled(DType::F32, 1 << 20), small.can); });
  EXPECT_NE(said.find("workgroups, more than this device runs"), std::string::npos) << said;
}

/// dst[i] = src[at[i]], of slots 0, 1 and 2.
Generic gathered(int64_t n) {
  Generic g;
  g.name = "gathered";
  g.sizes = {n};
  g.accesses = {{0, DType::F32, 0, {1}}, {1, DType::F32, 0, {0}}, {2, DType::I32, 0, {1}}};
  g.stores.push_back({0, ir::load(g.body, DType::F32, 1, ir::cast(ir::load(g.body, DType::I32, 2), DType::I64)).id});
  return g;
}

/// Sums of [rows, n] along n, or along rows.
Generic summed(int64_t rows, int64_t n, bool along_rows) {
  Generic g;
  g.name = "summed";
  g.sizes = {rows, n};
  g.reduce = along_rows ? 1 : 2;
  g.accesses = {{0, DType::F32, 0, along_rows ? Dims{0, 1} : Dims{1, 0}}, {1, DType::F32, 0, {n, 1}}};
  g.stores.push_back({0, ir::reduce(ir::ReduceKind::Sum, ir::load(g.body, DType::F32, 1)).id});
  return g;
}

TEST_F(Vulkan, WhatPassesADescriptorIsReachedByAddress) {
  PhysicalDevice small = physical();
  if (!small.can.device_addresses) GTEST_SKIP() << small.name << " has no device addresses";
  small.can.max_binding_bytes = 4096;
  Resources on(small);
  const int64_t n = 5000, rows = 40;
  Filled dst(on, n, 0), src(on, rows * n, 3);
  const Memory at = on.heap.allocate(4 * n);
  Transfer transfer(on.gpu, on.host);
  std::vector<int32_t> places(static_cast<size_t>(n));
  for (size_t i = 0; i < places.size(); ++i) places[i] = static_cast<int32_t>(places.size() - 1 - i) * static_cast<int32_t>(rows);
  transfer.write(at, 0, places.data(), at.bytes);
  auto run = [&](const Generic& g, size_t count, float value) {
    const std::vector<ir::Step> steps{g};
    const Memory slots[] = {dst.memory, src.memory, at};
    const auto program = make_program(on, steps);
    for (int turn = 0; turn < 2; ++turn) {
      EXPECT_TRUE(program->run({std::span(slots, g.name == "gathered" ? 3 : 2), {}}, nullptr).empty());
      const std::vector<float> got = dst.values();
      for (size_t i = 0; i < count; ++i) ASSERT_EQ(got[i], value) << g.name << " at " << i;
    }
  };
  run(doubled(DType::F32, n), static_cast<size_t>(n), 6);
  run(summed(rows, n, true), static_cast<size_t>(n), 3 * rows);
  run(summed(rows, n, false), static_cast<size_t>(rows), 3 * n);
  run(gathered(n), static_cast<size_t>(n), 3);
  on.heap.release(at);

  small.can.device_addresses = false;
  Resources without(small);
  Filled a(without, n, 0), b(without, n, 1);
  const std::vector<ir::Step> steps{doubled(DType::F32, n)};
  const Memory slots[] = {a.memory, b.memory};
  const std::string said = refusal(ErrorKind::Value, [&] { make_program(without, steps)->run({slots, {}}, nullptr); });
  EXPECT_NE(said.find("[doubled] a tensor of 20000 bytes; " + small.name + " binds at most 4096, and has no device addresses"),
            std::string::npos)
      << said;
}

/// The sum of one element, repeated in two dimensions, which one loop could walk.
Generic repeated(int64_t rows, int64_t n) {
  Generic g = summed(rows, n, false);
  g.reduce = 3;
  g.accesses[0].strides = g.accesses[1].strides = {0, 0};
  return g;
}

/// Shaders count in 32 bits: what is more stays apart where it can, else it is refused; never begun from 0 again.
TEST_F(Vulkan, CountsPastAWordAreSplitOrRefused) {
  const Target can = physical().can;
  const int64_t wide = int64_t{1} << 17;
  for (const int64_t size : schedule(repeated(wide, wide), can).sizes) EXPECT_LT(size, int64_t{1} << 32);
  EXPECT_EQ(schedule(repeated(1000, 1000), can).sizes.size(), 1u);
  const int64_t endless = int64_t{1} << 33;
  for (const Generic& g : {repeated(1, endless), doubled(DType::U8, endless)}) {
    const std::string said = refusal(ErrorKind::Value, [&] { compile_step(g, can); });
    EXPECT_NE(said.find("[" + g.name + "] runs over 8589934592 indices at once; a shader counts to 4026531840"), std::string::npos) << said;
  }
  ir::NamedAttrs attrs;
  attrs.stride = attrs.dilation = {1, 1};
  attrs.padding = {0, int64_t{1} << 31};
  const ir::Named conv{NamedKind::Conv, {operand(0, {1, 1, 1, 1}), operand(1, {1, 1, 1, 1}), operand(2, {1, 1, 1, 1})}, attrs, "conv"};
  EXPECT_FALSE(supports_named(conv, can)) << "its lowering counts in 64 bits";
}

/// Where addresses lead past descriptors, the slot's own size says whether the shader's u32 reaches all of it.
TEST_F(Vulkan, WhatElementNumbersDoNotReachIsRefused) {
  Resources on(physical());
  const Compiled gathers = compile_step(gathered(8), on.can);
  for (const gpu::Binding& b : gathers.launches.at(0).bindings) EXPECT_EQ(b.reach, int64_t{4} << 32);
  const Compiled bytes = compile_step(doubled(DType::U8, 8), on.can);
  for (const gpu::Binding& b : bytes.launches.at(0).bindings) EXPECT_EQ(b.reach, int64_t{1} << 32);
  Filled dst(on, 8, 0), src(on, 100, 3), at(on, 8, 0);
  const Memory slots[] = {dst.memory, src.memory, at.memory};
  Compiled near = gathers;
  for (gpu::Binding& b : near.launches[0].bindings) b.reach = 256;
  const std::string said = refusal(ErrorKind::Value, [&] { VulkanProgram(on, "gathered", {near}).run({slots, {}}, nullptr); });
  EXPECT_NE(said.find("[gathered] a tensor of 400 bytes; its shader reaches 256 of them"), std::string::npos) << said;
}

TEST_F(Vulkan, BuffersBoundAtOnceAreCounted) {
  Target can = physical().can;
  can.max_bindings = 4;
  Generic g = doubled(DType::F32, 10);
  ir::Val sum = ir::load(g.body, DType::F32, 1);
  for (int32_t slot = 2; slot < 6; ++slot) {
    g.accesses.push_back({slot, DType::F32, 0, {1}});
    sum = sum + ir::load(g.body, DType::F32, slot);
  }
  g.stores[0].value = sum.id;
  const std::string said = refusal(ErrorKind::Value, [&] { compile_step(g, can); });
  EXPECT_NE(said.find("buffers at once, this device binds 4"), std::string::npos) << said;
}

}  // namespace
}  // namespace anygpu::vulkan
