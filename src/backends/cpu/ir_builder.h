// IrBuilder: modules for this processor: what depends on its instructions and caches.
#pragma once

#include "backends/llvm/module_builder.h"

namespace anygpu::cpu {

using llvm::Type;
using llvm::Value;
using llvm::Values;

class IrBuilder : public llvm::ModuleBuilder {
 public:
  using ModuleBuilder::ModuleBuilder;

  /// x * y + z, in one rounding where the host can, in two where it cannot.
  Value fma(Value x, Value y, Value z);
  /// Of whole registers, at a pointer aligned to as many bytes, or to 64. Others see it after fence_streams().
  void store_past_caches(Value, Value pointer);
  void fence_streams();
  /// Asks for what will be read there, into the second cache. The pointer may be of anything.
  void prefetch(Value pointer);

  bool has_fma = true;
};

}  // namespace anygpu::cpu
