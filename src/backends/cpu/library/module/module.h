// What libanygpu_cpu_library.so offers: threads from the OpenMP runtime that oneDNN uses, and the Nameds that oneDNN does.
// It is opened by ../loader.cpp and never closed. Compiled into it: this folder alone.
#pragma once

#include <cstdint>
#include <string>

#include "backends/cpu/library/library.h"

namespace anygpu::cpu {

class Module {
 public:
  /// Calls body(state, w) once on each thread of the OpenMP team, w from 0.
  virtual void team(void (*body)(void* state, int worker), void* state) = 0;
  virtual bool supports(const ir::Named&) = 0;
  /// Of a convolution.
  virtual int64_t channel_block(const ir::Named&, int operand) = 0;
  virtual std::unique_ptr<PreparedNamed> prepare(const ir::Named&) = 0;
  /// "oneDNN 2.6.3"
  virtual const char* version() = 0;

 protected:
  ~Module() = default;
};

/// Differs where the two sides were built from other declarations.
inline constexpr uint64_t kModuleAbi = 2 + (sizeof(ir::Named) << 8) + (sizeof(ir::Operand) << 24) + (sizeof(Memory) << 40);

/// The one exported symbol. Null where `abi` is not its own.
using OpenModule = Module* (*)(uint64_t abi, int threads);
inline constexpr const char* kOpenModule = "anygpu_cpu_library_open";

}  // namespace anygpu::cpu
