// The vulkan backend when memory moves, when something throws halfway, and when many threads ask at once.
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <set>
#include <thread>

#include "backends/gpu/steps.h"
#include "backends/vulkan/program.h"
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
Compiled summed(int64_t n, int64_t scratch, const Target& can) {
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

/// Keeps the device from starting what is submitted, until it is opened.
class Gate {
 public:
  explicit Gate(Gpu& gpu) : gpu_(gpu) {
    const VkSemaphoreTypeCreateInfo type{VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO, nullptr, VK_SEMAPHORE_TYPE_TIMELINE, 0};
    const VkSemaphoreCreateInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, &type, 0};
    gpu.check(gpu.vk.CreateSemaphore(gpu.device, &info, nullptr, &closed), "vkCreateSemaphore");
    submit = std::exchange(gpu.vk.QueueSubmit, [](VkQueue q, uint32_t n, const VkSubmitInfo* info, VkFence f) {
      const uint64_t open = 1;
      const VkPipelineStageFlags all = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
      auto values = *static_cast<const VkTimelineSemaphoreSubmitInfo*>(info->pNext);
      values.waitSemaphoreValueCount = 1, values.pWaitSemaphoreValues = &open;
      VkSubmitInfo held = *info;
      held.pNext = &values, held.waitSemaphoreCount = 1, held.pWaitSemaphores = &closed, held.pWaitDstStageMask = &all;
      return submit(q, n, &held, f);
    });
  }
  ~Gate() {
    gpu_.vk.DeviceWaitIdle(gpu_.device);
    gpu_.vk.DestroySemaphore(gpu_.device, closed, nullptr);
    gpu_.vk.QueueSubmit = submit;
  }
  void open() {
    const auto signal = reinterpret_cast<PFN_vkSignalSemaphore>(Instance::get().vk.GetDeviceProcAddr(gpu_.device, "vkSignalSemaphore"));
    const VkSemaphoreSignalInfo info{VK_STRUCTURE_TYPE_SEMAPHORE_SIGNAL_INFO, nullptr, closed, 1};
    gpu_.check(signal(gpu_.device, &info), "vkSignalSemaphore");
  }

 private:
  static inline VkSemaphore closed;
  static inline PFN_vkQueueSubmit submit;
  Gpu& gpu_;
};

/// dst[i] = src[i], which must be positive.
ir::Generic checked(int64_t n) {
  ir::Generic g = scaled(n, 1);
  g.name = "checked";
  ir::check(ir::load(g.body, DType::F32, 1) > 0.0, ir::Fault::BadArgument);
  return g;
}

/// Nothing of a run changes while it is under way: not its descriptors, parameters, faults nor scratch, though the same program runs again.
TEST_F(Vulkan, RunsAreUnderWayAtOnce) {
  Resources on(physical());
  const int64_t n = 100'000;
  const std::vector<ir::Step> steps{checked(n)};
  const auto copies = make_program(on, steps);
  VulkanProgram sums(on, "sums", {summed(n, 1 << 20, on.can)});
  Filled one(on, n, 1), two(on, n, 2), wrong(on, n, -1), a(on, n, 0), b(on, n, 0), c(on, n, 0), sum_a(on, 1, 0), sum_b(on, 1, 0);
  auto run = [](Program& program, Filled& dst, Filled& src) {
    const Memory slots[] = {dst.memory, src.memory};
    return program.submit({slots, {}}, true);
  };
  run(sums, sum_a, one)->wait();  // to make room for more scratch waits for what is under way
  Gate gate(on.gpu);
  std::vector<std::unique_ptr<Completion>> runs;
  runs.push_back(run(*copies, a, one));
  runs.push_back(run(*copies, b, wrong));
  runs.push_back(run(*copies, c, two));
  runs.push_back(run(sums, sum_a, a));  // of what the first run will have made
  runs.push_back(run(sums, sum_b, c));
  for (const auto& r : runs) EXPECT_FALSE(r->reached());
  gate.open();
  for (size_t i = runs.size(); i-- > 0;) runs[i]->wait();  // in any order
  for (size_t i = 0; i < runs.size(); ++i) {
    EXPECT_TRUE(runs[i]->reached());
    EXPECT_EQ(runs[i]->failures.size(), i == 1 ? 1u : 0u) << "run " << i;
    EXPECT_EQ(runs[i]->times.size(), 1u);
  }
  EXPECT_EQ(a.values(), std::vector<float>(n, 1));
  EXPECT_EQ(c.values(), std::vector<float>(n, 2));
  EXPECT_EQ(sum_a.values()[0], n);
  EXPECT_EQ(sum_b.values()[0], 2 * n);
}

/// A run that nobody waited for is over before its memory can be given back.
TEST_F(Vulkan, ARunThatIsLetGoIsOver) {
  Resources on(physical());
  const int64_t n = 1 << 20;
  const std::vector<ir::Step> steps{scaled(n, 3)};
  const auto program = make_program(on, steps);
  Filled dst(on, n, 0), src(on, n, 1);
  const Memory slots[] = {dst.memory, src.memory};
  for (int turn = 0; turn < 3; ++turn) program->submit({slots, {}}, false);
  const char* at = host_pointer(dst.memory);
  if (!at) GTEST_SKIP() << "the memory of " << physical().name << " is not mapped";
  float last;
  std::memcpy(&last, at + 4 * (n - 1), 4);
  EXPECT_EQ(last, 3);
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
      const std::unique_ptr<Backend> backend = entry.make(0);
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
        got[i] = on.pipelines.get(placed(kinds[i % 2].launches[0]).shader).handle;
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
  auto get = [&](int k) { return on.pipelines.get(placed(compile_step(scaled(100, k), on.can).launches[0]).shader); };
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
