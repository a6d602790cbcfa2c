// Generic: one loop nest over an index space, with a scalar body (after MLIR's linalg.generic).
#pragma once

#include <string>
#include <vector>

#include "anygpu/dims.h"
#include "ir/expr.h"

namespace anygpu::ir {

/// How a Generic touches a slot (a Buffer of the Plan): element address = offset + sum(index[d] * strides[d]) + an
/// optional computed offset. All in elements of dtype. Strides may be negative here (flip), 0 repeats.
struct Access {
  int32_t slot = -1;
  DType dtype = DType::F32;
  int64_t offset = 0;
  Dims strides;  // one per dimension of the index space
};

enum class Combine : uint8_t { None, Add, Mul, Max, Min };

/// Writes `value` through `access`: once per parallel index where nothing about it varies with a reduction dimension, at every index of
/// the space otherwise (stored_at_every_index). Every Check of a body is made, whether or not its result is used.
/// With `combine`, or a computed `index`, several indices may meet one element: they are applied one after another, in the order of
/// indices if `in_order` (else any, where a backend is faster that way).
struct Store {
  int32_t access = -1;
  int32_t value = -1;  ///< node; of the access's dtype
  int32_t index = -1;  ///< node (i64) added to the element offset, or -1
  int32_t guard = -1;  ///< node (bool): write only where it holds, or -1
  Combine combine = Combine::None;
  bool in_order = false;  ///< asked for by Device::record; integers, minima and maxima come out the same without
};

/// In which order sums and products of floats meet what they reduce. A backend that can say so does when a Generic is described, by its
/// operands' sizes and layout (Backend::fix_order); fusion keeps it, so that results have the same bits fused or not.
struct ReductionOrder {
  std::vector<std::vector<int>> loops;  ///< outermost first; each a run of reduction dimensions that are walked as one, outermost first
  bool lanes = false;                   ///< the last loop is dealt out to lanes, which are added up at its end
  int split = -1;                       ///< the loop that is cut into chunks, which are added up one after another; -1: none
  int64_t chunk = 0;                    ///< indices of the split loop in a chunk

  bool fixed() const { return !loops.empty(); }
  friend bool operator==(const ReductionOrder&, const ReductionOrder&) = default;
};

struct Generic {
  std::string name;     ///< for people: the operators that it came from
  Dims sizes;           ///< the index space
  uint32_t reduce = 0;  ///< bit d: dimension d is a reduction dimension
  std::vector<Access> accesses;
  Body body;
  std::vector<Store> stores;
  std::vector<int32_t> args;  ///< Arg position -> index into the Trace's scalars
  ReductionOrder order;

  int rank() const { return sizes.size(); }
  bool reduces(int d) const { return reduce >> d & 1; }
};

/// Bit i: node i varies with a reduction dimension of more than one index (outside any Reduce), so it belongs to the inner loops.
std::vector<bool> varies_in_reduction(const Generic&);
/// Per store: at every index of the space, not once per parallel index. So where its value, index or guard varies with a reduction
/// dimension (outside any Reduce), or the element does: softmax of a row of equal numbers is stored all along the row.
std::vector<bool> stored_at_every_index(const Generic&);
/// Bit d: node `id` depends on the index of dimension d (through Index, or a Load whose stride there is not 0).
uint32_t dims_of(const Generic&, int id);

/// Throws Error(Internal) with the printed form where the Generic is ill-formed: types, ranks, order, levels.
void verify(const Generic&);
std::string to_string(const Generic&);

}  // namespace anygpu::ir
