// What all Programs of one device share.
#pragma once

#include <memory>
#include <mutex>
#include <span>

#include "backends/interface/backend.h"
#include "heap.h"
#include "pipelines.h"
#include "tuner.h"

namespace anygpu::vulkan {

struct Resources {
  explicit Resources(const PhysicalDevice& d)
      : gpu(d),
        heap(gpu, Heap::Kind::Device),
        host(gpu, Heap::Kind::Host),
        pipelines(gpu),
        commands(gpu),
        can(gpu.can),
        tuner(make_tuner(*this)) {
    can.chooser = tuner.get();
  }
  ~Resources() {
    heap.release(scratch);
    host.release(params);
    gpu.vk.DestroyQueryPool(gpu.device, queries, nullptr);
  }

  Gpu gpu;
  Heap heap, host;
  Pipelines pipelines;

  // Of the run at hand: Programs run one at a time.
  std::mutex run_mutex;
  Commands commands;
  Memory scratch, params;
  VkQueryPool queries = nullptr;
  uint32_t query_count = 0;

  Capabilities can;  // the Gpu's, with the tuner: of what is to be run, not of what is asked about
  std::unique_ptr<Tuner> tuner;
};

std::unique_ptr<Program> make_program(Resources&, std::span<const ir::Step>);

}  // namespace anygpu::vulkan
