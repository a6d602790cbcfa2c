// Launch: what a step becomes. The border inside this room: emitters and templates make Launches, the program runs them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "ir/named.h"

namespace anygpu::vulkan {

/// How products of matrices are computed: shaders/matmul.comp, matmul_lanes.comp, matmul_shared.comp, matmul_cooperative.h.
enum class MatmulTier : uint8_t { Best, Plain, Lanes, Shared, Cooperative };

class Chooser;

/// What shaders may use: of the device, less what ANYGPU_VULKAN_PROFILE or a switch masks off.
struct Capabilities {
  bool int64 = false, float64 = false;
  bool int16 = false, float16 = false, storage16 = false;  ///< arithmetic; loads and stores of 16 bits
  bool int8 = false, storage8 = false;
  bool float_controls_f32 = false;  ///< SignedZeroInfNanPreserve may be declared for 32 bits
  bool denormals = false;           ///< DenormPreserve may be, too: without it, a device may take subnormal f32 for zeros
  bool float_atomics = false, int64_atomics = false, memory_model = false;
  bool device_addresses = false;  ///< buffers may be reached by address
  bool subgroup_arithmetic = false, subgroup_shuffle = false;
  bool cooperative = false;  ///< f16 matrices, m x k by k x n, are multiplied by a subgroup, and summed in f32
  uint32_t cooperative_m = 0, cooperative_n = 0, cooperative_k = 0;
  uint32_t subgroup_size = 1;
  uint32_t max_invocations = 128, max_group_size[3] = {128, 128, 64}, max_groups[3] = {65535, 65535, 65535};
  uint32_t shared_bytes = 16384, push_bytes = 128;
  uint32_t max_bindings = 4;  ///< storage buffers of one shader; kParams and kFaults count
  int64_t max_binding_bytes = 1 << 27;
  int64_t binding_alignment = 64;  ///< of a storage buffer's offset, in bytes
  bool software = false;           ///< a rasteriser on the processor: tiles are sized for its vectors
  bool texel_loads = false;  ///< software, where loads of storage buffers are a branch for each lane, and those of texel buffers are not
  bool by_address = false;   ///< what is to be compiled reaches its slots so
  int64_t max_iterations = 60000;  ///< of all loops of one invocation of a product
  MatmulTier matmul = MatmulTier::Best;
  Chooser* chooser = nullptr;  ///< measures ways to do one thing; null: nothing is measured
};

/// A compute shader. Equal words and constants are one pipeline, in memory and on disk.
struct Shader {
  std::string name;                 ///< for people
  std::vector<uint32_t> words;      ///< SPIR-V, entry point "main"
  std::vector<uint32_t> constants;  ///< specialisation constants 0, 1, ...
  int bindings = 0;                 ///< buffers, set 0, bindings 0..bindings-1: storage buffers
  uint32_t texels = 0;              ///< but those of these bits: uniform texel buffers
  int push_words = 0;               ///< push constants, in 32-bit words
  bool full_subgroups = false;      ///< of the device's size, which cooperative matrices want
};

inline constexpr int32_t kScratch = -1;  ///< binding.slot: the step's scratch: its own, holding anything; begin is a multiple of 256
inline constexpr int32_t kFaults =
    -2;  ///< binding.slot: the step's u32 [0, 4), 0 before the run; a Check that fails writes its Fault there
inline constexpr int32_t kParams = -3;  ///< binding.slot: the Launch's `params`, where they pass the push constants

/// How a shader reads a buffer: as a storage buffer, or as a uniform texel buffer of one or four floats a texel.
enum class Texel : uint8_t { None, Float, Float4 };

inline constexpr int32_t kTold = -2;  ///< binding.word: another binding of that begin tells the shader

/// One buffer: bytes [begin, end) of a slot; begin is any byte, the program rounds it down to binding_alignment, and tells the
/// shader by adding the rest, in units of `unit` bytes, to params[word].
struct Binding {
  static constexpr int64_t kReach = int64_t{4} << 32;

  int32_t slot;
  int64_t begin = 0, end = 0;
  bool write = false;
  int32_t word = -1;  ///< of params: the offset within the binding is added to it; -1: begin is already aligned; or kTold
  int32_t unit = 4;
  Texel texel = Texel::None;
  int64_t reach = kReach;  ///< most bytes that the shader's u32 element numbers reach; more is refused
};

/// A run-time Scalar put into params before each run, converted to `type` (i64, f64 take two words, low first).
struct ScalarUse {
  int32_t word;
  int32_t scalar;  ///< index into Bindings::scalars
  DType type;
};

/// The device address at which a binding begins, put into params[word] and, its high half, the next.
struct AddressUse {
  int32_t word;
  int32_t binding;
};

/// One vkCmdDispatch.
struct Launch {
  std::shared_ptr<const Shader> shader;
  std::vector<Binding> bindings;
  std::vector<uint32_t> params;  ///< push constants where shader->push_words says so, else through a kParams binding
  std::vector<ScalarUse> scalars;
  std::vector<AddressUse> addresses;  ///< of all slots and scratch, which are not reached through descriptors then, or none
  uint32_t groups[3] = {1, 1, 1};
  double work = 0;  ///< estimated bytes moved plus operations, to bound a submission
};

/// A step made ready: its Launches in order, each depending on those before it, and the scratch that they share.
struct Compiled {
  std::vector<Launch> launches;
  int64_t scratch_bytes = 0;
};

/// Throws Error(Type) for a dtype that the device lacks, Error(Value) for a range past max_binding_bytes.
Compiled compile_generic(const ir::Generic&, const Capabilities&);
/// For what supports_named() claims.
Compiled compile_named(const ir::Named&, const Capabilities&);
bool supports_named(const ir::Named&, const Capabilities&);

}  // namespace anygpu::vulkan
