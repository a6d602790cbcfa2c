// What runs where an operator is not registered: PyTorch's CPU kernel, on copies, entered in the ledger of fallbacks.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>

#include "anygpu/fallbacks.h"

#pragma GCC visibility push(default)  // _torch.so and C++ tests call these
namespace anygpu::torch_frontend {

/// Runs `op` on the CPU. Tensors that share a storage share it there too; what the operator writes is written back, resized
/// outputs included; returned views of arguments become views of the device's tensors; a Generator of the device seeds a CPU one.
/// Throws c10::NotImplementedError naming the operator under ANYGPU_FALLBACK=error.
void cpu_fallback(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack);

/// The same for a call that the device's own kernel refuses: the CPU is asked first, so that what it refuses too is refused in PyTorch's
/// words, and neither warned of nor counted.
void refused_to_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack);

/// Runs f(), an access to the ledger of fallbacks: what is no mode is a ValueError.
template <class F>
auto with_ledger(F f) {
  try {
    return f();
  } catch (const Error& e) {
    throw c10::ValueError({__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, e.what());
  }
}

}  // namespace anygpu::torch_frontend
#pragma GCC visibility pop
