// The vulkan backend when memory moves, when something throws halfway, and when many threads ask at once.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "backends/vulkan/program.h"
#include "backends/vulkan/steps.h"
#include "vulkan.h"

namespace anygpu::vulkan {
namespace {

/// dst[i] = src[i] * factor, of slots 0 and 1.
ir::Generic scaled(int64_t n, double factor) {
  ir::Generic g;
  g.name = "scaled";
  g.sizes = {n};
  g.accesses = {{0, DType::F32, 0, {1}}, {1, DType::F32, 0, {1}}};
  const ir::Val x = ir::load(g.body, DType::F32, 1);
  g.stores.push_back({0, (x * ir::constant(g.body, DType::F32, factor)).id});
  return g;
}

/// The sum of slot 1 to slot 0 in many chunks, by way of scratch, of which it asks for more than it needs.
Compiled summed(int64_t n, int64_t scratch, const Capabilities& can) {
  ir::Generic g;
  g.name = "summed";
  g.sizes = {n};
  g.reduce = 1;
  g.accesses = {{0, DType::F32, 0, {0}}, {1, DType::F32, 0, {1}}};
  g.stores.push_back({0, ir::reduce(ir::ReduceKind::Sum, ir::load(g.body, DType::F32, 1)).id});
  Compiled made = compile_step(g, can);
  EXPECT_GT(made.scratch_bytes, 0);
  made.scratch_bytes = scratch;
  return made;
}

/// Memory that grew is another block, though it may have the address and the handle of one that is gone.
TEST_F(Vulkan, ScratchThatMovedIsBoundAnew) {
  Resources on(physical());
  const int64_t n = 200'000;
  Filled dst(on, 1, 0), src(on, n, 1);
  const Memory slots[] = {dst.memory, src.memory};
  VulkanProgram first(on, "first", {summed(n, 2 << 20, on.can)}), second(on, "second", {summed(n, 8 << 20, on.can)});
  static PFN_vkUpdateDescriptorSets update;
  static int updates;
  update = on.gpu.vk.UpdateDescriptorSets, updates = 0;
  on.gpu.vk.UpdateDescriptorSets = [](VkDevice d, uint32_t n, const VkWriteDescriptorSet* w, uint32_t m, const VkCopyDescriptorSet* c) {
    ++updates;
    update(d, n, w, m, c);
  };
  auto run = [&](VulkanProgram& program) {
    EXPECT_TRUE(program.run({slots, {}}, nullptr).empty());
    EXPECT_EQ(dst.values()[0], n);
    return std::exchange(updates, 0);
  };
  EXPECT_EQ(run(first), 1);
  EXPECT_EQ(run(first), 0) << "nothing has moved";
  EXPECT_EQ(run(second), 1);
  EXPECT_EQ(run(first), 1) << "its scratch is gone";
  EXPECT_EQ(run(second), 0);
  EXPECT_EQ(run(first), 0);
}

TEST_F(Vulkan, BlocksThatComeAgainAreBoundAnew) {
  Resources on(physical());
  const int64_t n = 1 << 20;  // a block of its own
  const std::vector<ir::Step> steps{scaled(n, 2)};
  const auto program = make_program(on, steps);
  Filled dst(on, n, 0);
  std::set<uint64_t> serials;
  for (int turn = 1; turn <= 6; ++turn) {
    Filled src(on, n, static_cast<float>(turn));
    serials.insert(static_cast<const Block*>(src.memory.handle)->serial);
    const Memory slots[] = {dst.memory, src.memory};
    ASSERT_TRUE(program->run({slots, {}}, nullptr).empty());
    for (const float v : dst.values()) ASSERT_EQ(v, 2 * turn);
  }
  EXPECT_EQ(serials.size(), 6u);
}

/// More launches than one submission takes; the first of them write while the second submission fails.
TEST_F(Vulkan, AnExceptionWaitsForWhatWasSubmitted) {
  Resources on(physical());
  const int64_t n = 1 << 16;
  const Compiled step = compile_step(scaled(n, 3), on.can);
  VulkanProgram program(on, "scaled", std::vector<Compiled>(400, step));
  Filled dst(on, n, 0), src(on, n, 1);
  const Memory slots[] = {dst.memory, src.memory};
  static PFN_vkQueueSubmit submit;
  static PFN_vkWaitSemaphores wait;
  static int submissions, waits;
  submit = on.gpu.vk.QueueSubmit, wait = on.gpu.vk.WaitSemaphores, submissions = waits = 0;
  on.gpu.vk.QueueSubmit = [](VkQueue q, uint32_t n, const VkSubmitInfo* info, VkFence f) {
    return ++submissions == 2 ? VK_ERROR_OUT_OF_HOST_MEMORY : submit(q, n, info, f);
  };
  on.gpu.vk.WaitSemaphores = [](VkDevice d, const VkSemaphoreWaitInfo* info, uint64_t limit) {
    const VkResult r = wait(d, info, limit);
    waits += r == VK_SUCCESS;
    return r;
  };
  try {
    program.run({slots, {}}, nullptr);
    FAIL() << "one submission took all";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory) << e.what();
  }
  EXPECT_EQ(submissions, 2);
  EXPECT_EQ(waits, 1) << "what was submitted may still be writing";
  for (const float v : dst.values()) ASSERT_EQ(v, 3);
  EXPECT_TRUE(program.run({slots, {}}, nullptr).empty()) << "the device goes on";
}

/// What could not be made ready is made ready the next time, all of it.
TEST_F(Vulkan, AFailureHalfwayIsForgotten) {
  PhysicalDevice small = physical();
  if (!small.can.device_addresses) GTEST_SKIP() << small.name << " has no device addresses";
  small.can.max_binding_bytes = 4096;
  Resources on(small);
  const int64_t n = 5000;
  const std::vector<ir::Step> steps{scaled(n, 2), scaled(n, 5)};
  const auto program = make_program(on, steps);
  Filled dst(on, n, 0), src(on, n, 1);
  const Memory slots[] = {dst.memory, src.memory};
  auto fails = [&] {
    try {
      program->run({slots, {}}, nullptr);
      return false;
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory) << e.what();
      return true;
    }
  };
  // The steps are compiled anew, by address; the second of them is not to be had.
  static PFN_vkCreateComputePipelines create;
  static int made;
  create = on.gpu.vk.CreateComputePipelines, made = 0;
  on.gpu.vk.CreateComputePipelines = [](VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo* info,
                                        const VkAllocationCallbacks* a,
                                        VkPipeline* p) { return ++made == 2 ? VK_ERROR_OUT_OF_HOST_MEMORY : create(d, c, n, info, a, p); };
  EXPECT_TRUE(fails());
  EXPECT_TRUE(program->run({slots, {}}, nullptr).empty());
  for (const float v : dst.values()) ASSERT_EQ(v, 5);
}

