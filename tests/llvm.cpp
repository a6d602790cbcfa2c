// Modules for other processors than this one, and many at once.
#include <gtest/gtest.h>
#include <llvm-c/Target.h>

#include <string>
#include <thread>
#include <vector>

#include "anygpu/error.h"
#include "backends/llvm/module_builder.h"

namespace anygpu::llvm {
namespace {

std::string host_triple() {
  LLVMInitializeNativeTarget();
  LLVMInitializeNativeAsmPrinter();
  return take(LLVMGetDefaultTargetTriple());
}

/// A module of its own context.
struct Module {
  LLVMContextRef context = LLVMContextCreate();
  LLVMModuleRef module = LLVMModuleCreateWithNameInContext("test", context);
  ~Module() {
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
  }
};

/// double sum(const double* x, i64 n), n times over.
std::vector<char> object_of_sum(const Codegen& codegen) {
  Module m;
  ModuleBuilder b(m.context, m.module, codegen);
  b.begin_function("sum", b.f64, {b.ptr, b.i64});
  const Value x = b.parameter(0), n = b.parameter(1);
  const Values sum = b.loop(b.index(0), n, b.index(1), {b.real(b.f64, 0)},
                            [&](Value i, const Values& now) { return Values{b.add(now[0], b.load(b.f64, b.element(x, b.f64, i), 8))}; });
  LLVMBuildRet(b.b, sum[0]);
  b.end_function();
  verify(m.module);
  return codegen.emit(m.module, LLVMObjectFile);
}

TEST(Codegen, ManyThreadsAtOnceMakeTheSameCode) {
  const Codegen codegen(host_triple(), "", "");
  const std::vector<char> expected = object_of_sum(codegen);
  ASSERT_FALSE(expected.empty());
  std::vector<std::vector<char>> made(8);
  std::vector<std::thread> threads;
  for (auto& object : made) threads.emplace_back([&] { object = object_of_sum(codegen); });
  for (std::thread& t : threads) t.join();
  for (const auto& object : made) EXPECT_EQ(object, expected);
}

TEST(Codegen, RefusesATargetThatIsNotLinkedIn) {
  try {
    const Codegen codegen("no-such-thing", "", "");
    FAIL() << "made";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::Internal);
    EXPECT_NE(std::string(e.what()).find("no code generator for no-such-thing"), std::string::npos) << e.what();
  }
}

TEST(Codegen, RefusesAnIllFormedModule) {
  const Codegen codegen(host_triple(), "", "");
  Module m;
  ModuleBuilder b(m.context, m.module, codegen);
  b.begin_function("returns_nothing", b.f64, {});
  LLVMBuildRetVoid(b.b);
  b.end_function();
  EXPECT_THROW(verify(m.module), Error);
}

#ifdef ANYGPU_LLVM_NVPTX
constexpr unsigned kGlobal = 1, kShared = 3, kKernel = 71;

// kernel scale(global f32* x, f32 by, i32 n): x[i] = shared[i] * by + 1, of two roundings; through memory that the workgroup shares.
TEST(ModuleBuilder, MakesKernelsOfPtxWithAddressSpaces) {
  LLVMInitializeNVPTXTargetInfo();
  LLVMInitializeNVPTXTarget();
  LLVMInitializeNVPTXTargetMC();
  LLVMInitializeNVPTXAsmPrinter();
  const Codegen codegen("nvptx64-nvidia-cuda", "sm_70", "+ptx60");
  Module m;
  ModuleBuilder b(m.context, m.module, codegen);
  b.begin_function("scale", b.none, {b.pointer(kGlobal), b.f32, b.i32}, kKernel);
  const Value shared = b.variable("line", LLVMArrayType(b.f32, 64), kShared, 16);
  const Value i = b.intrinsic("llvm.nvvm.read.ptx.sreg.tid.x", {}, {});
  const Value at = b.element(b.parameter(0), b.f32, i), local = b.element(shared, b.f32, i);
  b.branch(b.icmp(LLVMIntULT, i, b.parameter(2)), {}, [&](const Values&) {
    b.store(b.load(b.f32, at, 4), local, 4);
    const Value scaled = b.mul(b.load(b.f32, b.in_space(local, 0), 4), b.parameter(1));
    b.store(b.add(scaled, b.real(b.f32, 1)), at, 4);
    return Values{};
  });
  LLVMBuildRetVoid(b.b);
  b.end_function();
  verify(m.module);
  const std::vector<char> bytes = codegen.emit(m.module, LLVMAssemblyFile);
  const std::string text(bytes.begin(), bytes.end());
  for (const char* part : {".target sm_70", ".visible .entry scale(", ".shared .align 16 .b8 line[256]", "ld.global.", "st.shared.f32",
                           "mul.rn.f32", "add.rn.f32", "st.global.f32"})
    EXPECT_NE(text.find(part), std::string::npos) << part << " is not in\n" << text;
  EXPECT_EQ(text.find("fma."), std::string::npos) << text;
}
#endif

}  // namespace
}  // namespace anygpu::llvm
