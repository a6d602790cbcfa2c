// Target: what steps are compiled for. What the device has, what is wanted of it, and what its API does in its own way.
#pragma once

#include <optional>

#include "capabilities.h"
#include "launch.h"

namespace anygpu::gpu {

struct KernelSpec;
struct Param;
class Api;
class Chooser;
class MatmulKernels;

/// How products of matrices are computed: by invocations alone, over a subgroup's lanes, in tiles of shared memory, by matrix units.
enum class MatmulTier : uint8_t { Best, Plain, Lanes, Shared, Cooperative };

struct Target : Capabilities {
  MatmulTier matmul = MatmulTier::Best;
  bool texel_loads = false;    ///< what is loaded and not written in a launch is fetched, where lanes load differently
  bool by_address = false;     ///< what is to be compiled reaches its slots so
  const Api* api = nullptr;    ///< one for all devices of a kind
  Chooser* chooser = nullptr;  ///< measures ways to do one thing; null: nothing is measured
};

/// A kernel, and what fills its params, word by word.
struct Emitted {
  std::shared_ptr<const Kernel> kernel;
  std::vector<Param> params;
};

class Api {
 public:
  virtual ~Api() = default;
  /// The kernel that gpu::emit() describes. Its bindings are the spec's.
  virtual Emitted emit(const KernelSpec&, const Capabilities&, const std::string& name) const = 0;
  /// Kernels of its own for products; null: none.
  virtual const MatmulKernels* matmul_kernels() const { return nullptr; }
  /// By those, or by a library's. Nothing where ir::lower() is what remains.
  virtual std::optional<Compiled> matmul(const ir::Named&, const Target&) const;
  virtual std::optional<Compiled> convolution(const ir::Named&, const Target&) const { return {}; }
};

/// Work of one Launch at most, so that no driver takes the device for hung. On real GPUs work is counted as if in f32.
double most_work(const Capabilities&);
double work_of(DType, const Capabilities&);  ///< of an operation

}  // namespace anygpu::gpu
