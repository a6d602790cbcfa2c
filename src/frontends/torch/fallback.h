// What runs where an operator is not registered: PyTorch's CPU kernel, on copies, warned of once by name and counted.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include <cstdint>
#include <map>
#include <string>

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// Runs `op` on the CPU. Tensors that share a storage share it there too; what the operator writes is written back, resized
/// outputs included; returned views of arguments become views of the device's tensors; a Generator of the device seeds a CPU one.
/// Throws c10::NotImplementedError naming the operator under ANYGPU_FALLBACK=error.
void cpu_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack);

/// The same for a call that the device's own kernel refuses: the CPU is asked first, so that what it refuses too is refused in PyTorch's
/// words, and neither warned of nor counted.
void refused_to_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// How often each operator has run on the CPU.
std::map<std::string, int64_t> fallback_counts();
void reset_fallback_counts();

/// Changes what a missing operator does, for tests: "warn", "error" or "silent". The start value is ANYGPU_FALLBACK, else "warn".
void set_fallback_mode(const std::string&);
std::string fallback_mode();

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
