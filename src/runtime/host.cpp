#include "runtime/host.h"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace anygpu {

namespace {

std::atomic<decltype(HostHooks::where)> where{nullptr};
std::atomic<decltype(HostHooks::interrupt)> interrupt{nullptr};

std::atomic<bool>& stacks() {
  static std::atomic<bool> kept = [] {
    const char* v = std::getenv("ANYGPU_STACKS");
    return v && *v && std::strcmp(v, "0") != 0;
  }();
  return kept;
}

}  // namespace

void set_host_hooks(const HostHooks& hooks) {
  where = hooks.where;
  interrupt = hooks.interrupt;
}

HostHooks host_hooks() {
  return {where.load(std::memory_order_relaxed), interrupt.load(std::memory_order_relaxed)};
}

void keep_stacks(bool yes) {
  stacks() = yes;
}

bool keeps_stacks() {
  return stacks().load(std::memory_order_relaxed);
}

std::string origin_of_call(bool may_fail) {
  const bool all = keeps_stacks();
  const auto ask = where.load(std::memory_order_relaxed);
  return ask && (all || may_fail) ? ask(all) : std::string();
}

}  // namespace anygpu
