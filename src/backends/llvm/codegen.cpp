#include "codegen.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <llvm/Config/llvm-config.h>

#include "anygpu/error.h"

namespace anygpu::llvm {

void fail(const std::string& what) {
  throw Error(ErrorKind::Internal, "[llvm] " + what);
}

std::string take(char* message) {
  const std::string s = message;
  LLVMDisposeMessage(message);
  return s;
}

std::string version() {
  return "LLVM " LLVM_VERSION_STRING;
}

void verify(LLVMModuleRef module) {
  char* text = nullptr;
  if (LLVMVerifyModule(module, LLVMReturnStatusAction, &text)) fail("ill-formed code: " + take(text));
  LLVMDisposeMessage(text);
}

Codegen::Codegen(const std::string& triple, const std::string& cpu, const std::string& features, LLVMRelocMode relocation)
    : triple_(triple), cpu_(cpu), features_(features), relocation_(relocation) {
  const LLVMTargetMachineRef machine = make_machine();
  const LLVMTargetDataRef data = LLVMCreateTargetDataLayout(machine);
  layout_ = take(LLVMCopyStringRepOfTargetData(data));
  LLVMDisposeTargetData(data);
  idle_.push_back(machine);
}

Codegen::~Codegen() {
  for (const LLVMTargetMachineRef machine : idle_) LLVMDisposeTargetMachine(machine);
}

LLVMTargetMachineRef Codegen::make_machine() const {
  LLVMTargetRef target = nullptr;
  char* text = nullptr;
  if (LLVMGetTargetFromTriple(triple_.c_str(), &target, &text)) fail("no code generator for " + triple_ + ": " + take(text));
  const LLVMTargetMachineRef machine = LLVMCreateTargetMachine(target, triple_.c_str(), cpu_.c_str(), features_.c_str(),
                                                               LLVMCodeGenLevelDefault, relocation_, LLVMCodeModelSmall);
  if (!machine) fail("no code generator for " + cpu_);
  return machine;
}

void Codegen::aim(LLVMModuleRef module) const {
  LLVMSetTarget(module, triple_.c_str());
  LLVMSetDataLayout(module, layout_.c_str());
}

std::vector<char> Codegen::emit(LLVMModuleRef module, LLVMCodeGenFileType type) const {
  LLVMTargetMachineRef machine = nullptr;
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) machine = idle_.back(), idle_.pop_back();
  }
  if (!machine) machine = make_machine();
  char* text = nullptr;
  LLVMMemoryBufferRef buffer = nullptr;
  const bool failed = LLVMTargetMachineEmitToMemoryBuffer(machine, module, type, &text, &buffer);
  {
    std::lock_guard lock(mutex_);
    idle_.push_back(machine);
  }
  if (failed) fail("code generation: " + take(text));
  const char* start = LLVMGetBufferStart(buffer);
  std::vector<char> code(start, start + LLVMGetBufferSize(buffer));
  LLVMDisposeMemoryBuffer(buffer);
  return code;
}

}  // namespace anygpu::llvm
