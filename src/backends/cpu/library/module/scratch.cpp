#include "backends/cpu/library/module/scratch.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#include "anygpu/error.h"

namespace anygpu::cpu {
namespace {

struct Block {
  char* data;
  size_t bytes;
};

struct Pool {
  std::mutex mutex;
  std::vector<Block> idle;  // the least first
};

Pool& pool() {
  static auto* p = new Pool;
  return *p;
}

}  // namespace

ScratchLease::ScratchLease(size_t bytes, const std::string& op) {
  if (bytes == 0) return;
  {
    std::lock_guard lock(pool().mutex);
    auto& idle = pool().idle;
    for (auto it = idle.begin(); it != idle.end(); ++it) {
      if (it->bytes < bytes) continue;
      data_ = it->data;
      bytes_ = it->bytes;
      idle.erase(it);
      return;
    }
    // None is large enough: the largest makes way, so that there are never more blocks than runs at one time.
    if (!idle.empty()) {
      std::free(idle.back().data);
      idle.pop_back();
    }
  }
  constexpr size_t kPage = 4096;
  bytes_ = (bytes + kPage - 1) / kPage * kPage;
  data_ = static_cast<char*>(std::aligned_alloc(kPage, bytes_));
  if (!data_) throw Error(ErrorKind::OutOfMemory, "[" + op + "] no memory for " + std::to_string(bytes_) + " bytes of scratch");
}

ScratchLease::~ScratchLease() {
  if (!data_) return;
  std::lock_guard lock(pool().mutex);
  auto& idle = pool().idle;
  auto it = idle.begin();
  while (it != idle.end() && it->bytes < bytes_) ++it;
  idle.insert(it, {data_, bytes_});
}

}  // namespace anygpu::cpu
