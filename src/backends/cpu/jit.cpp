#include "jit.h"

#include <dlfcn.h>
#include <llvm-c/Analysis.h>
#include <llvm-c/Error.h>
#include <llvm-c/LLJIT.h>
#include <llvm-c/Orc.h>
#include <llvm-c/Target.h>
#include <llvm/Config/llvm-config.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>

#include "anygpu/error.h"
#include "core/environment.h"

namespace anygpu::cpu {
namespace {

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorKind::Internal, "[jit] " + what);
}

void check(LLVMErrorRef error) {
  if (!error) return;
  char* text = LLVMGetErrorMessage(error);
  const std::string message = text;
  LLVMDisposeErrorMessage(text);
  fail(message);
}

void start_llvm() {
  static std::once_flag once;
  std::call_once(once, [] {
    LLVMInitializeNativeTarget();
    LLVMInitializeNativeAsmPrinter();
  });
}

std::string take(char* text) {
  const std::string s = text;
  LLVMDisposeMessage(text);
  return s;
}

bool has(const std::string& features, const char* name) {
  return (features + ",").find(std::string("+") + name + ",") != std::string::npos;
}

Isa find_isa() {
  start_llvm();
  Isa isa;
  isa.cpu = take(LLVMGetHostCPUName());
  isa.features = take(LLVMGetHostCPUFeatures());
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

/// What generates code: one thread at a time.
struct Machine {
  LLVMTargetMachineRef machine = nullptr;
  std::string triple, layout;

  Machine() {
    const Isa& isa = host_isa();
    triple = take(LLVMGetDefaultTargetTriple());
    LLVMTargetRef target = nullptr;
    char* text = nullptr;
    if (LLVMGetTargetFromTriple(triple.c_str(), &target, &text)) fail("no code generator for " + triple + ": " + take(text));
    machine = LLVMCreateTargetMachine(target, triple.c_str(), isa.cpu.c_str(), isa.features.c_str(), LLVMCodeGenLevelDefault, LLVMRelocPIC,
                                      LLVMCodeModelSmall);
    if (!machine) fail("no code generator for " + isa.cpu);
    LLVMTargetDataRef data = LLVMCreateTargetDataLayout(machine);
    layout = take(LLVMCopyStringRepOfTargetData(data));
    LLVMDisposeTargetData(data);
  }
};

/// A Machine for as long as this lives: as many are made as threads compile at once.
class MachineLease {
 public:
  MachineLease() {
    {
      Idle& idle = machines();
      std::lock_guard lock(idle.mutex);
      if (!idle.machines.empty()) machine_ = std::move(idle.machines.back()), idle.machines.pop_back();
    }
    if (!machine_) machine_ = std::make_unique<Machine>();
  }
  ~MachineLease() {
    Idle& idle = machines();
    std::lock_guard lock(idle.mutex);
    idle.machines.push_back(std::move(machine_));
  }
  MachineLease(const MachineLease&) = delete;
  Machine* operator->() const { return machine_.get(); }

 private:
  struct Idle {
    std::mutex mutex;
    std::vector<std::unique_ptr<Machine>> machines;
  };
  static Idle& machines() {
    static Idle* idle = new Idle;  // leaked: kernels outlive static destructors
    return *idle;
  }
  std::unique_ptr<Machine> machine_;
};

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

std::string llvm_version() {
  return "LLVM " LLVM_VERSION_STRING;
}

std::vector<char> compile_module(LLVMContextRef, LLVMModuleRef module) {
  const MachineLease m;
  LLVMSetTarget(module, m->triple.c_str());
  LLVMSetDataLayout(module, m->layout.c_str());
  static const bool print = setting("ANYGPU_CPU_PRINT_IR") != nullptr;
  if (print) LLVMDumpModule(module);
  static const bool print_assembly = setting("ANYGPU_CPU_PRINT_ASM") != nullptr;
  if (print_assembly) {
    LLVMModuleRef copy = LLVMCloneModule(module);
    char* message = nullptr;
    LLVMMemoryBufferRef assembly = nullptr;
    if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, copy, LLVMAssemblyFile, &message, &assembly))
      fail("code generation: " + take(message));
    std::fwrite(LLVMGetBufferStart(assembly), 1, LLVMGetBufferSize(assembly), stderr);
    LLVMDisposeMemoryBuffer(assembly);
    LLVMDisposeModule(copy);
  }
  char* text = nullptr;
#ifndef NDEBUG
  const bool verify = true;
#else
  static const bool verify = setting("ANYGPU_CPU_VERIFY_IR") != nullptr;
#endif
  if (verify) {
    if (LLVMVerifyModule(module, LLVMReturnStatusAction, &text)) fail("ill-formed code: " + take(text));
    LLVMDisposeMessage(text), text = nullptr;
  }
  LLVMMemoryBufferRef buffer = nullptr;
  if (LLVMTargetMachineEmitToMemoryBuffer(m->machine, module, LLVMObjectFile, &text, &buffer)) fail("code generation: " + take(text));
  const char* start = LLVMGetBufferStart(buffer);
  std::vector<char> object(start, start + LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
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
