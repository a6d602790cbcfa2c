// LLVM in this process: what the host can do, modules to object code, object code to addresses.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "backends/llvm/codegen.h"

namespace anygpu::cpu {

/// What generated code may use. ANYGPU_CPU_ISA=sse|avx2|avx512 lowers it (for tests; never raises it above the host).
struct Isa {
  std::string name;       ///< "AVX-512", "AVX2", "SSE2", "NEON", ...
  std::string cpu;        ///< LLVM's name of the processor
  std::string features;   ///< LLVM's feature string
  int vector_bytes = 16;  ///< of one register
  bool masks = false;     ///< loads, stores and gathers under a mask are one instruction, for any element size
  bool gathers = false;   ///< gathers of 4- and 8-byte elements are instructions
  bool fma = false;
  bool half = false;  ///< f16 <-> f32 conversions are instructions
  bool x86 = false, arm = false;
};
const Isa& host_isa();

/// Of this processor, as host_isa() has it.
const llvm::Codegen& host_codegen();

/// Machine code for one module, which it consumes. Any thread; several may compile at once, each in its own context.
std::vector<char> compile_module(LLVMModuleRef);

/// Object code in the process, which is unloaded when the last copy of this goes.
struct LinkedCode {
  std::vector<void*> functions;
  std::shared_ptr<void> loaded;
};
/// Links object code into the process and looks its functions up, whose names no other object has. Any thread.
/// Throws Error(Internal) where the object is damaged or wants a symbol that is not in the table of helpers.
LinkedCode link_object(const std::vector<char>& object, const std::vector<std::string>& functions);

/// Functions that generated code may call by name.
struct Helper {
  const char* name;
  void* address;
};
const std::vector<Helper>& helpers();  // helpers.cpp
/// Address of a vector math function, such as _ZGVeN16v_sinf, or null where the machine's libmvec has none.
void* libmvec_function(const char* name);

}  // namespace anygpu::cpu