/// Reads, writes and allocations from many threads while a program runs, through mapped memory and through staging.
TEST_F(Vulkan, ManyThreadsReadWhileProgramsRun) {
  for (const char* mapped : {"1", "0"}) {
    const std::string said = in_child("ANYGPU_VULKAN_MAPPED", mapped, [] {
      const std::unique_ptr<Backend> backend = make_vulkan_backend(0);
      const int64_t n = 100'000, bytes = 4 * n;
      const std::vector<ir::Step> steps{scaled(n, 2)};
      const auto program = backend->prepare(steps);
      std::atomic<int> running{3};
      std::mutex mutex;
      std::string wrong;
      auto worker = [&](float value) {
        std::vector<float> sent(n, value), got(n);
        for (int turn = 0; turn < 20; ++turn) {
          const Memory m = backend->allocate(bytes);
          backend->write(m, 0, sent.data(), bytes);
          backend->read(m, 0, got.data(), bytes);
          backend->release(m);
          if (got == sent) continue;
          std::lock_guard lock(mutex);
          wrong = "a thread read what another wrote";
        }
        --running;
      };
      std::vector<std::thread> threads;
      for (int i = 1; i <= 3; ++i) threads.emplace_back(worker, static_cast<float>(i));
      const Memory dst = backend->allocate(bytes);
      for (int turn = 1; running || turn < 10; ++turn) {
        const std::vector<float> ones(n, static_cast<float>(turn));
        std::vector<float> got(n);
        const Memory src = backend->allocate(bytes);
        backend->write(src, 0, ones.data(), bytes);
        const Memory slots[] = {dst, src};
        program->run({slots, {}}, nullptr);
        backend->read(dst, 0, got.data(), bytes);
        backend->release(src);
        std::lock_guard lock(mutex);
        for (const float v : got)
          if (v != 2 * static_cast<float>(turn)) wrong = "a program computed something else";
      }
      for (std::thread& t : threads) t.join();
      backend->release(dst);
      if (!wrong.empty()) throw Error(ErrorKind::Value, wrong);
    });
    EXPECT_EQ(said, "") << "ANYGPU_VULKAN_MAPPED=" << mapped;
  }
}

