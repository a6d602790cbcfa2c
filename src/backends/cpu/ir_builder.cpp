#include "ir_builder.h"

#include <algorithm>

namespace anygpu::cpu {

Value IrBuilder::fma(Value x, Value y, Value z) {
  if (!has_fma) return add(mul(x, y), z);
  return intrinsic("llvm.fma", {x, y, z});
}

void IrBuilder::store_past_caches(Value v, Value pointer) {
  Value s = LLVMBuildStore(b, v, pointer);
  LLVMSetAlignment(s, std::min(64, lanes_of(v) * bits_of(element_of(type_of(v))) / 8));
  LLVMMetadataRef one = LLVMValueAsMetadata(constant(i32, 1));
  static constexpr char kKind[] = "nontemporal";
  LLVMSetMetadata(s, LLVMGetMDKindIDInContext(context(), kKind, sizeof kKind - 1),
                  LLVMMetadataAsValue(context(), LLVMMDNodeInContext2(context(), &one, 1)));
}

// Such stores are not ordered with what tells another thread that they are done.
void IrBuilder::fence_streams() {
#if defined(__x86_64__)
  intrinsic("llvm.x86.sse.sfence", {}, {});
#else
  LLVMBuildFence(b, LLVMAtomicOrderingSequentiallyConsistent, 0, "");
#endif
}

void IrBuilder::prefetch(Value pointer) {
  const int to_read = 0, second_cache = 2, data = 1;
  intrinsic("llvm.prefetch", {pointer, constant(i32, to_read), constant(i32, second_cache), constant(i32, data)});
}

}  // namespace anygpu::cpu
