// What the vulkan backend does besides computing: memory, caches, refusals, a lost device. Skipped where no driver is installed, but for
// what needs none.
#include "vulkan.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cstring>
#include <fstream>
#include <set>

#include "backends/gpu/hazards.h"
#include "backends/gpu/steps.h"

namespace anygpu::vulkan {
namespace {

using ir::NamedKind;

/// dst[m, n] = lhs[m, k] @ rhs[k, n] over slots 0, 1, 2, and what it must give for ones and twos.
constexpr int64_t kM = 20, kN = 12, kK = 8;
ir::Step product() {
  auto operand = [](int32_t slot, Dims sizes) { return ir::Operand{slot, DType::F32, 0, sizes, contiguous_strides(sizes)}; };
  return ir::Named{NamedKind::Matmul, {operand(0, {kM, kN}), operand(1, {kM, kK}), operand(2, {kK, kN})}, {}, "matmul"};
}

TEST(VulkanAbsent, TheLoaderIsNamed) {
  const std::string said = in_child("ANYGPU_VULKAN_LOADER", "/nowhere/libvulkan.so.1", [] { entry.make(0); });
  EXPECT_NE(said.find("/nowhere/libvulkan.so.1 cannot be opened"), std::string::npos) << said;
  EXPECT_NE(said.find("apt install"), std::string::npos) << said;
  const std::string count = in_child("ANYGPU_VULKAN_LOADER", "/nowhere/libvulkan.so.1", [] {
    if (entry.count().all != 0) throw Error(ErrorKind::Value, "there were devices");
  });
  EXPECT_EQ(count, "");
}

TEST(VulkanAbsent, ADriverIsAskedFor) {
  if (in_child("NO_VARIABLE", "", [] { LoaderApi::get(); }) != "") GTEST_SKIP() << "no Vulkan loader is installed";
  const std::string said = in_child("VK_ICD_FILENAMES", "/nowhere/icd.json", [] {
    setenv("VK_DRIVER_FILES", "/nowhere/icd.json", 1);
    entry.make(0);
  });
  EXPECT_NE(said.find("apt install mesa-vulkan-drivers"), std::string::npos) << said;
}

TEST_F(Vulkan, AnotherNumberNamesWhatThereIs) {
  try {
    entry.make(99);
    FAIL() << "there were a hundred devices";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("no device vulkan:99; vulkan:0 is " + physical().name), std::string::npos) << e.what();
  }
}

TEST_F(Vulkan, SoftwareComesLast) {
  bool software = false;
  for (const PhysicalDevice& d : Instance::get().devices) {
    EXPECT_FALSE(software && !d.software()) << d.name << " after a software rasteriser";
    software = d.software();
  }
}

TEST_F(Vulkan, SwitchesTakeFeaturesAway) {
  ASSERT_TRUE(physical().can.int64) << "a device without int64: this test has nothing to take away";
  auto lacks = [](const char* variable, const char* value, bool Target::*flag) {
    return in_child(variable, value, [&] {
      if (Instance::get().devices[0].can.*flag) throw Error(ErrorKind::Value, "still there");
    });
  };
  EXPECT_EQ(lacks("ANYGPU_VULKAN_INT64", "0", &Target::int64), "");
  EXPECT_EQ(lacks("ANYGPU_VULKAN_INT64", "1", &Target::int64), "still there");
  EXPECT_EQ(lacks("ANYGPU_VULKAN_PROFILE", "dzn", &Target::storage8), "");
  EXPECT_EQ(lacks("ANYGPU_VULKAN_PROFILE", "dzn", &Target::int64), "still there");
  const std::string said = in_child("ANYGPU_VULKAN_PROFILE", "toaster", [] { Instance::get(); });
  EXPECT_NE(said.find("'toaster'"), std::string::npos) << said;
}

TEST(VulkanHazards, BytesThatMeetAndAWrite) {
  int a = 0, b = 0;
  gpu::Hazards h;
  h.add({&a, 0, 64}, true);
  h.add({&b, 0, 64}, false);
  EXPECT_TRUE(h.conflict({&a, 32, 96}, false));
  EXPECT_TRUE(h.conflict({&a, 63, 64}, true));
  EXPECT_FALSE(h.conflict({&a, 64, 96}, true));
  EXPECT_FALSE(h.conflict({&b, 0, 64}, false));
  EXPECT_TRUE(h.conflict({&b, 0, 1}, true));
  h.clear();
  EXPECT_FALSE(h.conflict({&a, 0, 64}, true));
}

TEST_F(Vulkan, RangesAreDisjointAndComeBack) {
  Gpu gpu(physical());
  Heap heap(gpu, Heap::Kind::Device);
  std::vector<Memory> held;
  std::set<std::tuple<void*, int64_t, int64_t>> seen;
  uint64_t state = 1;
  for (int i = 0; i < 2000; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    const auto pick = static_cast<int64_t>(state >> 33);
    if (held.empty() || pick % 3) {
      const Memory m = heap.allocate(pick % 5 == 0 ? pick % (1 << 20) : pick % 3000);
      EXPECT_EQ(m.offset % 256, 0);
      for (const Memory& o : held)
        EXPECT_FALSE(o.handle == m.handle && o.offset < m.offset + m.bytes && m.offset < o.offset + o.bytes) << "two ranges share bytes";
      held.push_back(m);
    } else {
      std::swap(held[static_cast<size_t>(pick) % held.size()], held.back());
      heap.release(held.back());
      held.pop_back();
    }
  }
  for (const Memory& m : held) heap.release(m);
  // All is one again: nearly the whole heap can be had at once, where the driver gives that much in one piece.
  const int64_t most = std::min(heap.capacity(), physical().max_allocation) / 4;
  heap.release(heap.allocate(most));
}

TEST_F(Vulkan, TooMuchIsRefusedAndTheRestWorks) {
  Gpu gpu(physical());
  Heap heap(gpu, Heap::Kind::Device);
  for (const int64_t bytes : {int64_t{1} << 60, heap.capacity() + 1, physical().max_allocation + 1}) {
    if (bytes < 0) continue;
    try {
      heap.release(heap.allocate(bytes));
      EXPECT_LE(bytes, heap.capacity());
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::OutOfMemory) << e.what();
    }
  }
  heap.release(heap.allocate(1000));
}

