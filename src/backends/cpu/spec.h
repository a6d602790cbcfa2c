// KernelSpec: all of a Generic that shapes its code. Launch: all that only its calls need. One Spec serves many Launches.
#pragma once

#include <string>
#include <vector>

#include "ir/stages.h"

namespace anygpu::cpu {

/// How an access moves along the vector dimension.
/// Transposed: strided, but contiguous along the tile dimension; read in squares of lanes x lanes, each turned in registers.
enum class Inner : uint8_t { Fixed, Contiguous, Strided, Transposed };

/// Whether a loop over the vector dimension ends in a vector that is not full: never, sometimes, or it is all there is. Masked: sometimes,
/// and all vectors are masked, so that there is one body to compile instead of two.
enum class Tail : uint8_t { None, Some, Only, Masked };

struct SpecAccess {
  DType dtype;
  uint32_t nonzero = 0;  ///< bit d: the stride along dimension d is not 0
  Inner inner = Inner::Fixed;
};

/// Dimensions stand in the order of the loops:
///   outer       parallel, flattened together into rows, which threads share out
///   sequential  in order on one thread, because stores may meet there
///   vector      here if it is parallel: cut into blocks, which threads share out with the rows (unless it is sequential)
///   reduction
///   vector      here if it is a reduction dimension
struct KernelSpec {
  int outer = 0, sequential = 0, reduction = 0;  ///< without the vector dimension
  bool vector_reduces = false, vector_sequential = false;
  /// A long reduction beside a wide parallel vector dimension: the vector loop is innermost nevertheless, so that memory is read
  /// in its order, and accumulators lie in memory.
  bool columns = false;
  /// A transpose: the last outer dimension steps within a block of the vector dimension, so that what is strided along one and
  /// contiguous along the other is read a tile at a time. Where an access is Inner::Transposed, it steps in groups of as many indices
  /// as there are lanes.
  bool tiled = false;
  int lanes = 1;
  Tail tail = Tail::Some;
  /// Few rows and a long reduction, or `columns`: dimension split_dim is cut into chunks, which do each stage apart; -1 if not.
  int split_dim = -1;
  std::vector<SpecAccess> accesses;
  std::vector<ir::Node> nodes;
  std::vector<ir::Store> stores;
  std::vector<bool> store_full;  ///< per store: written at every index of the reduction, not once per parallel index
  /// Per store: past the caches, because what is written is larger than they are. Its first element is aligned to 64 bytes.
  std::vector<bool> store_streams;

  int rank() const { return outer + sequential + reduction + 1; }
  int vector_dim() const { return vector_reduces ? rank() - 1 : outer + sequential; }
  /// The first loop that reduces, the vector dimension included.
  int first_reduction() const { return vector_reduces ? outer + sequential : outer + sequential + 1; }
  uint32_t reduction_mask() const;
  bool has_squares() const;
  /// Equal for equal Specs, and for no others.
  std::string key() const;
};

struct LaunchAccess {
  int32_t slot;
  int64_t offset;  ///< elements
  Dims strides;    ///< elements, in the order of the loops
};

struct Launch {
  Dims sizes;
  std::vector<LaunchAccess> accesses;
  std::vector<int32_t> args;
  std::vector<ir::Node::Imm> numbers;  ///< of Size nodes, which hold their places here
  int64_t rows = 1;                    ///< product of the outer sizes
  int64_t block = 1, blocks = 1;       ///< of the vector dimension, where it is parallel
  int64_t chunk = 0, chunks = 1;       ///< of the split dimension
  int64_t grain = 1;                   ///< units (row x block x chunk) below which a thread is not worth waking
};

/// Where a kernel finds what it works on: an array of 8-byte words.
struct ParameterLayout {
  enum Word { Block, Blocks, Chunk, Chunks, Fault, FirstSize };
  int rank, accesses, args, numbers, partials;
  explicit ParameterLayout(const KernelSpec&);
  int size(int d) const { return FirstSize + d; }
  int base(int access) const { return FirstSize + rank + access * (rank + 1); }
  int stride(int access, int d) const { return base(access) + 1 + d; }
  int argument(int i) const { return base(accesses) + i; }
  int number(int i) const { return argument(args) + i; }
  int partial(int i) const { return number(numbers) + i; }
  int words() const { return partial(partials); }
};

ir::Stages stages_of(const KernelSpec&);

struct Schedule {
  bool nothing = false;  ///< no index to run over
  KernelSpec spec;
  std::vector<Tail> also;  ///< other tails of vectors that serve these sizes as well, to the bit
  Launch launch;
};

/// Chooses the order of the loops, what is a vector, and how work is shared out: a function of the Generic and the ISA,
/// never of the number of threads, so that results are the same on any number. A fixed Generic::order is obeyed.
Schedule schedule(const ir::Generic&);
/// Sets the order in which its sums of floats are taken to that which schedule() would choose: by the sizes, and by which loop goes where.
void fix_order(ir::Generic&);

}  // namespace anygpu::cpu
