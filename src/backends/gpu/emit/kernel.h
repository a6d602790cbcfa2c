// KernelSpec: all of a Generic that shapes its kernel. What only its launches need (sizes, strides, offsets) stays in Schedule.
#pragma once

#include <string>
#include <vector>

#include "backends/gpu/builder.h"
#include "backends/gpu/target.h"
#include "ir/stages.h"

namespace anygpu::gpu {

struct KernelAccess {
  DType dtype;
  uint32_t nonzero = 0;  ///< bit d: the stride along dimension d is not 0
  int binding = 0;
  int texels = -1;     ///< the binding through which it is loaded as texels; -1: none
  bool unit = false;   ///< the stride along the dimension walked innermost is 1
  bool four = false;   ///< spec.fours: four neighbours are one texel, or one store
  bool alone = false;  ///< no other access has this binding
};

struct KernelStore {
  ir::Store store;
  bool full = false;    ///< written at every index of the reduction, not once per parallel index
  bool owned = false;   ///< 8 or 16 bits, whose words each belong to one invocation
  bool atomic = false;  ///< several invocations may meet one element: combined by atomics
};

/// How invocations share out the parallel dimensions.
enum class Shape : uint8_t {
  Rows,    ///< a workgroup takes a block of the last one, the others are the same for all of it
  Flat,    ///< all are flattened; an invocation finds its place by division
  Reduce,  ///< flattened into rows, each done by `lanes` invocations
};

/// Dimensions stand in the order parallel, sequential (in order in one invocation), reduction.
struct KernelSpec {
  int parallel = 0, sequential = 0, reduction = 0;
  Shape shape = Shape::Flat;
  int local = 64;    ///< invocations of a workgroup
  int elements = 1;  ///< Rows, Flat: of one invocation; neighbours if `neighbours`, else `local` apart
  bool neighbours = false;
  bool fours = false;                                        ///< Rows, Reduce: four neighbours at a time, of the last (reduction) dimension
  int lanes = 1;                                             ///< Reduce: a power of two
  bool flat_reduction = false;                               ///< all reduction dimensions are one loop, whose place is found by division
  int split_dim = -1;                                        ///< the reduction dimension cut into chunks, one a workgroup; -1: none is
  int phase = -1;                                            ///< split: the stage that this launch does; the count of stages: the stores
  int bindings = 0, scratch = -1, faults = -1, params = -1;  ///< numbers of bindings; -1: none
  uint32_t texels = 0;                                       ///< a bit for each that is a texel buffer
  bool by_address = false;                                   ///< slots and scratch are found by their addresses, not through descriptors
  std::vector<KernelAccess> accesses;
  std::vector<ir::Node> nodes;
  std::vector<bool> narrow;  ///< per i64 node: 32 bits say it all, or all that is asked
  std::vector<KernelStore> stores;

  int rank() const { return parallel + sequential + reduction; }
  int first_reduction() const { return parallel + sequential; }
  uint32_t reduction_mask() const { return ((1u << reduction) - 1) << first_reduction(); }
  std::string key() const;
};

/// A word of params, and what fills it.
struct Param {
  enum Kind : uint8_t {
    Rows,
    GroupsX,
    Blocks,
    Chunk,
    Chunks,
    First,
    Last,
    Size,
    Rest,
    Offset,
    Stride,
    Arg,
    ArgHigh,
    Number,
    NumberHigh,
    Partial,
    Address
  } kind;
  /// Size: dimension. Rest: binding. Offset, Stride: access, dimension. Arg, Number: position, dtype. Partial: its number. Address:
  /// binding, word.
  int i = 0, j = 0;
  friend bool operator==(const Param&, const Param&) = default;
};

ir::Stages stages_of(const KernelSpec&);

struct Schedule {
  bool nothing = false;  ///< no index to run over
  KernelSpec spec;
  std::vector<int64_t> sizes;
  struct Place {
    int32_t slot;
    int64_t offset;  ///< elements
    std::vector<int64_t> strides;
  };
  std::vector<Place> places;
  std::vector<int32_t> args;
  std::vector<ir::Node::Imm> numbers;         ///< of Size nodes, which hold their places here
  int64_t rows = 1;                           ///< product of the parallel sizes; Rows: without the last one
  int64_t blocks = 1;                         ///< Rows: of the last one
  int64_t chunk = 0, chunks = 1;              ///< of the split dimension
  int64_t groups = 1;                         ///< workgroups, not counting chunks
  int64_t ordered = 1, ordered_a_launch = 1;  ///< sequential indices in all, and how many a launch may do
  double work = 0;
};

/// Chooses how a Generic is shared out: a function of the Generic and the target alone.
Schedule schedule(const ir::Generic&, const Target&);

/// Emits it, and says what fills its params, word by word.
std::vector<Param> emit(Builder&, const KernelSpec&, const Capabilities&);

}  // namespace anygpu::gpu