TEST_F(Vulkan, StagingCopiesWhatMappedMemoryHolds) {
  // Where device memory is mapped the other way is tried in a child.
  for (const char* mapped : {"1", "0"}) {
    const std::string said = in_child("ANYGPU_VULKAN_MAPPED", mapped, [&] {
      Gpu gpu(Instance::get().devices[0]);
      Heap heap(gpu, Heap::Kind::Device), host(gpu, Heap::Kind::Host);
      if (*mapped == '0' && heap.mapped()) throw Error(ErrorKind::Value, "mapped all the same");
      Transfer transfer(gpu, host);
      const int64_t bytes = (int64_t{9} << 20) + 13;  // two halves of staging, and a bit
      std::vector<char> sent(static_cast<size_t>(bytes)), got(sent.size());
      for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<char>(i * 31 + i / 4096);
      Memory m = heap.allocate(bytes + 100);
      transfer.write(m, 7, sent.data(), bytes);
      transfer.read(m, 7, got.data(), bytes);
      if (sent != got) throw Error(ErrorKind::Value, "other bytes came back");
      char one = 5;
      transfer.write(m, 8, &one, 1);
      transfer.read(m, 7, got.data(), 3);
      if (got[0] != sent[0] || got[1] != 5 || got[2] != sent[2]) throw Error(ErrorKind::Value, "a byte went elsewhere");
      heap.release(m);
    });
    EXPECT_EQ(said, "") << "ANYGPU_VULKAN_MAPPED=" << mapped;
  }
}

/// What ./run test vulkan relies on: a report arrives.
TEST_F(Vulkan, TheValidationLayersAreAwake) {
  char file[] = "/tmp/anygpu-validation-XXXXXX";
  const int made = mkstemp(file);
  ASSERT_GE(made, 0);
  close(made);
  const std::string said = in_child("ANYGPU_VULKAN_VALIDATE", file, [] {
    Gpu gpu(Instance::get().devices[0]);
    VkBufferCreateInfo nothing{VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};  // of no bytes, for no use
    VkBuffer buffer = nullptr;
    gpu.vk.CreateBuffer(gpu.device, &nothing, nullptr, &buffer);
    gpu.vk.DestroyBuffer(gpu.device, buffer, nullptr);
  });
  std::ifstream in(file);
  const std::string reports(std::istreambuf_iterator<char>(in), {});
  unlink(file);
  if (said.find("were not found") != std::string::npos) GTEST_SKIP() << said;
  EXPECT_EQ(said, "");
  EXPECT_NE(reports.find("Validation Error: [ VUID-VkBufferCreateInfo-"), std::string::npos) << reports;
}

TEST_F(Vulkan, AProgramFollowsItsBuffers) {
  Resources on(physical());
  const std::vector<ir::Step> steps{product()};
  const std::unique_ptr<Program> program = make_program(on, steps);
  Filled dst(on, kM * kN, 0), lhs(on, kM * kK, 1), rhs(on, kK * kN, 2), other(on, kK * kN, 3);
  std::vector<StepTime> times;
  for (int turn = 0; turn < 40; ++turn) {  // past the runs that are timed
    const bool odd = turn % 2;
    const Memory slots[] = {dst.memory, lhs.memory, odd ? other.memory : rhs.memory};
    ASSERT_TRUE(program->run({slots, {}}, &times).empty());
    ASSERT_EQ(times.size(), 1u);
    EXPECT_LT(times[0].start_us, times[0].end_us);
    for (const float v : dst.values()) ASSERT_EQ(v, kK * (odd ? 3.f : 2.f)) << "turn " << turn;
  }
  EXPECT_EQ(program->launches(), 1);
}