/// Different pipelines are created at once, equal ones once.
TEST_F(Vulkan, PipelinesAreCreatedSideBySide) {
  Resources on(physical());
  static PFN_vkCreateComputePipelines create;
  static std::mutex mutex;
  static std::condition_variable both;
  static int inside, calls;
  create = on.gpu.vk.CreateComputePipelines, inside = calls = 0;
  on.gpu.vk.CreateComputePipelines = [](VkDevice d, VkPipelineCache c, uint32_t n, const VkComputePipelineCreateInfo* info,
                                        const VkAllocationCallbacks* a, VkPipeline* p) {
    std::unique_lock lock(mutex);
    ++calls, ++inside;
    both.notify_all();
    // Nobody is alone for long, unless the others wait for a lock that this thread holds.
    if (!both.wait_for(lock, std::chrono::minutes(5), [] { return inside >= 2; })) return VK_ERROR_UNKNOWN;
    lock.unlock();
    return create(d, c, n, info, a, p);
  };
  const Compiled kinds[] = {compile_step(scaled(100, 2), on.can), compile_step(scaled(100, 3), on.can)};
  std::vector<VkPipeline> got(6);
  std::vector<std::thread> threads;
  for (size_t i = 0; i < got.size(); ++i)
    threads.emplace_back([&, i] {
      try {
        got[i] = on.pipelines.get(kinds[i % 2].launches[0].shader).handle;
      } catch (const Error& e) {
        ADD_FAILURE() << "the other thread was kept out: " << e.what();
      }
    });
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(calls, 2);
  EXPECT_EQ(on.pipelines.compiled(), 2);
  EXPECT_NE(got[0], got[1]);
  for (size_t i = 2; i < got.size(); ++i) EXPECT_EQ(got[i], got[i % 2]);
}

/// Pipelines that nobody uses are destroyed, past a bound; one in use stays.
TEST_F(Vulkan, UnusedPipelinesAreLetGo) {
  Resources on(physical());
  on.pipelines.keep(4);
  static PFN_vkDestroyPipeline destroy;
  static int destroyed;
  destroy = on.gpu.vk.DestroyPipeline, destroyed = 0;
  on.gpu.vk.DestroyPipeline = [](VkDevice d, VkPipeline p, const VkAllocationCallbacks* a) {
    destroyed += p != nullptr;
    destroy(d, p, a);
  };
  auto get = [&](int k) { return on.pipelines.get(compile_step(scaled(100, k), on.can).launches[0].shader); };
  const Pipeline held = get(99);
  for (int k = 2; k < 22; ++k) EXPECT_NE(get(k).handle, nullptr);
  EXPECT_LE(on.pipelines.kept(), 4);
  EXPECT_EQ(destroyed, 21 - on.pipelines.kept());
  const int64_t compiled = on.pipelines.compiled();
  EXPECT_EQ(get(99).handle, held.handle);
  EXPECT_EQ(on.pipelines.compiled(), compiled);
}

}  // namespace
}  // namespace anygpu::vulkan
