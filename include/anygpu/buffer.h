// A Buffer: a reference-counted range of device memory whose bytes may not exist yet.
#pragma once

#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <utility>

#include "anygpu/error.h"

namespace anygpu {

class Device;
struct Failure;  // src/runtime

/// Memory as a backend knows it: a range of an allocation. `handle` is a host pointer on `cpu` and `reference`.
struct Memory {
  void* handle = nullptr;
  int64_t offset = 0;  ///< bytes from the start of the allocation
  int64_t bytes = 0;
};

/// Two counts: `users` are those who can still name the Buffer in an operator (tensors, Views); `pins` are all who need
/// the object itself (each user, the Trace, the Executor). A Buffer without users is dead: a Plan need not store it.
/// The split keeps "dead" a function of the program alone, not of how far the Executor has come.
class Buffer {
 public:
  Buffer(Device& device, int64_t bytes) : device(device), bytes(bytes) {}
  Buffer(const Buffer&) = delete;

  Device& device;
  const int64_t bytes;

  // Written under the Device's recording lock.
  uint64_t trace_id = 0;     ///< the Trace that `trace_index` counts in
  int32_t trace_index = -1;  ///< first-appearance number within that Trace
  bool has_bytes = false;    ///< some flushed Plan or upload has written it
  uint64_t last_run = 0;     ///< ticket of the last Plan run that touches it

  // Written by the Executor, or before the Executor has ever seen the Buffer; read by who has told it (Executor::Reading).
  Memory memory;
  std::shared_ptr<Failure> poison;  ///< why its contents are not what they should be, if they are not

  bool dead() const { return users_.load(std::memory_order_acquire) == 0; }

 private:
  friend class BufferRef;
  friend class BufferPin;
  ANYGPU_API static void destroy(Buffer*);
  ANYGPU_API static void release_bytes_of_dead(Buffer*);
  void pin() { pins_.fetch_add(1, std::memory_order_relaxed); }
  void unpin() {
    if (pins_.fetch_sub(1, std::memory_order_acq_rel) == 1) destroy(this);
  }

  std::atomic<int32_t> users_{0};
  std::atomic<int32_t> pins_{0};
};

/// A user's hold on a Buffer.
class BufferRef {
 public:
  BufferRef() = default;
  explicit BufferRef(Buffer* b) : b_(b) { acquire(); }
  BufferRef(const BufferRef& o) : b_(o.b_) { acquire(); }
  BufferRef(BufferRef&& o) noexcept : b_(std::exchange(o.b_, nullptr)) {}
  BufferRef& operator=(BufferRef o) noexcept {
    std::swap(b_, o.b_);
    return *this;
  }
  ~BufferRef() {
    if (!b_) return;
    if (b_->users_.fetch_sub(1, std::memory_order_acq_rel) == 1) Buffer::release_bytes_of_dead(b_);
    b_->unpin();
  }
  Buffer* get() const { return b_; }
  Buffer* operator->() const { return b_; }
  explicit operator bool() const { return b_ != nullptr; }

 private:
  void acquire() {
    if (!b_) return;
    b_->users_.fetch_add(1, std::memory_order_relaxed);
    b_->pin();
  }
  Buffer* b_ = nullptr;
};

/// The runtime's hold: keeps the object, not its liveness.
class BufferPin {
 public:
  BufferPin() = default;
  explicit BufferPin(Buffer* b) : b_(b) {
    if (b_) b_->pin();
  }
  BufferPin(BufferPin&& o) noexcept : b_(std::exchange(o.b_, nullptr)) {}
  BufferPin(const BufferPin& o) : BufferPin(o.b_) {}
  BufferPin& operator=(BufferPin o) noexcept {
    std::swap(b_, o.b_);
    return *this;
  }
  ~BufferPin() {
    if (b_) b_->unpin();
  }
  Buffer* get() const { return b_; }
  Buffer* operator->() const { return b_; }

 private:
  Buffer* b_ = nullptr;
};

}  // namespace anygpu
