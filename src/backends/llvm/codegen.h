// Codegen: LLVM's modules to machine code or assembly, for any of its targets.
#pragma once

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

#include <mutex>
#include <string>
#include <vector>

namespace anygpu::llvm {

/// Throws Error(Internal).
[[noreturn]] void fail(const std::string& what);
/// A message of LLVM's, which is disposed of.
std::string take(char* message);
/// "LLVM 19.1.7"
std::string version();
/// Throws Error(Internal) where the module is ill-formed.
void verify(LLVMModuleRef);

/// Code for one kind of processor. Any thread.
class Codegen {
 public:
  /// In LLVM's words: "nvptx64-nvidia-cuda", "sm_90", "+ptx80". Its code generator has been initialised (LLVMInitializeNVPTXTarget ...) and
  /// is linked in: anygpu_llvm_host has this processor's, anygpu_llvm_nvptx PTX's. Throws Error(Internal) where it is not.
  Codegen(const std::string& triple, const std::string& cpu, const std::string& features, LLVMRelocMode = LLVMRelocDefault);
  ~Codegen();
  Codegen(const Codegen&) = delete;

  /// Tells a module what its code will be for. Before anything is built in it: sizes and address spaces depend on it.
  void aim(LLVMModuleRef) const;
  /// Machine code (LLVMObjectFile), or text (LLVMAssemblyFile), of a module, which is no use for anything else then. Throws
  /// Error(Internal).
  std::vector<char> emit(LLVMModuleRef, LLVMCodeGenFileType) const;

 private:
  LLVMTargetMachineRef make_machine() const;

  const std::string triple_, cpu_, features_;
  const LLVMRelocMode relocation_;
  std::string layout_;
  // A machine generates code for one thread at a time: there are as many as threads have compiled at once.
  mutable std::mutex mutex_;
  mutable std::vector<LLVMTargetMachineRef> idle_;
};

}  // namespace anygpu::llvm
