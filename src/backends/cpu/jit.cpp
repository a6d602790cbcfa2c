#include "jit.h"

#include <dlfcn.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>

#include "core/environment.h"

namespace anygpu::cpu {
namespace {

void check(LLVMErrorRef error) {
  if (!error) return;
  char* text = LLVMGetErrorMessage(error);
  const std::string message = text;
  LLVMDisposeErrorMessage(text);
  llvm::fail(message);
}

void start_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
  });
}

bool has(const std::string& features, const char* name) {
  return (features + ",").find(std::string("+") + name + ",") != std::string::npos;
}

Isa find_isa() {
  start_llvm();
  Isa isa;
  isa.cpu = llvm::take(LLVMGetHostCPUName());
  isa.features = llvm::take(LLVMGetHostCPUFeatures());
#if defined(__x86_64__)
  isa.x86 = true;
  const char* limit = setting("ANYGPU_CPU_ISA");
  const bool at_most_sse = limit && !std::strcmp(limit, "sse");
  const bool at_most_avx2 = at_most_sse || (limit && !std::strcmp(limit, "avx2"));
  const bool avx2 = !at_most_sse && has(isa.features, "avx2") && has(isa.features, "fma") && has(isa.features, "f16c");
  const bool avx512 = !at_most_avx2 && avx2 && has(isa.features, "avx512f") && has(isa.features, "avx512bw") &&
                      has(isa.features, "avx512vl") && has(isa.features, "avx512dq");
  if (avx512) {
    isa.name = "AVX-512";
    isa.vector_bytes = 64;
    isa.masks = true;
  } else if (avx2) {
    isa.name = "AVX2";
    isa.vector_bytes = 32;
    if (at_most_avx2 || has(isa.features, "avx512f")) isa.cpu = "x86-64-v3", isa.features = "";
  } else {
    isa.name = "SSE2";
    isa.cpu = "x86-64", isa.features = "";
  }
  isa.gathers = isa.fma = isa.half = avx2;
#elif defined(__aarch64__)
  isa.arm = true;
  isa.name = "NEON";
  isa.fma = isa.half = true;
#else
  isa.name = isa.cpu;
#endif
  return isa;
}

struct Linker {
  LLVMOrcLLJITRef jit = nullptr;
  std::recursive_mutex mutex;  // linking that fails unloads

  Linker() {
    start_llvm();
    LLVMOrcLLJITBuilderRef builder = LLVMOrcCreateLLJITBuilder();
    check(LLVMOrcCreateLLJIT(&jit, builder));
    std::vector<LLVMOrcCSymbolMapPair> symbols;
    auto define = [&](const char* name, void* address) {
      LLVMOrcCSymbolMapPair pair{};
      pair.Name = LLVMOrcLLJITMangleAndIntern(jit, name);
      pair.Sym.Address = reinterpret_cast<LLVMOrcExecutorAddress>(address);
      pair.Sym.Flags.GenericFlags = LLVMJITSymbolGenericFlagsExported | LLVMJITSymbolGenericFlagsCallable;
      symbols.push_back(pair);
    };
    for (const Helper& h : helpers()) define(h.name, h.address);
    check(LLVMOrcJITDylibDefine(LLVMOrcLLJITGetMainJITDylib(jit), LLVMOrcAbsoluteSymbols(symbols.data(), symbols.size())));
  }
};

Linker& linker() {
  static Linker* l = new Linker;
  return *l;
}

void unload(LLVMOrcResourceTrackerRef tracker) {
  Linker& l = linker();
  std::lock_guard lock(l.mutex);
  if (const LLVMErrorRef error = LLVMOrcResourceTrackerRemove(tracker)) LLVMConsumeError(error);  // then it stays
  LLVMOrcReleaseResourceTracker(tracker);
  LLVMOrcSymbolStringPoolClearDeadEntries(LLVMOrcExecutionSessionGetSymbolStringPool(LLVMOrcLLJITGetExecutionSession(l.jit)));
}

}  // namespace

const Isa& host_isa() {
  static const Isa* isa = new Isa(find_isa());
  return *isa;
}

const llvm::Codegen& host_codegen() {
  static const auto* made = [] {
    const Isa& isa = host_isa();
    return new llvm::Codegen(llvm::take(LLVMGetDefaultTargetTriple()), isa.cpu, isa.features, LLVMRelocPIC);
  }();
  return *made;  // leaked: kernels outlive static destructors
}

std::vector<char> compile_module(LLVMModuleRef module) {
  static const bool print = setting("ANYGPU_CPU_PRINT_IR") != nullptr;
  if (print) LLVMDumpModule(module);
  static const bool print_assembly = setting("ANYGPU_CPU_PRINT_ASM") != nullptr;
  if (print_assembly) {
    LLVMModuleRef copy = LLVMCloneModule(module);
    const std::vector<char> assembly = host_codegen().emit(copy, LLVMAssemblyFile);
    std::fwrite(assembly.data(), 1, assembly.size(), stderr);
    LLVMDisposeModule(copy);
  }
#ifndef NDEBUG
  const bool verify = true;
#else
  static const bool verify = setting("ANYGPU_CPU_VERIFY_IR") != nullptr;
#endif
  if (verify) llvm::verify(module);
  std::vector<char> object = host_codegen().emit(module, LLVMObjectFile);
  LLVMDisposeModule(module);
  return object;
}

LinkedCode link_object(const std::vector<char>& object, const std::vector<std::string>& functions) {
  Linker& l = linker();
  LLVMMemoryBufferRef buffer = LLVMCreateMemoryBufferWithMemoryRangeCopy(object.data(), object.size(), "kernel");
  LinkedCode code;
  std::lock_guard lock(l.mutex);
  const LLVMOrcResourceTrackerRef tracker = LLVMOrcJITDylibCreateResourceTracker(LLVMOrcLLJITGetMainJITDylib(l.jit));
  code.loaded = {tracker, [](void* loaded) { unload(static_cast<LLVMOrcResourceTrackerRef>(loaded)); }};
  check(LLVMOrcLLJITAddObjectFileWithRT(l.jit, tracker, buffer));
  for (const std::string& name : functions) {
    LLVMOrcExecutorAddress address = 0;
    check(LLVMOrcLLJITLookup(l.jit, &address, name.c_str()));
    code.functions.push_back(reinterpret_cast<void*>(address));
  }
  return code;
}

void* libmvec_function(const char* name) {
  static void* const mvec = dlopen("libmvec.so.1", RTLD_NOW | RTLD_LOCAL);
  return mvec ? dlsym(mvec, name) : nullptr;
}

}  // namespace anygpu::cpu
