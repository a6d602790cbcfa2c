// For the tests of the vulkan backend's own parts.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "backends/vulkan/entry.h"
#include "backends/vulkan/resources.h"
#include "backends/vulkan/transfer.h"

namespace anygpu::vulkan {

class Vulkan : public testing::Test {
 protected:
  void SetUp() override {
    if (entry.count().all == 0) GTEST_SKIP() << "no Vulkan driver is installed";
  }
  const PhysicalDevice& physical() { return Instance::get().devices[0]; }
};

/// Runs f in a child with a variable set; "" where it threw nothing, else what it said.
template <class F>
std::string in_child(const char* variable, const char* value, F f) {
  int ends[2];
  EXPECT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    setenv(variable, value, 1);
    std::string said;
    try {
      f();
    } catch (const Error& e) {
      said = e.what();
    }
    [[maybe_unused]] const ssize_t written = write(ends[1], said.data(), said.size());
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char part[512];
  for (ssize_t n; (n = read(ends[0], part, sizeof part)) > 0;) text.append(part, static_cast<size_t>(n));
  close(ends[0]);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? text : "the child died by signal " + std::to_string(WTERMSIG(status));
}

/// Memory that is given back, holding one value.
class Filled {
 public:
  Filled(Resources& on, int64_t elements, float value) : on_(on), memory(on.heap.allocate(4 * elements)), transfer_(on.gpu, on.host) {
    const std::vector<float> all(static_cast<size_t>(elements), value);
    transfer_.write(memory, 0, all.data(), 4 * elements);
  }
  ~Filled() { on_.heap.release(memory); }
  std::vector<float> values() {
    std::vector<float> all(static_cast<size_t>(memory.bytes / 4));
    transfer_.read(memory, 0, all.data(), memory.bytes);
    return all;
  }

 private:
  Resources& on_;

 public:
  Memory memory;

 private:
  Transfer transfer_;
};

}  // namespace anygpu::vulkan
