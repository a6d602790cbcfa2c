// What all Programs of one device share.
#pragma once

#include <memory>
#include <mutex>
#include <span>

#include "backends/interface/backend.h"
#include "heap.h"
#include "pipelines.h"
#include "tuning.h"

namespace anygpu::vulkan {

/// What a run is recorded into, and its timestamps.
struct Frame {
  explicit Frame(Gpu& gpu) : commands(gpu), gpu_(gpu) {}
  ~Frame() { gpu_.vk.DestroyQueryPool(gpu_.device, queries, nullptr); }
  Frame(const Frame&) = delete;
  /// Room for so many timestamps.
  void grow_queries(uint32_t stamps);

  Commands commands;
  VkQueryPool queries = nullptr;

 private:
  Gpu& gpu_;
  uint32_t count_ = 0;
};

struct Resources {
  explicit Resources(const PhysicalDevice& d)
      : gpu(d), heap(gpu, Heap::Kind::Device), host(gpu, Heap::Kind::Host), pipelines(gpu), can(gpu.can), tuner(make_tuner(*this)) {
    can.chooser = tuner.get();
  }
  ~Resources() { heap.release(scratch); }
  /// Room for so much scratch.
  void need_scratch(int64_t bytes);
  /// A run has ended at this time. Returns when the one before it did: it began no sooner.
  double ended(double us) { return last_end_us.exchange(us); }
  /// One that no run has.
  std::unique_ptr<Frame> take_frame();

  Gpu gpu;
  Heap heap, host;
  Pipelines pipelines;

  // Programs are submitted one at a time.
  std::mutex run_mutex;
  Memory scratch;                              // of all runs: a submission begins with a barrier
  std::vector<std::unique_ptr<Frame>> frames;  // that no run has
  std::atomic<double> last_end_us{0};

  Target can;  // the Gpu's, with the tuner: of what is to be run, not of what is asked about
  std::unique_ptr<gpu::Tuner> tuner;
};

std::unique_ptr<Program> make_program(Resources&, std::span<const ir::Step>);

}  // namespace anygpu::vulkan