/// Products have shaders of their own in every float type and in up to three dimensions, whatever the device may store.
TEST_F(Vulkan, ProductsAreClaimed) {
  for (const char* profile : {"", "dzn"}) {
    const std::string said = in_child("ANYGPU_VULKAN_PROFILE", profile, [] {
      const Target& can = Instance::get().devices[0].can;
      for (const DType t : {DType::F32, DType::F16, DType::BF16, DType::F64}) {
        if (t == DType::F64 && !can.float64) continue;
        auto operand = [&](int32_t slot, Dims sizes) { return ir::Operand{slot, t, 0, sizes, contiguous_strides(sizes)}; };
        auto expect = [&](const ir::Named& n) {
          if (!supports_named(n, can)) throw Error(ErrorKind::Value, ir::to_string(n));
        };
        expect({NamedKind::Matmul, {operand(0, {9, 7}), operand(1, {9, 5}), operand(2, {5, 7})}, {}, "matmul"});
        Dims source{2, 4}, weight{6, 2}, result{2, 6};
        for (int spatial = 1; spatial <= 3; ++spatial) {
          source.push_back(5), weight.push_back(3), result.push_back(3);
          ir::NamedAttrs attrs;
          attrs.stride = attrs.dilation = attrs.kernel = Dims::filled(spatial, 1);
          attrs.padding = Dims::filled(spatial, 0);
          attrs.groups = 2;
          const ir::Operand src = operand(0, source), w = operand(1, weight), dst = operand(2, result);
          expect({NamedKind::Conv, {dst, src, w}, attrs, "conv"});
          expect({NamedKind::ConvSrcGrad, {src, dst, w}, attrs, "conv_src_grad"});
          expect({NamedKind::ConvWeightGrad, {w, dst, src}, attrs, "conv_weight_grad"});
        }
      }
    });
    EXPECT_EQ(said, "") << "with profile '" << profile << "'";
  }
}

TEST_F(Vulkan, EqualShadersAreOnePipeline) {
  Resources on(physical());
  const std::vector<ir::Step> steps{product(), product()};
  const auto first = make_program(on, steps), second = make_program(on, steps);
  EXPECT_EQ(on.pipelines.compiled(), 1);
}

TEST_F(Vulkan, ALostDeviceSaysSoAndStaysLost) {
  Resources on(physical());
  const std::vector<ir::Step> steps{product()};
  const std::unique_ptr<Program> program = make_program(on, steps);
  Filled dst(on, kM * kN, 0), lhs(on, kM * kK, 1), rhs(on, kK * kN, 2);
  const Memory slots[] = {dst.memory, lhs.memory, rhs.memory};
  const auto submit = on.gpu.vk.QueueSubmit;
  on.gpu.vk.QueueSubmit = [](VkQueue, uint32_t, const VkSubmitInfo*, VkFence) { return VK_ERROR_DEVICE_LOST; };
  auto said = [](auto f) {
    try {
      f();
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_NE(said([&] { program->run({slots, {}}, nullptr); }).find("was lost"), std::string::npos);
  on.gpu.vk.QueueSubmit = submit;
  EXPECT_NE(said([&] { program->run({slots, {}}, nullptr); }).find("was lost"), std::string::npos);
  EXPECT_NE(said([&] { on.heap.allocate(4); }).find("was lost"), std::string::npos);
  EXPECT_NE(said([&] { dst.values(); }).find("was lost"), std::string::npos);
}

TEST_F(Vulkan, ThePipelineCacheIsPrivateAndRebuiltWhenDamaged) {
  char folder[] = "/tmp/anygpu-cache-XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  auto build = [&] {
    return in_child("ANYGPU_CACHE_DIR", folder, [] {
      Resources on(Instance::get().devices[0]);
      const std::vector<ir::Step> steps{product()};
      make_program(on, steps);
      on.pipelines.save(true);
      throw Error(ErrorKind::Value, on.pipelines.file());
    });
  };
  const std::string file = build();
  struct stat s;
  ASSERT_EQ(stat(file.c_str(), &s), 0) << file;
  EXPECT_EQ(s.st_mode & 077, 0u);
  auto contents = [&] {
    std::ifstream in(file, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const std::string sound = contents();
  for (const size_t at : {size_t{3}, sound.size() / 2, sound.size() - 1}) {
    std::string harmed = sound;
    harmed[at] = static_cast<char>(harmed[at] ^ 0x40);
    std::ofstream(file, std::ios::binary) << harmed;
    EXPECT_EQ(build(), file);
    EXPECT_EQ(contents(), sound) << "byte " << at << " was changed";
  }
  std::ofstream(file, std::ios::binary) << sound.substr(0, sound.size() / 3);
  EXPECT_EQ(build(), file);
  EXPECT_EQ(contents(), sound) << "cut off";
  const std::string command = std::string("rm -r ") + folder;
  EXPECT_EQ(std::system(command.c_str()), 0);
}

}  // namespace
}  // namespace anygpu::vulkan
